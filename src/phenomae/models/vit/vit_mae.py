"""The masked autoencoder (He et al. 2022, arXiv 2111.06377) on a vision transformer.

The encoder processes only the visible patches, by default a quarter, which makes training cheap.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from phenomae.models.cost.flops import count_weights
from phenomae.models.masking import MaeOutput, MaskedNetwork, hide, take
from phenomae.models.named_axes import PATCH_EMBED, NamedAxis
from phenomae.models.network import Pixels
from phenomae.models.settings import VitMaeModel, kept_patches
from phenomae.models.sizes import VIT_MAE_SIZES
from phenomae.models.vit.decoder import Decoder
from phenomae.models.vit.patches import unpatch
from phenomae.models.vit.vit import Vit


class VitMae(MaskedNetwork[Vit]):
    """Masked autoencoder on a vision transformer for a fixed set of channels."""

    family = "vit-mae"
    Settings = VitMaeModel
    SIZES = VIT_MAE_SIZES
    encoder_type = Vit
    named_axes = (PATCH_EMBED, NamedAxis("decoder.pred.*", "(k n) ... -> n k ..."))

    def __init__(self, settings: VitMaeModel, channels: Sequence[str] | int) -> None:
        super().__init__(settings, channels)
        self.encoder = Vit(settings, len(self.channels))
        self.decoder = Decoder(settings, len(self.channels) * settings.patch_size**2)

    def forward(self, pixels: Pixels, noise: Float[Tensor, "b p"], full: bool = True) -> MaeOutput:
        """Hide the patches with the largest `noise`, reconstruct them and return the losses.

        If `full` is false, the losses are the same, nothing else is computed, and `reconstruction`
        and `target` are None. In training mode drop path draws from torch's global generator unless
        the blocks have `draws`.
        """
        patches = self.encoder.cut(pixels)
        grid = self.encoder.grid_of(pixels)
        masking = hide(noise, patches, self.settings.mask_ratio)
        positions = self.encoder.positions_for(grid, len(self.channels))
        latent = self.encoder.encode(take(patches, masking.seen), positions[masking.seen])
        # The Fourier loss compares whole crops, so it needs predictions of visible patches, too.
        every = full or self.settings.fourier_weight > 0
        predicted = self.decoder(latent, masking.order, grid, every)
        rebuilt = masking.restore(predicted) if every else None
        # Hidden patches come last, whether or not visible patches are predicted.
        hidden = predicted[:, -masking.hidden.shape[1] :]
        return self._measure(latent, masking, patches, hidden, rebuilt, grid, full)

    def unpatch(
        self, patches: Float[Tensor, "b p k"], grid: tuple[int, int] | None = None
    ) -> Float[Tensor, "b c h w"]:
        """Return patches as images; `grid` is (rows, columns), None for the model's crop size."""
        return unpatch(patches, grid or self.encoder.grid, self.encoder.patch_size)

    def embedding_flops(self) -> int:
        """Return the FLOPs of embedding one crop of the settings' size."""
        return self.encoder.flops(self.settings.patches)

    def training_flops(self) -> int:
        """Return the FLOPs of one crop in a training step, forward and backward.

        Hidden patches count only in layers that process their tokens.
        """
        settings = self.settings
        patches = settings.patches
        kept = kept_patches(patches, settings.mask_ratio)
        predicted = patches if settings.fourier_weight > 0 else patches - kept
        forward = self.encoder.flops(kept) + self.decoder.flops(patches, kept, predicted)
        # Pixels need no gradient, so the backward pass of the first layer costs half as much.
        return 3 * forward - 2 * count_weights(self.encoder.patch_embed) * kept
