"""Attention against its formula, forwards and backwards, in both of its forms on a CPU."""

import numpy as np
import pytest
import torch

from phenomae.models.vit import attention
from phenomae.models.vit.attention import attend

SHAPES = [(3, 2, 5, 5, 8), (2, 3, 4, 9, 8), (5, 4, 300, 300, 4)]  # crops, heads, queries, tokens, d


def draw(shape: tuple[int, ...]) -> list[torch.Tensor]:
    crops, heads, queries, tokens, dim = shape
    generator = torch.Generator().manual_seed(0)
    sizes = [(crops, count, heads, dim) for count in (queries, tokens, tokens)]
    return [torch.randn(size, generator=generator, requires_grad=True) for size in sizes]


def by_formula(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """softmax(q k^T / sqrt(d)) v (Vaswani et al. 2017, arXiv 1706.03762, eq. 1), in float64."""
    scores = torch.einsum("bned,bted->bent", q, k) / np.sqrt(q.shape[-1])
    weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
    return torch.einsum("bent,bted->bned", weights, v).flatten(2)


def gradients(parts: list[torch.Tensor], kind: torch.dtype, attention_of) -> list[torch.Tensor]:
    given = [part.detach().to(kind).requires_grad_() for part in parts]
    heads = attention_of(*given)
    pull = torch.linspace(-1, 1, heads.numel(), dtype=torch.float64).reshape(heads.shape)
    (heads.double() * pull).sum().backward()
    return [heads, *(part.grad for part in given)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("kind", "rounding"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)], ids=str
)
def test_heads_and_gradients_are_those_of_the_formula(
    shape: tuple[int, ...], kind: torch.dtype, rounding: float
):
    parts = [part.detach().to(kind) for part in draw(shape)]  # rounded alike for both
    expected = gradients(parts, torch.float64, by_formula)
    for found, wanted in zip(gradients(parts, kind, attend), expected, strict=True):
        error = (found.double() - wanted).norm() / wanted.norm()
        assert error < rounding


def test_slices_change_nothing(monkeypatch: pytest.MonkeyPatch):
    """Of 20 pairs of crop and head: all at once, and as few as there are cores."""
    parts = draw(SHAPES[2])
    found = []
    for size in (2**30, 1):
        monkeypatch.setattr(attention, "_SLICE_BYTES", size)
        found.append(gradients(parts, torch.bfloat16, attend))
    for whole, sliced in zip(*found, strict=True):
        torch.testing.assert_close(whole, sliced)


def test_the_type_is_that_of_the_values():
    q, k, v = draw(SHAPES[0])
    assert attend(q, k, v.bfloat16()).dtype == torch.bfloat16
    assert attend(q, k, v).dtype == torch.float32
