"""Translates tensor names and shapes between the public checkpoint and phenomae.

`rename` and `publish` are inverse to the bit, so that import and export lose nothing.
"""

import re
from collections.abc import Iterable

import torch
from einops import rearrange
from torch import Tensor

from phenomae.models.network import Network

FAMILIES = ("vit-mae", "channel-mae")
"""Families that the public layout supports."""

# Pairs of public name and phenomae's name: # matches a number and * any rest. The first match is
# used, in both directions; a name without a match is the same in both layouts.
NAMES: tuple[tuple[str, str], ...] = (
    ("encoder.vit_backbone.blocks.#.ls.gamma", "encoder.blocks.#.layer_scale"),
    ("encoder.vit_backbone.patch_embed.proj.*", "encoder.patch_embed.*"),
    ("encoder.vit_backbone.pos_embed", "encoder.positions"),
    ("encoder.vit_backbone.*", "encoder.*"),
    ("encoder_decoder_proj.*", "decoder.embed.*"),
    ("decoder_pred.*", "decoder.pred.*"),
    ("decoder.pos_embeddings", "decoder.positions"),
    ("decoder.blocks.#.attn.qkv.*", "decoder.blocks.#.qkv.*"),
    ("decoder.blocks.#.attn.proj.*", "decoder.blocks.#.proj.*"),
    ("decoder.blocks.#.mlp.fc1.*", "decoder.blocks.#.fc1.*"),
    ("decoder.blocks.#.mlp.fc2.*", "decoder.blocks.#.fc2.*"),
    ("decoder.mlp.fc1.*", "decoder.fc1.*"),
    ("decoder.mlp.fc2.*", "decoder.fc2.*"),
)
POSITIONS = ("encoder.positions", "decoder.positions")
_TOKENS = ("encoder.cls_token", "decoder.mask_token")
_PROJECTION = "encoder.patch_embed.weight"
_CHANNEL_TOKENS = "decoder.channel_tokens"
# Channel, block and name of a tensor in the decoder of one channel. phenomae stacks the tensors of
# all channels, so that one batched product replaces a loop over channels.
_OF_CHANNEL = re.compile(r"decoder\.decoders\.(\d+)\.(\d+)\.(.+)")
_CHANNEL_TOKEN = re.compile(r"decoder\.modality_tokens\.(\d+)")
_UNUSED = "decoder.placeholder"  # a row of zeros at the position of the class token
OPTIONAL = (_UNUSED,)
"""Public tensors that may be absent."""


def rename(public: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return public tensors with phenomae's names and shapes; the inverse of `publish`.

    A convolution over patches becomes a linear layer over their pixels; tokens and position tables
    lose their leading axes of length 1; the tensors of the channels' decoders are stacked.
    """
    ours: dict[str, Tensor] = {}
    stacks: dict[str, dict[int, Tensor]] = {}
    for name, tensor in public.items():
        if match := _OF_CHANNEL.fullmatch(name):
            # nn.Linear stores (out, in), a stack for batched products (in, out).
            part = tensor.T if tensor.ndim == 2 else tensor
            stack = our_name(f"decoder.blocks.{match[2]}.{match[3]}")
            stacks.setdefault(stack, {})[int(match[1])] = part
        elif match := _CHANNEL_TOKEN.fullmatch(name):
            stacks.setdefault(_CHANNEL_TOKENS, {})[int(match[1])] = tensor.flatten()
        elif name != _UNUSED:
            ours[our_name(name)] = tensor
    for name, parts in stacks.items():
        ours[name] = torch.stack([parts[index] for index in sorted(parts)])
    for name in _TOKENS:
        ours[name] = ours[name].flatten()
    for name in POSITIONS:
        if name in ours:
            ours[name] = ours[name].flatten(0, -2)
    ours[_PROJECTION] = rearrange(ours[_PROJECTION], "d c i j -> d (i j c)")
    return ours


def publish(model: Network, max_channels: int) -> dict[str, Tensor]:
    """Return the tensors of a model of one of `FAMILIES` with the public names and shapes.

    For a channel-agnostic model the encoder's position table is repeated `max_channels` times.
    """
    tables = {name: model.get_buffer(name) for name in POSITIONS}
    channels = len(model.channels)
    agnostic = model.family == "channel-mae"
    side = model.settings.patch_size
    public: dict[str, Tensor] = {}
    for name, tensor in {**model.state_dict(), **tables}.items():
        if agnostic and name.startswith("decoder.blocks."):
            public |= _split(name, tensor)
        elif name == _CHANNEL_TOKENS:
            rows = enumerate(tensor)
            public |= {f"decoder.modality_tokens.{index}": row[None, None] for index, row in rows}
        elif name in POSITIONS:
            times = max_channels if name == "encoder.positions" else channels
            public[public_name(name)] = repeat_table(tensor, times if agnostic else 1)[None]
        elif name == _PROJECTION:
            pixels = rearrange(tensor, "d (i j c) -> d c i j", i=side, j=side)
            public[public_name(name)] = pixels
        else:
            public[public_name(name)] = tensor[None, None] if name in _TOKENS else tensor
    # The public checkpoint has this tensor, so an export has it, too.
    if agnostic:
        public[_UNUSED] = torch.zeros_like(public["decoder.mask_token"])
    return public


def _split(name: str, stack: Tensor) -> dict[str, Tensor]:
    """Split a stack into the tensors of single channels; return the tensors by public name."""
    place = public_name(name).removeprefix("decoder.blocks.")
    parts = stack.mT if stack.ndim == 3 else stack
    return {f"decoder.decoders.{index}.{place}": part for index, part in enumerate(parts)}


def repeat_table(table: Tensor, times: int) -> Tensor:
    """Return a position table for `times` channels: the rows of patches are repeated."""
    return torch.cat([table[:1], table[1:].repeat(times, 1)])


def our_name(public: str) -> str:
    """Return phenomae's name of a tensor, from its public name."""
    return _translate(public, NAMES)


def public_name(ours: str) -> str:
    """Return the public name of a tensor, from phenomae's name."""
    return _translate(ours, [(old, new) for new, old in NAMES])


def _translate(name: str, table: Iterable[tuple[str, str]]) -> str:
    for old, new in table:
        pattern = re.escape(old).replace(r"\#", r"(\d+)").replace(r"\*", "(.+)")
        if match := re.fullmatch(pattern, name):
            parts = iter(match.groups())
            return re.sub(r"[#*]", lambda _: next(parts), new)  # noqa: B023
    return name
