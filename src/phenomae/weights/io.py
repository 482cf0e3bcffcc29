"""Writes and reads trained networks: `model.safetensors` and `config.json`.

Files may be damaged or malicious. No code in them is run, and names, shapes and types of all
tensors are checked against the network that config.json describes before its memory is allocated.
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

from phenomae.models.build import build, read_settings
from phenomae.models.classifier import ClassifyingNetwork
from phenomae.models.families import FAMILIES
from phenomae.models.network import Network
from phenomae.models.vit.patches import sincos_positions
from phenomae.paths import PathLike
from phenomae.runs import KIND as RUN
from phenomae.runs import WEIGHTS
from phenomae.signatures import SIGNATURE, read_signature, verify, verify_file
from phenomae.weights.public_names import OPTIONAL, POSITIONS, publish, rename, repeat_table
from phenomae.weights.public_sizes import BESIDE, is_published, look_up, read_published
from phenomae.weights.torch_archive import is_archive, read_archive
from phenomae.whole_files import hash_file, hash_json, sha256_of, whole_file, write_json

KIND = "weights"
"""Kind of the artefact: a folder of weights that was imported or exported, not trained here."""

TENSORS = "model.safetensors"
CONFIG = "config.json"
# Keys of config.json: the SHA-256 of the tensors, and a hash of all other keys.
_SHA256, _CHECKSUM = "sha256", "checksum"

# Position tables need not be in the file, so that the size of the file does not limit the table:
# a damaged crop_size could otherwise allocate any amount of memory.
_MAX_TABLE = 2**26


def save(folder: PathLike, model: Network, config: Mapping[str, Any]) -> None:
    """Write the weights of a model to `model.safetensors`, and a `config.json` to use them.

    `config` is extended by family, settings, channels and classes of the model. Equal weights give
    equal bytes. A position table is written only if it differs from the table that this version
    computes (published tables differ in the last bits).
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # The tensors are put in place last, so that a folder with tensors is complete.
    (folder / TENSORS).unlink(missing_ok=True)
    known = {
        "family": model.family,
        "model": asdict(model.settings),
        "channels": list(model.channels),
    }
    if isinstance(model, ClassifyingNetwork):
        known["classes"] = list(model.classes)
    tensors = {
        name: value.detach().cpu().contiguous()
        for name, value in {**model.state_dict(), **_foreign_tables(model)}.items()
    }
    # Written to a temporary file first, so that a kill leaves no truncated tensors.
    with whole_file(folder / TENSORS) as partial:
        save_file(tensors, partial)
        given = {key: value for key, value in config.items() if key != _CHECKSUM}
        whole = {**given, **known, _SHA256: sha256_of(partial)}
        whole = json.loads(json.dumps(whole))  # as it will be read
        write_json(folder / CONFIG, {**whole, _CHECKSUM: hash_json(whole)})


def _foreign_tables(model: Network) -> dict[str, Tensor]:
    """Return the position tables of a model that differ in any bit from computed tables."""
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
    # Only phenomae's own config.json records an identity; other weights are hashed.
    own = None if is_published(config) else config.get("identity")
    return own or hash_json([config, hash_file(place / TENSORS)])


def load(folder: PathLike) -> Network:
    """Return the network of a run, or of a folder of weights, on the CPU and in eval mode.

    The layouts of the public checkpoint and of the golden cases are also read. Raises ValueError if
    weights are missing, damaged, of an unknown family, or do not fit their config.json.
    """
    place = _weights_folder(Path(folder))
    config = read_config(place)
    path = place / TENSORS
    if _SHA256 in config:
        verify_file(path, config[_SHA256])
    tensors = _read_tensors(path)
    if is_published(config):
        made_of, expected = _read_blueprint(place, config, tensors)
        _require_fit(tensors, expected, path, OPTIONAL)
        tensors = rename(tensors)
    else:
        made_of, sketch = _read_settings(place, config, tensors)
        tables = {name: table for name, table in sketch.named_buffers() if name in POSITIONS}
        _require_fit(tensors, {**tables, **sketch.state_dict()}, path, POSITIONS)
    # Only now is memory allocated, for a network whose tensors are all in the file.
    model = build(*made_of)
    _fill(model, tensors, path)
    return model.eval()


def read_config(folder: PathLike) -> dict[str, Any]:
    """Return `config.json` of a run, or of a folder of weights, without reading the tensors.

    Raises ValueError if the file is missing or damaged, or if this version does not know the
    family.
    """
    path = _weights_folder(Path(folder)) / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):  # RecursionError: deeply nested lists
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
    rest = {key: value for key, value in config.items() if key != _CHECKSUM}
    # The config.json of version 0.1, and of people who write it by hand, has neither key.
    if (_CHECKSUM in config or _SHA256 in config) and config.get(_CHECKSUM) != hash_json(rest):
        raise ValueError(
            f"{path} is damaged or was edited: it does not have the checksum that it records "
            f"(remove the keys {_SHA256} and {_CHECKSUM} if the change is meant)"
        )
    return config


def _weights_folder(folder: Path) -> Path:
    """Return the folder that holds the weights: `folder`, or its subfolder `weights`."""
    if (folder / SIGNATURE).exists():
        signature = read_signature(folder)
        if (kind := signature["kind"]) not in (RUN, KIND):
            raise ValueError(
                f"{folder} holds {kind}, not a run, which pretrain makes, or weights, which "
                "weights import makes"
            )
        if signature["identity"] is not None:
            prefix = f"{WEIGHTS}/" if kind == RUN else ""
            verify(folder, signature, (f"{prefix}{CONFIG}", f"{prefix}{TENSORS}"))
    place = folder / WEIGHTS if (folder / WEIGHTS).is_dir() else folder
    for name in (CONFIG, TENSORS):
        if not (place / name).is_file():
            raise ValueError(
                f"{folder} has no weights: {place / name} is missing; give a finished run or a "
                f"folder with {TENSORS} and {CONFIG}{_hint(folder)}"
            )
    return place


def _hint(folder: Path) -> str:
    """Return what to write for a public encoder on the hub, if a missing folder may be meant so."""
    from phenomae.weights.hub import is_hub_id  # only here: its library takes long to import

    on_hub = not folder.exists() and is_hub_id(str(folder))
    return f", or hf:{folder} in embed for a public encoder on the hub" if on_hub else ""


def _read_settings(
    folder: Path, config: dict[str, Any], tensors: Mapping[str, Tensor]
) -> tuple[tuple[Any, ...], Network]:
    """Return the arguments of `build`, and the network that they describe on the meta device."""
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
    """Return the arguments of `build`, and meta tensors with the shapes of the public layout."""
    try:
        plan = read_published(config, tensors)
        if (channels := look_up(config, f"{BESIDE}.channels")) is not None:
            _require_names(f"{BESIDE}.channels", channels)
        made_of = plan.family, plan.settings, plan.channels
        return made_of, publish(_sketch(made_of, tensors), plan.max_channels)
    except ValueError as error:
        # Configurations of transformers have the key architectures, as the public layout has.
        hint = f"; embed opens vision transformers of others as hf:{folder}"
        raise ValueError(
            f"{folder / CONFIG} and {TENSORS} do not describe a model: {error}"
            f"{hint * ('model_type' in config)}"
        ) from None


def _read_tensors(path: Path) -> dict[str, Tensor]:
    # Recognised by content: the file is named model.safetensors in either format.
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

    Raises ValueError if `tensors` cannot be the tensors of the network.
    """
    settings = made_of[1]
    # A network takes time to build even on the meta device: a depth of 2^30 is refused before.
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
    """Raise ValueError unless tensors have the expected names and shapes, and real numbers.

    Floating-point types may differ (float16 for float32), but not integers and floats.
    """
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
    """Copy tensors into a model; raises ValueError if a position table is not the expected one."""
    for name in POSITIONS:
        if name not in tensors:
            continue
        stored, ours = tensors.pop(name), model.get_buffer(name)
        found = stored.float()
        # The public table of a channel-agnostic model is repeated for every channel.
        expected = repeat_table(ours, (len(found) - 1) // (len(ours) - 1))
        # Other programs round the sines differently; a float32 table is kept to the bit.
        rounding = max(1e-5, torch.finfo(stored.dtype).eps)
        if not torch.allclose(found, expected, atol=rounding):
            raise ValueError(f"{path}: {name} is not the sine-cosine table")
        if stored.dtype == torch.float32:
            ours.copy_(found[: len(ours)])
    model.load_state_dict(tensors)
