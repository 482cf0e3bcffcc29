"""Within or between: are the genes of a complex more alike to each other than to all others.

For every complex, the cosines of its pairs of genes beside those of its genes with all other genes
of the map, by means and by the two-sample Kolmogorov-Smirnov test (Celik et al. 2024).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from cyclopts import Parameter
from jaxtyping import Float64, Int
from scipy.stats import false_discovery_control, ks_2samp

from phenomae.evaluation.settings import check_level
from phenomae.maps.read import ConsensusProfiles
from phenomae.maps.unit_vectors import unit_map
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
    """Which complexes a map is asked."""

    complexes: Path
    """A file of complexes, one a line: name, tab, genes with blanks between; or a .gmt file: name,
    tab, description, tab, genes with tabs between."""
    least_genes: int = 10
    """Complexes with fewer genes on the map are left out."""
    level: float = 0.05
    """A complex stands apart where its adjusted p-value is at most this."""

    def __post_init__(self) -> None:
        if self.least_genes < 2:
            raise ValueError(f"least_genes must be 2 or more, not {self.least_genes}")
        check_level(self.level)


def read_complexes(path: Path) -> dict[str, list[str]]:
    """Return the genes of each complex of a file, in its order.

    Raises ValueError where the file is missing, a line has no tab, or a name is there twice.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file of complexes")
    skipped = 2 if path.suffix == ".gmt" else 1
    form = "name, tab, description, tab, genes" if skipped == 2 else "name, tab, genes"
    complexes: dict[str, list[str]] = {}
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        parts = line.split("\t")
        name = parts[0].strip()
        if len(parts) <= skipped:
            raise ValueError(
                f"{path}, line {number}, is no complex: {line[:60]!r}; expected {form}"
            )
        if name in complexes:
            raise ValueError(f"{path}, line {number}: the complex {name!r} is there already")
        complexes[name] = " ".join(parts[skipped:]).split()
    return complexes


def compare_complexes(
    genes: ConsensusProfiles, source: Path, settings: ComplexSettings
) -> pl.DataFrame:
    """Return the rows of complexes.csv, one a complex that has enough genes on the map.

    `within` and `between` are mean cosines, `ks` the largest difference of the two shares of
    cosines up to any one, `ks_p` the chance of one as large if all cosines were independent draws.

    `source` is named in errors. Raises ValueError where no complex has enough genes on the map, or
    a row of it has no direction.
    """
    unit = unit_map(genes, source)
    members = rows_on_map(read_complexes(settings.complexes), genes.names)
    enough = {name: rows for name, rows in members.items() if len(rows) >= settings.least_genes}
    if not enough:
        raise ValueError(
            f"{settings.complexes}: none of its {len(members)} complexes has "
            f"{settings.least_genes} genes on the map {source}, which holds names "
            f"like {', '.join(genes.names[:3])}"
        )
    found = [compare_complex(unit, rows) for rows in enough.values()]
    return pl.DataFrame(
        [
            (name, len(rows), *numbers)
            for (name, rows), numbers in zip(enough.items(), found, strict=True)
        ],
        schema=COMPLEXES,
        orient="row",
    ).fill_nan(None)


def rows_on_map(complexes: dict[str, list[str]], names: list[str]) -> dict[str, Rows]:
    """Return the rows of the map that each complex has, each once, in order."""
    place = {name: row for row, name in enumerate(names)}
    found = {
        name: sorted({place[gene] for gene in genes if gene in place})
        for name, genes in complexes.items()
    }
    return {name: np.array(rows, dtype=np.int64) for name, rows in found.items()}


def compare_complex(
    unit: Float64[np.ndarray, "g d"], rows: Rows
) -> tuple[float, float, float, float]:
    """Return the mean cosine within, the mean between, and statistic and p-value of their test.

    NaN between, and for the test, where the complex is the whole map.
    """
    within, between = within_and_between(unit, rows)
    if not len(between):
        return float(within.mean()), np.nan, np.nan, np.nan
    test: Any = ks_2samp(within, between)
    return float(within.mean()), float(between.mean()), float(test.statistic), float(test.pvalue)


def within_and_between(
    unit: Float64[np.ndarray, "g d"], rows: Rows
) -> tuple[Float64[np.ndarray, " pairs"], Float64[np.ndarray, " others"]]:
    """Return the cosines of all pairs of some rows, and of those rows with all others."""
    cosines = unit[rows] @ unit.T
    others = np.ones(len(unit), dtype=bool)
    others[rows] = False
    return cosines[:, rows][np.triu_indices(len(rows), k=1)], cosines[:, others].ravel()


def share_apart(
    genes: ConsensusProfiles,
    table: pl.DataFrame,
    source: Path,
    settings: ComplexSettings,
    *,
    shuffles: int = 0,
    seed: int = 0,
) -> pl.DataFrame:
    """Return the share of complexes that stand apart, and that share when names are shuffled.

    A complex of `compare_complexes`' table stands apart where `within` is above `between` and
    `ks_p`, adjusted for the number of complexes (Benjamini & Hochberg 1995), is at most
    `settings.level`. As cosines that share a gene are not independent, more complexes stand apart
    by chance than the level says: what shuffled names give is what to compare with. One row:
    complexes, apart, shuffled (mean), sd, n (shuffles). Shuffle k is a function of seed and k.
    """
    members = rows_on_map(read_complexes(settings.complexes), genes.names)
    unit = unit_map(genes, source)
    shares = np.empty(shuffles)
    for k in tracked(range(shuffles), "complexes", shuffles, "shuffles"):
        order = np.random.default_rng([seed, k]).permutation(len(unit))
        found = np.array([compare_complex(unit, order[members[name]]) for name in table["complex"]])
        shares[k] = _share_apart(found[:, 0], found[:, 1], found[:, 3], settings.level)
    within, between, p = (table[name].to_numpy() for name in ("within", "between", "ks_p"))
    return pl.DataFrame(
        {
            "complexes": [len(table)],
            "apart": [_share_apart(within, between, p, settings.level)],
            "shuffled": [float(shares.mean()) if shuffles else None],
            "sd": [float(shares.std(ddof=1)) if shuffles > 1 else None],
            "n": [shuffles],
        },
        schema_overrides={"shuffled": pl.Float64, "sd": pl.Float64},
    )


def _share_apart(
    within: Float64[np.ndarray, " k"],
    between: Float64[np.ndarray, " k"],
    p: Float64[np.ndarray, " k"],
    level: float,
) -> float:
    known = ~np.isnan(p)
    if not known.any():
        return 0.0
    adjusted = false_discovery_control(p[known])
    return float(((within > between)[known] & (adjusted <= level)).sum() / len(p))
