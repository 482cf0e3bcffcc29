"""Sums in float64, also for tensors on devices that have no float64 (MPS)."""

from jaxtyping import Float, Float64
from torch import Tensor


def double(x: Float[Tensor, "*n"]) -> Float64[Tensor, "*n"]:
    """Return a tensor in float64: on its own device, or on the CPU where that has no float64."""
    return (x.cpu() if x.device.type == "mps" else x).double()
