"""Which patches are hidden from a network that learns by rebuilding them."""

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
    """What a masked pass gives.

    A patch's pixels are ordered row, column, channel; where every channel has its own patches,
    these run channel by channel.
    """

    latent: Float[Tensor, "b t d"]
    """What the encoder made of what it saw; tokens in the order of their noise, class token first.
    """
    mask: Float[Tensor, "b p"]
    """1 where a patch was hidden."""
    reconstruction: Float[Tensor, "b p k"] | None
    """Predicted pixels of every patch; None in a pass for the loss alone."""
    target: Float[Tensor, "b p k"] | None
    """The pixels of every patch that were to be predicted; None in a pass for the loss alone."""
    losses: dict[str, Float[Tensor, ""]]
    """`loss` is what training minimises; the other entries are its parts."""


class MaskedNetwork(Network[AnyEncoder]):
    """A network that learns by rebuilding what is hidden from it."""

    objective = "phenomae.pretraining.objectives.masked:MaskedObjective"

    def training_flops(self) -> int:
        """Return the FLOPs of one crop in a training step, forward and backward."""
        crop = self.meta_crop()
        noise = torch.empty(1, self.count_patches(crop), device="meta")
        return count_pass(self, lambda: self(crop, noise, full=False), training=True)

    def forward(self, pixels: Pixels, noise: Float[Tensor, "b p"], full: bool = True) -> MaeOutput:
        """Hide the patches of largest `noise`, rebuild them, and measure how well."""
        raise NotImplementedError

    def count_patches(self, pixels: Pixels) -> int:
        """Return how many patches each crop has, for as many numbers of noise."""
        return pixels.shape[-2] * pixels.shape[-1] // self.settings.patch_size**2

    def unpatch(
        self, patches: Float[Tensor, "b p k"], grid: tuple[int, int] | None = None
    ) -> Float[Tensor, "b c h w"]:
        """Return patches as pictures; `grid` is rows and columns, None for the model's crops."""
        raise NotImplementedError

    def _judge(
        self,
        latent: Float[Tensor, "b t d"],
        masking: "Masking",
        patches: Float[Tensor, "b p k"],
        predicted: Float[Tensor, "b hidden k"],
        rebuilt: Float[Tensor, "b p k"] | None,
        grid: tuple[int, int],
        full: bool,
    ) -> MaeOutput:
        """Measure how well hidden patches were `predicted`, and give all that a pass gives.

        `rebuilt`, all patches in their own order, is needed for a full pass and the Fourier loss.
        """
        target = normalise_patches(patches) if self.settings.normalise_targets else patches
        error = functional.mse_loss(predicted.float(), take(target, masking.hidden))
        weight, fourier = self.settings.fourier_weight, None
        if weight > 0:
            assert rebuilt is not None
            fourier = fourier_distance(self.unpatch(rebuilt, grid), self.unpatch(target, grid))
        return MaeOutput(
            latent=latent,
            mask=masking.mask(),
            reconstruction=rebuilt if full else None,
            target=target if full else None,
            losses=weigh_losses(error, fourier, weight),
        )


@dataclass(frozen=True)
class Masking:
    """Which patches of every crop are seen, and which are hidden."""

    order: Int64[Tensor, "b p"]
    """The patches by rising noise: those seen, then the hidden ones."""
    kept: int
    """How many are seen, of every crop the same number."""

    @property
    def seen(self) -> Int64[Tensor, "b kept"]:
        """The patches seen."""
        return self.order[:, : self.kept]

    @property
    def hidden(self) -> Int64[Tensor, "b hidden"]:
        """The patches hidden."""
        return self.order[:, self.kept :]

    def mask(self) -> Float[Tensor, "b p"]:
        """Return 1 where a patch is hidden, 0 where it is seen."""
        mask = torch.ones(self.order.shape, device=self.order.device)
        return mask.scatter_(1, self.seen, 0.0)

    def restore(self, rows: Float[Tensor, "b p k"]) -> Float[Tensor, "b p k"]:
        """Return rows that lie in the masking's order in the patches' own order."""
        return take(rows, self.order.argsort(dim=1))


def hide(
    noise: Float[Tensor, "b n"], patches: Float[Tensor, "b p k"], mask_ratio: float
) -> Masking:
    """Hide the patches of largest noise: of each crop the same share.

    Raises ValueError where `noise` is not one number for each of the `patches`.
    """
    if noise.shape != patches.shape[:2]:
        raise ValueError(
            f"noise has shape {tuple(noise.shape)}, but the crops have {patches.shape[1]} "
            f"patches each: it must be {tuple(patches.shape[:2])}"
        )
    return Masking(noise.argsort(dim=1, stable=True), kept_patches(noise.shape[1], mask_ratio))


def take(rows: Float[Tensor, "b p k"], index: Int64[Tensor, "b n"]) -> Float[Tensor, "b n k"]:
    """Return the rows that `index` names for every crop."""
    start = torch.arange(len(rows), device=rows.device).unsqueeze(1) * rows.shape[1]
    picked = rows.flatten(0, 1).index_select(0, (index + start).flatten())
    return picked.unflatten(0, index.shape)
