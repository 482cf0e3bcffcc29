"""The channel-agnostic vision transformer, for any channels in any number and order."""

from einops import reduce
from jaxtyping import Float
from torch import Tensor

from phenomae.models.network import Pixels, Pool
from phenomae.models.settings import VitModel
from phenomae.models.vit.patches import patchify_channels, standardise
from phenomae.models.vit.vit import Vit


class ChannelVit(Vit):
    """Vision transformer with one-channel patches and the same patch embedding for all channels.

    Tokens are ordered channel by channel. The encoder is not told the stain of a channel.
    """

    any_channels = True
    pools = ("mean", "mean-std", "class", "channel")

    def __init__(self, settings: VitModel) -> None:
        # One channel per patch: the patch embedding has the same shape for any crops.
        super().__init__(settings, channels=1)

    def pool(
        self, tokens: Float[Tensor, "b t d"], pool: Pool, channels: int
    ) -> Float[Tensor, "b n"]:
        """Return one vector per crop; pool `channel` concatenates the means of the channels."""
        if pool != "channel":
            return super().pool(tokens, pool, channels)
        means = reduce(tokens[:, 1:], "b (c p) d -> b c d", "mean", c=channels)
        return means.flatten(1)

    def cut(self, pixels: Pixels) -> Float[Tensor, "b p k"]:
        """Self-standardise crops and cut every channel into patches.

        Raises ValueError if the patch size does not divide the crops' sides.
        """
        # Raises for sides that are no multiple, where einops would raise an unclear error.
        self.grid_of(pixels)
        return patchify_channels(standardise(pixels), self.patch_size)

    def check_channels(self, count: int) -> None:
        """Accept any number of channels."""

    def positions_for(self, grid: tuple[int, int], channels: int) -> Float[Tensor, "p d"]:
        """Return the positions of all patches, the same for every channel."""
        return super().positions_for(grid, channels).repeat(channels, 1)
