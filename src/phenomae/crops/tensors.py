"""Crops as tensors, and their conversion to the input of a network.

Crops stay uint8 or uint16 until they are on the device: compared with float32, this copies a
quarter or half of the bytes, and saves the background thread the conversion.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache

import torch
from jaxtyping import Float32, Int64, Shaped, UInt8
from torch import Tensor


@dataclass  # not frozen, because Lightning Fabric copies a network's inputs attribute by attribute
class Crops:
    """Crops before augmentation, in the store's dtype."""

    pixels: Shaped[Tensor, "b c h w"]
    """uint8 or uint16."""
    windows: Float32[Tensor, "b c 2"]
    """Intensity window of the crop's plate and channel: pixel values that become 0 and 1. Used for
    uint16 only."""
    turns: UInt8[Tensor, " b"]
    """The augmentation of each crop, one of eight turns: its bits, see `crops.turns`."""
    keys: Int64[Tensor, "b 3"]
    """Position of each crop: number of the field in the `CropReader`, top and left."""
    channels: tuple[str, ...]
    """Names of the channels, in order."""
    first: int = 0
    """Index of the first of these crops within the whole step."""

    @property
    def rows(self) -> range:
        """Indices of these crops within the whole step, which key their random numbers."""
        return range(self.first, self.first + len(self))

    def __len__(self) -> int:
        return len(self.pixels)

    def only(self, channels: Sequence[str]) -> "Crops":
        """Return the same crops with only the channels in `channels`, in that order."""
        chosen = [self.channels.index(name) for name in channels]
        # An index of several channels would have to be copied to a GPU, which the CPU waits for.
        pixels = torch.stack([_as_bits(self.pixels)[:, at] for at in chosen], dim=1)
        windows = torch.stack([self.windows[:, at] for at in chosen], dim=1)
        pixels = pixels.view(self.pixels.dtype)
        return replace(self, pixels=pixels, windows=windows, channels=tuple(channels))

    def part(self, start: int, stop: int) -> "Crops":
        """Return the crops `start` to `stop` - 1, counted within these crops."""
        return self._map(lambda tensor: tensor[start:stop], first=self.first + start)

    def to(self, device: torch.device) -> "Crops":
        """Return the same crops with pixels and windows on the device."""
        return replace(self, pixels=send(self.pixels, device), windows=send(self.windows, device))

    def pinned(self) -> "Crops":
        """Return the same crops in pinned memory, which a GPU can copy asynchronously."""
        return self._map(Tensor.pin_memory)

    def _map(self, change: Callable[[Tensor], Tensor], **rest: int) -> "Crops":
        tensors = {item.name: getattr(self, item.name) for item in fields(self)}
        tensors = {name: value for name, value in tensors.items() if isinstance(value, Tensor)}
        return replace(self, **{name: change(tensors[name]) for name in tensors}, **rest)


def network_input(
    crops: Crops, device: torch.device | str, compiled: bool = False
) -> UInt8[Tensor, "b c h w"] | Float32[Tensor, "b c h w"]:
    """Copy crops to the device, augment them by `turns`, and return the input of a network.

    uint8 pixels stay uint8 (networks divide them by 255). uint16 pixels become float32: the
    intensity window is scaled to 0..1, and values outside are clipped.
    """
    device = torch.device(device)
    pixels, windows = send(crops.pixels, device), send(crops.windows, device)
    # Embedding does not augment, so it skips the copies of `turn`.
    turns = send(crops.turns, device) if crops.turns.any() else None
    convert = compile_static(_convert) if compiled else _convert
    return convert(pixels, windows, turns)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to the device; from pinned memory to a GPU while the GPU computes."""
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    # On a stream of its own the copy does not queue behind the kernels of the previous step.
    copying, computing = _copy_stream(device), torch.cuda.current_stream(device)
    with torch.cuda.stream(copying):
        sent = tensor.to(device, non_blocking=True)
    computing.wait_stream(copying)
    # Its memory may be used again only after the kernels that read it.
    sent.record_stream(computing)
    return sent


@cache
def compile_static(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return the compiled function, compiled anew for every shape of its arguments."""
    # Not where functions are defined: torch.compile takes seconds to import.
    return torch.compile(function, dynamic=False)


@cache
def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


def _convert(
    pixels: Shaped[Tensor, "b c h w"],
    windows: Float32[Tensor, "b c 2"],
    turns: UInt8[Tensor, " b"] | None,
) -> UInt8[Tensor, "b c h w"] | Float32[Tensor, "b c h w"]:
    # Compiled, this is one kernel instead of a dozen that each pass over all pixels.
    if turns is not None:
        pixels = turn_each(pixels, turns)
    if pixels.dtype == torch.uint8:
        return pixels
    low, high = windows[..., None, None].unbind(2)
    # The clamp of the width avoids a division by zero for windows of width 0.
    return ((pixels.to(torch.float32) - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)


def turn(pixels: Shaped[Tensor, "b c h w"], bits: int) -> Shaped[Tensor, "b c h w"]:
    """Return all crops transposed and flipped as the bits say; see `crops.turns`."""
    if bits & 1:
        pixels = pixels.transpose(-1, -2)
    flipped = [axis for bit, axis in ((2, -2), (4, -1)) if bits & bit]
    return pixels.flip(flipped) if flipped else pixels


def turn_each(
    pixels: Shaped[Tensor, "b c h w"], turns: UInt8[Tensor, " b"]
) -> Shaped[Tensor, "b c h w"]:
    """Return each crop transposed and flipped as its own bits say; see `crops.turns`."""
    if pixels.dtype == torch.uint16:
        return turn_each(_as_bits(pixels), turns).view(torch.uint16)
    # torch.where computes both results for every crop and selects one: a few operations on the
    # whole tensor are faster than a loop over the crops.
    for bit in (1, 2, 4):
        pixels = torch.where((turns & bit).bool()[:, None, None, None], turn(pixels, bit), pixels)
    return pixels


def _as_bits(pixels: Shaped[Tensor, "b c h w"]) -> Shaped[Tensor, "b c h w"]:
    """Return a uint16 tensor viewed as int16, and tensors of other dtypes unchanged.

    torch supports few operations on uint16; indexing and flipping only move bits.
    """
    return pixels.view(torch.int16) if pixels.dtype == torch.uint16 else pixels
