"""Plain implementations of the published networks, the baseline of `models.py`.

Kraus et al. 2023 (arXiv 2309.16064) and 2024 (arXiv 2404.10242), He et al. 2022 (2111.06377) and
Dehghani et al. 2023 (2302.05442). Nothing is fused and nothing is left out: attention is three
steps, the decoder runs over the whole sequence in its order, and channels take turns. Module names
are those of the golden cases' weights but for prefixes, so that `load_golden` can check the peer.
"""

import re

import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from phenomae.models.settings import VitMaeModel


def attend(
    q: Float[Tensor, "b e n d"], k: Float[Tensor, "b e t d"], v: Float[Tensor, "b e t d"]
) -> Float[Tensor, "b n e*d"]:
    """Attention as in the formula: matrix products and a softmax."""
    weights = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(dim=-1)
    return rearrange(weights @ v, "b e n d -> b n (e d)")


class ParallelBlock(nn.Module):
    """Block of the encoder: attention and MLP in parallel, after one norm and one projection."""

    def __init__(self, settings: VitMaeModel, drop_path: float) -> None:
        super().__init__()
        dim, self.heads, self.drop_path = settings.embed_dim, settings.num_heads, drop_path
        self.hidden = int(dim * settings.mlp_ratio)
        self.in_norm = nn.LayerNorm(dim, eps=1e-6)
        self.in_proj = nn.Linear(dim, self.hidden + 3 * dim, bias=False)
        self.mlp_bias = nn.Parameter(torch.zeros(self.hidden))
        self.q_norm = nn.LayerNorm(dim // self.heads, eps=1e-6)
        self.k_norm = nn.LayerNorm(dim // self.heads, eps=1e-6)
        self.attn_out_proj = nn.Linear(dim, dim)
        self.mlp_out_proj = nn.Linear(self.hidden, dim)
        self.layer_scale = nn.Parameter(torch.full((dim,), settings.layer_scale))

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        no_bias = self.mlp_bias.new_zeros(3 * x.shape[-1])
        bias = torch.cat([no_bias, self.mlp_bias])
        fused = functional.linear(self.in_norm(x), self.in_proj.weight, bias)
        hidden, q, k, v = fused.split([self.hidden] + 3 * [x.shape[-1]], dim=-1)
        q, k, v = (rearrange(y, "b t (e d) -> b e t d", e=self.heads) for y in (q, k, v))
        attention = self.attn_out_proj(attend(self.q_norm(q), self.k_norm(k), v))
        update = self.layer_scale * (attention + self.mlp_out_proj(functional.gelu(hidden)))
        if self.training and self.drop_path > 0:
            stays = torch.rand(len(x), 1, 1, device=x.device) >= self.drop_path
            update = update * stays / (1 - self.drop_path)
        return x + update


class Block(nn.Module):
    """Block of the decoder: attention, then MLP, each with its own norm."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, mlp_ratio)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        qkv = rearrange(self.qkv(self.norm1(x)), "b t (n e d) -> n b e t d", n=3, e=self.heads)
        x = x + self.proj(attend(*qkv))
        return x + self.mlp(self.norm2(x))


class Mlp(nn.Module):
    """Two linear layers and a GELU."""

    def __init__(self, dim: int, ratio: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, int(dim * ratio))
        self.fc2 = nn.Linear(int(dim * ratio), dim)

    def forward(self, x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        return self.fc2(functional.gelu(self.fc1(x)))


class CrossAttention(nn.Module):
    """Cross-attention from the tokens of one channel to all tokens."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(dim, dim, bias=False)
        self.kv = nn.Linear(dim, 2 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)

    def forward(
        self, x: Float[Tensor, "b p d"], context: Float[Tensor, "b t d"]
    ) -> Float[Tensor, "b p d"]:
        q = rearrange(self.q(x), "b p (e d) -> b e p d", e=self.heads)
        k, v = rearrange(self.kv(context), "b t (n e d) -> n b e t d", n=2, e=self.heads)
        return self.proj(attend(q, k, v))


class Decoder(nn.Module):
    """Decoder of transformer blocks over the tokens of all patches."""

    def __init__(self, settings: VitMaeModel) -> None:
        super().__init__()
        dim = settings.decoder_embed_dim
        self.mask_token = nn.Parameter(torch.randn(dim) * 0.02)
        self.blocks = nn.Sequential(*decoder_blocks(settings, eps=1e-6))
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b p d"]:
        """Return the patch tokens, from the class token and patch tokens with positions."""
        return self.norm(self.blocks(x))[:, 1:]


class ChannelDecoder(nn.Module):
    """Decoder of a shared cross-attention and then blocks of each channel's own."""

    def __init__(self, settings: VitMaeModel, channels: int) -> None:
        super().__init__()
        dim = settings.decoder_embed_dim
        self.mask_token = nn.Parameter(torch.randn(dim) * 0.02)
        self.channel_tokens = nn.Parameter(torch.randn(channels, dim) * 0.02)
        self.query_norm, self.context_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.cross_attention = CrossAttention(dim, 8)
        self.out_norm = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, settings.decoder_mlp_ratio)
        self.decoders = nn.ModuleList(
            nn.Sequential(*decoder_blocks(settings, eps=1e-5)) for _ in range(channels)
        )

    def forward(self, x: Float[Tensor, "b 1+c*p d"]) -> Float[Tensor, "b c*p d"]:
        """Return the patch tokens, from the class token (unused) and all tokens with positions."""
        by_channel = rearrange(x[:, 1:], "b (c p) d -> b c p d", c=len(self.decoders))
        by_channel = by_channel + self.channel_tokens[:, None]
        everything = by_channel.flatten(1, 2)
        decoded = []
        for channel, blocks in enumerate(self.decoders):
            y = self.query_norm(by_channel[:, channel])
            y = self.cross_attention(y, self.context_norm(everything))
            y = y + self.mlp(self.out_norm(y))
            decoded.append(blocks(y))
        return torch.cat(decoded, dim=1)


def decoder_blocks(settings: VitMaeModel, eps: float) -> list[Block]:
    """Return the blocks of one decoder; the norms of the two families differ in eps."""
    dim, heads = settings.decoder_embed_dim, settings.decoder_num_heads
    ratio = settings.decoder_mlp_ratio
    return [Block(dim, heads, ratio, eps) for _ in range(settings.decoder_depth)]


class PlainMae(nn.Module):
    """Masked autoencoder; with `apart`, each channel of a patch is a token."""

    def __init__(self, settings: VitMaeModel, channels: int, apart: bool) -> None:
        super().__init__()
        self.settings, self.apart = settings, apart
        dim, size = settings.embed_dim, settings.patch_size
        depth = max(settings.depth - 1, 1)
        self.patch_embed = nn.Conv2d(1 if apart else channels, dim, size, stride=size)
        self.cls_token = nn.Parameter(torch.randn(dim) * 0.02)
        self.blocks = nn.Sequential(
            *(
                ParallelBlock(settings, settings.drop_path * index / depth)
                for index in range(settings.depth)
            )
        )
        self.to_decoder = nn.Linear(dim, settings.decoder_embed_dim)
        self.decoder = ChannelDecoder(settings, channels) if apart else Decoder(settings)
        self.pred = nn.Linear(settings.decoder_embed_dim, size**2 * (1 if apart else channels))
        copies = channels if apart else 1
        side = settings.crop_size // size
        for name, width in (("positions", dim), ("decoder_positions", settings.decoder_embed_dim)):
            table = sincos(side, width).repeat(copies, 1)
            self.register_buffer(name, functional.pad(table, (0, 0, 1, 0)))

    def tokens(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b p d"]:
        """Return the patch tokens with positions added."""
        if not self.apart:
            x = self.patch_embed(images).flatten(2).transpose(1, 2)
        else:
            x = self.patch_embed(images.flatten(0, 1)[:, None]).flatten(2).transpose(1, 2)
            x = rearrange(x, "(b c) p d -> b (c p) d", b=len(images))
        return x + self.positions[1 : 1 + x.shape[1]]

    def encode(self, tokens: Float[Tensor, "b t d"]) -> Float[Tensor, "b 1+t d"]:
        """Return the output of the encoder, class token first."""
        cls = self.cls_token.expand(len(tokens), 1, -1)
        return self.blocks(torch.cat([cls, tokens], dim=1))

    def embed(self, pixels: UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """Return the embedding: the mean of the patch tokens."""
        return self.encode(self.tokens(standardise(pixels)))[:, 1:].mean(1)

    def forward(
        self, pixels: UInt8[Tensor, "b c h w"], noise: Float[Tensor, "b p"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "b p k"]]:
        """Return the mean squared error of the hidden patches, and all predictions."""
        images = standardise(pixels)
        tokens = self.tokens(images)
        count = tokens.shape[1]
        kept = int(count * (1 - self.settings.mask_ratio))
        order = noise.argsort(dim=1)
        visible = tokens.gather(1, order[:, :kept, None].expand(-1, -1, tokens.shape[2]))
        latent = self.to_decoder(self.encode(visible))

        mask_tokens = self.decoder.mask_token.expand(len(pixels), count - kept, -1)
        shuffled = torch.cat([latent[:, 1:], mask_tokens], dim=1)
        back = order.argsort(dim=1)
        whole = shuffled.gather(1, back[:, :, None].expand_as(shuffled))
        x = torch.cat([latent[:, :1], whole], dim=1) + self.decoder_positions
        predicted = self.pred(self.decoder(x))

        mask = (back >= kept).float()
        error = (predicted - self.cut(images)).square().mean(-1)
        return (error * mask).sum() / mask.sum(), predicted

    def cut(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b p k"]:
        """Return the target: the pixels of every token's patch."""
        order = "b (c y x) (i j)" if self.apart else "b (y x) (i j c)"
        size = self.settings.patch_size
        return rearrange(images, f"b c (y i) (x j) -> {order}", i=size, j=size)


def standardise(pixels: UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Self-standardise: mean 0 and variance 1 in each channel of each crop."""
    return functional.instance_norm(pixels / 255, eps=1e-5)


def sincos(side: int, dim: int) -> Float[Tensor, "p d"]:
    """Return sine-cosine positions of each patch: of its row, then of its column."""
    rates = 10000 ** (-torch.arange(dim // 4) / (dim / 4))
    angles = torch.arange(side)[:, None] * rates
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    rows, columns = waves.repeat_interleave(side, 0), waves.repeat(side, 1)
    return torch.cat([rows, columns], dim=1)


def load_golden(model: PlainMae, weights: dict[str, Tensor]) -> None:
    """Load the weights of a golden case into a network."""
    ours = {}
    for name, value in weights.items():
        name = name.removeprefix("encoder.vit_backbone.").replace(".ls.gamma", ".layer_scale")
        name = name.replace("patch_embed.proj.", "patch_embed.").replace(".attn.", ".")
        name = name.replace("encoder_decoder_proj", "to_decoder").replace("decoder_pred", "pred")
        if name.endswith(("cls_token", "mask_token")):
            value = value.flatten()
        ours[name] = value
    tokens = [name for name in ours if re.match(r"decoder\.modality_tokens\.\d+", name)]
    if tokens:
        in_order = sorted(tokens, key=lambda name: int(name.split(".")[-1]))
        ours["decoder.channel_tokens"] = torch.cat([ours.pop(name)[0] for name in in_order])
    for unused in ("fc_norm.weight", "fc_norm.bias", "decoder.placeholder"):
        ours.pop(unused, None)
    public_positions = ours.pop("pos_embed")[0], ours.pop("decoder.pos_embeddings")[0]
    for own, public in zip(
        (model.positions, model.decoder_positions), public_positions, strict=True
    ):
        torch.testing.assert_close(own, public[: len(own)], atol=1e-5, rtol=0)
    for name in ("positions", "decoder_positions"):
        ours[name] = model.get_buffer(name)
    model.load_state_dict(ours)
