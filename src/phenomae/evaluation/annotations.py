"""Annotations of known relationships: reads files of gene pairs, finds their pairs on a map."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int

from phenomae.evaluation.csv_lists import explain_csv_error, read_csv_list
from phenomae.paths import PathLike
from phenomae.progress import info
from phenomae.whole_files import hash_file

COLUMNS = ("entity1", "entity2")
ALL_SOURCES = "all sources"
"""Name of the known pairs of all sources, each pair once, in the tables of results."""


@dataclass(frozen=True)
class Annotation:
    """The known gene pairs of one annotation file, which is a `source` in the tables of results."""

    name: str
    """Name of the annotation file without suffix."""
    pairs: pl.DataFrame
    """Columns entity1 and entity2, as in the file: a pair may be listed in both directions."""
    checksum: str

    @property
    def genes(self) -> pl.Series:
        """Genes of the known pairs, sorted, without duplicates."""
        return pl.concat([self.pairs[column] for column in COLUMNS]).drop_nulls().unique().sort()


def read_annotations(path: PathLike) -> list[Annotation]:
    """Read known pairs from one file, or from every .txt and .csv file of a folder.

    Files of a folder without the columns entity1 and entity2 are skipped and logged. Raises
    ValueError if `path` does not exist, is a file without these columns, or is a folder without
    such a file or with two of the same stem, or if a file is called `ALL_SOURCES`.
    """
    path = Path(path)
    if path.is_file():
        if not _has_columns(path):
            raise ValueError(
                f"{path} is not an annotation file: its first line must be {','.join(COLUMNS)}"
            )
        return [_read_annotation(path)]
    if not path.is_dir():
        raise ValueError(
            f"{path}: there is no such file or folder of annotations (phenomae annotations fetch "
            "downloads the public ones)"
        )
    # Sorted, because the order of a directory listing differs between file systems and would
    # change the order of the rows in the results.
    listed = sorted(file for file in path.iterdir() if file.suffix in (".txt", ".csv"))
    found = [file for file in listed if _has_columns(file)]
    for file in sorted({*listed} - {*found}):
        info(f"{file} is skipped: its first line does not name {COLUMNS}")
    if not found:
        raise ValueError(f"{path} has no .txt or .csv file whose first line names {COLUMNS}")
    stems = [file.stem for file in found]
    if repeated := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise ValueError(f"{path} has two files for the source {repeated[0]}: remove one of them")
    return [_read_annotation(file) for file in found]


def read_aliases(path: Path) -> dict[str, str]:
    """Read a CSV file with the columns alias and gene into a dict from alias to gene.

    Raises ValueError if the file is missing, lacks a column, or lists two genes for an alias.
    """
    table = read_csv_list(path, ("alias", "gene"), "aliases")
    aliases: dict[str, str] = {}
    # Identical lines are allowed, because alias files are often merged from several sources.
    for alias, gene in table.drop_nulls().unique(maintain_order=True).rows():
        if alias in aliases:
            raise ValueError(
                f"aliases {path}: the alias {alias} has two genes, {aliases[alias]} and {gene}: "
                "keep one of them"
            )
        aliases[alias] = gene
    return aliases


def resolve_names(names: list[str], aliases: dict[str, str]) -> list[str]:
    """Replace the row names of a map that are aliases by their genes.

    Raises ValueError if two rows of the map have the same name after the replacement.
    """
    original: dict[str, str] = {}
    for name in names:
        gene = aliases.get(name, name)
        if gene in original:
            raise ValueError(
                f"aliases give {original[gene]} and {name} of the map the same name {gene}: change "
                "one of the two lines, or make the map with one name for both"
            )
        original[gene] = name
    return list(original)


def rename_genes(annotation: Annotation, aliases: dict[str, str]) -> Annotation:
    """Replace the aliases in the pairs of an annotation by their genes."""
    return replace(annotation, pairs=annotation.pairs.select(pl.all().replace(aliases)))


def pairs_on_map(annotation: Annotation, names: list[str]) -> Int[np.ndarray, "pairs 2"]:
    """Return the known pairs as row indices of the map: smaller first, sorted, no duplicates.

    Pairs with a gene that is not on the map, and pairs of a gene with itself, are left out.
    """
    rows = pl.DataFrame({"name": names}).with_row_index("row")
    first = annotation.pairs.join(rows, left_on="entity1", right_on="name")
    both = first.join(rows, left_on="entity2", right_on="name", suffix="2")
    # Public lists have many pairs in both directions; these would otherwise count twice.
    pairs = both.select(
        low=pl.min_horizontal("row", "row2"), high=pl.max_horizontal("row", "row2")
    ).filter(pl.col("low") != pl.col("high"))
    return pairs.unique().sort("low", "high").cast(pl.Int64).to_numpy()


def unknown_genes(annotations: list[Annotation], names: list[str]) -> list[str]:
    """Return the row names of the map that are in no annotation, sorted."""
    known = {gene for annotation in annotations for gene in annotation.genes}
    return sorted(set(names) - known)


def _has_columns(path: Path) -> bool:
    # utf-8-sig, because the byte order mark of spreadsheets would become part of the first name.
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        columns = [name.strip().strip('"') for name in file.readline().split(",")]
    return set(COLUMNS) <= set(columns)


def _read_annotation(path: Path) -> Annotation:
    if path.stem == ALL_SOURCES:
        raise ValueError(
            f"{path}: results call the known pairs of all annotation files together {ALL_SOURCES}, "
            "so no file may have this name: rename it"
        )
    try:
        # Read as text, because gene ids read as numbers would not match the names of the map.
        pairs = pl.read_csv(path, columns=list(COLUMNS), infer_schema=False, glob=False)
    except pl.exceptions.PolarsError as error:
        raise ValueError(explain_csv_error(path, error)) from None
    return Annotation(path.stem, pairs.select(pl.all().str.strip_chars()), hash_file(path))
