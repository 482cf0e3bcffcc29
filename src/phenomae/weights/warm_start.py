"""Starts a new network from trained weights, those of other channels, crops or tasks among them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor

from phenomae.models.classifier import ClassifyingNetwork
from phenomae.models.network import Network
from phenomae.weights.io import load
from phenomae.weights.public_names import POSITIONS

_ALIKE = (("vit-mae", "vit-classifier"),)
"""Families whose encoders are the same network; every other has one of its own."""

_FREE = {
    "crop_size",
    "layer_scale",
    "drop_path",
    "mask_ratio",
    "fourier_weight",
    "normalise_targets",
}
"""Settings that trained weights do not hang on: they shape the training, or first weights alone."""

_HEAD_NORM = "encoder.fc_norm."
"""Only a classifier uses it, before its head; what others hold there was never trained."""


@dataclass(frozen=True)
class _Part:
    """Tensors that hold something for every channel or class, and so go by names."""

    tensors: str
    """What they are called; `*` is any rest."""
    axes: str
    """How the axis `n` of the names comes first, for einops."""
    of: Literal["channels", "classes"] = "channels"
    added_up: bool = False
    """Whether all channels' shares are added up, as in an encoder's first layer."""


# `patchify` sorts the pixels of a patch by row, column, channel: the channel runs fastest.
_PATCHES = _Part("encoder.patch_embed.weight", "d (k n) -> n d k", added_up=True)
_CLASSES = _Part("head.*", "n ... -> n ...", "classes")
_PARTS: dict[str, tuple[_Part, ...]] = {
    "vit-mae": (_PATCHES, _Part("decoder.pred.*", "(k n) ... -> n k ...")),
    "channel-mae": (
        _Part("decoder.channel_tokens", "n ... -> n ..."),
        _Part("decoder.blocks.*", "n ... -> n ..."),
    ),
    "unet-mae": (
        _Part("encoder.scales.0.0.weight", "d n i j -> n d i j", added_up=True),
        _Part("decoder.pred.*", "n ... -> n ..."),
    ),
    "classifier": (
        _Part("encoder.blocks.0.0.0.weight", "d n i j -> n d i j", added_up=True),
        _Part("encoder.input_norm.running_*", "n -> n"),
        _CLASSES,
    ),
    "vit-classifier": (_PATCHES, _CLASSES),
}


@torch.no_grad()
def start_from(model: Network, source: Path) -> list[str]:
    """Put the weights of a run, or of a folder of weights, into a network, and tell what was done.

    Channels and classes go by their names; crops may have any size. Of a family with the same
    encoder the encoder is taken. What nothing fits stays as it was drawn. Returns a short sentence
    for each. Raises ValueError as `load`, and, with the model as it was, where family or sizes do
    not fit.
    """
    found = load(source)
    _require_fit(found, model, source)
    tensors = {name: tensor.cpu() for name, tensor in model.state_dict().items()}
    same = found.family == model.family
    taken = [name for name in tensors if same or _is_shared(name)]
    trained = found.state_dict()
    for name in taken:
        tensors[name] = _adapt(name, trained[name], tensors[name], found, model)
    model.load_state_dict(tensors)
    _take_tables(found, model)
    return [
        _tell_taken(found, model, source, taken),
        *_tell_crops(found, model),
        *_tell_channels(found, model, same),
        *_tell_classes(found, model),
    ]


def _require_fit(found: Network, model: Network, source: Path) -> None:
    """Raise ValueError where weights are of another encoder, or of other sizes, than a model."""
    alike = next((group for group in _ALIKE if model.family in group), (model.family,))
    if found.family not in alike:
        raise ValueError(
            f"{source} is of family {found.family}, whose encoder a {model.family} model does not "
            f"have: start it from weights of {' or '.join(alike)}"
        )
    free = _FREE | {"patch_size"} if model.family == "unet-mae" else _FREE  # a size of its masks
    names = [item.name for item in fields(model.settings) if hasattr(found.settings, item.name)]
    for name in names:
        theirs, ours = (getattr(network.settings, name) for network in (found, model))
        differ = _size(found.settings, name) != _size(model.settings, name)
        if name not in free and differ:
            raise ValueError(
                f"{source} has {name} {theirs}, but the model to start from it has {name} {ours}: "
                "both must have the same"
            )


def _size(settings: Any, name: str) -> Any:
    """Return a setting; of an MLP's ratio the width, as ratios read off weights are rounded."""
    value = getattr(settings, name)
    if not name.endswith("mlp_ratio"):
        return value
    return int(value * getattr(settings, name.replace("mlp_ratio", "embed_dim")))


def _is_shared(name: str) -> bool:
    """Say whether families with the same encoder share a tensor."""
    return name.startswith("encoder.") and not name.startswith(_HEAD_NORM)


def _adapt(name: str, trained: Tensor, drawn: Tensor, found: Network, model: Network) -> Tensor:
    """Return a trained tensor for a model's own channels and classes."""
    parts = [part for part in _PARTS[model.family] if fnmatchcase(name, part.tensors)]
    if parts:
        theirs, ours = (getattr(network, parts[0].of) for network in (found, model))
        trained = _move(parts[0], trained, drawn, theirs, ours)
    assert trained.shape == drawn.shape, name
    return trained


def _move(
    part: _Part, trained: Tensor, drawn: Tensor, theirs: Sequence[str], ours: Sequence[str]
) -> Tensor:
    """Return `drawn` with what was trained under the names that both have.

    Where shares are added up, new names get in equal parts what belonged to the names that are
    gone: the sum, which is what the blocks behind know, keeps its size, and a channel under a new
    name is read as before. Where none is gone a new name gets 0. The network then begins with what
    it gave for the others, where drawn weights would add noise to every token; and weights of 0
    learn from the first step, as their gradient is the sum's times the pixels (the zero
    convolutions of Zhang et al. 2023, arXiv 2302.05543).
    """
    axes, by_name = part.axes.split(" -> ")
    source = rearrange(trained, part.axes, n=len(theirs))
    result = rearrange(drawn, part.axes, n=len(ours)).clone()
    places = {name: place for place, name in enumerate(theirs)}
    gone = [places[name] for name in _others(theirs, ours)]
    new = _others(ours, theirs)
    for place, name in enumerate(ours):
        if name in places:
            result[place] = source[places[name]]
        elif part.added_up:
            result[place] = source[gone].sum(0) / len(new)
    return rearrange(result, f"{by_name} -> {axes}", n=len(ours))


def _others(names: Sequence[str], known: Collection[str]) -> list[str]:
    known = set(known)
    return [name for name in names if name not in known]


def _take_tables(found: Network, model: Network) -> None:
    """Take position tables of the same grid, which may be others in their last bits; keep others.

    They are fixed sines and cosines, and a model has those of its own grid.
    """
    trained = dict(found.named_buffers())
    for name, table in model.named_buffers():
        if name in POSITIONS and name in trained and trained[name].shape == table.shape:
            table.copy_(trained[name])


def _tell_taken(found: Network, model: Network, source: Path, taken: Sequence[str]) -> str:
    started = {name.partition(".")[0] for name in taken}
    parts = [name for name, _ in model.named_children()]
    told = f"{source}, {found.family}: {' and '.join(p for p in parts if p in started)} taken"
    left = ["head and the norm before it" if p == "head" else p for p in _others(parts, started)]
    return f"{told}, {' and '.join(left)} as drawn" if left else told


def _tell_crops(found: Network, model: Network) -> list[str]:
    theirs, ours = found.settings.crop_size, model.settings.crop_size
    if theirs == ours or not any(name in POSITIONS for name, _ in model.named_buffers()):
        return []
    return [f"positions made anew: crops have {ours} pixels, not {theirs}"]


def _tell_channels(found: Network, model: Network, same: bool) -> list[str]:
    if found.channels == model.channels:
        return []
    gone, new = _others(found.channels, model.channels), _others(model.channels, found.channels)
    known = _others(model.channels, new)
    lines = [f"channels taken by name: {', '.join(known) or 'none'}"]
    if gone:
        lines.append(f"channels left out: {', '.join(gone)}")
    begun = []
    if not model.encoder.any_channels:
        shared = f"those of {', '.join(gone)}, shared evenly" if gone else "0"
        begun.append(f"encoder weights {shared}")
    if same and hasattr(model, "decoder"):
        begun.append("decoder weights as drawn")
    if new:
        lines.append(f"channels new: {', '.join(new)}: {'; '.join(begun)}")
    return lines


def _tell_classes(found: Network, model: Network) -> list[str]:
    if not isinstance(found, ClassifyingNetwork) or not isinstance(model, ClassifyingNetwork):
        return []
    if found.classes == model.classes:
        return []
    new = _others(model.classes, found.classes)
    known = len(model.classes) - len(new)
    return [f"classes taken by name: {known} of {len(model.classes)}; as drawn: {len(new)}"]
