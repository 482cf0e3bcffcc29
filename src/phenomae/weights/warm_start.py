"""Warm start: initialises a network from trained weights, even if channels or classes differ.

Weights of a channel or class are matched by name (`Network.named_axes`), so a network for new
stains can start from weights for other stains. Crop sizes may differ, because positions are fixed.
"""

from collections.abc import Collection, Sequence
from dataclasses import fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from phenomae.models.build import find_network
from phenomae.models.classifier import ClassifyingNetwork
from phenomae.models.families import FAMILIES
from phenomae.models.named_axes import NamedAxis
from phenomae.models.network import Network
from phenomae.paths import PathLike
from phenomae.weights.io import load
from phenomae.weights.public_names import POSITIONS

# Only a classifier uses this norm, before its head; in other networks the norm was not trained.
_HEAD_NORM = "encoder.fc_norm."


@torch.no_grad()
def start_from(model: Network, source: PathLike) -> list[str]:
    """Copy the weights of a run, or of a folder of weights, into a network.

    Channels and classes are matched by name; crop sizes may differ. From a network of another
    family with the same encoder, only the encoder is copied. Tensors without a counterpart keep
    their initial values. Returns lines that describe what was copied. Raises ValueError if the
    weights cannot be loaded, or if families or sizes do not match; the model is then unchanged.
    """
    source = Path(source)
    trained = load(source)
    _require_match(trained, model, source)
    # All tensors are adapted before any is loaded, so that an error leaves the model unchanged.
    tensors = {name: tensor.cpu() for name, tensor in model.state_dict().items()}
    # A decoder or head of another family has other tensors.
    same_family = trained.family == model.family
    copied = [name for name in tensors if same_family or _is_of_encoder(name)]
    if trained.channels != model.channels:
        bound = model.of_all_channels
        copied = [name for name in copied if not any(fnmatchcase(name, part) for part in bound)]
    weights = trained.state_dict()
    for name in copied:
        tensors[name] = _adapt(name, weights[name], tensors[name], trained, model)
    model.load_state_dict(tensors)
    _copy_positions(trained, model)
    return [
        _describe_copied(trained, model, source, copied),
        *_describe_crops(trained, model),
        *_describe_channels(trained, model, same_family),
        *_describe_classes(trained, model),
    ]


def _require_match(trained: Network, model: Network, source: Path) -> None:
    """Raise ValueError if the weights have another encoder, or other sizes, than the model."""
    if trained.encoder_type is not model.encoder_type:
        alike = [
            family for family in FAMILIES if find_network(family).encoder_type is model.encoder_type
        ]
        raise ValueError(
            f"{source} is of family {trained.family}, whose encoder a {model.family} model does "
            f"not have: start it from weights of {' or '.join(alike)}"
        )
    settings = [item.name for item in fields(model.settings)]
    for name in settings:
        if name in model.free_settings or not hasattr(trained.settings, name):
            continue
        if name.startswith("decoder_") and trained.family != model.family:
            continue  # only the encoder is copied
        if _size(trained.settings, name) != _size(model.settings, name):
            theirs, ours = (getattr(network.settings, name) for network in (trained, model))
            raise ValueError(
                f"{source} has {name} {theirs}, but the model to start from it has {name} {ours}: "
                "both must have the same"
            )


def _size(settings: Any, name: str) -> Any:
    """Return a setting; for an MLP ratio, the hidden width."""
    value = getattr(settings, name)
    if not name.endswith("mlp_ratio"):
        return value
    # Ratios that are inferred from shapes of published weights are rounded; widths are exact.
    return int(value * getattr(settings, name.replace("mlp_ratio", "embed_dim")))


def _is_of_encoder(name: str) -> bool:
    """Return whether a tensor is copied between families that have the same encoder."""
    return name.startswith("encoder.") and not name.startswith(_HEAD_NORM)


def _adapt(name: str, trained: Tensor, initial: Tensor, source: Network, model: Network) -> Tensor:
    """Return a trained tensor, adapted to the channels and classes of a model."""
    axis = next((axis for axis in model.named_axes if fnmatchcase(name, axis.tensors)), None)
    if axis is not None:
        theirs, ours = (getattr(network, axis.of) for network in (source, model))
        trained = _move(axis, trained, initial, theirs, ours)
    assert trained.shape == initial.shape, name
    return trained


def _move(
    axis: NamedAxis, trained: Tensor, initial: Tensor, theirs: Sequence[str], ours: Sequence[str]
) -> Tensor:
    """Return `initial` with the trained entries of the names that both networks have.

    If contributions of channels are summed, new channels get equal parts of the weights of dropped
    channels: the sum, which the following blocks were trained on, keeps its size, and a renamed
    channel keeps its weights. If no channel was dropped, new channels get weights 0: random weights
    would add noise to every token. Weights of 0 are trained from the first step, because their
    gradient is that of the sum times the pixels (zero convolutions, Zhang et al. 2023, 2302.05543).
    """
    before, by_name = axis.axes.split(" -> ")
    # The einops pattern is used in both directions: here, and reversed in the last line.
    source = rearrange(trained, axis.axes, n=len(theirs))
    result = rearrange(initial, axis.axes, n=len(ours)).clone()
    index = {name: place for place, name in enumerate(theirs)}
    gone = [index[name] for name in _missing(theirs, ours)]
    new = _missing(ours, theirs)
    for place, name in enumerate(ours):
        if name in index:
            result[place] = source[index[name]]
        elif axis.summed:
            result[place] = source[gone].sum(0) / len(new)
    return rearrange(result, f"{by_name} -> {before}", n=len(ours))


def _missing(names: Sequence[str], known: Collection[str]) -> list[str]:
    """Return those of `names` that are not in `known`."""
    known = set(known)
    return [name for name in names if name not in known]


def _copy_positions(trained: Network, model: Network) -> None:
    """Copy position tables if the grids of patches are equal.

    The tables are fixed sines and cosines, but tables of published weights may differ from computed
    tables in the last bits.
    """
    tables = dict(trained.named_buffers())
    for name, table in model.named_buffers():
        if name in POSITIONS and name in tables and tables[name].shape == table.shape:
            table.copy_(tables[name])


def _describe_copied(trained: Network, model: Network, source: Path, copied: Sequence[str]) -> str:
    started = {name.partition(".")[0] for name in copied}
    parts = [name for name, _ in model.named_children()]
    message = f"{source}, {trained.family}: {' and '.join(p for p in parts if p in started)} copied"
    rest = ["head and the norm before it" if p == "head" else p for p in _missing(parts, started)]
    return f"{message}, {' and '.join(rest)} newly initialised" if rest else message


def _describe_crops(trained: Network, model: Network) -> list[str]:
    theirs, ours = trained.settings.crop_size, model.settings.crop_size
    if theirs == ours or not any(name in POSITIONS for name, _ in model.named_buffers()):
        return []
    return [f"positions recomputed: crops have {ours} pixels, not {theirs}"]


def _describe_channels(trained: Network, model: Network, same_family: bool) -> list[str]:
    if trained.channels == model.channels:
        return []
    gone = _missing(trained.channels, model.channels)
    new = _missing(model.channels, trained.channels)
    known = _missing(model.channels, new)
    lines = [f"channels copied by name: {', '.join(known) or 'none'}"]
    if gone:
        lines.append(f"channels dropped: {', '.join(gone)}")
    initial = []
    if not model.encoder.any_channels:
        shared = f"those of {', '.join(gone)}, shared equally" if gone else "0"
        initial.append(f"encoder weights {shared}")
    if same_family and hasattr(model, "decoder") and not model.of_all_channels:
        initial.append("decoder weights newly initialised")
    if new:
        lines.append(f"new channels: {', '.join(new)}: {'; '.join(initial)}")
    if same_family and model.of_all_channels:
        lines.append("last layers of the decoder newly initialised: they fit only all channels")
    return lines


def _describe_classes(trained: Network, model: Network) -> list[str]:
    if not isinstance(trained, ClassifyingNetwork) or not isinstance(model, ClassifyingNetwork):
        return []
    if trained.classes == model.classes:
        return []
    new = _missing(model.classes, trained.classes)
    known = len(model.classes) - len(new)
    return [f"classes copied by name: {known} of {len(model.classes)}; new: {len(new)}"]
