"""Attention, in the implementation that is fastest on the device.

On a CPU torch's bf16 attention is slower than its float32 attention, in the backward pass four
times. The bf16 attention of this module is faster than both (docs/log.md, 2026-11-24 and -25).
"""

import torch
from einops import rearrange
from jaxtyping import BFloat16, Float
from torch import Tensor
from torch.nn import functional

# Attention scores of one slice, so small that they stay in the cache between two products.
_SLICE_BYTES = 4 * 2**20


def attend(
    q: Float[Tensor, "b n e d"], k: Float[Tensor, "b t e d"], v: Float[Tensor, "b t e d"]
) -> Float[Tensor, "b n e*d"]:
    """Return the attention output of `n` query tokens, heads concatenated."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    if v.device.type == "cpu":
        # Without autocast, because `_attend_on_cpu` chooses the precision itself.
        with torch.autocast("cpu", enabled=False):
            heads = _attend_on_cpu(q, k, v)
    else:
        heads = functional.scaled_dot_product_attention(q, k, v)
    return rearrange(heads, "b e n d -> b n (e d)")


def _attend_on_cpu(
    q: Float[Tensor, "b e n d"], k: Float[Tensor, "b e t d"], v: Float[Tensor, "b e t d"]
) -> Float[Tensor, "b e n d"]:
    """Return torch's attention for float32, and that of this module for bf16."""
    # torch.compile cannot trace `_SlicedAttention`: it would break the graph of the network.
    if v.dtype != torch.bfloat16 or torch.compiler.is_compiling():
        return functional.scaled_dot_product_attention(q.float(), k.float(), v.float())
    scaled = (q * q.shape[-1] ** -0.5).bfloat16()
    pairs = [x.flatten(0, 1) for x in (scaled, k.bfloat16(), v)]
    heads: Tensor = _SlicedAttention.apply(*pairs)  # pyright: ignore
    return heads.unflatten(0, q.shape[:2])


class _SlicedAttention(torch.autograd.Function):
    """Attention over a few (crop, head) pairs at a time, with scores in bf16.

    Only q, k and v are saved for the backward pass, which recomputes the scores. Saving the scores
    would take 4 GB more at 256 crops and save 7 of 51 ms (docs/log.md, 2026-11-25).
    """

    @staticmethod
    def forward(
        ctx,
        q: BFloat16[Tensor, "s n d"],
        k: BFloat16[Tensor, "s t d"],
        v: BFloat16[Tensor, "s t d"],
    ) -> BFloat16[Tensor, "s n d"]:
        """Return softmax(q k^T) v."""
        ctx.save_for_backward(q, k, v)
        # One buffer of scores for all slices, so that it stays in the cache.
        heads, scores = torch.empty_like(q), _allocate(q, k)
        for at in _slices(q, k):
            weights = _weigh(q[at], k[at], scores)
            torch.bmm(weights, v[at], out=heads[at])
        return heads

    @staticmethod
    def backward(ctx, gradient: BFloat16[Tensor, "s n d"]) -> tuple[Tensor, ...]:  # pyright: ignore
        """Return the gradients of q, k and v."""
        q, k, v = ctx.saved_tensors
        gradient = gradient.contiguous()
        of_q, of_k, of_v = (torch.empty_like(x) for x in (q, k, v))
        scores, of_scores = _allocate(q, k), _allocate(q, k)
        backwards = torch.ops.aten._softmax_backward_data.out
        for at in _slices(q, k):
            weights = _weigh(q[at], k[at], scores)
            torch.bmm(weights.mT, gradient[at], out=of_v[at])
            inner = torch.bmm(gradient[at], v[at].mT, out=of_scores[: len(weights)])
            # The backward pass of softmax, in place; torch has no public in-place variant.
            backwards(inner, weights, -1, weights.dtype, grad_input=inner)
            torch.bmm(inner, k[at], out=of_q[at])
            torch.bmm(inner.mT, q[at], out=of_k[at])
        return of_q, of_k, of_v


def _weigh(
    q: BFloat16[Tensor, "s n d"], k: BFloat16[Tensor, "s t d"], scores: BFloat16[Tensor, "_s n t"]
) -> BFloat16[Tensor, "s n t"]:
    """Return softmax(q k^T), written into `scores`; q is already scaled."""
    part = scores[: len(q)]
    torch.bmm(q, k.mT, out=part)
    return torch.softmax(part, -1, out=part)


def _allocate(q: BFloat16[Tensor, "s n d"], k: BFloat16[Tensor, "s t d"]) -> Tensor:
    return q.new_empty(min(_pairs_at_once(q, k), len(q)), q.shape[1], k.shape[1])


def _slices(q: BFloat16[Tensor, "s n d"], k: BFloat16[Tensor, "s t d"]) -> list[slice]:
    step = _pairs_at_once(q, k)
    return [slice(start, start + step) for start in range(0, len(q), step)]


def _pairs_at_once(q: BFloat16[Tensor, "s n d"], k: BFloat16[Tensor, "s t d"]) -> int:
    """Return the number of pairs whose scores fit the cache, at least one per thread."""
    # bmm distributes pairs over threads, so that fewer pairs would leave threads idle.
    fitting = _SLICE_BYTES // (q.shape[1] * k.shape[1] * q.element_size())
    return max(fitting, torch.get_num_threads())
