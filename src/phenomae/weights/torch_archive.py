"""Reads the tensors of a `torch.save` archive, and nothing else that one may hold."""

import warnings
import zipfile
from errno import EINVAL
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

_MAGIC = b"PK"
_LEVEL = "state_dict"
_FOLDER = 0x10  # among an entry's attributes
_DAMAGE = (zipfile.BadZipFile, RuntimeError, ValueError, EOFError, OSError)
"""What reading a damaged zip archive may raise: OSError with EINVAL for a place that is none."""


def is_archive(path: Path) -> bool:
    """Say whether a file is a zip archive, whatever its name."""
    with open(path, "rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def read_archive(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a `torch.save` archive by name, on the CPU.

    It must hold a dictionary of tensors, by itself or under the key `state_dict`, beside which
    training programs leave numbers of their own. No code that an archive names is run. Raises
    ValueError where it holds anything else or is damaged.
    """
    content = _unpack(path)
    if isinstance(content, dict) and isinstance(content.get(_LEVEL), dict):
        content = content[_LEVEL]
    if not isinstance(content, dict):
        raise ValueError(f"{path} is an archive of a {type(content).__name__}, not of tensors")
    for name, value in content.items():
        if not isinstance(name, str) or not _is_plain(value):
            raise ValueError(f"{path} holds {name!r}, which is no tensor, and only those are read")
    return {name: value.detach().contiguous() for name, value in content.items()}


def _unpack(path: Path) -> Any:
    _require_whole(path)
    try:
        # opened here, as torch takes any path that ends in .safetensors for what it says
        with open(path, "rb") as file, warnings.catch_warnings(action="ignore"):
            return torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a hostile pickle may raise whatever it likes
        raise ValueError(
            f"{path} is damaged or holds more than tensors, and nothing else is opened "
            f"({type(error).__name__})"
        ) from None


def _require_whole(path: Path) -> None:
    """Raise ValueError for a zip archive that is damaged, or packed, which torch's are not."""
    try:
        fault = _find_fault(path)
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno != EINVAL:
            raise
        told = str(error) or "an entry ends too soon"
        raise ValueError(f"{path} is cut short or damaged: {told}") from None
    if fault is not None:
        raise ValueError(f"{path} is {fault}")


def _find_fault(path: Path) -> str | None:
    """Return what is wrong with a zip archive that can be read.

    A packed one of some kilobytes may fill the memory; torch compares no checksums, and leaves a
    tensor as the memory was where its entry is called a folder.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        if packed or sum(entry.file_size for entry in entries) > path.stat().st_size:
            return "a packed zip archive, which torch.save does not write"
        if any(entry.external_attr & _FOLDER for entry in entries):
            return "damaged: it has folders"
        if not any(entry.CRC for entry in entries):  # torch can be told to write none
            return None
        changed = archive.testzip()
    return None if changed is None else f"damaged: {changed} is not what its checksum says"


def _is_plain(value: Any) -> bool:
    """Say whether a value is a tensor whose numbers are all in the file."""
    return (
        type(value) in (Tensor, nn.Parameter)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
        and value.untyped_storage().nbytes() >= value.nbytes
    )
