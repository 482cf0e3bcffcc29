"""Annotations of known relationships: reads lists of pairs or sets, finds their pairs on a map.

A list is a table of pairs (columns `entity1,entity2`), a table of genes and their sets
(`gene,set`), or a GMT file; two genes of a set are a pair.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Int

from phenomae.evaluation.csv_lists import read_csv_list
from phenomae.paths import PathLike
from phenomae.progress import info
from phenomae.text_tables import find_separator, read_table
from phenomae.whole_files import hash_file, hash_json

COLUMNS = ("entity1", "entity2")
SUFFIXES = (".txt", ".csv", ".tsv", ".gmt")
"""Files of a folder of annotations that are looked at."""
COMPLEXES = "CORUM_clusters.tsv"
"""File of complexes that `annotations fetch` writes beside the lists, for `--complexes`."""
_PAIRS = (COLUMNS, ("gene_a", "gene_b"), ("gene1", "gene2"), ("gene_1", "gene_2"))
_SETS = tuple(("gene", name) for name in ("set", "complex", "group", "pathway", "term"))
_FORMS = "entity1,entity2 (or gene_a,gene_b), or gene,set"
# What spreadsheets make of SEPT2, MARCH1 or DEC1, in the language of the computer.
_MONTHS = "mar|mars|mär|mrz|sep|sept|dec|dez|déc|feb|fév|apr|avr|oct|okt|nov"
_DATE = re.compile(
    rf"\d{{1,2}}[-. ]({_MONTHS})\.?|({_MONTHS})[-. ]\d{{2}}|\d{{1,4}}[-./]\d{{1,2}}[-./]\d{{2,4}}",
    re.IGNORECASE,
)
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
    sets: dict[str, list[str]] | None = None
    """The genes of each set by its name, if sets were asked for and the file lists them; `pairs` is
    empty then."""

    @property
    def genes(self) -> pl.Series:
        """Genes of the known pairs or sets, sorted, without duplicates."""
        if self.sets is not None:
            every = {gene for genes in self.sets.values() for gene in genes}
            return pl.Series([*every], dtype=pl.String).sort()
        return pl.concat([self.pairs[column] for column in COLUMNS]).drop_nulls().unique().sort()


def hash_annotations(annotations: Sequence[Annotation]) -> str:
    """Return a hash of the names and the content of annotation files, in whatever order they are.

    It is what an artefact that is made from them records among its sources.
    """
    return hash_json({annotation.name: annotation.checksum for annotation in annotations})


def read_annotations(path: PathLike, *, as_sets: bool = False) -> list[Annotation]:
    """Read known pairs from one file, or from every .txt, .csv, .tsv and .gmt file of a folder.

    With `as_sets`, lists of sets are read as these and not as pairs, of which large sets have many.
    Files of a folder without the columns of a list are skipped and logged, once each; `COMPLEXES`
    is not logged. Raises ValueError if `path` does not exist, is a file without these columns, or
    is a folder without such a file or with two of the same stem, or if a file is called
    `ALL_SOURCES`.
    """
    path = Path(path)
    if path.is_file():
        if _find_form(path) is None:
            raise ValueError(
                f"{path} is not an annotation file: its first line must name {_FORMS}{_hint(path)}"
            )
        return [_read_annotation(path, as_sets)]
    if not path.is_dir():
        raise ValueError(
            f"{path}: there is no such file or folder of annotations (phenomae annotations fetch "
            "downloads the public ones)"
        )
    # Sorted, because the order of a directory listing differs between file systems and would
    # change the order of the rows in the results.
    listed = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file())
    found = [file for file in listed if _find_form(file) is not None]
    for file in sorted({*listed} - {*found}):
        if file.name != COMPLEXES:
            _announce_skipped(file)
    if not found:
        raise ValueError(
            f"{path} has no {', '.join(SUFFIXES)} file whose first line names {_FORMS}"
        )
    stems = [file.stem for file in found]
    if repeated := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise ValueError(f"{path} has two files for the source {repeated[0]}: remove one of them")
    return [_read_annotation(file, as_sets) for file in found]


@cache  # once per process: some commands read a folder several times
def _announce_skipped(file: Path) -> None:
    info(f"{file} is skipped: its first line does not name {_FORMS}{_hint(file)}")


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


class _Form(NamedTuple):
    """How a list is written."""

    kind: str
    """`pairs`, `sets` or `gmt`."""
    columns: tuple[str, ...]
    """The two columns as they are spelled in the file, without blanks; empty for GMT."""


def _find_form(path: Path) -> _Form | None:
    """Return how a list is written, by its suffix or first line; None if it is no list."""
    if path.suffix == ".gmt":
        return _Form("gmt", ())
    with open(path, "rb") as file:
        # utf-8-sig, because the byte order mark of spreadsheets would be part of the first name.
        line = file.readline(100_000)
    separator = find_separator(line)
    header = line.decode("utf-8-sig", errors="replace").split(separator)
    spelled = {
        name.strip().strip('"').strip().lower(): name.strip().strip('"').strip() for name in header
    }
    for kind, choices in (("pairs", _PAIRS), ("sets", _SETS)):
        for columns in choices:
            if set(columns) <= set(spelled):
                return _Form(kind, tuple(spelled[name] for name in columns))
    return None


def _hint(path: Path) -> str:
    with open(path, "rb") as file:
        is_utf16 = file.read(2) in (b"\xff\xfe", b"\xfe\xff")
    return " (it is UTF-16: save it as UTF-8)" if is_utf16 else ""


def say_dates(names: Iterable[str], where: Path | str) -> None:
    """Print a line if gene names are dates, which spreadsheets make of SEPT2 or MARCH1."""
    if dates := sorted({name for name in names if _DATE.fullmatch(name)}):
        info(
            f"{where}: {', '.join(dates[:3])} {'are' if len(dates) > 1 else 'is'} no gene "
            f"name{'s' if len(dates) > 1 else ''} but what spreadsheets make of names such as "
            f"SEPT2 or MARCH1 ({len(dates)} in all): correct them, or give aliases"
        )


def _pairs_of_sets(sets: Iterable[Iterable[str]]) -> pl.DataFrame:
    pairs = {pair for genes in sets for pair in combinations(sorted(set(genes)), 2)}
    return pl.DataFrame(sorted(pairs), dict.fromkeys(COLUMNS, pl.String()), orient="row")


def _read_gmt(path: Path) -> dict[str, list[str]]:
    """Read the sets of a GMT file: name, description and genes, separated by tabs."""
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    rows = [line.split("\t") for line in lines if line.strip()]
    if not rows or any(len(row) < 3 for row in rows):
        raise ValueError(f"{path} is no GMT file: expected name, tab, description, tab, genes")
    sets: dict[str, list[str]] = {}
    for number, (name, _, *genes) in enumerate(rows, start=1):
        label = f"{name} (line {number})" if name in sets else name  # a name may be repeated
        sets[label] = [gene.strip() for gene in genes if gene.strip()]
    return sets


def _read_sets(path: Path, gene: str, its: str) -> dict[str, list[str]]:
    """Read the sets of a table with a row for each gene and set."""
    grouped = read_table(path).select(gene, its).drop_nulls().group_by(its, maintain_order=True)
    return dict(grouped.agg(gene).iter_rows())


def _read_annotation(path: Path, as_sets: bool) -> Annotation:
    if path.stem == ALL_SOURCES:
        raise ValueError(
            f"{path}: results call the known pairs of all annotation files together {ALL_SOURCES}, "
            "so no file may have this name: rename it"
        )
    form = _find_form(path)
    assert form is not None
    checksum = hash_file(path)
    if form.kind == "pairs":
        # Read as text, because gene ids read as numbers would not match the names of the map.
        table = read_table(path).select(form.columns)
        pairs = table.rename(dict(zip(form.columns, COLUMNS, strict=True)))
        found = Annotation(path.stem, pairs, checksum)
    else:
        sets = _read_gmt(path) if form.kind == "gmt" else _read_sets(path, *form.columns)
        pairs = _pairs_of_sets([] if as_sets else sets.values())
        found = Annotation(path.stem, pairs, checksum, sets if as_sets else None)
    say_dates(found.genes, path)
    return found
