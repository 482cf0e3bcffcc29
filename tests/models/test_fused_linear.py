"""Fused layers give what layers by themselves give, and only where they are of use."""

import pytest
import torch

from phenomae.models.vit.fused_linear import is_fused, linear, linear_gelu
from phenomae.models.vit.vit import ParallelBlock

SUPPORTED = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
NEEDS_BF16 = pytest.mark.skipif(not SUPPORTED, reason="needs a CPU with bf16 in its instructions")


@NEEDS_BF16
@torch.no_grad()
def test_they_are_the_formulas():
    torch.manual_seed(0)
    x, weight, bias = torch.randn(3, 7, 16), torch.randn(24, 16), torch.randn(24)
    parts = [part.bfloat16().double() for part in (x, weight, bias)]
    expected = parts[0] @ parts[1].T + parts[2]
    normal = torch.distributions.Normal(0.0, 1.0)
    for found, wanted in (
        (linear(x, weight, bias), expected),
        (linear_gelu(x, weight, bias), expected * normal.cdf(expected)),
    ):
        assert found.dtype == torch.bfloat16
        assert (found.double() - wanted).norm() / wanted.norm() < 4e-3


def test_they_are_taken_for_embedding_in_bf16_alone():
    x = torch.zeros(1)
    with torch.autocast("cpu", torch.bfloat16):
        assert not is_fused(x)
        with torch.no_grad():
            assert is_fused(x) == SUPPORTED
            assert not is_fused(torch.zeros(1, device="meta"))
    with torch.no_grad():
        assert not is_fused(x)


@NEEDS_BF16
def test_a_block_is_the_same_with_them_but_for_rounding():
    torch.manual_seed(0)
    block = ParallelBlock(48, 3, 4.0, 1.0, 0.0).eval()
    x = torch.randn(2, 9, 48)
    exact = block(x).detach()
    with torch.autocast("cpu", torch.bfloat16):
        apart = block(x).detach()
        with torch.no_grad():
            fused = block(x)
    for rounded in (apart, fused):
        assert (rounded - exact).norm() / exact.norm() < 1e-2
