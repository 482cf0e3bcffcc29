"""Tells the feature columns of a profile table from its metadata, by their names.

pycytominer and CellProfiler mark features by the compartment in front (`Cells_`), embeddings are
mostly numbered (`feature_0`), and metadata is marked by `Metadata_`.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from phenomae.progress import count_of, info
from phenomae.records import METADATA, WELL_COLUMNS

COMPARTMENTS = ("Cells_", "Cytoplasm_", "Nuclei_")
_IMAGE_METADATA = "Image_Metadata_"  # what CellProfiler and CytoTable call metadata of the image
_NUMBERED = re.compile(r"(?:Cells_)?feature_(\d+)")
_METADATA_NAMES = {
    *WELL_COLUMNS,
    *(
        "well_id",
        "experiment_name",
        "address",
        "treatment",
        "concentration",
        "row",
        "col",
        "column",
    ),
    *("source", "site", "field", "fov", "imagenumber", "objectnumber", "tablenumber"),
}
# The index of a pandas table, in Parquet and in CSV; polars calls an empty head so.
_INDEX = re.compile(r"__index_level_\d+__|Unnamed: \d+(_level_\d+)?|")
_OBJECT = re.compile(r"(.*_)?(number_object_number|objectnumber|object_id|object id)")
_IDENTIFIER = re.compile(
    r"(.*_)?(number_object_number|objectnumber|imagenumber|tablenumber|parent_[a-z]+)"
)
_SITE = re.compile(r"(metadata_)?(image_)?(site|field|fov|imagenumber|fieldid|field_id)")


@dataclass(frozen=True)
class Columns:
    """The columns of a profile table."""

    metadata: list[str]
    features: list[str]


def split_columns(
    path: Path,
    schema: Mapping[str, pl.DataType],
    prefixes: tuple[str, ...] | None,
    labels: Collection[str] = (),
) -> Columns:
    """Return metadata and features of a table whose columns have the types `schema`.

    `prefixes` are those of the setting `features`. Columns that `labels` names are metadata;
    columns of lists and the like, and the index of a pandas table, are left out. Other columns of
    numbers are printed. Raises ValueError if there is no feature.
    """
    schema = {name: kind for name, kind in schema.items() if not _INDEX.fullmatch(name)}
    candidates = [
        name
        for name, kind in schema.items()
        if not (_is_metadata(name) or name in labels or kind.is_nested())
    ]
    features = _choose(candidates, schema, prefixes)
    if not features:
        expected = f"beginning with {', '.join(prefixes)}" if prefixes else "of numbers"
        integers = [name for name in candidates if schema[name].is_integer()]
        hint = (
            f"; {integers[0]} has whole numbers only, which features must name" if integers else ""
        )
        raise ValueError(
            f"{path} has no features: expected columns {expected} that are not metadata (setting "
            f"features); it has {', '.join(list(schema)[:8])}{', ...' if len(schema) > 8 else ''}"
            f"{hint}"
        )
    taken = set(features)
    _report_unused(path, [name for name in candidates if name not in taken], schema, features)
    plain = (pl.List, pl.Array, pl.Struct, pl.Binary, pl.Object)
    metadata = [
        name for name, kind in schema.items() if name not in taken and not isinstance(kind, plain)
    ]
    return Columns(metadata, features)


def _report_unused(
    path: Path, names: Sequence[str], schema: Mapping[str, pl.DataType], features: Sequence[str]
) -> None:
    """Print the columns of measurements that are not taken for features."""
    if numbers := [name for name in names if schema[name].is_float()]:
        more = ", ..." if len(numbers) > 3 else ""
        info(
            f"{path}: {count_of(len(numbers), 'column')} of numbers are no features "
            f"({', '.join(numbers[:3])}{more}), but others such as {features[0]} (setting features)"
        )


def _is_metadata(name: str) -> bool:
    lower = name.lower()
    return (
        name.startswith((METADATA, _IMAGE_METADATA))
        or lower in _METADATA_NAMES
        or is_identifier(name)
    )


def _choose(
    names: list[str], schema: Mapping[str, pl.DataType], prefixes: tuple[str, ...] | None
) -> list[str]:
    for starts in (prefixes,) if prefixes else (COMPARTMENTS, ("feature_",)):
        if found := [name for name in names if name.startswith(starts)]:
            return found
    if prefixes:
        return []
    marked = any(name.startswith((METADATA, _IMAGE_METADATA)) for name in schema)
    # Where metadata is not marked, a column of integers may be a plate or a day.
    return [
        name
        for name in names
        if (schema[name].is_numeric() if marked else schema[name].is_float())
        and not name.startswith("Image_")
    ]


def is_identifier(name: str) -> bool:
    """Return whether a column numbers images or objects, which is no measurement."""
    return _IDENTIFIER.fullmatch(name.lower()) is not None


def numbers_objects(name: str) -> bool:
    """Return whether a column numbers the cells of an image."""
    return _OBJECT.fullmatch(name.lower()) is not None


def numbers_sites(name: str) -> bool:
    """Return whether a column numbers sites or images."""
    return _SITE.fullmatch(name.lower()) is not None


def plain_name(name: str) -> str:
    """Return a metadata column's name as pycytominer has it: Image_Metadata_Well is a Metadata_."""
    return name.removeprefix("Image_") if name.startswith(_IMAGE_METADATA) else name


def are_numbered(names: list[str]) -> bool:
    """Return whether features are only numbered from 0, as `export` writes those without names."""
    found = [_NUMBERED.fullmatch(name) for name in names]
    return all(match and int(match[1]) == index for index, match in enumerate(found))
