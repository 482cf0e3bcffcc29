"""Keeps a trained network as safetensors and `config.json`; nothing is ever unpickled."""

import json
from dataclasses import asdict, fields
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
from phenomae.models.published import POSITIONS, read_golden_config, rename
from phenomae.models.settings import VitMaeModel
from phenomae.models.vit_mae import FAMILY, VitMae
from phenomae.runs import KIND, WEIGHTS

TENSORS = "model.safetensors"
CONFIG = "config.json"


def save(folder: Path, model: VitMae, config: dict[str, Any]) -> None:
    """Write a model's weights and, beside them, what has to be known to use them.

    `config` must hold `channels`, the names of the model's channels in order, and may hold more
    (pixel size, intensity convention, provenance); the family and the model's settings are added.
    The tensors appear last, so that a folder that has them is whole; the same weights give the
    same bytes.
    """
    if len(config["channels"]) != model.channels:
        raise ValueError(
            f"{len(config['channels'])} channels are named for a model of {model.channels}: "
            "every channel needs its name"
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TENSORS).unlink(missing_ok=True)
    write_json(folder / CONFIG, {**config, "family": FAMILY, "model": asdict(model.settings)})
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


def load(folder: Path | str) -> VitMae:
    """Return the model of a run, or of a folder of weights, on the CPU and ready to embed.

    The golden cases' folders, whose weights have the public checkpoint's names, load too. Raises
    ValueError where weights are missing, damaged, of another family, or do not fit their config.
    """
    folder = _weights_folder(Path(folder))
    config = read_config(folder)
    tensors = _read_tensors(folder / TENSORS)
    if "chans" in config:
        settings, channels = _read_golden_settings(folder, config)
        tensors = rename(tensors)
    else:
        settings, channels = _read_settings(folder, config), len(config["channels"])
    model = VitMae(settings, channels)
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
    family = _family(config)
    if family != FAMILY:
        raise ValueError(f"{path} describes a model of family {family!r}: needed is {FAMILY!r}")
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


def _family(config: dict[str, Any]) -> str | None:
    if "chans" in config:
        return "channel-mae" if config.get("ca") else FAMILY
    return config.get("family")


def _read_settings(folder: Path, config: dict[str, Any]) -> VitMaeModel:
    known = {field.name for field in fields(VitMaeModel)}
    try:
        settings = dict(config["model"])
        channels = list(config["channels"])
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            f"{folder / CONFIG} is damaged: it should hold the tables model and channels"
        ) from None
    if not channels or settings.keys() != known:
        odd = sorted(settings.keys() ^ known) or ["channels"]
        raise ValueError(f"{folder / CONFIG} does not fit a {FAMILY} model: look at {odd[0]!r}")
    try:
        return VitMaeModel(**settings)
    except TypeError as error:
        raise ValueError(f"{folder / CONFIG} is damaged: {error}") from None


def _read_golden_settings(folder: Path, config: dict[str, Any]) -> tuple[VitMaeModel, int]:
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


def _fill(model: VitMae, tensors: dict[str, Tensor], folder: Path) -> None:
    """Put tensors into a model; every name and shape must be the model's own."""
    wanted = model.state_dict()
    for name in POSITIONS:  # fixed and not saved; where a file has them they must be the same
        table = tensors.pop(name, None)
        ours = model.get_buffer(name)
        if table is not None and not (
            table.shape == ours.shape and torch.allclose(table, ours, atol=1e-5)
        ):
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
