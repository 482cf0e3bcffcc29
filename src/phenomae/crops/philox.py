"""The random numbers of `random_numbers.draw` on any device, so that a GPU draws its own.

Philox 4x64 with ten rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
"""

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

# The constants of Philox 4x64, as signed numbers: torch has no arithmetic on uint64, and products
# and sums of int64 have the same 64 bits.
_MULTIPLIERS = (0xD2E7470EE14C6C93 - 2**64, 0xCA5A826395121157 - 2**64)
_WEYL = (0x9E3779B97F4A7C15 - 2**64, 0xBB67AE8584CAA73B - 2**64)
_ROUNDS = 10
_LOW = 2**32 - 1


def draw_on_device(
    place: Int64[Tensor, "4"], crops: int, width: int
) -> Float32[Tensor, "{crops} {width}"]:
    """Return `draw(seed, step, purpose, rows, width)` as float32, bit for bit.

    `place` holds the seed, the step, the purpose and the index of the first crop, on the device;
    `crops` is the length of `rows`. Some 300 operations: compiled they are one kernel.
    """
    seed, step, purpose, first = place.unbind()
    groups = -(-width // 4)
    # NumPy increments the counter before it computes a block.
    counter = first * groups + 1 + torch.arange(crops * groups, device=place.device)
    zero = torch.zeros_like(counter)
    block = _philox((counter, zero, zero, purpose.expand_as(counter)), seed, step)
    bits = torch.stack(block, dim=-1).reshape(crops, groups * 4)[:, :width]
    return (_shift(bits, 11).double() * 2.0**-53).float()


def _philox(
    block: tuple[Int64[Tensor, " n"], ...],
    first_key: Int64[Tensor, ""],
    second_key: Int64[Tensor, ""],
) -> tuple[Int64[Tensor, " n"], ...]:
    for _ in range(_ROUNDS):
        (high0, low0), (high1, low1) = (
            _multiply(block[2 * lane], _MULTIPLIERS[lane]) for lane in (0, 1)
        )
        block = (high1 ^ block[1] ^ first_key, low1, high0 ^ block[3] ^ second_key, low0)
        first_key, second_key = first_key + _WEYL[0], second_key + _WEYL[1]
    return block


def _multiply(
    numbers: Int64[Tensor, " n"], factor: int
) -> tuple[Int64[Tensor, " n"], Int64[Tensor, " n"]]:
    """Return the high and the low 64 bits of the unsigned product, from products of 32 bits."""
    low, high = numbers & _LOW, _shift(numbers, 32)
    factor_low, factor_high = factor & _LOW, (factor >> 32) & _LOW
    lowest, inner, outer = low * factor_low, high * factor_low, low * factor_high
    carry = _shift(lowest, 32) + (inner & _LOW) + (outer & _LOW)
    highest = high * factor_high + _shift(inner, 32) + _shift(outer, 32) + _shift(carry, 32)
    return highest, numbers * factor


def _shift(numbers: Int64[Tensor, " *n"], places: int) -> Int64[Tensor, " *n"]:
    """Return the bits shifted to the right, zeros coming from the left."""
    # torch's own shift repeats the sign.
    return (numbers >> places) & (2 ** (64 - places) - 1)
