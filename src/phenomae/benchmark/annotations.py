"""Known pairs of genes: reads the files that list them and finds the pairs a map can be asked."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int

from phenomae.artefacts import hash_file
from phenomae.progress import say

COLUMNS = ("entity1", "entity2")


@dataclass(frozen=True)
class Source:
    """The known pairs of one file."""

    name: str
    """The file's stem."""
    pairs: pl.DataFrame
    """Columns entity1, entity2; as listed, so a pair may stand there in both directions."""
    checksum: str


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
        raise ValueError(f"{path}: there is no such file or folder of annotations")
    listed = sorted(file for file in path.iterdir() if file.suffix in (".txt", ".csv"))
    found = [file for file in listed if _has_columns(file)]
    for file in sorted({*listed} - {*found}):
        say(f"{file} is passed over: its first line does not name {COLUMNS}")
    if not found:
        raise ValueError(f"{path} holds no .txt or .csv file whose first line names {COLUMNS}")
    stems = [file.stem for file in found]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise ValueError(f"{path} holds two files for the source {twice[0]}: remove one of them")
    return [_read_source(file) for file in found]


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


def _has_columns(path: Path) -> bool:
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        columns = [name.strip().strip('"') for name in file.readline().split(",")]
    return set(COLUMNS) <= set(columns)


def _read_source(path: Path) -> Source:
    try:
        pairs = pl.read_csv(path, columns=list(COLUMNS), infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{path} cannot be read as a CSV file: {error}") from None
    return Source(path.stem, pairs.select(pl.all().str.strip_chars()), hash_file(path))
