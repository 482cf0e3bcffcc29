"""The masked autoencoder on a U-Net, the MU-Net of Kraus et al. 2023 (arXiv 2309.16064)."""

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
    """Blanks squares of a crop and predicts them from the rest."""

    family = "unet-mae"
    Settings = UnetMaeModel
    SIZES = UNET_MAE_SIZES
    encoder_type = Unet
    named_axes = (
        NamedAxis("encoder.scales.0.0.weight", "d n i j -> n d i j", summed=True),
        NamedAxis("decoder.pred.*", "n ... -> n ..."),
    )
    # A U-Net has no patches of its own; patch_size is the size of the hidden squares.
    free_settings = MaskedNetwork.free_settings | {"patch_size"}

    def __init__(self, settings: UnetMaeModel, channels: Sequence[str] | int) -> None:
        super().__init__(settings, channels)
        self.encoder = Unet(settings, len(self.channels))
        self.decoder = UnetDecoder(settings, len(self.channels))

    def forward(self, pixels: Pixels, noise: Float[Tensor, "b p"], full: bool = True) -> MaeOutput:
        """Blank the patches of largest `noise`, rebuild them, and measure how well.

        With `full` false the losses are the same, but `reconstruction` and `target` are None.
        """
        images = self.encoder.enter(pixels)
        grid = self.encoder.grid_of_sides(pixels.shape[-2], pixels.shape[-1])
        patches = patchify(images, self.encoder.patch_size)
        masking = hide(noise, patches, self.settings.mask_ratio)
        maps = list(self.encoder.maps(images * self._shutter(masking.mask(), grid)))
        rebuilt = patchify(self.decoder(maps), self.encoder.patch_size)
        latent = rearrange(maps[-1], "b d y x -> b (y x) d")
        hidden = take(rebuilt, masking.hidden)
        return self._judge(latent, masking, patches, hidden, rebuilt, grid, full)

    def unpatch(
        self, patches: Float[Tensor, "b p k"], grid: tuple[int, int] | None = None
    ) -> Float[Tensor, "b c h w"]:
        """Return patches as pictures; `grid` is rows and columns, None for the model's crops."""
        return unpatch(patches, grid or self.encoder.grid, self.encoder.patch_size)

    def _shutter(
        self, mask: Float[Tensor, "b p"], grid: tuple[int, int]
    ) -> Float[Tensor, "b 1 h w"]:
        """Return what blanks hidden pixels: 0, which is the mean of a standardised crop."""
        side = self.encoder.patch_size
        return repeat(1 - mask, "b (y x) -> b 1 (y i) (x j)", y=grid[0], i=side, j=side)
