"""The masked autoencoder (He et al. 2022, arXiv 2111.06377) on crops of cells."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from phenomae.models.decoder import Decoder
from phenomae.models.patches import unpatch
from phenomae.models.settings import VitMaeModel, kept_patches
from phenomae.models.vit import Pool, Vit

FAMILY = "vit-mae"


@dataclass(frozen=True)
class MaeOutput:
    """What a masked pass gives; the pixels of a patch are ordered row, column, channel."""

    latent: Float[Tensor, "b t d"]
    """Tokens of the patches seen, in the order of their noise, class token first."""
    mask: Float[Tensor, "b p"]
    """1 where a patch was hidden."""
    reconstruction: Float[Tensor, "b p k"] | None
    """Predicted pixels of every patch; None in a pass for the loss alone."""
    target: Float[Tensor, "b p k"] | None
    """Standardised pixels of every patch; None in a pass for the loss alone."""
    losses: dict[str, Float[Tensor, ""]]
    """`loss` is what training minimises; the other entries are its parts."""


class VitMae(nn.Module):
    """Hides most of a crop's patches and predicts them from the rest."""

    def __init__(self, settings: VitMaeModel, channels: int) -> None:
        super().__init__()
        self.settings = settings
        self.channels = channels
        self.encoder = Vit(settings, channels)
        self.decoder = Decoder(settings, channels)

    def forward(
        self,
        pixels: UInt8[Tensor, "b c h w"] | Float[Tensor, "b c h w"],
        noise: Float[Tensor, "b p"],
        full: bool = True,
    ) -> MaeOutput:
        """Hide the patches of largest `noise`, rebuild them, and measure how well.

        With `full` false the losses are the same, but nothing is computed that they do not need:
        `reconstruction` and `target` are None. In training mode drop path draws from torch's
        global generator.
        """
        patches = self.encoder.cut(pixels)
        grid = self.encoder.grid_of(pixels)
        if noise.shape != patches.shape[:2]:
            raise ValueError(
                f"noise has shape {tuple(noise.shape)}, but the crops have {patches.shape[1]} "
                f"patches each: it must be {tuple(patches.shape[:2])}"
            )
        kept = kept_patches(patches.shape[1], self.settings.mask_ratio)
        order = noise.argsort(dim=1, stable=True)
        positions = self.encoder.positions_for(grid)[1:]
        latent = self.encoder.encode(take(patches, order[:, :kept]), positions[order[:, :kept]])
        predicted = self.decoder(latent, order, grid, full)
        hidden = take(patches, order[:, kept:])
        error = nn.functional.mse_loss(predicted[:, -hidden.shape[1] :].float(), hidden)
        mask = torch.ones_like(noise).scatter_(1, order[:, :kept], 0.0)
        return MaeOutput(
            latent=latent,
            mask=mask,
            reconstruction=take(predicted, order.argsort(dim=1)) if full else None,
            target=patches if full else None,
            losses={"loss": error, "masked_mse": error},
        )

    def features(
        self, pixels: UInt8[Tensor, "b c h w"] | Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b t d"]:
        """Return the tokens of whole crops of any size, class token first."""
        return self.encoder(pixels)

    def embed(
        self, pixels: UInt8[Tensor, "b c h w"] | Float[Tensor, "b c h w"], pool: Pool = "mean"
    ) -> Float[Tensor, "b d"]:
        """Return one vector a crop: the mean over its patches, or its class token."""
        return self.encoder.embed(pixels, pool)

    def unpatch(
        self, patches: Float[Tensor, "b p k"], grid: tuple[int, int] | None = None
    ) -> Float[Tensor, "b c h w"]:
        """Return patches as pictures; `grid` is rows and columns, None for the model's crops."""
        return unpatch(patches, grid or self.encoder.grid, self.encoder.patch_size)


def take(rows: Float[Tensor, "b p k"], index: Int64[Tensor, "b n"]) -> Float[Tensor, "b n k"]:
    """Return the rows that `index` names for every crop."""
    start = torch.arange(len(rows), device=rows.device).unsqueeze(1) * rows.shape[1]
    picked = rows.flatten(0, 1).index_select(0, (index + start).flatten())
    return picked.unflatten(0, index.shape)
