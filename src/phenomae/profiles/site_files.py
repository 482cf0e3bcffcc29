"""Formats with one file per site: DeepProfiler's .npz files, and JUMP-Lite's long Parquet files.

Plate, well and site are in the path. All files of a well are read together, so that memory holds
one well.
"""

import re
import zlib
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import polars as pl
from jaxtyping import Float32, Int

from phenomae.profiles.reduce_rows import Reducer
from phenomae.profiles.source import Grouping, Source, allocate
from phenomae.profiles.wide_tables import readable
from phenomae.progress import tracked

_JUMP_COLUMNS = ("tile", "label", "branch", "metric", "value")
_SITE_NAME = re.compile(r"(?P<well>[A-Za-z]{1,2}[0-9]{1,2})[-_](?P<site>[0-9]+)")


class SiteFiles(Source):
    """Files with the cells, or the crops, of one site each."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        self.metadata = pl.DataFrame([self._read_path(path) for path in paths])
        self.names = self._list_names(paths[0])

    def origin(self, row: int) -> str:
        """Return the file."""
        return str(self.paths[row])

    def aggregate(
        self, rows: Grouping, folder: Path
    ) -> tuple[Float32[np.ndarray, "w d"], Int[np.ndarray, " w"] | None]:
        """Return the profile of each well, and its number of rows in all files."""
        profiles = allocate(rows.count, len(self.names), folder)
        sizes = np.zeros(rows.count, dtype=np.int64)
        order = np.argsort(rows.well, kind="stable")
        wells, starts = np.unique(rows.well[order], return_index=True)
        files = np.split(order, starts[1:])
        pairs = [pair for pair in zip(wells.tolist(), files, strict=True) if pair[0] >= 0]
        for well, its in tracked(pairs, "import", len(pairs), "wells"):
            values = np.concatenate([self._read_checked(self.paths[index]) for index in its])
            sizes[well] = len(values)
            of_one = Grouping(np.zeros(len(values), np.int64), 1, [""], "cells", rows.statistic)
            profiles[well] = Reducer(of_one).reduce(values)[0] if len(values) else np.nan
        return profiles, sizes if self.unit == "cells" else None

    @abstractmethod
    def _read_path(self, path: Path) -> dict[str, str | int]:
        """Return the metadata of a site; raises ValueError if the path does not have it."""

    @abstractmethod
    def _list_names(self, path: Path) -> list[str]:
        """Return the names of the features of a file."""

    @abstractmethod
    def _read(self, path: Path) -> Float32[np.ndarray, "m d"]:
        """Return the features of a file, one row per cell or crop."""

    def _read_checked(self, path: Path) -> Float32[np.ndarray, "m d"]:
        with readable(path):
            values = self._read(path)
        if values.shape[1] != len(self.names):
            raise ValueError(
                f"{path} has {values.shape[1]} features and {self.paths[0]} has {len(self.names)}: "
                "tables that are imported together have the same features"
            )
        return values


class DeepProfiler(SiteFiles):
    """DeepProfiler's output: `PLATE/WELL_SITE.npz` or `PLATE/WELL/SITE.npz`, a row per cell.

    The array `metadata` is a pickle, which could run code, and is not read.
    """

    kind = "DeepProfiler's .npz files"
    unit = "cells"

    def _read_path(self, path: Path) -> dict[str, str | int]:
        if found := _SITE_NAME.fullmatch(path.stem):
            plate, well, site = path.parent.name, found["well"], found["site"]
        else:
            plate, well, site = path.parent.parent.name, path.parent.name, path.stem
            if re.fullmatch(r"[A-Za-z]{1,2}[0-9]{1,2}", well) is None or not site.isdigit():
                raise ValueError(
                    f"{path} does not name plate, well and site: expected PLATE/WELL_SITE.npz or "
                    "PLATE/WELL/SITE.npz, as DeepProfiler writes them"
                )
        return {"Metadata_Plate": plate, "Metadata_Well": well, "Metadata_Site": site}

    def _list_names(self, path: Path) -> list[str]:
        # The prefix that pycytominer and CytoTable use.
        with readable(path):
            return [f"DP_{index}" for index in range(self._read(path).shape[1])]

    def _read(self, path: Path) -> Float32[np.ndarray, "m d"]:
        try:
            with np.load(path, allow_pickle=False) as file:
                features = file["features"]
        except (ValueError, KeyError, OSError, EOFError, BadZipFile, zlib.error) as error:
            raise ValueError(
                f"{path} is not a file of DeepProfiler: expected an array features of cells x "
                f"features ({type(error).__name__})"
            ) from None
        if features.ndim != 2 or features.dtype.kind not in "fiu":
            raise ValueError(f"{path}: features has shape {features.shape}, not cells x features")
        return features.astype(np.float32)


class JumpLite(SiteFiles):
    """JUMP-Lite's embeddings: a long Parquet file per site, with one row per crop and feature."""

    kind = "JUMP-Lite's long tables"
    unit = "sites"

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__(paths)
        column = "Metadata_Model"
        models = self.metadata[column].unique() if column in self.metadata.columns else []
        if len(models) > 1:
            raise ValueError(
                f"the tables are of {len(models)} models, {', '.join(sorted(map(str, models)))}: "
                "import one at a time"
            )

    def _read_path(self, path: Path) -> dict[str, str | int]:
        """Return source, batch, plate, well and site, and the model.

        .../MODEL-CODEC/RELEASE/SOURCE/BATCH/PLATE/WELL-SITE/embedding.parquet, or, in one folder,
        SOURCE__BATCH__PLATE__WELL__SITE.parquet. The column `object` is not the model: it is what
        follows the last underscore of it.
        """
        parts = path.stem.split("__")
        model = None
        if len(parts) == 5:
            source, batch, plate, well, site = parts
        elif len(path.parts) > 4 and (found := _SITE_NAME.fullmatch(path.parent.name)):
            source, batch, plate = path.parts[-5:-2]
            well, site = found["well"], found["site"]
            model = path.parts[-7] if len(path.parts) > 6 else None
        else:
            raise ValueError(
                f"{path} does not name plate, well and site: expected "
                "SOURCE/BATCH/PLATE/WELL-SITE/embedding.parquet, as JUMP-Lite has them"
            )
        names = {"Source": source, "Batch": batch, "Plate": plate, "Well": well, "Site": site}
        named = names if model is None else {**names, "Model": model}
        return {f"Metadata_{name}": value for name, value in named.items()}

    def _list_names(self, path: Path) -> list[str]:
        with readable(path):
            return [f"X_{index}" for index in range(self._read(path).shape[1])]

    def _read(self, path: Path) -> Float32[np.ndarray, "m d"]:
        table = pl.read_parquet(path, columns=["tile", "label", "metric", "value"], glob=False)
        # As text X_10 sorts before X_2.
        index = table["metric"].str.slice(2).cast(pl.Int64, strict=False)
        table = table.with_columns(index=index, value=pl.col("value").cast(pl.Float32))
        table = table.sort("tile", "label", "index")
        width = table["index"].n_unique()
        crops = len(table) // width if width else 0
        expected = np.tile(np.arange(width), crops)
        if table["index"].has_nulls() or not np.array_equal(table["index"].to_numpy(), expected):
            raise ValueError(
                f"{path}: its metrics are not X_0, X_1, ... once per tile, as in JUMP-Lite's tables"
            )
        return table["value"].to_numpy().reshape(crops, width)


def is_jump_lite(schema: dict[str, pl.DataType]) -> bool:
    """Return whether a Parquet file with these columns is a long table of JUMP-Lite."""
    return all(name in schema for name in _JUMP_COLUMNS)
