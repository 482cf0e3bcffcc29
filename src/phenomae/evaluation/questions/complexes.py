"""Are the genes of a protein complex more similar to each other than to all other genes?

For every complex, the cosines of its gene pairs are compared with the cosines between its genes and
all other genes of the map: by their means and by the two-sample Kolmogorov-Smirnov test (Celik et
al. 2024).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
from cyclopts import Parameter
from jaxtyping import Bool, Float64, Int

from phenomae import checks
from phenomae.evaluation.questions.question import Figure, Question, Score, Tables, takes_map
from phenomae.evaluation.questions.unit_scores import UnitScores, unit_scores
from phenomae.evaluation.settings import Several, check_level
from phenomae.maps.read import ConsensusProfiles
from phenomae.maps.unit_vectors import unit_map
from phenomae.paths import PathLike
from phenomae.progress import tracked

Rows = Int[np.ndarray, " k"]
COMPLEXES: dict[str, pl.DataType] = {
    "complex": pl.String(),
    "genes_on_map": pl.Int64(),
    "within": pl.Float64(),
    "between": pl.Float64(),
    "ks": pl.Float64(),
    "ks_p": pl.Float64(),
}


@Parameter(name="*")
@dataclass(frozen=True)
class ComplexSettings:
    """Which complexes are tested and drawn, and the permutation test."""

    complexes: PathLike
    """File with one complex per line: name, tab, genes separated by blanks. In a .gmt file:
    name, tab, description, tab, genes separated by tabs."""
    min_genes: int = 10
    """Minimum number of genes of a complex on the map; other complexes are left out."""
    level: float = 0.05
    """Significance level: a complex is significant if `within` is above `between` and the
    FDR-adjusted p-value is at most this level."""
    show: Annotated[tuple[str, ...], Several] = ()
    """Names of the complexes to draw in the heat map; by default at most 8 complexes with the
    largest KS statistic."""
    shuffle: int = 20
    """Permutations of the gene names, to estimate the fraction of complexes that are significant by
    chance."""
    seed: int = 0
    """Seed of the permutations."""

    def __post_init__(self) -> None:
        checks.whole_numbers(self)
        checks.at_least("min_genes", self.min_genes, 2)
        check_level(self.level)
        checks.at_least("shuffle", self.shuffle, 0)
        checks.at_least("seed", self.seed, 0)


def read_complexes(path: Path) -> dict[str, list[str]]:
    """Read the genes of each complex, in the order of the file.

    Raises ValueError if the file is missing, a line has no tab, or a name is repeated.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file of complexes")
    skipped = 2 if path.suffix == ".gmt" else 1
    form = "name, tab, description, tab, genes" if skipped == 2 else "name, tab, genes"
    complexes: dict[str, list[str]] = {}
    # utf-8-sig, because spreadsheets write a byte order mark; errors="replace", because an invalid
    # byte in one name should not stop the command.
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        parts = line.split("\t")
        name = parts[0].strip()
        if len(parts) <= skipped:
            raise ValueError(
                f"{path}, line {number}, is not a complex: {line[:60]!r}; expected {form}"
            )
        if name in complexes:
            raise ValueError(f"{path}, line {number}: the complex {name!r} is repeated")
        # Splitting again at blanks also reads .gmt files in which blanks separate the genes.
        complexes[name] = " ".join(parts[skipped:]).split()
    return complexes


def compare_complexes(
    profiles: ConsensusProfiles, path: Path, settings: ComplexSettings
) -> pl.DataFrame:
    """Compute the rows of complexes.csv, one per complex with enough genes on the map.

    `within` and `between` are mean cosines; `ks` is the two-sample Kolmogorov-Smirnov statistic and
    `ks_p` its p-value, which assumes that the cosines are independent. `path`, the file of the map,
    is named in errors.

    Raises ValueError if no complex has enough genes on the map, or a profile is NaN or zero.
    """
    unit = unit_map(profiles, path)
    members = rows_on_map(read_complexes(Path(settings.complexes)), profiles.names)
    enough = {name: rows for name, rows in members.items() if len(rows) >= settings.min_genes}
    if not enough:
        raise _no_complex(members, profiles.names, path, settings)
    found = [compare_complex(unit, rows) for rows in enough.values()]
    return pl.DataFrame(
        [
            (name, len(rows), *numbers)
            for (name, rows), numbers in zip(enough.items(), found, strict=True)
        ],
        schema=COMPLEXES,
        orient="row",
    ).fill_nan(None)


def _no_complex(
    members: dict[str, Rows], names: list[str], path: Path, settings: ComplexSettings
) -> ValueError:
    """Return the error for a file of which no complex has enough genes on the map."""
    if not members:
        return ValueError(f"{settings.complexes} holds no complex: expected one per line")
    largest = max(map(len, members.values()))
    return ValueError(
        f"{settings.complexes}: none of its complexes has {settings.min_genes} genes on the map "
        f"{path}, which has names like {', '.join(names[:3])}; the most are {largest}: set "
        "min_genes lower, or use names like those of the map"
    )


def rows_on_map(complexes: dict[str, list[str]], names: list[str]) -> dict[str, Rows]:
    """Return the row indices of each complex on the map, sorted, without duplicates."""
    row_of = {name: row for row, name in enumerate(names)}
    found = {
        name: sorted({row_of[gene] for gene in genes if gene in row_of})
        for name, genes in complexes.items()
    }
    return {name: np.array(rows, dtype=np.int64) for name, rows in found.items()}


def compare_complex(
    unit: Float64[np.ndarray, "g d"], rows: Rows
) -> tuple[float, float, float, float]:
    """Return mean cosine within the complex, mean cosine to other genes, KS statistic, p-value.

    If the complex contains all genes of the map, only the mean within the complex is not NaN.
    """
    from scipy.stats import ks_2samp  # imported here: .6 s would delay --help

    within, between = within_and_between(unit, rows)
    if not len(between):
        return float(within.mean()), np.nan, np.nan, np.nan
    test: Any = ks_2samp(within, between)
    return float(within.mean()), float(between.mean()), float(test.statistic), float(test.pvalue)


def within_and_between(
    unit: Float64[np.ndarray, "g d"], rows: Rows
) -> tuple[Float64[np.ndarray, " pairs"], Float64[np.ndarray, " others"]]:
    """Return the cosines of all pairs of `rows`, and those between `rows` and all other rows."""
    cosines = unit[rows] @ unit.T
    others = np.ones(len(unit), dtype=bool)
    others[rows] = False
    return cosines[:, rows][np.triu_indices(len(rows), k=1)], cosines[:, others].ravel()


def share_apart(
    profiles: ConsensusProfiles,
    table: pl.DataFrame,
    path: Path,
    settings: ComplexSettings,
    *,
    shuffles: int = 0,
    seed: int = 0,
) -> pl.DataFrame:
    """Return the fraction of significant complexes, and that fraction under permuted gene names.

    A complex in the table of `compare_complexes` is significant if `within` is above `between` and
    its FDR-adjusted `ks_p` (Benjamini & Hochberg 1995) is at most `settings.level`. One row:
    complexes, apart, shuffled (mean over permutations), sd, n (permutations). Permutation k
    depends on `seed` and k alone.
    """
    # Cosines of pairs that share a gene are not independent, so `ks_p` is too small and more
    # complexes than `level` are significant by chance. Permuted names estimate their fraction.
    members = rows_on_map(read_complexes(Path(settings.complexes)), profiles.names)
    unit = unit_map(profiles, path)
    shares = np.empty(shuffles)
    for k in tracked(range(shuffles), "complexes", shuffles, "shuffles"):
        # Complexes get random rows, in which overlapping complexes still share genes.
        order = np.random.default_rng([seed, k]).permutation(len(unit))
        found = np.array([compare_complex(unit, order[members[name]]) for name in table["complex"]])
        shares[k] = _find_apart(found[:, 0], found[:, 1], found[:, 3], settings.level).mean()
    return pl.DataFrame(
        {
            "complexes": [len(table)],
            "apart": [_apart_in(table, settings.level).mean()],
            "shuffled": [float(shares.mean()) if shuffles else None],
            "sd": [float(shares.std(ddof=1)) if shuffles > 1 else None],
            "n": [shuffles],
        },
        schema_overrides={"shuffled": pl.Float64, "sd": pl.Float64},
    )


def _find_apart(
    within: Float64[np.ndarray, " k"],
    between: Float64[np.ndarray, " k"],
    p: Float64[np.ndarray, " k"],
    level: float,
) -> Bool[np.ndarray, " k"]:
    """Return which complexes are significant; those without a p-value are not."""
    from scipy.stats import false_discovery_control

    known = ~np.isnan(p)
    apart = np.zeros(len(p), dtype=bool)
    if known.any():
        adjusted = false_discovery_control(p[known])
        apart[known] = (within > between)[known] & (adjusted <= level)
    return apart


def _apart_in(table: pl.DataFrame, level: float) -> Bool[np.ndarray, " k"]:
    """Return which complexes in the table of `compare_complexes` are significant."""
    within, between, p = (table[name].to_numpy() for name in ("within", "between", "ks_p"))
    return _find_apart(within, between, p, level)


def _units(tables: Tables, settings: ComplexSettings) -> dict[tuple[str, ...], UnitScores]:
    """Return whether each complex is significant."""
    table = tables["complexes.csv"]
    apart = pl.Series(_apart_in(table, settings.level))
    return {(): unit_scores(table.with_columns(apart=apart), "complex", total=pl.col("apart"))}


def _tables(profiles: ConsensusProfiles, path: Path, settings: ComplexSettings) -> Tables:
    table = compare_complexes(profiles, path, settings)
    shares = share_apart(
        profiles, table, path, settings, shuffles=settings.shuffle, seed=settings.seed
    )
    return {"complexes.csv": table, "apart.csv": shares}


QUESTION = Question(
    name="complexes",
    help="""Are the genes of a complex more similar to each other than to all other genes?

    Writes complexes.csv, one row per complex, apart.csv, the fraction of significant complexes,
    which is printed, and a heat map of some complexes in the folder figures. Raises ValueError if
    the file of complexes cannot be used, or no complex has enough genes on the map.
    """,
    takes=(takes_map("map", "Map by gene."),),
    settings=ComplexSettings,
    tables=_tables,
    printed="apart.csv",
    figure=Figure("complexes", "phenomae.reporting.figures.complexes:draw_answer"),
    files=("complexes",),
    score=Score("apart", _units),
)
