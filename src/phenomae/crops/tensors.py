"""Crops as they leave the store, and as a network takes them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float32, Int64, Shaped, UInt8
from torch import Tensor


@dataclass  # not frozen: Lightning Fabric copies what it hands a network field by field
class Crops:
    """Crops of one step, unturned and in the store's own type."""

    pixels: Shaped[Tensor, "b c h w"]
    """uint8 or uint16."""
    windows: Float32[Tensor, "b c 2"]
    """Lowest and highest intensity of the crop's plate and channel; used for uint16 only."""
    turns: UInt8[Tensor, " b"]
    """Three bits: 1 swaps rows and columns, 2 flips rows, 4 flips columns; together every flip and
    quarter turn."""
    keys: Int64[Tensor, "b 3"]
    """Field, top and left: where each crop comes from; fields are counted as `CropReader` does."""
    channels: tuple[str, ...]
    """Names of the channels, in order."""
    first: int = 0
    """Which of its step's crops the first one is."""

    @property
    def rows(self) -> range:
        """Which of their step's crops these are: what is drawn at random for a crop goes by it."""
        return range(self.first, self.first + len(self))

    def __len__(self) -> int:
        return len(self.pixels)

    def only(self, channels: Sequence[str]) -> "Crops":
        """Return the same crops of some of their channels, in the order given."""
        chosen = [self.channels.index(name) for name in channels]
        pixels = _as_bits(self.pixels)[:, chosen].view(self.pixels.dtype)
        return replace(
            self, pixels=pixels, windows=self.windows[:, chosen], channels=tuple(channels)
        )

    def part(self, start: int, stop: int) -> "Crops":
        """Return the crops from one place up to another."""
        return self._map(lambda tensor: tensor[start:stop], first=self.first + start)

    def pinned(self) -> "Crops":
        """Return the same crops in memory that a GPU can fetch by itself."""
        return self._map(Tensor.pin_memory)

    def _map(self, change: Callable[[Tensor], Tensor], **rest: int) -> "Crops":
        tensors = {item.name: getattr(self, item.name) for item in fields(self)}
        tensors = {name: value for name, value in tensors.items() if isinstance(value, Tensor)}
        return replace(self, **{name: change(tensors[name]) for name in tensors}, **rest)


def network_input(
    crops: Crops, device: torch.device | str
) -> UInt8[Tensor, "b c h w"] | Float32[Tensor, "b c h w"]:
    """Move crops to the device and make of them, there, what a network takes.

    uint8 stays as it is (networks divide it by 255); uint16 goes through its window to 0..1, and
    what lies outside the window is clipped.
    """
    moved = crops.pixels.to(device, non_blocking=True)
    turned = bool(crops.turns.any())
    pixels = turn(moved, crops.turns.to(device, non_blocking=True)) if turned else moved
    if pixels.dtype == torch.uint8:
        return pixels
    low, high = crops.windows.to(device, non_blocking=True)[..., None, None].unbind(2)
    return ((pixels.to(torch.float32) - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)


def turn(
    pixels: Shaped[Tensor, "b c h w"], turns: UInt8[Tensor, " b"]
) -> Shaped[Tensor, "b c h w"]:
    """Swap and flip each crop as its bits say (see `Crops.turns`)."""
    if pixels.dtype == torch.uint16:
        return turn(_as_bits(pixels), turns).view(torch.uint16)
    bits = turns[:, None, None, None]
    pixels = torch.where((bits & 1).bool(), pixels.transpose(-1, -2), pixels)
    pixels = torch.where((bits & 2).bool(), pixels.flip(-2), pixels)
    return torch.where((bits & 4).bool(), pixels.flip(-1), pixels)


def _as_bits(pixels: Shaped[Tensor, "b c h w"]) -> Shaped[Tensor, "b c h w"]:
    """Return uint16 as int16: torch moves few uint16 values about, and their bits are enough."""
    return pixels.view(torch.int16) if pixels.dtype == torch.uint16 else pixels
