"""Tensors with an entry per channel or class, which a warm start matches by name.

A network lists its own in `Network.named_axes`; all its other tensors do not depend on which
channels or classes it has.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class NamedAxis:
    """Where the axis of channels (or classes) is in one tensor, or in several tensors alike."""

    tensors: str
    """Name of the tensors in the state dict; `*` matches any text."""
    axes: str
    """einops pattern that brings the axis `n` of the names to the front."""
    of: Literal["channels", "classes"] = "channels"
    """Attribute of the network that holds the names."""
    summed: bool = False
    """Whether the contributions of all channels are summed, as in the first layer of an encoder."""


# `patchify` sorts the pixels of a patch by row, column, channel: the channel runs fastest.
PATCH_EMBED = NamedAxis("encoder.patch_embed.weight", "d (k n) -> n d k", summed=True)
CLASS_HEAD = NamedAxis("head.*", "n ... -> n ...", "classes")
