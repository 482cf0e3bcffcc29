"""The masked autoencoder (He et al. 2022, arXiv 2111.06377) on crops of cells."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from phenomae.models.decoder import Decoder
from phenomae.models.losses import fourier_distance, normalise_patches, weigh_losses
from phenomae.models.masking import MaeOutput, MaskedNetwork, hide, take
from phenomae.models.network import Pixels
from phenomae.models.patches import unpatch
from phenomae.models.settings import VitMaeModel
from phenomae.models.vit import Vit


class VitMae(MaskedNetwork[Vit]):
    """Hides most of a crop's patches and predicts them from the rest."""

    family = "vit-mae"

    def __init__(self, settings: VitMaeModel, channels: Sequence[str] | int) -> None:
        super().__init__(settings, channels)
        self.encoder = Vit(settings, len(self.channels))
        self.decoder = Decoder(settings, len(self.channels))

    def forward(self, pixels: Pixels, noise: Float[Tensor, "b p"], full: bool = True) -> MaeOutput:
        """Hide the patches of largest `noise`, rebuild them, and measure how well.

        With `full` false the losses are the same, but nothing is computed that they do not need:
        `reconstruction` and `target` are None. In training mode drop path draws from torch's
        global generator.
        """
        patches = self.encoder.cut(pixels)
        grid = self.encoder.grid_of(pixels)
        masking = hide(noise, patches, self.settings.mask_ratio)
        positions = self.encoder.positions_for(grid, len(self.channels))
        latent = self.encoder.encode(take(patches, masking.seen), positions[masking.seen])
        target = normalise_patches(patches) if self.settings.normalise_targets else patches
        weight = self.settings.fourier_weight
        every = full or weight > 0
        predicted = self.decoder(latent, masking.order, grid, every)
        hidden = take(target, masking.hidden)
        error = functional.mse_loss(predicted[:, -hidden.shape[1] :].float(), hidden)
        rebuilt = masking.restore(predicted) if every else None
        fourier = None
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

    def unpatch(
        self, patches: Float[Tensor, "b p k"], grid: tuple[int, int] | None = None
    ) -> Float[Tensor, "b c h w"]:
        """Return patches as pictures; `grid` is rows and columns, None for the model's crops."""
        return unpatch(patches, grid or self.encoder.grid, self.encoder.patch_size)
