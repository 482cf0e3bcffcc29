"""Reads the tensors of a `torch.save` archive, and rejects archives with any other objects.

A `torch.save` archive is a pickle in a zip file: it could run code, expand to more than the memory,
or declare tensors that it does not contain. Such archives are rejected, in part before torch opens
them and in part by `torch.load(weights_only=True)`.
"""

import warnings
import zipfile
from errno import EINVAL
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

_MAGIC = b"PK"  # the first bytes of every zip file
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

    The archive must hold a dictionary of tensors, or a dictionary with such a dictionary under the
    key `state_dict`. No code is run. Raises ValueError if the archive holds other objects or is
    damaged.
    """
    content = _unpack(path)
    # Training programs save other values next to `state_dict`, which are ignored.
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
        # Opened here, because torch.load reads a path that ends in .safetensors as safetensors.
        with open(path, "rb") as file, warnings.catch_warnings(action="ignore"):
            return torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a malicious pickle may raise any exception
        raise ValueError(
            f"{path} is damaged or holds more than tensors: only tensors are read "
            f"({type(error).__name__})"
        ) from None


def _require_whole(path: Path) -> None:
    """Raise ValueError if a zip archive is damaged, or compressed, as torch never writes it."""
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
    """Return a description of what is wrong with a readable zip archive; None if nothing is."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        # A compressed archive of a few kilobytes could expand until it fills the memory.
        compressed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        if compressed or sum(entry.file_size for entry in entries) > path.stat().st_size:
            return "a compressed zip archive, which torch.save does not write"
        # torch leaves a tensor uninitialised if its entry is marked as a folder.
        if any(entry.external_attr & _FOLDER for entry in entries):
            return "damaged: it has folders"
        # torch does not verify checksums, so they are verified here; an option of torch.save leaves
        # them out, and then all are 0.
        if not any(entry.CRC for entry in entries):
            return None
        changed = archive.testzip()
    return None if changed is None else f"damaged: {changed} does not match its checksum"


def _is_plain(value: Any) -> bool:
    """Return whether a value is a dense tensor whose numbers are all in the file."""
    # `type`, not isinstance, because a subclass could override methods. The storage is compared,
    # because a tensor with strides of 0 has more numbers than its storage.
    return (
        type(value) in (Tensor, nn.Parameter)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
        and value.untyped_storage().nbytes() >= value.nbytes
    )
