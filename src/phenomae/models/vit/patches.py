"""Self-standardises crops, cuts them into patches, and assembles crops from patches."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from phenomae.models.network import Pixels, full_scale

_EPS = 1e-5  # for intensities from 0 to 1; layer_norm's default


def standardise(pixels: Pixels) -> Float[Tensor, "b c h w"]:
    """Self-standardise: normalise every channel of every crop to mean 0 and (biased) variance 1.

    uint8 pixels have the range 0 to 255, float pixels 0 to 1. A constant channel becomes 0. Raises
    ValueError for pixels of any other type.
    """
    # Scaling eps instead of the pixels gives the same result and saves a pass over the pixels.
    eps = _EPS * full_scale(pixels) ** 2
    return functional.layer_norm(pixels.float(), pixels.shape[-2:], eps=eps)


def patchify(images: Float[Tensor, "b c h w"], patch_size: int) -> Float[Tensor, "b p k"]:
    """Cut crops into patches, row by row; pixels of a patch are ordered row, column, channel."""
    return rearrange(images, "b c (y i) (x j) -> b (y x) (i j c)", i=patch_size, j=patch_size)


def patchify_channels(images: Float[Tensor, "b c h w"], patch_size: int) -> Float[Tensor, "b p k"]:
    """Cut each channel into patches, channel by channel; pixels are ordered by row and column."""
    return rearrange(images, "b c (y i) (x j) -> b (c y x) (i j)", i=patch_size, j=patch_size)


def unpatch_channels(
    patches: Float[Tensor, "b p k"], grid: tuple[int, int], patch_size: int
) -> Float[Tensor, "b c h w"]:
    """Assemble crops, the inverse of `patchify_channels`; `grid` is (rows, columns) of patches."""
    return rearrange(
        patches,
        "b (c y x) (i j) -> b c (y i) (x j)",
        y=grid[0],
        x=grid[1],
        i=patch_size,
        j=patch_size,
    )


def unpatch(
    patches: Float[Tensor, "b p k"], grid: tuple[int, int], patch_size: int
) -> Float[Tensor, "b c h w"]:
    """Assemble crops, the inverse of `patchify`; `grid` is (rows, columns) of patches."""
    return rearrange(
        patches,
        "b (y x) (i j c) -> b c (y i) (x j)",
        y=grid[0],
        i=patch_size,
        j=patch_size,
    )


def patch_grid(height: int, width: int, patch_size: int) -> tuple[int, int]:
    """Return the number of rows and columns of patches in a crop.

    Raises ValueError if the patch size does not divide the sides.
    """
    if height % patch_size or width % patch_size:
        raise ValueError(
            f"crops of {height} x {width} pixels cannot be cut into patches of {patch_size}: "
            f"their sides must be multiples of {patch_size}"
        )
    return height // patch_size, width // patch_size


def sincos_positions(grid: tuple[int, int], dim: int) -> Float[Tensor, "t d"]:
    """Return the sine-cosine positions of the class token (zeros) and of every patch of a grid.

    The first half of a vector encodes the row, the second the column: sines, then cosines of
    position / 10000^(i / n), i = 0..n-1 and n = dim / 4 (Vaswani et al. 2017, section 3.5).
    """
    # In float64, so that all machines round to the same float32 table.
    rates = 10000.0 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    rows, columns = torch.meshgrid(*(torch.arange(side) for side in grid), indexing="ij")
    angles = [place.reshape(-1, 1) * rates for place in (rows, columns)]
    table = torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)
    return functional.pad(table, (0, 0, 1, 0)).float()
