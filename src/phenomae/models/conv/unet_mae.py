"""The masked autoencoder on a U-Net: the MU-Net of Kraus et al. 2023 (arXiv 2309.16064).

Unlike a transformer, a convolution cannot leave patches out, so hidden patches are set to 0.
"""

from collections.abc import Sequence

from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor

from phenomae.models.conv.unet import Unet
from phenomae.models.conv.unet_decoder import UnetDecoder
from phenomae.models.masking import MaeOutput, MaskedNetwork, hide, take
from phenomae.models.named_axes import NamedAxis
from phenomae.models.network import Pixels
from phenomae.models.settings import UnetMaeModel
from phenomae.models.sizes import UNET_MAE_SIZES
from phenomae.models.vit.patches import patchify, unpatch


class UnetMae(MaskedNetwork[Unet]):
    """Hides patches of a crop by setting them to 0, and predicts their pixels."""

    family = "unet-mae"
    Settings = UnetMaeModel
    SIZES = UNET_MAE_SIZES
    encoder_type = Unet
    named_axes = (
        NamedAxis("encoder.scales.0.0.weight", "d n i j -> n d i j", summed=True),
        # Weight and bias of the last layer.
        NamedAxis("decoder.pred.*", "n ... -> n ..."),
    )
    # patch_size is only the size of the masked squares: no tensor of a U-Net depends on it.
    free_settings = MaskedNetwork.free_settings | {"patch_size"}

    def __init__(self, settings: UnetMaeModel, channels: Sequence[str] | int) -> None:
        super().__init__(settings, channels)
        self.encoder = Unet(settings, len(self.channels))
        self.decoder = UnetDecoder(settings, len(self.channels))

    def forward(self, pixels: Pixels, noise: Float[Tensor, "b p"], full: bool = True) -> MaeOutput:
        """Hide the patches with the largest `noise`, reconstruct them and return the losses.

        If `full` is false, the losses are the same and `reconstruction` and `target` are None.
        """
        images = self.encoder.enter(pixels)
        grid = self.encoder.grid_of_sides(pixels.shape[-2], pixels.shape[-1])
        patches = patchify(images, self.encoder.patch_size)
        masking = hide(noise, patches, self.settings.mask_ratio)
        maps = list(self.encoder.maps(images * self._visible(masking.mask(), grid)))
        # All patches are predicted in any case, so `full` saves no time here.
        rebuilt = patchify(self.decoder(maps), self.encoder.patch_size)
        latent = rearrange(maps[-1], "b d y x -> b (y x) d")
        hidden = take(rebuilt, masking.hidden)
        return self._measure(latent, masking, patches, hidden, rebuilt, grid, full)

    def unpatch(
        self, patches: Float[Tensor, "b p k"], grid: tuple[int, int] | None = None
    ) -> Float[Tensor, "b c h w"]:
        """Return patches as images; `grid` is (rows, columns), None for the model's crop size."""
        return unpatch(patches, grid or self.encoder.grid, self.encoder.patch_size)

    def _visible(
        self, mask: Float[Tensor, "b p"], grid: tuple[int, int]
    ) -> Float[Tensor, "b 1 h w"]:
        """Return 1 for visible pixels, 0 for hidden ones; 0 is the mean of a standardised crop."""
        side = self.encoder.patch_size
        return repeat(1 - mask, "b (y x) -> b 1 (y i) (x j)", y=grid[0], i=side, j=side)
