"""Keeps a trained network as safetensors and `config.json`; nothing is ever unpickled."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from phenomae.artefacts import (
    SIGNATURE,
    hash_file,
    hash_json,
    read_signature,
    whole_file,
    write_json,
)
from phenomae.models.classifier import ClassifyingNetwork
from phenomae.models.families import FAMILIES, build, read_settings
from phenomae.models.network import Network
from phenomae.models.published import POSITIONS, read_golden_config, rename
from phenomae.runs import KIND, WEIGHTS

TENSORS = "model.safetensors"
CONFIG = "config.json"


def save(folder: Path, model: Network, config: dict[str, Any]) -> None:
    """Write a model's weights and, beside them, what has to be known to use them.

    `config` may hold pixel size, intensity convention, provenance and the like; the family, the
    model's settings and the names of its channels and classes are added. The tensors appear last,
    so that a folder that has them is whole; the same weights give the same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TENSORS).unlink(missing_ok=True)
    known = {
        "family": model.family,
        "model": asdict(model.settings),
        "channels": list(model.channels),
    }
    if isinstance(model, ClassifyingNetwork):
        known["classes"] = list(model.classes)
    write_json(folder / CONFIG, {**config, **known})
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()
    }
    with whole_file(folder / TENSORS) as partial:
        save_file(tensors, partial)


def identify(folder: Path) -> str:
    """Return 32 hexadecimal digits that stand for the weights of a run or of a folder."""
    place = _weights_folder(folder)
    config = read_config(place)
    return config.get("identity") or hash_json([config, hash_file(place / TENSORS)])


def load(folder: Path | str) -> Network:
    """Return the network of a run, or of a folder of weights, on the CPU and ready to embed.

    The golden cases' folders, whose weights have the public checkpoint's names, load too. Raises
    ValueError where weights are missing, damaged, of an unknown family, or do not fit their config.
    """
    folder = _weights_folder(Path(folder))
    config = read_config(folder)
    tensors = _read_tensors(folder / TENSORS)
    if "chans" in config:
        family, settings, channels = _read_golden_settings(folder, config)
        tensors = rename(tensors)
    else:
        family, settings, channels = _read_settings(folder, config)
    try:
        model = build(family, settings, channels, config.get("classes"))
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG} is damaged: {error}") from None
    _fill(model, tensors, folder)
    return model.eval()


def read_config(folder: Path | str) -> dict[str, Any]:
    """Return `config.json` of a run, or of a folder of weights, without reading the tensors.

    Raises ValueError where it is missing, damaged, or of a family that this version cannot build.
    """
    path = _weights_folder(Path(folder)) / CONFIG
    try:
        config = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise ValueError(f"{path} is damaged: it should be JSON") from None
    if not isinstance(config, dict):
        raise ValueError(f"{path} is damaged: it should hold a JSON object")
    if "chans" not in config and config.get("family") not in FAMILIES:
        raise ValueError(
            f"{path} describes a model of family {config.get('family')!r}: families are "
            f"{', '.join(FAMILIES)}"
        )
    return config


def _weights_folder(folder: Path) -> Path:
    """Find the folder that holds the weights: the one given, or `weights` in it."""
    if (folder / SIGNATURE).exists():
        read_signature(folder, KIND)  # a run, and of a format that this version reads
    place = folder / WEIGHTS if (folder / WEIGHTS).is_dir() else folder
    for name in (CONFIG, TENSORS):
        if not (place / name).is_file():
            raise ValueError(
                f"{folder} has no weights: {place / name} is missing; give a finished run or a "
                f"folder with {TENSORS} and {CONFIG}"
            )
    return place


def _read_settings(folder: Path, config: dict[str, Any]) -> tuple[str, Any, list[str]]:
    channels, table = config.get("channels"), config.get("model")
    if not isinstance(channels, list) or not isinstance(table, dict):
        raise ValueError(
            f"{folder / CONFIG} is damaged: it should hold the table model and the list channels"
        )
    try:
        return config["family"], read_settings(config["family"], table), channels
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG} is damaged: {error}") from None


def _read_golden_settings(folder: Path, config: dict[str, Any]) -> tuple[str, Any, tuple[str, ...]]:
    try:
        return read_golden_config(config)
    except KeyError as error:
        raise ValueError(f"{folder / CONFIG} is damaged: it lacks {error}") from None
    except TypeError as error:
        raise ValueError(f"{folder / CONFIG} is damaged: {error}") from None


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"{path} is cut short or no safetensors file, and nothing else is opened: {error}"
        ) from None


def _fill(model: Network, tensors: dict[str, Tensor], folder: Path) -> None:
    """Put tensors into a model; every name and shape must be the model's own."""
    wanted = model.state_dict()
    for name in POSITIONS:  # fixed and not saved; where a file has them they must be the same
        table = tensors.pop(name, None)
        if table is None:
            continue
        if not _is_table(table, model.get_buffer(name)):
            raise ValueError(f"{folder / TENSORS}: {name} is not the sine-cosine table")
    if odd := sorted(tensors.keys() ^ wanted.keys()):
        state = "lacks" if odd[0] in wanted else "has, beyond the model,"
        raise ValueError(f"{folder / TENSORS} {state} {odd[0]}: it is of another model")
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            raise ValueError(
                f"{folder / TENSORS}: {name} has shape {tuple(tensor.shape)}, but {CONFIG} "
                f"describes {tuple(wanted[name].shape)}"
            )
    model.load_state_dict(tensors)


def _is_table(found: Tensor, ours: Tensor) -> bool:
    """Say whether a table holds our positions, once or, for several channels, over and over."""
    times = (len(found) - 1) // (len(ours) - 1)
    wanted = torch.cat([ours[:1], ours[1:].repeat(times, 1)])
    return found.shape == wanted.shape and torch.allclose(found, wanted, atol=1e-5)
