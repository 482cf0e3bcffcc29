"""The vision transformer for a fixed set of channels, which self-standardises its input.

All parameters are compatible with the public weights, including the unusual position of the MLP
bias in those weights (see `ParallelBlock.forward`).
"""

from collections.abc import Iterator

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from phenomae.models.cost.flops import count_attention, count_weights
from phenomae.models.network import Encoder, Pixels, Pool, pool_tokens
from phenomae.models.settings import VitModel
from phenomae.models.vit.attention import attend
from phenomae.models.vit.fused_linear import is_fused, linear, linear_gelu
from phenomae.models.vit.patches import patch_grid, patchify, sincos_positions, standardise

NORM_EPS = 1e-6


class ParallelBlock(nn.Module):
    """Attention and MLP in parallel on one norm (Dehghani et al. 2023, arXiv 2302.05442, eq. 2).

    One projection computes the MLP's hidden layer, q, k and v, in this order.
    """

    def __init__(
        self, dim: int, num_heads: int, mlp_ratio: float, layer_scale: float, drop_path: float
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.drop_path = drop_path
        self.draws: Float[Tensor, " b"] | None = None
        """One number from 0 to 1 per crop, which decides whether drop path lets the crop skip this
        block; if None, the numbers are drawn from torch's global generator."""
        self.hidden = int(dim * mlp_ratio)
        self.in_norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.in_proj = nn.Linear(dim, self.hidden + 3 * dim, bias=False)
        # Not the bias of in_proj, which would have an entry for every row; see `forward`.
        self.mlp_bias = nn.Parameter(torch.zeros(self.hidden))
        # Norms of queries and keys keep attention logits from growing (Dehghani et al. 2023).
        self.q_norm = nn.LayerNorm(dim // num_heads, eps=NORM_EPS)
        self.k_norm = nn.LayerNorm(dim // num_heads, eps=NORM_EPS)
        self.attn_out_proj = nn.Linear(dim, dim)
        self.mlp_out_proj = nn.Linear(self.hidden, dim)
        self.layer_scale = nn.Parameter(torch.full((dim,), layer_scale))

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        dim = x.shape[-1]
        # The public weights were trained with the bias at the end of the fused rows: it is also
        # added to q, k and v, and the first 3 d rows of the MLP have no bias.
        bias = functional.pad(self.mlp_bias, (3 * dim, 0))
        hidden, qkv = self._project(self.in_norm(x), bias)
        q, k, v = rearrange(qkv, "b t (three e d) -> three b t e d", three=3, e=self.num_heads)
        attended = attend(self.q_norm(q), self.k_norm(k), v)
        update = self.attn_out_proj(attended) + self.mlp_out_proj(hidden)
        return torch.addcmul(x, update, self._scale(x))

    def _project(
        self, x: Float[Tensor, "b t d"], bias: Float[Tensor, " o"]
    ) -> tuple[Float[Tensor, "b t h"], Float[Tensor, "b t k"]]:
        """Return the MLP's hidden layer after its GELU, and q, k and v concatenated."""
        weight, sizes = self.in_proj.weight, [self.hidden, 3 * x.shape[-1]]
        # Only the MLP's hidden layer has a GELU, so the fused path needs two products.
        if is_fused(x):
            (to_hidden, to_qkv), (first, last) = weight.split(sizes), bias.split(sizes)
            return linear_gelu(x, to_hidden, first), linear(x, to_qkv, last)
        hidden, qkv = functional.linear(x, weight, bias).split(sizes, dim=-1)
        return functional.gelu(hidden), qkv

    def _scale(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "... d"]:
        """Return LayerScale, in training times the drop path factor, 0 or 1 / (1 - rate)."""
        if not self.training or self.drop_path == 0:
            return self.layer_scale
        draws = torch.rand(len(x), device=x.device) if self.draws is None else self.draws
        # Divided by the keep rate, so that the expected update is that of eval mode.
        kept = (draws >= self.drop_path).to(x.dtype) / (1 - self.drop_path)
        return self.layer_scale * kept[:, None, None]


class Vit(Encoder):
    """Vision transformer with a class token and one token per patch."""

    pools = ("mean", "mean-std", "class")

    def __init__(self, settings: VitModel, channels: int) -> None:
        super().__init__()
        dim = settings.embed_dim
        self.patch_size = settings.patch_size
        self.channels = channels
        self.depth = settings.depth
        self.patch_embed = nn.Linear(channels * settings.patch_size**2, dim)
        self.cls_token = nn.Parameter(torch.zeros(dim))
        # `max`: a network of one block has no drop path.
        step = settings.drop_path / max(settings.depth - 1, 1)
        self.blocks = nn.ModuleList(
            ParallelBlock(
                dim, settings.num_heads, settings.mlp_ratio, settings.layer_scale, step * index
            )
            for index in range(settings.depth)
        )
        # Only a classifier's head uses this norm. The public weights contain it unused.
        self.fc_norm = nn.LayerNorm(dim, eps=NORM_EPS).requires_grad_(False)
        self.grid = patch_grid(settings.crop_size, settings.crop_size, settings.patch_size)
        # Not persistent: the table is computed from the grid, and the grid may change.
        self.positions: Tensor
        self.register_buffer("positions", sincos_positions(self.grid, dim), persistent=False)
        self.apply(initialise)
        nn.init.normal_(self.cls_token, std=0.02)

    def walk(self, pixels: Pixels) -> Iterator[Float[Tensor, "b t d"]]:
        """Yield the tokens of every block, class token first, for any grid of patches."""
        patches = self.cut(pixels)
        x = self.enter(patches, self.positions_for(self.grid_of(pixels), pixels.shape[1]))
        for block in self.blocks:
            x = block(x)
            yield x

    def token_shape(self, pixels: Pixels) -> tuple[int, int]:
        """Return the number of tokens and their width, from the first block."""
        _, count, width = next(self.walk(pixels)).shape
        return count, width

    def pool(
        self, tokens: Float[Tensor, "b t d"], pool: Pool, channels: int
    ) -> Float[Tensor, "b n"]:
        """Return one vector per crop, from its patch tokens or its class token."""
        return tokens[:, 0] if pool == "class" else pool_tokens(tokens[:, 1:], pool)

    def cut(self, pixels: Pixels) -> Float[Tensor, "b p k"]:
        """Self-standardise crops and cut them into patches.

        Raises ValueError if the crops have another number of channels than the model, or sides that
        the patch size does not divide.
        """
        self.check_channels(pixels.shape[1])
        # Raises for sides that are no multiple, where einops would raise an unclear error.
        self.grid_of(pixels)
        return patchify(standardise(pixels), self.patch_size)

    def encode(
        self, patches: Float[Tensor, "b p k"], positions: Float[Tensor, "... p d"]
    ) -> Float[Tensor, "b 1+p d"]:
        """Return the tokens of patches at `positions`, class token first."""
        x = self.enter(patches, positions)
        for block in self.blocks:
            x = block(x)
        return x

    def enter(
        self, patches: Float[Tensor, "b p k"], positions: Float[Tensor, "... p d"]
    ) -> Float[Tensor, "b 1+p d"]:
        """Return the input of the first block."""
        tokens = self.patch_embed(patches) + positions
        first = self.cls_token.expand(len(tokens), 1, -1).to(tokens.dtype)
        return torch.cat([first, tokens], dim=1)

    def check_channels(self, count: int) -> None:
        """Raise ValueError unless `count` is the number of channels of the model."""
        if count != self.channels:
            raise ValueError(
                f"crops must have the {self.channels} channels that the model was trained on, not "
                f"{count} channels"
            )

    def grid_of(self, pixels: Pixels) -> tuple[int, int]:
        """Return the rows and columns of patches of crops."""
        return patch_grid(pixels.shape[-2], pixels.shape[-1], self.patch_size)

    def flops(self, patches: int) -> int:
        """Return the FLOPs of a forward pass over `patches` patches of one crop."""
        tokens, dim = 1 + patches, len(self.cls_token)
        blocks = 2 * count_weights(self.blocks) * tokens
        blocks += self.depth * count_attention(tokens, tokens, dim)
        return 2 * count_weights(self.patch_embed) * patches + blocks

    def positions_for(self, grid: tuple[int, int], channels: int) -> Float[Tensor, "p d"]:
        """Return the positions of the patches of a grid; a patch spans all channels."""
        return positions_for(self.positions, self.grid, grid)[1:]


def positions_for(
    table: Float[Tensor, "t d"], table_grid: tuple[int, int], grid: tuple[int, int]
) -> Float[Tensor, "s d"]:
    """Return the position table of a grid: `table` if it has this grid, else a new table."""
    if grid == table_grid:
        # The table of published weights may differ from a new one in the last bits.
        return table
    return sincos_positions(grid, table.shape[1]).to(table)


def initialise(module: nn.Module) -> None:
    """Initialise linear layers as in He et al. 2022 (arXiv 2111.06377, A.1)."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
