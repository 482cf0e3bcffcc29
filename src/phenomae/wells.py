"""The wells artefact: a folder of Parquet files, one per plate, with one row per well.

Plates have files of their own so that a screen larger than memory can be corrected plate by plate,
and a stopped command continues at the first plate that is missing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32

from phenomae.artefacts import artefact_folder
from phenomae.checks import share
from phenomae.foreign_profiles import check_records, leave_out_missing
from phenomae.missing_features import (
    MAX_MISSING,
    count_non_finite,
    find_non_finite,
    refuse_non_finite,
)
from phenomae.outputs import TableOutput
from phenomae.paths import PathLike
from phenomae.progress import count_of
from phenomae.records import (
    METADATA,
    WELL_COLUMNS,
    cast_columns,
    feature_names,
    find_twice,
)
from phenomae.signatures import Origin, read_verified, verify_file
from phenomae.tidy_text import EMPTY_WORDS
from phenomae.well_files import (
    extra_columns,
    features_of,
    list_columns,
    plate_path,
    read_feature_names,
    read_features,
    read_plate,
    read_records,
    write_feature_names,
    write_plate,
)
from phenomae.whole_files import hash_json

if TYPE_CHECKING:
    import anndata

__all__ = [
    "KIND",
    "PlateFiles",
    "Profiles",
    "Wells",
    "features_of",
    "open_wells",
    "plate_path",
    "read_plate",
    "read_wells",
    "require_finite",
    "write_feature_names",
    "write_plate",
    "write_wells",
]

KIND = "wells"


class Wells(TableOutput):
    """A wells folder, as `embed`, `features` and `correct` write it."""

    def to_polars(self) -> pl.DataFrame:
        """Return one row per well: `records.WELL_COLUMNS`, columns `Metadata_...`, then features.

        Features have their names, or are called `feature_0000` ... if they have none.
        """
        wells = read_wells(self.path)
        features = pl.from_numpy(wells.features, schema=wells.columns, orient="row")
        return pl.concat([wells.table, features], how="horizontal")

    def to_anndata(self) -> "anndata.AnnData":
        """Return the wells as AnnData: X are the features, obs the other columns.

        Observations are named `PLATE/WELL`, variables as the features, or
        `feature_0000` ... if they have no names.
        """
        from anndata import AnnData

        wells = read_wells(self.path)
        names = wells.table.select(pl.concat_str("plate", "well", separator="/")).to_series()
        # As categories, because h5py cannot write text columns that have empty cells.
        text = wells.table.with_columns(pl.col(pl.String).cast(pl.Categorical))
        obs = text.with_columns(pl.col("control").fill_null(False)).to_pandas()
        return AnnData(
            wells.features,
            obs=obs.set_index(names.to_numpy()),
            var={"var_names": wells.columns},
        )

    def counts(self) -> str:
        """Return the numbers of plates, wells and features."""
        files = open_wells(self.path)
        plates = files.table["plate"].n_unique()
        counts = {"plate": plates, "well": len(files.table), "feature": files.width}
        return ", ".join(count_of(count, noun) for noun, count in counts.items())


@dataclass(frozen=True)
class Profiles:
    """The profiles of all wells of a screen, in memory, in the order of the file names."""

    table: pl.DataFrame
    """One row per well, the columns of `records.WELL_COLUMNS`, then those of `Metadata_...`."""
    features: Float32[np.ndarray, "n d"]
    identity: str
    """Hash of the settings and sources that determine the wells."""
    names: Sequence[str] | None = None
    """Names of the features; None if they are only numbered."""

    @property
    def columns(self) -> list[str]:
        """Names of the features, or `feature_0000` ... if they are only numbered."""
        return list(self.names or feature_names(self.features.shape[1]))


@dataclass(frozen=True)
class PlateFiles:
    """The wells of a screen in the order of the file names; features are read plate by plate."""

    table: pl.DataFrame
    """One row per well, the columns of `records.WELL_COLUMNS`, then those of `Metadata_...`."""
    width: int
    """Number of features per well."""
    identity: str
    """Hash of the settings and sources that determine the wells."""
    files: dict[str, tuple[Path, ...]]
    """The files of each plate."""
    checksums: dict[Path, str]
    """SHA-256 of each file; empty for wells of versions that recorded none."""
    start: int = 0
    """First feature that is read; those before it are left out."""
    kept: Mapping[str, Bool[np.ndarray, " m"]] = field(default_factory=dict)
    """Which wells of a plate are read; all if there is no entry for the plate."""
    names: Sequence[str] | None = None
    """Names of the features; None if they are only numbered."""

    def read(self, plate: str) -> Float32[np.ndarray, "m d"]:
        """Return the features of a plate's wells, in the order of the table."""
        for path in self.files[plate]:
            if path in self.checksums:
                verify_file(path, self.checksums[path])
        # A file may hold several plates, and a plate may be in several files.
        parts = [read_features(path, plate, path in self._shared) for path in self.files[plate]]
        features = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if plate in self.kept:
            features = features[self.kept[plate]]
        return features[:, self.start : self.start + self.width]

    @cached_property
    def _shared(self) -> set[Path]:
        """The files that hold several plates."""
        counts = Counter(path for paths in self.files.values() for path in paths)
        return {path for path, count in counts.items() if count > 1}

    def only(self, start: int, stop: int) -> Self:
        """Return the same wells with the features from `start` to `stop` (excluded) only."""
        assert 0 <= start < stop <= self.width
        names = None if self.names is None else self.names[start:stop]
        return replace(self, width=stop - start, start=self.start + start, names=names)

    def relabel(self, table: pl.DataFrame, kept: Bool[np.ndarray, " n"]) -> Self:
        """Return the wells with the labels in `table`, and only those that are `kept`."""
        assert table["plate"].equals(self.table["plate"])
        masks = {
            plate: kept[(table["plate"] == plate).to_numpy()]
            for plate in table["plate"].unique(maintain_order=True)
        }
        return replace(self, table=table.filter(kept), kept=masks)


def write_wells(
    folder: PathLike,
    table: Any,
    features: Sequence[str],
    *,
    max_missing: float | None = MAX_MISSING,
    empty_words: str = EMPTY_WORDS,
    overwrite: bool = False,
) -> Wells:
    """Write profiles that were computed elsewhere as a wells folder, and return it.

    `table`, of polars or pandas, has one row per well and the columns `plate`, `well`, `control`,
    any others of `records.WELL_COLUMNS`, and any called `Metadata_...`, which are kept. (Tables in
    which plate and well are called so too are read by `import_profiles`.) Columns that are missing
    stay empty; `perturbation` is then the guide, or else the gene, or else the compound. `control`
    is true or false, or JUMP's `control_type` (negcon, `poscon_...`, trt or empty). `features`
    names the feature columns, in order; these names are kept. The words `empty_words`, separated by
    commas, are taken as empty cells in all columns of text but plate and well, which is printed; ""
    for none.

    Wells without any feature are left out. Then a feature that is missing (NaN, empty or infinite)
    in more than `max_missing` of the wells is left out, as by `drop_na_columns` of pycytominer, and
    then each well that lacks another one. All are printed, and recorded in
    `artefact.json`. With None nothing is left out, but most commands refuse such wells.

    Raises ValueError if a column is missing or has the wrong type, a well occurs twice, `control`
    has empty cells, no feature or well is left, or `folder` holds something else.
    """
    folder = Path(folder)
    share("max_missing", max_missing)
    if not isinstance(table, pl.DataFrame):
        table = _from_pandas(table)
    records = check_records(table, features, empty_words)
    vectors = cast_columns(table, dict.fromkeys(features, pl.Float32()), "the table of wells")
    # The identity is a hash of the content, because the origin of the profiles is unknown.
    content = pl.concat([records, vectors], how="horizontal").write_csv()
    settings: dict[str, Any] = {"features": list(features)}
    if max_missing is not None:
        records, vectors, left_out = leave_out_missing(records, vectors, max_missing)
        settings |= {"features": vectors.columns, **left_out}
    origin = Origin(KIND, settings, {"table": hash_json(content)})
    with artefact_folder(folder, origin, overwrite) as unfinished:
        if unfinished is None:
            return Wells(folder)
        for plate in records["plate"].unique().sort():
            rows = records["plate"] == plate
            write_plate(unfinished, records.filter(rows), vectors.filter(rows).to_numpy())
        if vectors.columns != feature_names(vectors.width):
            write_feature_names(unfinished, vectors.columns)
    return Wells(folder)


def _from_pandas(table: Any) -> pl.DataFrame:
    kind = type(table)
    if not kind.__module__.startswith("pandas."):
        raise ValueError(f"the table of wells must be of polars or pandas, not {kind.__name__}")
    return pl.from_pandas(table)


def require_finite(wells: Profiles, path: Path) -> None:
    """Raise ValueError, naming plates and wells, if a feature is NaN or infinite."""
    counts = count_non_finite(wells.features)
    if counts.any():
        bad = wells.table.filter(find_non_finite(wells.features))
        refuse_non_finite(bad, counts, path, wells.names)


def read_wells(folder: PathLike) -> Profiles:
    """Read a finished wells folder.

    Raises ValueError if it is no wells folder, a file is missing, changed or foreign, a file has
    other columns than a wells file, or a well occurs twice.
    """
    folder = Path(folder)
    signature = read_verified(folder, KIND)
    plates = {path: read_plate(path) for path in _list_files(folder, signature)}
    kinds = {path.name: list_columns(path, plate.schema) for path, plate in plates.items()}
    extra, width = _require_same_columns(kinds, folder)
    table = pl.concat(plates.values())
    _require_once(table, folder)
    # polars returns a column-major array, but most computations here are by row.
    features = np.ascontiguousarray(table.select(feature_names(width)).to_numpy())
    records = table.select(*WELL_COLUMNS, *extra)
    return Profiles(records, features, signature["identity"], read_feature_names(folder, width))


def open_wells(folder: Path) -> PlateFiles:
    """Read a finished wells folder without its features, which may not fit into memory.

    Raises ValueError as `read_wells` does, except that features that are not numbers are detected
    only when their plate is read.
    """
    signature = read_verified(folder, KIND)
    read = {path: read_records(path) for path in _list_files(folder, signature)}
    _, width = _require_same_columns(
        {path.name: kinds for path, (_, kinds) in read.items()}, folder
    )
    records = {path: table for path, (table, _) in read.items()}
    table = pl.concat(records.values())
    _require_once(table, folder)
    files: dict[str, tuple[Path, ...]] = {}
    for path, rows in records.items():
        for plate in rows["plate"].unique(maintain_order=True):
            files[plate] = (*files.get(plate, ()), path)
    checksums = {folder / name: checksum for name, checksum in (signature["files"] or {}).items()}
    names = read_feature_names(folder, width)
    return PlateFiles(table, width, signature["identity"], files, checksums, names=names)


def _list_files(folder: Path, signature: Mapping[str, Any]) -> list[Path]:
    listed = signature["files"]
    names = [path.name for path in folder.glob("*.parquet")] if listed is None else list(listed)
    if paths := [folder / name for name in sorted(names) if name.endswith(".parquet")]:
        return paths
    raise ValueError(f"{folder} holds no plate: expected one .parquet file per plate")


def _require_same_columns(
    kinds: Mapping[str, Mapping[str, pl.DataType]], folder: Path
) -> tuple[list[str], int]:
    """Return the columns `Metadata_...` and the number of features, the same in each file."""
    widths = {
        name: len(its) - len(WELL_COLUMNS) - len(extra_columns(its)) for name, its in kinds.items()
    }
    if len(set(widths.values())) > 1:
        raise ValueError(f"{folder} mixes plates with different numbers of features: {widths}")
    extras = {name: [(key, its[key]) for key in extra_columns(its)] for name, its in kinds.items()}
    first, extra = next(iter(extras.items()))
    if other := next((name for name, its in extras.items() if its != extra), None):
        raise ValueError(
            f"{folder} mixes plates with different {METADATA} columns: {first}, {other}"
        )
    return [name for name, _ in extra], widths[first]


def _require_once(table: pl.DataFrame, folder: Path) -> None:
    if (well := find_twice(table)) is not None:
        raise ValueError(
            f"{folder} has plate {well[0]!r}, well {well[1]!r} twice: expected one row per well; "
            "is a file a copy of another file?"
        )
