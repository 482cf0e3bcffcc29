"""The channel-agnostic masked autoencoder (Kraus et al. 2024, arXiv 2404.10242).

The encoder embeds crops with any channels. Patches are masked over all channels together, so the
decoder also learns to predict a channel from other channels (`predict`).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from phenomae.models.cost.flops import count_attention, count_weights
from phenomae.models.masking import MaeOutput, MaskedNetwork, Masking, hide, take
from phenomae.models.named_axes import NamedAxis
from phenomae.models.network import Pixels
from phenomae.models.settings import ChannelMaeModel, kept_patches
from phenomae.models.sizes import CHANNEL_MAE_SIZES
from phenomae.models.vit.channel_decoder import ChannelDecoder
from phenomae.models.vit.channel_vit import ChannelVit
from phenomae.models.vit.patches import unpatch_channels


class ChannelMae(MaskedNetwork[ChannelVit]):
    """Masked autoencoder with separate patches for every channel.

    The encoder accepts any channels. Only the decoder distinguishes channels by name, and only
    channels that it was trained on.
    """

    family = "channel-mae"
    Settings = ChannelMaeModel
    SIZES = CHANNEL_MAE_SIZES
    objective = "phenomae.pretraining.objectives.masked:ChannelObjective"
    encoder_type = ChannelVit
    named_axes = (
        NamedAxis("decoder.channel_tokens", "n ... -> n ..."),
        NamedAxis("decoder.blocks.*", "n ... -> n ..."),
    )

    def __init__(self, settings: ChannelMaeModel, channels: Sequence[str] | int) -> None:
        super().__init__(settings, channels)
        self.encoder = ChannelVit(settings)
        self.decoder = ChannelDecoder(settings, len(self.channels))

    def forward(
        self,
        pixels: Pixels,
        noise: Float[Tensor, "b p"],
        full: bool = True,
        channels: Sequence[str] | Int64[Tensor, " c"] | None = None,
    ) -> MaeOutput:
        """Hide the patches with the largest `noise`, reconstruct them and return the losses.

        `channels` are the names of the crops' channels, in any order, or their indices as returned
        by `places` (for other names a compiled model would be compiled again); None: the model's
        channels. If `full` is false, the losses are the same and `reconstruction` and `target` are
        None. Raises ValueError if the model lacks a channel, or if `channels` does not name each
        channel of the crops once.
        """
        which = self._find(channels, pixels)
        patches = self.encoder.cut(pixels)
        grid = self.encoder.grid_of(pixels)
        masking = hide(noise, patches, self.settings.mask_ratio)
        latent = self._encode(patches, masking, grid, pixels.shape[1])
        rebuilt = self.decoder(latent, masking, grid, which)
        hidden = take(rebuilt, masking.hidden)
        return self._measure(latent, masking, patches, hidden, rebuilt, grid, full)

    @torch.no_grad()
    def predict(
        self, pixels: Pixels, channels: Sequence[str], missing: Sequence[str]
    ) -> Float[Tensor, "b m h w"]:
        """Predict the images of `missing` channels from crops of `channels`.

        Predictions are on the scale of self-standardised crops (mean 0 and variance 1). Raises
        ValueError if the model lacks a channel, if a missing channel is among `channels`, or if
        `channels` or `missing` names a channel twice.
        """
        _require_named(channels, pixels)
        if len(set(missing)) != len(missing) or len(missing) == 0:
            raise ValueError(
                f"missing must be one or more different channels, not {', '.join(missing)!r}"
            )
        if both := sorted(set(channels) & set(missing)):
            raise ValueError(f"missing must not name {both[0]!r}, which is among channels")
        which = self.places([*channels, *missing])
        patches = self.encoder.cut(pixels)
        grid = self.encoder.grid_of(pixels)
        per_channel = grid[0] * grid[1]
        # All patches of `channels` are visible, and all patches of `missing` are hidden.
        order = torch.arange(per_channel * len(which), device=pixels.device)
        masking = Masking(order.expand(len(pixels), -1), patches.shape[1])
        latent = self._encode(patches, masking, grid, pixels.shape[1])
        rebuilt = self.decoder(latent, masking, grid, which.to(pixels.device))
        return self.unpatch(rebuilt[:, patches.shape[1] :], grid)

    def count_patches(self, pixels: Pixels) -> int:
        """Return the number of patches per crop, all channels together."""
        return super().count_patches(pixels) * pixels.shape[1]

    def embedding_flops(self) -> int:
        """Return the FLOPs of embedding one crop of the settings' size."""
        return self.encoder.flops(len(self.channels) * self.settings.patches)

    def training_flops(self) -> int:
        """Return the FLOPs of one crop in a training step, forward and backward."""
        settings, decoder = self.settings, self.decoder
        channels, dim = len(self.channels), settings.decoder_embed_dim
        patches = channels * settings.patches
        kept = kept_patches(patches, settings.mask_ratio)
        forward = self.encoder.flops(kept) + 2 * count_weights(decoder.embed) * kept
        shared = (decoder.cross_attention, decoder.fc1, decoder.fc2, decoder.pred)
        forward += 2 * sum(count_weights(part) for part in shared) * patches
        forward += count_attention(patches, patches, dim)
        # A token passes the blocks of its own channel, and attends to that channel's tokens only.
        own = count_weights(decoder.blocks) // channels
        forward += 2 * own * patches
        forward += len(decoder.blocks) * count_attention(patches, settings.patches, dim)
        # Pixels need no gradient, so the backward pass of the first layer costs half as much.
        return 3 * forward - 2 * count_weights(self.encoder.patch_embed) * kept

    def unpatch(
        self, patches: Float[Tensor, "b p k"], grid: tuple[int, int] | None = None
    ) -> Float[Tensor, "b c h w"]:
        """Return patches as images; `grid` is (rows, columns), None for the model's crop size."""
        return unpatch_channels(patches, grid or self.encoder.grid, self.encoder.patch_size)

    def _encode(
        self,
        patches: Float[Tensor, "b p k"],
        masking: Masking,
        grid: tuple[int, int],
        channels: int,
    ) -> Float[Tensor, "b t d"]:
        positions = self.encoder.positions_for(grid, channels)
        return self.encoder.encode(take(patches, masking.seen), positions[masking.seen])

    def places(self, names: Sequence[str]) -> Int64[Tensor, " c"]:
        """Return the index of each name among the model's channels; raises ValueError if absent."""
        if unknown := [name for name in names if name not in self.channels]:
            raise ValueError(
                f"channels must be those the model was trained on, {', '.join(self.channels)}, not "
                f"{unknown[0]!r}"
            )
        return torch.tensor([self.channels.index(name) for name in names])

    def _find(
        self, channels: Sequence[str] | Int64[Tensor, " c"] | None, pixels: Pixels
    ) -> Int64[Tensor, " c"] | None:
        """Return the indices of the crops' channels among the model's; None for all in order."""
        if isinstance(channels, Tensor):
            return channels
        names = self.channels if channels is None else tuple(channels)
        _require_named(names, pixels)
        # None saves copying all weights of the decoder in the usual order.
        return None if names == self.channels else self.places(names).to(pixels.device)


def _require_named(names: Sequence[str], pixels: Pixels) -> None:
    """Raise ValueError unless there is one name per channel of the crops, all different."""
    if len(names) != pixels.shape[1] or len(set(names)) != len(names):
        raise ValueError(
            f"channels must be {pixels.shape[1]} different names, one per channel of the crops, "
            f"not {', '.join(names)}"
        )
