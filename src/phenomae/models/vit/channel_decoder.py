"""The decoder of the channel-agnostic autoencoder, with separate transformer blocks per channel.

All channels are computed at once: the weights of a layer are one stack (channels, in, out), and one
batched product replaces a loop over channels, which saves kernel launches on a GPU.
"""

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from phenomae.models.masking import Masking
from phenomae.models.settings import ChannelMaeModel
from phenomae.models.vit.attention import attend
from phenomae.models.vit.patches import sincos_positions
from phenomae.models.vit.vit import initialise, positions_for

NORM_EPS = 1e-5  # 1e-6 in the decoder of `vit-mae`; the golden cases distinguish them


class ChannelLinear(nn.Module):
    """One linear layer per channel."""

    is_product = True  # for phenomae.models.cost.flops

    def __init__(self, channels: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(channels, outputs))
        # One matrix at a time: for a 3-D tensor xavier_uniform_ would assume a convolution.
        for matrix in self.weight:
            nn.init.xavier_uniform_(matrix)

    def forward(
        self, x: Float[Tensor, "c n i"], which: Int64[Tensor, " c"] | None
    ) -> Float[Tensor, "c n o"]:
        """Apply the layer of each channel; `which`: indices of the layers, None: all in order."""
        weight, bias = pick(self.weight, which), pick(self.bias, which)
        return torch.baddbmm(bias.unsqueeze(1), x, weight)


class ChannelNorm(nn.Module):
    """One LayerNorm per channel."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, dim))
        self.bias = nn.Parameter(torch.zeros(channels, dim))

    def forward(
        self, x: Float[Tensor, "c n d"], which: Int64[Tensor, " c"] | None
    ) -> Float[Tensor, "c n d"]:
        """Normalise each token, with the scale and shift of the token's channel."""
        weight, bias = pick(self.weight, which), pick(self.bias, which)
        # layer_norm accepts only one scale and shift for all rows, so those follow separately.
        normal = functional.layer_norm(x, x.shape[-1:], eps=NORM_EPS)
        return torch.addcmul(bias.unsqueeze(1), normal, weight.unsqueeze(1))


class ChannelBlock(nn.Module):
    """Pre-norm transformer blocks, one per channel."""

    def __init__(self, channels: int, dim: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm1 = ChannelNorm(channels, dim)
        self.qkv = ChannelLinear(channels, dim, 3 * dim)
        self.proj = ChannelLinear(channels, dim, dim)
        self.norm2 = ChannelNorm(channels, dim)
        self.fc1 = ChannelLinear(channels, dim, int(dim * mlp_ratio))
        self.fc2 = ChannelLinear(channels, int(dim * mlp_ratio), dim)

    def forward(
        self, x: Float[Tensor, "c n d"], which: Int64[Tensor, " c"] | None, crops: int
    ) -> Float[Tensor, "c n d"]:
        """Apply attention among the tokens of each channel and crop, then the MLP."""
        # Linear layers need one row of tokens per channel, attention one per channel and crop.
        qkv = self.qkv(self.norm1(x, which), which)
        q, k, v = rearrange(
            qkv,
            "c (b p) (three e d) -> three (c b) p e d",
            three=3,
            b=crops,
            e=self.num_heads,
        )
        attended = rearrange(attend(q, k, v), "(c b) p d -> c (b p) d", b=crops)
        x = x + self.proj(attended, which)
        hidden = functional.gelu(self.fc1(self.norm2(x, which), which))
        return x + self.fc2(hidden, which)


class CrossAttention(nn.Module):
    """Cross-attention without a residual connection.

    No paper describes the residual connection or the context (the tokens of all patches, without
    the class token); both were inferred from the golden case (docs/log.md, 2026-11-25).
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim, bias=False)
        self.kv = nn.Linear(dim, 2 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)

    def forward(
        self, queries: Float[Tensor, "b n d"], context: Float[Tensor, "b t d"]
    ) -> Float[Tensor, "b n d"]:
        """Return the attention output of `queries` over `context`."""
        q = rearrange(self.q(queries), "b n (e d) -> b n e d", e=self.num_heads)
        k, v = rearrange(self.kv(context), "b t (two e d) -> two b t e d", two=2, e=self.num_heads)
        return self.proj(attend(q, k, v))


class ChannelDecoder(nn.Module):
    """Predicts the pixels of all patches of every channel from the visible tokens.

    First comes cross-attention over the tokens of all channels, then the blocks of each channel.
    """

    def __init__(self, settings: ChannelMaeModel, channels: int) -> None:
        super().__init__()
        dim, mlp = settings.decoder_embed_dim, settings.decoder_mlp_ratio
        self.embed = nn.Linear(settings.embed_dim, dim)
        self.mask_token = nn.Parameter(torch.zeros(dim))
        self.channel_tokens = nn.Parameter(torch.zeros(channels, dim))
        self.query_norm = nn.LayerNorm(dim)
        self.context_norm = nn.LayerNorm(dim)
        self.cross_attention = CrossAttention(dim, settings.cross_num_heads)
        self.out_norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, int(dim * mlp))
        self.fc2 = nn.Linear(int(dim * mlp), dim)
        self.blocks = nn.ModuleList(
            ChannelBlock(channels, dim, settings.decoder_num_heads, mlp)
            for _ in range(settings.decoder_depth)
        )
        self.pred = nn.Linear(dim, settings.patch_size**2)
        side = settings.crop_size // settings.patch_size
        self.grid = (side, side)
        # Not persistent: the table is computed from the grid, and the grid may change.
        self.positions: Tensor
        self.register_buffer("positions", sincos_positions(self.grid, dim), persistent=False)
        self.apply(initialise)
        nn.init.normal_(self.mask_token, std=0.02)
        nn.init.normal_(self.channel_tokens, std=0.02)
        nn.init.zeros_(self.pred.weight)  # the first prediction is the mean, as in `Decoder`

    def forward(
        self,
        latent: Float[Tensor, "b t d"],
        masking: Masking,
        grid: tuple[int, int],
        which: Int64[Tensor, " c"] | None,
    ) -> Float[Tensor, "b p k"]:
        """Return the pixels of all patches in the order of the crop, channel by channel.

        `latent` are the visible tokens, class token first; `which` are the indices of the crops'
        channels among the channels of the model, None: all in order.
        """
        tokens = self._fill_in(latent[:, 1:], masking, grid, which)
        x = self.cross_attention(self.query_norm(tokens), self.context_norm(tokens))
        x = x + self.fc2(functional.gelu(self.fc1(self.out_norm(x))))
        patches = grid[0] * grid[1]
        x = rearrange(x, "b (c p) d -> c (b p) d", p=patches)
        for block in self.blocks:
            x = block(x, which, len(latent))
        return self.pred(rearrange(x, "c (b p) d -> b (c p) d", p=patches))

    def _fill_in(
        self,
        seen: Float[Tensor, "b n _d"],
        masking: Masking,
        grid: tuple[int, int],
        which: Int64[Tensor, " c"] | None,
    ) -> Float[Tensor, "b p d"]:
        """Return a token for every patch: its visible or the mask token, plus its position."""
        seen = self.embed(seen)
        hidden = self.mask_token.to(seen.dtype).expand(len(seen), masking.hidden.shape[1], -1)
        tokens = masking.restore(torch.cat([seen, hidden], dim=1))
        positions = positions_for(self.positions, self.grid, grid)[1:]
        places = positions + pick(self.channel_tokens, which).unsqueeze(1)
        return tokens + places.flatten(0, 1)


def pick(
    stack: Float[Tensor, "c ..."], which: Int64[Tensor, " n"] | None
) -> Float[Tensor, "n ..."]:
    """Return the entries `which` of a stack with one entry per channel; None: all entries."""
    return stack if which is None else stack.index_select(0, which)
