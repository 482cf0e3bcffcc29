"""A masked network that predicts the local energies of patches instead of their pixels.

The energies of hidden patches are predicted by a decoder, as in a masked autoencoder; those of
visible patches by one linear layer from the encoder's tokens, so that the tokens have to hold them.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from phenomae.models.cost.flops import count_weights
from phenomae.models.masking import MaeOutput, MaskedNetwork, hide, take
from phenomae.models.named_axes import PATCH_EMBED
from phenomae.models.network import Pixels
from phenomae.models.settings import EnergyMaeModel, kept_patches
from phenomae.models.sizes import ENERGY_MAE_SIZES
from phenomae.models.vit.decoder import Decoder
from phenomae.models.vit.energies import LocalEnergies
from phenomae.models.vit.vit import Vit


class EnergyDecoder(Decoder):
    """Predicts the energies of hidden patches, and of visible patches from their own tokens."""

    def __init__(self, settings: EnergyMaeModel, channels: int) -> None:
        energies = LocalEnergies(channels, settings.patch_size)
        super().__init__(settings, energies.count)
        self.energies = energies
        self.visible = nn.Linear(settings.embed_dim, energies.count)
        # The first prediction is the mean, as that of hidden patches.
        nn.init.zeros_(self.visible.weight)


class EnergyMae(MaskedNetwork[Vit]):
    """Vision transformer for a fixed set of channels that predicts local energies."""

    family = "energy-mae"
    Settings = EnergyMaeModel
    SIZES = ENERGY_MAE_SIZES
    objective = "phenomae.pretraining.objectives.energies:EnergyObjective"
    encoder_type = Vit
    named_axes = (PATCH_EMBED,)
    # Energies of pairs of channels have no axis of channels.
    of_all_channels = ("decoder.energies.*", "decoder.pred.*", "decoder.visible.*")
    free_settings = MaskedNetwork.free_settings | {"visible_weight"}

    def __init__(self, settings: EnergyMaeModel, channels: Sequence[str] | int) -> None:
        super().__init__(settings, channels)
        self.encoder = Vit(settings, len(self.channels))
        self.decoder = EnergyDecoder(settings, len(self.channels))

    def forward(self, pixels: Pixels, noise: Float[Tensor, "b p"], full: bool = True) -> MaeOutput:
        """Hide the patches with the largest `noise`, predict all energies and return the losses.

        `loss` is `masked_mse`, over hidden patches, plus `visible_weight` times `visible_mse`. If
        `full` is false, `reconstruction` and `target`, energies instead of pixels, are None.
        """
        patches = self.encoder.cut(pixels)
        grid = self.encoder.grid_of(pixels)
        masking = hide(noise, patches, self.settings.mask_ratio)
        positions = self.encoder.positions_for(grid, len(self.channels))
        latent = self.encoder.encode(take(patches, masking.seen), positions[masking.seen])
        hidden = self.decoder(latent, masking.order, grid, full=False)
        seen = self.decoder.visible(latent[:, 1:])
        target = self.decoder.energies(patches)
        masked = functional.mse_loss(hidden.float(), take(target, masking.hidden))
        visible = functional.mse_loss(seen.float(), take(target, masking.seen))
        loss = masked + self.settings.visible_weight * visible
        predicted = masking.restore(torch.cat([seen, hidden], dim=1)) if full else None
        return MaeOutput(
            latent=latent,
            mask=masking.mask(),
            reconstruction=predicted,
            target=target if full else None,
            losses={"loss": loss, "masked_mse": masked, "visible_mse": visible},
        )

    def unpatch(
        self, patches: Float[Tensor, "b p n"], grid: tuple[int, int] | None = None
    ) -> Float[Tensor, "b c y x"]:
        """Return the log power in the lowest band as images with one pixel per patch."""
        powers = self.decoder.energies.powers(patches)
        return powers.transpose(1, 2).unflatten(2, grid or self.encoder.grid)

    def embedding_flops(self) -> int:
        """Return the FLOPs of embedding one crop of the settings' size."""
        return self.encoder.flops(self.settings.patches)

    def training_flops(self) -> int:
        """Return the FLOPs of one crop in a training step, forward and backward, with its targets.

        Hidden patches count only in layers that process their tokens.
        """
        patches = self.settings.patches
        kept = kept_patches(patches, self.settings.mask_ratio)
        forward = self.encoder.flops(kept) + self.decoder.flops(patches, kept, patches - kept)
        forward += 2 * count_weights(self.decoder.visible) * kept
        # Pixels and targets need no gradient.
        once = (
            self.decoder.energies.flops(patches)
            - 2 * count_weights(self.encoder.patch_embed) * kept
        )
        return 3 * forward + once
