"""Counts floating-point operations (FLOPs); a multiplication and an addition are two FLOPs.

Only matrix products, convolutions and attention are counted; norms, activations and other
operations are less than a hundredth. The counts agree within 0.5 % with torch's FlopCounterMode
(tests), which is not used because it could not run on the meta device with fused attention.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

PRODUCTS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
_KEEP_SHAPE = (
    *(functional.batch_norm, functional.group_norm, functional.layer_norm),
    *(functional.relu, functional.gelu),
)


class ShapesOnly(TorchFunctionMode):
    """A context in which norms and activations return their input, as only shapes are wanted.

    On the meta device torch computes them in Python, which takes four times as long as the rest of
    a convolutional network.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the first argument of a function that keeps its shape; call any other."""
        return args[0] if func in _KEEP_SHAPE else func(*args, **(kwargs or {}))


def is_product(module: nn.Module) -> bool:
    """Return whether a module multiplies its `weight` with its input at every position.

    Modules defined in phenomae are marked by a class attribute `is_product = True`.
    """
    return isinstance(module, PRODUCTS) or getattr(module, "is_product", False)


def count_weights(module: nn.Module) -> int:
    """Return the number of weights in all matrix products and convolutions of a module."""
    return sum(part.weight.numel() for part in module.modules() if is_product(part))  # pyright: ignore


def count_attention(queries: int, tokens: int, dim: int) -> int:
    """Return the FLOPs of attention: queries with keys, and the attention weights with values."""
    return 4 * queries * tokens * dim


def count_pass(model: nn.Module, run: Callable[[], object], *, training: bool = False) -> int:
    """Return the FLOPs of the products of `model` during `run()`, measured with forward hooks.

    Attention is not counted. With `training` the backward pass is added: it costs twice the forward
    pass, except in the first layer, where it costs as much as the forward pass, because pixels need
    no gradient. `model` should be on torch's meta device, so that nothing is computed.
    """
    counts: list[int] = []

    def count(part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        # A transposed convolution applies its weights at every position of its input.
        image = inputs[0] if isinstance(part, nn.ConvTranspose2d) else output
        convolution = isinstance(part, nn.Conv2d | nn.ConvTranspose2d)
        # Of a linear layer, a position is a row of its output.
        positions = image[:, :1].numel() if convolution else image.numel() // image.shape[-1]
        counts.append(2 * count_weights(part) * positions)

    hooks = [part.register_forward_hook(count) for part in model.modules() if is_product(part)]
    try:
        with ShapesOnly():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return 3 * sum(counts) - counts[0] if training else sum(counts)
