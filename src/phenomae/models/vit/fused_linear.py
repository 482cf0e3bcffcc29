"""Linear layers with what follows them in one pass, where a CPU embeds in bf16."""

import torch
from jaxtyping import Float
from torch import Tensor


def is_fused(x: Tensor) -> bool:
    """Say whether `linear` and `linear_gelu` are faster here than layers by themselves.

    They are on a CPU that multiplies in bf16, under autocast and where no gradient is wanted: the
    product then comes with its bias and GELU, where they would be two passes more over memory.
    """
    return (
        x.device.type == "cpu"
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
        and torch.backends.mkldnn.is_available()
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


def linear(
    x: Float[Tensor, "*b i"], weight: Float[Tensor, "o i"], bias: Float[Tensor, " o"]
) -> Float[Tensor, "*b o"]:
    """Return x weight^T + bias in bf16."""
    return _run(x, weight, bias, "none")


def linear_gelu(
    x: Float[Tensor, "*b i"], weight: Float[Tensor, "o i"], bias: Float[Tensor, " o"]
) -> Float[Tensor, "*b o"]:
    """Return GELU(x weight^T + bias) in bf16."""
    return _run(x, weight, bias, "gelu")


def _run(x: Tensor, weight: Tensor, bias: Tensor, after: str) -> Tensor:
    # What torch's own compiler calls for such layers on a CPU; it has no public name.
    parts = (part.bfloat16() for part in (x, weight, bias))
    return torch.ops.mkldnn._linear_pointwise(*parts, after, [], "none")
