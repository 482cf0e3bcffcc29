"""Keeps a trained network as safetensors and `config.json`; no code in a file is ever run."""

import json
from collections.abc import Collection, Mapping
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
from phenomae.models.build import build, read_settings
from phenomae.models.classifier import ClassifyingNetwork
from phenomae.models.families import FAMILIES
from phenomae.models.network import Network
from phenomae.models.vit.patches import sincos_positions
from phenomae.runs import KIND as RUN
from phenomae.runs import WEIGHTS
from phenomae.weights.public_names import OPTIONAL, POSITIONS, publish, rename, repeat_table
from phenomae.weights.public_sizes import BESIDE, is_published, look_up, read_published
from phenomae.weights.torch_archive import is_archive, read_archive

KIND = "weights"
"""The kind of a folder of weights that no run of ours made."""

TENSORS = "model.safetensors"
CONFIG = "config.json"

_LARGEST_TABLE = 2**26
"""How many numbers a table of positions, which no file need hold, may have in any case."""


def save(folder: Path, model: Network, config: Mapping[str, Any]) -> None:
    """Write a model's weights and, beside them, what has to be known to use them.

    `config` may hold pixel size, intensity convention, provenance and the like; the family, the
    model's settings and the names of its channels and classes are added. The tensors appear last,
    so that a folder that has them is whole; the same weights give the same bytes. Position tables
    are written where they are others, in their last bits, than this version's.
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
        name: value.detach().cpu().contiguous()
        for name, value in {**model.state_dict(), **_foreign_tables(model)}.items()
    }
    with whole_file(folder / TENSORS) as partial:
        save_file(tensors, partial)


def _foreign_tables(model: Network) -> dict[str, Tensor]:
    """Return the position tables that came with a model and are not, bit by bit, our own."""
    tables = {name: table for name, table in model.named_buffers() if name in POSITIONS}
    grid = (model.settings.crop_size // model.settings.patch_size,) * 2 if tables else (0, 0)
    return {
        name: table
        for name, table in tables.items()
        if not torch.equal(table.cpu(), sincos_positions(grid, table.shape[1]))
    }


def identify(folder: Path) -> str:
    """Return 32 hexadecimal digits that stand for the weights of a run or of a folder."""
    place = _weights_folder(folder)
    config = read_config(place)
    own = None if is_published(config) else config.get("identity")
    return own or hash_json([config, hash_file(place / TENSORS)])


def load(folder: Path | str) -> Network:
    """Return the network of a run, or of a folder of weights, on the CPU and ready to embed.

    Folders as the public checkpoint lies in, and those of the golden cases, load too. Raises
    ValueError where weights are missing, damaged, of an unknown family, or do not fit their config.
    """
    place = _weights_folder(Path(folder))
    config = read_config(place)
    path = place / TENSORS
    tensors = _read_tensors(path)
    if is_published(config):
        made_of, wanted = _read_blueprint(place, config, tensors)
        _require_fit(tensors, wanted, path, OPTIONAL)
        tensors = rename(tensors)
    else:
        made_of, sketch = _read_settings(place, config, tensors)
        tables = {name: table for name, table in sketch.named_buffers() if name in POSITIONS}
        _require_fit(tensors, {**tables, **sketch.state_dict()}, path, POSITIONS)
    model = build(*made_of)
    _fill(model, tensors, path)
    return model.eval()


def read_config(folder: Path | str) -> dict[str, Any]:
    """Return `config.json` of a run, or of a folder of weights, without reading the tensors.

    Raises ValueError where it is missing, damaged, or of a family that this version cannot build.
    """
    path = _weights_folder(Path(folder)) / CONFIG
    try:
        config = json.loads(path.read_text())
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is damaged: it should be JSON") from None
    if not isinstance(config, dict):
        raise ValueError(f"{path} is damaged: it should hold a JSON object")
    if is_published(config):
        return config
    family, identity = config.get("family"), config.get("identity")
    if not isinstance(family, str) or family not in FAMILIES:
        raise ValueError(
            f"{path} describes a model of family {family!r}: families are {', '.join(FAMILIES)}"
        )
    if not isinstance(identity, str | None):
        raise ValueError(f"{path} is damaged: identity must be a text, not {identity!r}")
    return config


def _weights_folder(folder: Path) -> Path:
    """Find the folder that holds the weights: the one given, or `weights` in it."""
    if (folder / SIGNATURE).exists():
        kind = read_signature(folder)["kind"]
        if kind not in (RUN, KIND):
            raise ValueError(f"{folder} holds {kind}, not run or weights")
    place = folder / WEIGHTS if (folder / WEIGHTS).is_dir() else folder
    for name in (CONFIG, TENSORS):
        if not (place / name).is_file():
            raise ValueError(
                f"{folder} has no weights: {place / name} is missing; give a finished run or a "
                f"folder with {TENSORS} and {CONFIG}"
            )
    return place


def _read_settings(
    folder: Path, config: dict[str, Any], tensors: Mapping[str, Tensor]
) -> tuple[tuple[Any, ...], Network]:
    """Return what `build` takes, and a sketch of what it gives."""
    channels, table, classes = (config.get(key) for key in ("channels", "model", "classes"))
    if not isinstance(channels, list) or not isinstance(table, dict):
        raise ValueError(
            f"{folder / CONFIG} is damaged: it should hold the table model and the list channels"
        )
    family = config["family"]
    try:
        _require_names("channels", channels)
        if classes is not None:
            _require_names("classes", classes)
        made_of = family, read_settings(family, table), channels, classes
        return made_of, _sketch(made_of, tensors)
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG} is damaged: {error}") from None


def _read_blueprint(
    folder: Path, config: dict[str, Any], tensors: Mapping[str, Tensor]
) -> tuple[tuple[Any, ...], Mapping[str, Tensor]]:
    """Return what `build` takes, and sketches of the tensors that published weights must be."""
    try:
        plan = read_published(config, tensors)
        if (channels := look_up(config, f"{BESIDE}.channels")) is not None:
            _require_names(f"{BESIDE}.channels", channels)
        made_of = plan.family, plan.settings, plan.channels
        return made_of, publish(_sketch(made_of, tensors), plan.max_channels)
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG} and {TENSORS} are no whole model: {error}") from None


def _read_tensors(path: Path) -> dict[str, Tensor]:
    if is_archive(path):
        return read_archive(path)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"{path} is cut short or no safetensors file, and nothing else is opened: {error}"
        ) from None


def _require_names(key: str, names: Any) -> None:
    """Raise ValueError unless `names` are a list of different texts, one or more."""
    texts = isinstance(names, list) and all(isinstance(name, str) and name for name in names)
    if not texts or len(set(names)) != len(names) or len(names) == 0:
        raise ValueError(f"{key} must be a list of different names, not {names!r}")


def _sketch(made_of: tuple[Any, ...], tensors: Mapping[str, Tensor]) -> Network:
    """Return a network of shapes alone: a config may ask for more than there is memory or time.

    Raises ValueError where it asks for more than can be in a file of these tensors.
    """
    settings = made_of[1]
    for name, value in asdict(settings).items():
        blocks = sum(value) if isinstance(value, tuple) else value
        if name.endswith(("depth", "depths")) and blocks > len(tensors):
            raise ValueError(f"{name} is {value}, but {TENSORS} has {len(tensors)} tensors in all")
    try:
        with torch.device("meta"):
            model = build(*made_of)
    except (RuntimeError, TypeError):  # shapes can be too large even to be written down
        raise ValueError("it describes a network larger than any") from None
    room = max(_LARGEST_TABLE, sum(tensor.numel() for tensor in tensors.values()))
    if any(table.numel() > room for name, table in model.named_buffers() if name in POSITIONS):
        raise ValueError(f"crop_size is {settings.crop_size}, far too large for {TENSORS}")
    return model


def _require_fit(
    found: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    path: Path,
    optional: Collection[str],
) -> None:
    """Raise ValueError unless tensors are those wanted, by name, shape and kind of number."""
    odd = {name for name in found.keys() ^ wanted.keys() if name in found or name not in optional}
    if odd:
        name = min(odd)
        state = "lacks" if name in wanted else "has, beyond the model,"
        raise ValueError(f"{path} {state} {name}: it is of another model")
    for name, tensor in found.items():
        if tensor.shape != wanted[name].shape:
            raise ValueError(
                f"{path}: {name} has shape {tuple(tensor.shape)}, but {CONFIG} describes "
                f"{tuple(wanted[name].shape)}"
            )
        if tensor.is_floating_point() != wanted[name].is_floating_point() or tensor.is_complex():
            raise ValueError(f"{path}: {name} has numbers of type {tensor.dtype}")


def _fill(model: Network, tensors: dict[str, Tensor], path: Path) -> None:
    """Put tensors that fit into a model; position tables must be the model's own, near enough."""
    for name in POSITIONS:
        if name not in tensors:
            continue
        found, ours = tensors.pop(name).float(), model.get_buffer(name)
        wanted = repeat_table(ours, (len(found) - 1) // (len(ours) - 1))
        if not torch.allclose(found, wanted, atol=1e-5):
            raise ValueError(f"{path}: {name} is not the sine-cosine table")
        ours.copy_(found[: len(ours)])
    model.load_state_dict(tensors)
