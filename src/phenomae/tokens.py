"""The tokens artefact: the vector of every crop of a screen, a table and an array for each plate.

`PLATE.parquet` says where each crop is, and `PLATE.npy` has its vector, the pooled tokens of a
network, in the same row. An array of float16 in a file of its own is read a block at a time without
decoding, so a search over millions of crops needs little memory and no torch.
"""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl
from jaxtyping import Float16, Float32

from phenomae.outputs import TableOutput
from phenomae.paths import PathLike
from phenomae.progress import count_of
from phenomae.records import cast_columns
from phenomae.signatures import read_verified
from phenomae.well_files import plate_path
from phenomae.whole_files import whole_file, write_bytes

KIND = "tokens"
CROP_COLUMNS: dict[str, pl.DataType] = {
    "plate": pl.String(),
    "well": pl.String(),
    "site": pl.Int32(),
    "field": pl.Int32(),
    "top": pl.Int32(),
    "left": pl.Int32(),
    "size": pl.Int32(),
}
"""Columns of the table of crops. `field` is a row of the store's table of fields, and `top`, `left`
and `size` (side) are in pixels of the store."""
_ROWS = 4096  # vectors that are rounded at a time


class Tokens(TableOutput):
    """A folder with one vector per crop, as `embed` writes it with `tokens`."""

    def to_polars(self) -> pl.DataFrame:
        """Return one row per crop, the columns of `CROP_COLUMNS`, without the vectors."""
        files = open_tokens(self.path)
        return pl.concat([files.crops(plate) for plate in files.plates])

    def vectors(self, plate: str) -> Float16[np.ndarray, "m d"]:
        """Return the vectors of a plate's crops, in the order of the table.

        Verifies the files of all plates, as every call does: for several plates see `open_tokens`.
        Raises ValueError if there is no such plate.
        """
        return open_tokens(self.path).vectors(plate)

    def counts(self) -> str:
        """Return the numbers of plates, crops and features."""
        files = open_tokens(self.path)
        crops = sum(files.count(plate) for plate in files.plates)
        counts = {"plate": len(files.plates), "crop": crops, "feature": files.width}
        return ", ".join(count_of(count, noun) for noun, count in counts.items())


@dataclass(frozen=True)
class TokenFiles:
    """The crops and vectors of a finished tokens folder, which are read plate by plate."""

    folder: Path
    plates: tuple[str, ...]
    """Names of the plates, in the order of their files."""
    identity: str
    """Hash of the settings and sources that determine the vectors."""
    sources: Mapping[str, str]
    """Identities of what the vectors were computed from: `store`, `run` (the network) and, where
    they replace those of the store, `labels`."""

    @cached_property
    def width(self) -> int:
        """Number of features of a vector."""
        return self._map(self.plates[0]).shape[1]

    def count(self, plate: str) -> int:
        """Return the number of crops of a plate."""
        return len(self._map(plate))

    def crops(self, plate: str) -> pl.DataFrame:
        """Return the crops of a plate, the columns of `CROP_COLUMNS`."""
        self._require(plate)
        path = plate_path(self.folder, plate)
        return cast_columns(pl.read_parquet(path, glob=False), CROP_COLUMNS, str(path))

    def vectors(
        self, plate: str, start: int = 0, stop: int | None = None
    ) -> Float16[np.ndarray, "m d"]:
        """Return the vectors of a plate's crops from `start` to `stop` (excluded)."""
        # Copied, so that the file is mapped no longer than this call.
        return np.array(self._map(plate)[start:stop])

    def blocks(self, plate: str, rows: int) -> Iterator[tuple[int, Float16[np.ndarray, "m d"]]]:
        """Yield the vectors of a plate in blocks of `rows` crops, each with its first row."""
        for start in range(0, self.count(plate), rows):
            yield start, self.vectors(plate, start, start + rows)

    def _map(self, plate: str) -> np.ndarray:
        self._require(plate)
        return np.load(array_path(self.folder, plate), mmap_mode="r", allow_pickle=False)

    def _require(self, plate: str) -> None:
        if plate not in self.plates:
            raise ValueError(
                f"{self.folder} has no plate {plate!r}: it has {', '.join(self.plates)}"
            )


def open_tokens(folder: PathLike) -> TokenFiles:
    """Open a finished tokens folder; its vectors, which may not fit into memory, are not kept.

    Every file is read once, in parallel, to compare its SHA-256 with that of the signature: 1.4 GB
    of vectors per second and core, where the disk is as fast. What the returned object reads later
    is not verified again.

    Raises ValueError if it is no tokens folder, or a file is missing, changed or foreign.
    """
    folder = Path(folder)
    signature = read_verified(folder, KIND)
    tables = sorted(name for name in signature["files"] or () if name.endswith(".parquet"))
    if not tables:
        raise ValueError(f"{folder} holds no plate: expected one .parquet file per plate")
    plates = tuple(name.removesuffix(".parquet") for name in tables)
    return TokenFiles(folder, plates, signature["identity"], signature["sources"])


def array_path(folder: Path, plate: str) -> Path:
    """Return the file with the vectors of a plate: `FOLDER/PLATE.npy`."""
    return plate_path(folder, plate).with_name(f"{plate}.npy")


def write_tokens(folder: Path, crops: pl.DataFrame, vectors: Float32[np.ndarray, "m d"]) -> None:
    """Write the crops of one plate, and their vectors rounded to float16.

    `crops` has the columns of `CROP_COLUMNS`. A number from 6.1e-5 to 65504 changes by at most one
    part in 2048, a smaller one by at most 3e-8. Raises ValueError if a number is NaN or rounds to
    infinity.
    """
    assert len(crops) == len(vectors) > 0
    plate = crops["plate"][0]
    # The table comes last: a plate is done when it is there.
    with whole_file(array_path(folder, plate)) as partial, open(partial, "wb") as file:
        _write_array(file, vectors, plate)
    table = crops.select(pl.col(name).cast(kind) for name, kind in CROP_COLUMNS.items())
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    write_bytes(plate_path(folder, plate), buffer.getvalue())


def _write_array(file: BinaryIO, vectors: Float32[np.ndarray, "m d"], plate: str) -> None:
    # Not np.save, which says nothing of a full disk but how many numbers were written.
    header = {"descr": "<f2", "fortran_order": False, "shape": vectors.shape}
    np.lib.format.write_array_header_1_0(file, header)
    for start in range(0, len(vectors), _ROWS):
        with np.errstate(over="ignore"):
            rounded = np.ascontiguousarray(vectors[start : start + _ROWS], dtype="<f2")
        if not np.isfinite(rounded).all():
            raise ValueError(
                f"the network gives crops of plate {plate} numbers that are NaN or above 65504, "
                "and tokens are written as float16: leave tokens out, or choose another block or "
                "pool"
            )
        file.write(rounded.data)
