"""Masking of patches, and the base class of the masked autoencoders.

The same number of patches is hidden in every crop, so that the visible tokens of a batch form one
tensor.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from phenomae.models.cost.flops import count_pass
from phenomae.models.losses import fourier_distance, normalise_patches, weigh_losses
from phenomae.models.network import AnyEncoder, Network, Pixels
from phenomae.models.settings import kept_patches


@dataclass(frozen=True)
class MaeOutput:
    """Output of a masked forward pass.

    The pixels of a patch are ordered row, column, channel; if every channel has its own patches,
    the patches are ordered channel by channel.
    """

    latent: Float[Tensor, "b t d"]
    """Tokens of the visible patches by rising noise, after the class token if there is one. A U-Net
    has tokens of all positions of its deepest feature map instead."""
    mask: Float[Tensor, "b p"]
    """1 for hidden patches, 0 for visible ones."""
    reconstruction: Float[Tensor, "b p k"] | None
    """Predicted pixels of every patch; None if `full` was false."""
    target: Float[Tensor, "b p k"] | None
    """True pixels of every patch, as the loss compares them; None if `full` was false."""
    losses: dict[str, Float[Tensor, ""]]
    """`loss`, which training minimises, and its parts."""


class MaskedNetwork(Network[AnyEncoder]):
    """A masked autoencoder, which is trained to reconstruct hidden patches."""

    objective = "phenomae.pretraining.objectives.masked:MaskedObjective"

    def training_flops(self) -> int:
        """Return the FLOPs of one crop in a training step, forward and backward."""
        crop = self.meta_crop()
        noise = torch.empty(1, self.count_patches(crop), device="meta")
        return count_pass(self, lambda: self(crop, noise, full=False), training=True)

    def forward(self, pixels: Pixels, noise: Float[Tensor, "b p"], full: bool = True) -> MaeOutput:
        """Hide the patches with the largest `noise`, reconstruct them and return the losses."""
        raise NotImplementedError

    def count_patches(self, pixels: Pixels) -> int:
        """Return the number of patches per crop, which is also the number of noise values."""
        return pixels.shape[-2] * pixels.shape[-1] // self.settings.patch_size**2

    def unpatch(
        self, patches: Float[Tensor, "b p k"], grid: tuple[int, int] | None = None
    ) -> Float[Tensor, "b c h w"]:
        """Return patches as images; `grid` is (rows, columns), None for the model's crop size."""
        raise NotImplementedError

    def _measure(
        self,
        latent: Float[Tensor, "b t d"],
        masking: "Masking",
        patches: Float[Tensor, "b p k"],
        predicted: Float[Tensor, "b hidden k"],
        rebuilt: Float[Tensor, "b p k"] | None,
        grid: tuple[int, int],
        full: bool,
    ) -> MaeOutput:
        """Return the output of a forward pass, with the losses of the `predicted` hidden patches.

        `rebuilt`, the prediction of all patches in the order of the crop, is needed for a full
        output and for the Fourier loss.
        """
        target = normalise_patches(patches) if self.settings.normalise_targets else patches
        # Only on hidden patches (He et al. 2022, arXiv 2111.06377, section 3).
        error = functional.mse_loss(predicted.float(), take(target, masking.hidden))
        weight, fourier = self.settings.fourier_weight, None
        if weight > 0:
            assert rebuilt is not None
            images = self.unpatch(rebuilt, grid), self.unpatch(target, grid)
            fourier = fourier_distance(*images, self.settings.fourier_norm)
        return MaeOutput(
            latent=latent,
            mask=masking.mask(),
            reconstruction=rebuilt if full else None,
            target=target if full else None,
            losses=weigh_losses(error, fourier, weight),
        )


@dataclass(frozen=True)
class Masking:
    """The visible and the hidden patches of every crop."""

    order: Int64[Tensor, "b p"]
    """Indices of the patches by rising noise: the visible patches, then the hidden patches."""
    kept: int
    """Number of visible patches per crop."""

    @property
    def seen(self) -> Int64[Tensor, "b kept"]:
        """Indices of the visible patches."""
        return self.order[:, : self.kept]

    @property
    def hidden(self) -> Int64[Tensor, "b hidden"]:
        """Indices of the hidden patches."""
        return self.order[:, self.kept :]

    def mask(self) -> Float[Tensor, "b p"]:
        """Return 1 for hidden patches and 0 for visible ones."""
        mask = torch.ones(self.order.shape, device=self.order.device)
        return mask.scatter_(1, self.seen, 0.0)

    def restore(self, rows: Float[Tensor, "b p k"]) -> Float[Tensor, "b p k"]:
        """Return rows that are in the order `order`, reordered to the order of the crop."""
        # argsort of a permutation is its inverse.
        return take(rows, self.order.argsort(dim=1))


def hide(
    noise: Float[Tensor, "b n"], patches: Float[Tensor, "b p k"], mask_ratio: float
) -> Masking:
    """Hide the patches with the largest noise, equally many in every crop.

    Raises ValueError unless `noise` has one number per patch.
    """
    if noise.shape != patches.shape[:2]:
        raise ValueError(
            f"noise must have shape {tuple(patches.shape[:2])}, one number per patch, not "
            f"{tuple(noise.shape)}"
        )
    # Stable, so that equal noise gives the same masking on every device.
    return Masking(noise.argsort(dim=1, stable=True), kept_patches(noise.shape[1], mask_ratio))


def take(rows: Float[Tensor, "b p k"], index: Int64[Tensor, "b n"]) -> Float[Tensor, "b n k"]:
    """Return the rows of every crop at the positions `index`."""
    # One index_select over all crops: `gather` would need an index as large as the result.
    start = torch.arange(len(rows), device=rows.device).unsqueeze(1) * rows.shape[1]
    picked = rows.flatten(0, 1).index_select(0, (index + start).flatten())
    return picked.unflatten(0, index.shape)
