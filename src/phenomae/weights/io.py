"""Trained networks as files: `model.safetensors` and `config.json`, from which no code is ever run.

Files may be damaged or hostile: names, shapes and types of all tensors are checked against the
network that the config describes before memory for it is allocated.
"""

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
from phenomae.paths import PathLike
from phenomae.runs import KIND as RUN
from phenomae.runs import WEIGHTS
from phenomae.weights.public_names import OPTIONAL, POSITIONS, publish, rename, repeat_table
from phenomae.weights.public_sizes import BESIDE, is_published, look_up, read_published
from phenomae.weights.torch_archive import is_archive, read_archive

KIND = "weights"
"""Kind of the artefact: a folder of weights that was imported or exported, not trained here."""

TENSORS = "model.safetensors"
CONFIG = "config.json"

# Position tables are computed, not stored, so that the size of a file does not bound theirs.
_MAX_TABLE = 2**26


def save(folder: PathLike, model: Network, config: Mapping[str, Any]) -> None:
    """Write the weights of a model, and `config.json` with what is needed to use them.

    `config` may hold pixel size, intensity convention, provenance and the like; family, settings,
    channels and classes of the model are added. The same weights give the same bytes. A position
    table is written only if it differs, in its last bits, from the one that this version computes.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # The tensors are written last, so that a folder that has them is complete.
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
    """Return the position tables of a model that differ in any bit from computed ones."""
    tables = {name: table for name, table in model.named_buffers() if name in POSITIONS}
    grid = (model.settings.crop_size // model.settings.patch_size,) * 2 if tables else (0, 0)
    return {
        name: table
        for name, table in tables.items()
        if not torch.equal(table.cpu(), sincos_positions(grid, table.shape[1]))
    }


def identify(folder: PathLike) -> str:
    """Return the identity of the weights of a run or folder: 32 hexadecimal digits."""
    place = _weights_folder(Path(folder))
    config = read_config(place)
    own = None if is_published(config) else config.get("identity")
    return own or hash_json([config, hash_file(place / TENSORS)])


def load(folder: PathLike) -> Network:
    """Return the network of a run, or of a folder of weights, on the CPU and in eval mode.

    Folders in the layouts of the public checkpoint and of the golden cases load too. Raises
    ValueError if weights are missing, damaged, of an unknown family, or do not fit their config.
    """
    place = _weights_folder(Path(folder))
    config = read_config(place)
    path = place / TENSORS
    tensors = _read_tensors(path)
    if is_published(config):
        made_of, expected = _read_blueprint(place, config, tensors)
        _require_fit(tensors, expected, path, OPTIONAL)
        tensors = rename(tensors)
    else:
        made_of, sketch = _read_settings(place, config, tensors)
        tables = {name: table for name, table in sketch.named_buffers() if name in POSITIONS}
        _require_fit(tensors, {**tables, **sketch.state_dict()}, path, POSITIONS)
    model = build(*made_of)
    _fill(model, tensors, path)
    return model.eval()


def read_config(folder: PathLike) -> dict[str, Any]:
    """Return `config.json` of a run, or of a folder of weights, without reading the tensors.

    Raises ValueError if it is missing, damaged, or of a family that this version does not know.
    """
    path = _weights_folder(Path(folder)) / CONFIG
    try:
        config = json.loads(path.read_text())
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is damaged: it should be JSON") from None
    if not isinstance(config, dict):
        raise ValueError(f"{path} is damaged: it should be a JSON object")
    if is_published(config):
        return config
    family, identity = config.get("family"), config.get("identity")
    if not isinstance(family, str) or family not in FAMILIES:
        raise ValueError(
            f"{path} describes a model of family {family!r}: families are {', '.join(FAMILIES)}"
        )
    if not isinstance(identity, str | None):
        raise ValueError(f"{path} is damaged: identity must be text, not {identity!r}")
    return config


def _weights_folder(folder: Path) -> Path:
    """Return the folder that holds the weights: `folder` itself, or `weights` in it."""
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
    """Return the arguments of `build`, and the network they describe, without memory."""
    channels, table, classes = (config.get(key) for key in ("channels", "model", "classes"))
    if not isinstance(channels, list) or not isinstance(table, dict):
        raise ValueError(
            f"{folder / CONFIG} is damaged: it should have a table model and a list channels"
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
    """Return the arguments of `build`, and the shapes that they need in the public layout."""
    try:
        plan = read_published(config, tensors)
        if (channels := look_up(config, f"{BESIDE}.channels")) is not None:
            _require_names(f"{BESIDE}.channels", channels)
        made_of = plan.family, plan.settings, plan.channels
        return made_of, publish(_sketch(made_of, tensors), plan.max_channels)
    except ValueError as error:
        raise ValueError(
            f"{folder / CONFIG} and {TENSORS} do not describe a model: {error}"
        ) from None


def _read_tensors(path: Path) -> dict[str, Tensor]:
    if is_archive(path):
        return read_archive(path)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is cut short or is not a safetensors file: {error}") from None


def _require_names(key: str, names: Any) -> None:
    """Raise ValueError unless `names` is a list of one or more different strings."""
    texts = isinstance(names, list) and all(isinstance(name, str) and name for name in names)
    if not texts or len(set(names)) != len(names) or len(names) == 0:
        raise ValueError(f"{key} must be a list of different names, not {names!r}")


def _sketch(made_of: tuple[Any, ...], tensors: Mapping[str, Tensor]) -> Network:
    """Return the network that a config describes on the meta device: shapes without memory.

    Raises ValueError if the network cannot be that of these tensors.
    """
    settings = made_of[1]
    # Even shapes take time to build, so a damaged depth of 2^30 must be refused before.
    for name, value in asdict(settings).items():
        blocks = sum(value) if isinstance(value, tuple) else value
        if name.endswith(("depth", "depths")) and blocks > len(tensors):
            raise ValueError(f"{name} is {value}, but {TENSORS} has {len(tensors)} tensors in all")
    try:
        with torch.device("meta"):
            model = build(*made_of)
    except (RuntimeError, TypeError):  # shapes beyond torch's own limits
        raise ValueError("the network it describes is too large") from None
    room = max(_MAX_TABLE, sum(tensor.numel() for tensor in tensors.values()))
    if any(table.numel() > room for name, table in model.named_buffers() if name in POSITIONS):
        raise ValueError(f"crop_size is {settings.crop_size}, too large for {TENSORS}")
    return model


def _require_fit(
    found: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    path: Path,
    optional: Collection[str],
) -> None:
    """Raise ValueError unless tensors have the expected names, shapes and kinds of numbers."""
    odd = {name for name in found.keys() ^ expected.keys() if name in found or name not in optional}
    if odd:
        name = min(odd)
        state = "lacks" if name in expected else "has the unexpected tensor"
        raise ValueError(f"{path} {state} {name}: it belongs to another model")
    for name, tensor in found.items():
        if tensor.shape != expected[name].shape:
            raise ValueError(
                f"{path}: {name} has shape {tuple(tensor.shape)}, but {CONFIG} describes "
                f"{tuple(expected[name].shape)}"
            )
        if tensor.is_floating_point() != expected[name].is_floating_point() or tensor.is_complex():
            raise ValueError(f"{path}: {name} has numbers of type {tensor.dtype}")


def _fill(model: Network, tensors: dict[str, Tensor], path: Path) -> None:
    """Copy tensors into a model; raises ValueError unless position tables are sines and cosines."""
    for name in POSITIONS:
        if name not in tensors:
            continue
        found, ours = tensors.pop(name).float(), model.get_buffer(name)
        expected = repeat_table(ours, (len(found) - 1) // (len(ours) - 1))
        # Other programs round the sines differently; their tables are kept to the bit.
        if not torch.allclose(found, expected, atol=1e-5):
            raise ValueError(f"{path}: {name} is not the sine-cosine table")
        ours.copy_(found[: len(ours)])
    model.load_state_dict(tensors)
