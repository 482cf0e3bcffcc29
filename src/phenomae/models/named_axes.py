"""Describes tensors with one entry per channel or class, which a warm start matches by name.

A network lists these tensors in `Network.named_axes`; its other tensors do not depend on the
channels or classes.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class NamedAxis:
    """Position of the axis of channels (or classes) in a tensor, or in several similar tensors."""

    tensors: str
    """Name of the tensors in the state dict; `*` matches any text."""
    axes: str
    """einops pattern that moves the axis `n` of channels or classes to the front."""
    of: Literal["channels", "classes"] = "channels"
    """Attribute of the network that holds the names."""
    summed: bool = False
    """Whether the contributions of all channels are summed, as in the first layer of an encoder."""


# `patchify` orders the pixels of a patch by row, column, channel, so the channel runs fastest.
PATCH_EMBED = NamedAxis("encoder.patch_embed.weight", "d (k n) -> n d k", summed=True)
# The first axis of weight and bias is that of the classes.
CLASS_HEAD = NamedAxis("head.*", "n ... -> n ...", "classes")
