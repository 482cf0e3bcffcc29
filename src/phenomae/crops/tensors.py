"""Crops as tensors: as they leave the store, and as a network takes them.

They stay uint8 or uint16 until they are on the device, so that a half or a quarter of the bytes is
copied there, and the background thread does no arithmetic.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float32, Int64, Shaped, UInt8
from torch import Tensor


@dataclass  # not frozen, because Lightning Fabric copies a network's inputs attribute by attribute
class Crops:
    """Crops of one step, before augmentation and in the store's own type."""

    pixels: Shaped[Tensor, "b c h w"]
    """uint8 or uint16."""
    windows: Float32[Tensor, "b c 2"]
    """Pixel values that become 0 and 1 in the crop's plate and channel; used for uint16 only."""
    turns: UInt8[Tensor, " b"]
    """The augmentation, three bits: 1 swaps rows and columns, 2 flips rows, 4 flips columns. Their
    combinations are all eight flips and quarter turns."""
    keys: Int64[Tensor, "b 3"]
    """Where each crop comes from: number of the field in the `CropReader`, top and left."""
    channels: tuple[str, ...]
    """Names of the channels, in order."""
    first: int = 0
    """Number of the first of these crops in the whole step."""

    @property
    def rows(self) -> range:
        """Numbers of these crops in the whole step, on which their random draws depend."""
        return range(self.first, self.first + len(self))

    def __len__(self) -> int:
        return len(self.pixels)

    def only(self, channels: Sequence[str]) -> "Crops":
        """Return the same crops with only the named channels, in that order."""
        chosen = [self.channels.index(name) for name in channels]
        pixels = _as_bits(self.pixels)[:, chosen].view(self.pixels.dtype)
        return replace(
            self, pixels=pixels, windows=self.windows[:, chosen], channels=tuple(channels)
        )

    def part(self, start: int, stop: int) -> "Crops":
        """Return the crops from `start` up to, but without, `stop`."""
        return self._map(lambda tensor: tensor[start:stop], first=self.first + start)

    def pinned(self) -> "Crops":
        """Return the same crops in pinned memory, from which a GPU copies asynchronously."""
        return self._map(Tensor.pin_memory)

    def _map(self, change: Callable[[Tensor], Tensor], **rest: int) -> "Crops":
        tensors = {item.name: getattr(self, item.name) for item in fields(self)}
        tensors = {name: value for name, value in tensors.items() if isinstance(value, Tensor)}
        return replace(self, **{name: change(tensors[name]) for name in tensors}, **rest)


def network_input(
    crops: Crops, device: torch.device | str
) -> UInt8[Tensor, "b c h w"] | Float32[Tensor, "b c h w"]:
    """Move crops to the device, apply their turns, and return the input of a network.

    uint8 stays uint8 (networks divide it by 255). uint16 becomes float32: its window is scaled to
    0..1 and the rest is clipped.
    """
    moved = crops.pixels.to(device, non_blocking=True)
    turned = bool(crops.turns.any())  # `embed` turns nothing: skip the copies
    pixels = turn(moved, crops.turns.to(device, non_blocking=True)) if turned else moved
    if pixels.dtype == torch.uint8:
        return pixels
    low, high = crops.windows.to(device, non_blocking=True)[..., None, None].unbind(2)
    # The clamp of the width guards against a store whose window is empty: no division by zero.
    return ((pixels.to(torch.float32) - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)


def turn(
    pixels: Shaped[Tensor, "b c h w"], turns: UInt8[Tensor, " b"]
) -> Shaped[Tensor, "b c h w"]:
    """Transpose and flip each crop according to its bits; see `Crops.turns`."""
    if pixels.dtype == torch.uint16:
        return turn(_as_bits(pixels), turns).view(torch.uint16)
    # Every crop is computed both ways and one is chosen: a few whole-tensor operations are faster
    # than a loop over the crops.
    bits = turns[:, None, None, None]
    pixels = torch.where((bits & 1).bool(), pixels.transpose(-1, -2), pixels)
    pixels = torch.where((bits & 2).bool(), pixels.flip(-2), pixels)
    return torch.where((bits & 4).bool(), pixels.flip(-1), pixels)


def _as_bits(pixels: Shaped[Tensor, "b c h w"]) -> Shaped[Tensor, "b c h w"]:
    """Return a uint16 tensor viewed as int16, and others unchanged.

    torch has few operations on uint16; moving values around needs only their bits.
    """
    return pixels.view(torch.int16) if pixels.dtype == torch.uint16 else pixels
