"""Known relationships: reads files of gene pairs and finds the pairs that are on a map."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int

from phenomae.artefacts import hash_file
from phenomae.evaluation.csv_lists import explain_csv_error, read_csv_list
from phenomae.paths import PathLike
from phenomae.progress import info

COLUMNS = ("entity1", "entity2")


@dataclass(frozen=True)
class Annotation:
    """The known pairs of one file; results name it in the column `source`."""

    name: str
    """Stem of the file."""
    pairs: pl.DataFrame
    """Columns entity1, entity2, as listed: a pair may occur in both directions."""
    checksum: str

    @property
    def genes(self) -> pl.Series:
        """All genes of the pairs, sorted and without repeats."""
        return pl.concat([self.pairs[column] for column in COLUMNS]).drop_nulls().unique().sort()


def read_annotations(path: PathLike) -> list[Annotation]:
    """Read one file of known pairs, or every .txt and .csv file of a folder that has the columns.

    Raises ValueError if `path` is missing, a single file lacks the columns entity1 and entity2, or
    a folder has no such file or two with the same stem.
    """
    path = Path(path)
    if path.is_file():
        if not _has_columns(path):
            raise ValueError(
                f"{path} is not an annotation file: its first line must name {COLUMNS}"
            )
        return [_read_annotation(path)]
    if not path.is_dir():
        raise ValueError(
            f"{path}: there is no such file or folder of annotations (phenomae annotations fetch "
            "downloads the public ones)"
        )
    # Sorted, because the order of a directory differs between file systems and would change the
    # order of the rows in results.
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
    """Read a table with the columns alias,gene: the gene that each alias means.

    Raises ValueError if the table is missing, lacks a column, or lists two genes for an alias.
    """
    table = read_csv_list(path, ("alias", "gene"), "aliases")
    aliases: dict[str, str] = {}
    # Identical lines may be repeated: tables of aliases are often joined from several sources.
    for alias, gene in table.drop_nulls().unique(maintain_order=True).rows():
        if alias in aliases:
            raise ValueError(
                f"aliases {path}: {alias} means both {aliases[alias]} and {gene}: keep one"
            )
        aliases[alias] = gene
    return aliases


def resolve_names(names: list[str], aliases: dict[str, str]) -> list[str]:
    """Replace every alias among the names of a map by its gene.

    Raises ValueError if two rows of the map then have the same name.
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
    """Replace every alias in an annotation by its gene."""
    return replace(annotation, pairs=annotation.pairs.select(pl.all().replace(aliases)))


def pairs_on_map(annotation: Annotation, names: list[str]) -> Int[np.ndarray, "pairs 2"]:
    """Return the known pairs as rows of the map: smaller row first, sorted, without repeats.

    Pairs with a gene that is not on the map, and pairs of a gene with itself, are left out.
    """
    rows = pl.DataFrame({"name": names}).with_row_index("row")
    first = annotation.pairs.join(rows, left_on="entity1", right_on="name")
    both = first.join(rows, left_on="entity2", right_on="name", suffix="2")
    # The lists give many pairs in both directions; counted twice, they would weigh double.
    pairs = both.select(
        low=pl.min_horizontal("row", "row2"), high=pl.max_horizontal("row", "row2")
    ).filter(pl.col("low") != pl.col("high"))
    return pairs.unique().sort("low", "high").cast(pl.Int64).to_numpy()


def unknown_genes(annotations: list[Annotation], names: list[str]) -> list[str]:
    """Return the names of the map that are in no annotation, sorted."""
    known = {gene for annotation in annotations for gene in annotation.genes}
    return sorted(set(names) - known)


def _has_columns(path: Path) -> bool:
    # utf-8-sig: spreadsheets write a byte order mark, which would be part of the first name.
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        columns = [name.strip().strip('"') for name in file.readline().split(",")]
    return set(COLUMNS) <= set(columns)


def _read_annotation(path: Path) -> Annotation:
    try:
        # As text: a file of numeric gene ids would otherwise not match the names of the map.
        pairs = pl.read_csv(path, columns=list(COLUMNS), infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise ValueError(explain_csv_error(path, error)) from None
    return Annotation(path.stem, pairs.select(pl.all().str.strip_chars()), hash_file(path))
