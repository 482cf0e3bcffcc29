"""The decoder of masked networks, which predicts hidden patches from visible tokens.

Tokens are not reordered to the order of the crop: attention needs positions, not an order, and with
the hidden tokens at the end the last block can compute only the tokens that the loss uses.
"""

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from phenomae.models.cost.flops import count_attention, count_weights
from phenomae.models.settings import MaskedVitModel
from phenomae.models.vit.attention import attend
from phenomae.models.vit.patches import sincos_positions
from phenomae.models.vit.vit import initialise, positions_for

NORM_EPS = 1e-6  # 1e-5 in the channel-agnostic decoder; the golden cases tell them apart


class Block(nn.Module):
    """Pre-norm transformer block: attention, then MLP."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.fc1 = nn.Linear(dim, int(dim * mlp_ratio))
        self.fc2 = nn.Linear(int(dim * mlp_ratio), dim)

    def forward(self, x: Float[Tensor, "b t d"], start: int = 0) -> Float[Tensor, "b n d"]:
        """Return the tokens from `start` on, which attend to all tokens."""
        qkv = self.qkv(self.norm1(x))
        q, k, v = rearrange(qkv, "b t (three e d) -> three b t e d", three=3, e=self.num_heads)
        x = x[:, start:] + self.proj(attend(q[:, start:], k, v))
        return x + self.fc2(functional.gelu(self.fc1(self.norm2(x))))


class CrossBlock(nn.Module):
    """Pre-norm transformer block whose tokens attend to a context and not to each other."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.norm_context = nn.LayerNorm(dim, eps=NORM_EPS)
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.fc1 = nn.Linear(dim, int(dim * mlp_ratio))
        self.fc2 = nn.Linear(int(dim * mlp_ratio), dim)

    def forward(
        self, x: Float[Tensor, "b n d"], context: Float[Tensor, "b t d"]
    ) -> Float[Tensor, "b n d"]:
        """Return the tokens `x` after they have attended to `context`."""
        q = rearrange(self.q(self.norm1(x)), "b n (e d) -> b n e d", e=self.num_heads)
        kv = self.kv(self.norm_context(context))
        k, v = rearrange(kv, "b t (two e d) -> two b t e d", two=2, e=self.num_heads)
        x = x + self.proj(attend(q, k, v))
        return x + self.fc2(functional.gelu(self.fc1(self.norm2(x))))


class Decoder(nn.Module):
    """Predicts `outputs` numbers per patch, such as pixels, from tokens of the visible patches.

    With `decoder_attention` "cross" the tokens of the predicted patches attend to the visible ones
    alone (CrossMAE, Fu et al. 2024, arXiv 2401.14391, without its weights for the encoder's
    blocks).
    """

    def __init__(self, settings: MaskedVitModel, outputs: int) -> None:
        super().__init__()
        dim = settings.decoder_embed_dim
        self.embed = nn.Linear(settings.embed_dim, dim)
        self.mask_token = nn.Parameter(torch.zeros(dim))
        self.is_cross = settings.decoder_attention == "cross"
        block = CrossBlock if self.is_cross else Block
        self.blocks = nn.ModuleList(
            block(dim, settings.decoder_num_heads, settings.decoder_mlp_ratio)
            for _ in range(settings.decoder_depth)
        )
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.pred = nn.Linear(dim, outputs)
        side = settings.crop_size // settings.patch_size
        self.grid = (side, side)
        # Not persistent: the table is computed from the grid, and the grid may change.
        self.positions: Tensor
        self.register_buffer("positions", sincos_positions(self.grid, dim), persistent=False)
        self.apply(initialise)
        nn.init.normal_(self.mask_token, std=0.02)
        # The first prediction is the mean. With random weights, training first had to unlearn their
        # noise, and the gradients of the layers below fell a hundredfold: the loss had a plateau of
        # 600 steps (docs/log.md, 2026-11-24).
        nn.init.zeros_(self.pred.weight)

    def forward(
        self,
        latent: Float[Tensor, "b t d"],
        order: Int64[Tensor, "b p"],
        grid: tuple[int, int],
        full: bool,
    ) -> Float[Tensor, "b n k"]:
        """Return predictions of all patches, or only of the hidden patches if `full` is false.

        `order` are the indices of the visible patches, in the order of `latent`, and then of the
        hidden patches; the result has the same order.
        """
        visible = latent.shape[1] - 1
        positions = positions_for(self.positions, self.grid, grid)[1:][order]
        seen = self.embed(latent)
        seen = torch.cat([seen[:, :1], seen[:, 1:] + positions[:, :visible]], dim=1)
        if self.is_cross:
            x = self.mask_token + positions[:, 0 if full else visible :]
            for block in self.blocks:
                x = block(x, seen)
            return self.pred(self.norm(x))
        x = torch.cat([seen, self.mask_token + positions[:, visible:]], dim=1)
        # Only the last block may drop tokens: in the other blocks all tokens are attended to later.
        for block in self.blocks[:-1]:
            x = block(x)
        x = self.blocks[-1](x, start=1 if full else 1 + visible)
        return self.pred(self.norm(x))

    def flops(self, patches: int, kept: int, predicted: int) -> int:
        """Return the FLOPs of a forward pass over one crop with `kept` visible patches."""
        if self.is_cross:
            return self._cross_flops(kept, predicted)
        tokens, dim = 1 + patches, len(self.mask_token)
        *inner, last = [block for block in self.blocks if isinstance(block, Block)]
        forward = 2 * count_weights(self.embed) * (1 + kept)
        for block in inner:
            forward += 2 * count_weights(block) * tokens + count_attention(tokens, tokens, dim)
        # The queries of the last block are only the patches that are predicted.
        after = count_weights(last) - count_weights(last.qkv)
        forward += 2 * count_weights(last.qkv) * tokens + 2 * after * predicted
        forward += count_attention(predicted, tokens, dim)
        return forward + 2 * count_weights(self.pred) * predicted

    def _cross_flops(self, kept: int, predicted: int) -> int:
        context, dim = 1 + kept, len(self.mask_token)
        forward = 2 * count_weights(self.embed) * context
        for block in self.blocks:
            assert isinstance(block, CrossBlock)
            of_queries = count_weights(block) - count_weights(block.kv)
            forward += 2 * of_queries * predicted + 2 * count_weights(block.kv) * context
            forward += count_attention(predicted, context, dim)
        return forward + 2 * count_weights(self.pred) * predicted
