"""Reads the tensors of a `torch.save` archive, and refuses archives that hold anything else.

Such an archive is a pickle in a zip file: it could run code, unpack to more than memory holds, or
claim tensors that it does not contain. Each of these is refused before torch sees it or by torch.
"""

import warnings
import zipfile
from errno import EINVAL
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

_MAGIC = b"PK"
_LEVEL = "state_dict"
_FOLDER = 0x10  # attribute bit of a zip entry
_DAMAGE = (zipfile.BadZipFile, RuntimeError, ValueError, EOFError, OSError)
"""What `zipfile` raises for damaged archives: OSError with EINVAL for an impossible offset."""


def is_archive(path: Path) -> bool:
    """Return whether a file is a zip archive, from its first bytes."""
    with open(path, "rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def read_archive(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a `torch.save` archive by name, on the CPU.

    It must hold a dictionary of tensors, or one under the key `state_dict`, next to which training
    programs keep their own values. No code is run. Raises ValueError if it holds anything else or
    is damaged.
    """
    content = _unpack(path)
    if isinstance(content, dict) and isinstance(content.get(_LEVEL), dict):
        content = content[_LEVEL]
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} is an archive of a {type(content).__name__}, not of tensors by name"
        )
    for name, value in content.items():
        if not isinstance(name, str) or not _is_plain(value):
            raise ValueError(f"{path} holds {name!r}, which is not a tensor: only tensors are read")
    return {name: value.detach().contiguous() for name, value in content.items()}


def _unpack(path: Path) -> Any:
    _require_whole(path)
    try:
        # Opened here, because torch reads a path that ends in .safetensors as safetensors.
        with open(path, "rb") as file, warnings.catch_warnings(action="ignore"):
            return torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a hostile pickle may raise any exception
        raise ValueError(
            f"{path} is damaged or holds more than tensors: only tensors are read "
            f"({type(error).__name__})"
        ) from None


def _require_whole(path: Path) -> None:
    """Raise ValueError if a zip archive is damaged or compressed; torch's are not compressed."""
    try:
        fault = _find_fault(path)
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno != EINVAL:
            raise
        reason = str(error) or "an entry ends too soon"
        raise ValueError(f"{path} is cut short or damaged: {reason}") from None
    if fault is not None:
        raise ValueError(f"{path} is {fault}")


def _find_fault(path: Path) -> str | None:
    """Return what is wrong with a readable zip archive; None if nothing is."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        # A compressed archive of some kilobytes could expand until it fills the memory.
        compressed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        if compressed or sum(entry.file_size for entry in entries) > path.stat().st_size:
            return "a compressed zip archive, which torch.save does not write"
        # torch leaves a tensor uninitialised if its entry is marked as a folder.
        if any(entry.external_attr & _FOLDER for entry in entries):
            return "damaged: it has folders"
        # torch does not verify checksums when it reads, and has an option not to write them.
        if not any(entry.CRC for entry in entries):
            return None
        changed = archive.testzip()
    return None if changed is None else f"damaged: {changed} does not match its checksum"


def _is_plain(value: Any) -> bool:
    """Return whether a value is a dense tensor whose numbers are all in the file."""
    return (
        type(value) in (Tensor, nn.Parameter)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
        and value.untyped_storage().nbytes() >= value.nbytes
    )
