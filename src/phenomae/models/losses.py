"""Losses of masked autoencoders: mean squared error on masked patches, and Fourier loss."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

FourierNorm = Literal["backward", "ortho"]
"""Normalisation of the Fourier transform, as numpy and torch call it."""
_TARGET_EPS = 1e-6


def normalise_patches(patches: Float[Tensor, "b p k"]) -> Float[Tensor, "b p k"]:
    """Normalise each patch to mean 0 and variance 1 (He et al. 2022, arXiv 2111.06377, sec. 4.1).

    The variance is unbiased, and 1e-6 is added before the square root, as in the paper's code.
    """
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return (patches - mean) / (variance + _TARGET_EPS).sqrt()


def weigh_losses(
    masked_mse: Float[Tensor, ""], fourier: Float[Tensor, ""] | None, weight: float
) -> dict[str, Float[Tensor, ""]]:
    """Return `loss` = (1 - weight) MSE + weight Fourier loss, and its two terms.

    Kraus et al. 2023 (arXiv 2309.16064).
    """
    if fourier is None:
        return {"loss": masked_mse, "masked_mse": masked_mse}
    loss = (1 - weight) * masked_mse + weight * fourier
    return {"loss": loss, "masked_mse": masked_mse, "fourier": fourier}


def fourier_distance(
    rebuilt: Float[Tensor, "b c h w"],
    target: Float[Tensor, "b c h w"],
    norm: FourierNorm = "backward",
) -> Float[Tensor, ""]:
    """Return the mean absolute difference between the Fourier magnitudes of two images.

    Each channel of each crop is transformed separately. `backward` sums over pixels, so that the
    distance grows with the side of the image; `ortho` divides by the square root of the number of
    pixels, so that it does not.
    """
    # In float32, because torch has no bf16 Fourier transform.
    magnitudes = [torch.fft.fft2(image.float(), norm=norm).abs() for image in (rebuilt, target)]
    return functional.l1_loss(*magnitudes)
