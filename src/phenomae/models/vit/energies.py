"""Local energies of patches: how strong structures are and how stains coincide, but not where.

A masked autoencoder that predicts pixels has to know where the structures of a hidden patch lie,
which its neighbours rarely tell, and learns little about structures that are finer than a patch.
Energies are predictable. Targets of local gradients are due to Wei et al. 2022 (MaskFeat,
arXiv 2112.09133); here they are powers and coherences of a discrete cosine transform.
"""

from itertools import pairwise

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from scipy import fft
from torch import Tensor, nn

from phenomae.models.float64 import double
from phenomae.models.precision import without_autocast

# Added to powers, where a self-standardised channel has variance 1: far below it the logarithm
# becomes linear, so that the noise of an empty patch is not as loud as a structure.
_FLOOR = 0.1
_CONSTANT = 1e-3  # targets that vary less in the sample, such as an empty channel's, are not scaled


class LocalEnergies(nn.Module):
    """Computes the energies of patches that span all channels.

    They come from the orthonormal cosine transform of each channel of a patch. Its coefficients
    (u, v) are divided into bands by sqrt(u^2 + v^2): below 1.5, 2.5, 4.5, 8.5 and so on. Of every
    patch there is, in this order: the mean of each channel; and for each band the log power of each
    channel, log(mean squared coefficient + 0.1), and the coherence of each pair of channels, the
    mean product of their coefficients relative to the square roots of both powers (+ 0.1).
    """

    def __init__(self, channels: int, patch_size: int) -> None:
        super().__init__()
        self.channels, self.patch_size = channels, patch_size
        order, self.sizes = _order_by_band(patch_size)
        waves = np.asarray(fft.dct(np.eye(patch_size), axis=0, norm="ortho"))
        basis = torch.tensor(np.kron(waves, waves)[order], dtype=torch.float32)
        # Neither is trained nor read from files: the tables follow from the sizes.
        self.basis: Tensor
        self.register_buffer("basis", basis, persistent=False)
        self.pairs: Tensor
        pairs = torch.triu_indices(channels, channels, 1)
        self.register_buffer("pairs", pairs, persistent=False)
        self.count = channels + len(self.sizes) * (channels + pairs.shape[1])
        """Number of energies per patch."""
        self.mean: Tensor
        self.register_buffer("mean", torch.zeros(self.count))
        self.scale: Tensor
        self.register_buffer("scale", torch.ones(self.count))

    def forward(self, patches: Float[Tensor, "b p k"]) -> Float[Tensor, "b p n"]:
        """Return the energies of patches, standardised by `mean` and `scale`."""
        return (self.measure(patches) - self.mean) / self.scale

    @torch.no_grad()
    def fit(self, patches: Float[Tensor, "b p k"]) -> None:
        """Set `mean` and `scale` to the mean and standard deviation over all patches of a sample.

        They are set once, before training: statistics of a step would depend on micro-batches.
        """
        found = double(self.measure(patches)).flatten(0, 1)
        self.mean.copy_(found.mean(0))
        deviations = found.std(0, correction=0)
        self.scale.copy_(torch.where(deviations > _CONSTANT, deviations, 1.0))

    def measure(self, patches: Float[Tensor, "b p k"]) -> Float[Tensor, "b p n"]:
        """Return the energies as they are, not standardised."""
        side, channels = self.patch_size, self.channels
        # In float32: with bf16 the small powers of fine structures would lose their digits.
        with without_autocast(patches.device):
            planes = rearrange(patches.float(), "b p (k c) -> b p c k", c=channels)
            waves = planes @ self.basis.T
            found = [waves[..., 0] / side]
            for band in waves[..., 1:].split(self.sizes, dim=-1):
                found += self._band(band)
            return torch.cat(found, dim=-1)

    def _band(self, waves: Float[Tensor, "b p c n"]) -> list[Float[Tensor, "b p _n"]]:
        """Return log powers and coherences of the coefficients of one band."""
        cross = waves @ waves.transpose(-1, -2) / waves.shape[-1]
        power = cross.diagonal(dim1=-2, dim2=-1) + _FLOOR
        first, second = self.pairs
        scale = (power[..., first] * power[..., second]).rsqrt()
        return [power.log(), cross[..., first, second] * scale]

    def flops(self, patches: int) -> int:
        """Return the FLOPs of measuring one crop: the transform and the products of channels."""
        pixels = self.patch_size**2
        return 2 * patches * self.channels * pixels * (pixels + self.channels)

    def powers(self, energies: Float[Tensor, "b p n"]) -> Float[Tensor, "b p c"]:
        """Return the log power of each channel in the lowest band, from standardised energies."""
        return energies[..., self.channels : 2 * self.channels]


def _order_by_band(side: int) -> tuple[np.ndarray, list[int]]:
    """Return the order of the coefficients by band, (0, 0) first, and the size of each band."""
    rows, columns = np.mgrid[:side, :side]
    radius = np.hypot(rows, columns).ravel()
    starts = [0.5, *(2**k + 0.5 for k in range(side.bit_length()) if 2**k + 1 < side)]
    # The last band has no end: it also holds the corner, where both frequencies are high.
    edges = pairwise([*starts, np.inf])
    sizes = [int(((radius > low) & (radius < high)).sum()) for low, high in edges]
    return np.argsort(radius, kind="stable"), sizes
