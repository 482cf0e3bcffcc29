"""Known pairs of genes: reads the files that list them and finds the pairs a map can be asked."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int

from phenomae.artefacts import hash_file
from phenomae.evaluation.csv_lists import read_listed
from phenomae.progress import info

COLUMNS = ("entity1", "entity2")


@dataclass(frozen=True)
class Source:
    """The known pairs of one file."""

    name: str
    """The file's stem."""
    pairs: pl.DataFrame
    """Columns entity1, entity2; as listed, so a pair may stand there in both directions."""
    checksum: str

    @property
    def genes(self) -> pl.Series:
        """Every gene of the pairs once, in order."""
        return pl.concat([self.pairs[column] for column in COLUMNS]).drop_nulls().unique().sort()


def read_sources(path: Path) -> list[Source]:
    """Read one file of known pairs, or every .txt and .csv of a folder that has the columns.

    Raises ValueError where `path` is missing, a named file lacks the columns entity1 and entity2,
    a folder holds no such file, or two of its files have one stem.
    """
    if path.is_file():
        if not _has_columns(path):
            raise ValueError(f"{path} is no annotation file: its first line must name {COLUMNS}")
        return [_read_source(path)]
    if not path.is_dir():
        raise ValueError(
            f"{path}: there is no such file or folder of annotations (phenomae annotations fetch "
            "gets the public ones)"
        )
    listed = sorted(file for file in path.iterdir() if file.suffix in (".txt", ".csv"))
    found = [file for file in listed if _has_columns(file)]
    for file in sorted({*listed} - {*found}):
        info(f"{file} is passed over: its first line does not name {COLUMNS}")
    if not found:
        raise ValueError(f"{path} holds no .txt or .csv file whose first line names {COLUMNS}")
    stems = [file.stem for file in found]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise ValueError(f"{path} holds two files for the source {twice[0]}: remove one of them")
    return [_read_source(file) for file in found]


def read_aliases(path: Path) -> dict[str, str]:
    """Return what each alias of a table with the columns alias,gene stands for.

    Raises ValueError where the table is missing, lacks a column, or an alias stands for two genes.
    """
    table = read_listed(path, ("alias", "gene"), "aliases").drop_nulls().unique(maintain_order=True)
    aliases: dict[str, str] = {}
    for alias, gene in table.rows():
        if alias in aliases:
            raise ValueError(
                f"--aliases {path}: {alias} stands for {aliases[alias]} and for {gene}: keep one"
            )
        aliases[alias] = gene
    return aliases


def resolve_names(names: list[str], aliases: dict[str, str]) -> list[str]:
    """Return the names of a map with every alias replaced by the gene that it stands for.

    Raises ValueError where two rows of the map are then one gene.
    """
    owners: dict[str, str] = {}
    for name in names:
        gene = aliases.get(name, name)
        if gene in owners:
            raise ValueError(
                f"--aliases makes {owners[gene]} and {name} of the map one gene, {gene}: "
                "give one of the two another line, or make the map with one name for both"
            )
        owners[gene] = name
    return list(owners)


def rename_genes(source: Source, aliases: dict[str, str]) -> Source:
    """Return the source with every alias replaced by the gene that it stands for."""
    return replace(source, pairs=source.pairs.select(pl.all().replace(aliases)))


def pairs_on_map(source: Source, names: list[str]) -> Int[np.ndarray, "pairs 2"]:
    """Return the known pairs as rows of the map, smaller row first, each once, in order.

    Pairs with a gene that is not on the map, and a gene with itself, are left out.
    """
    rows = pl.DataFrame({"name": names}).with_row_index("row")
    first = source.pairs.join(rows, left_on="entity1", right_on="name")
    both = first.join(rows, left_on="entity2", right_on="name", suffix="2")
    pairs = both.select(
        low=pl.min_horizontal("row", "row2"), high=pl.max_horizontal("row", "row2")
    ).filter(pl.col("low") != pl.col("high"))
    return pairs.unique().sort("low", "high").cast(pl.Int64).to_numpy()


def unknown_genes(sources: list[Source], names: list[str]) -> list[str]:
    """Return the names of the map that no source has, in order."""
    known = {gene for source in sources for gene in source.genes}
    return sorted(set(names) - known)


def _has_columns(path: Path) -> bool:
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        columns = [name.strip().strip('"') for name in file.readline().split(",")]
    return set(COLUMNS) <= set(columns)


def _read_source(path: Path) -> Source:
    try:
        pairs = pl.read_csv(path, columns=list(COLUMNS), infer_schema=False)
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{path} cannot be read as a CSV file: {reason} (expected as many fields in every line "
            "as in the first)"
        ) from None
    return Source(path.stem, pairs.select(pl.all().str.strip_chars()), hash_file(path))
