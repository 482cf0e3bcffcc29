"""Measures of one channel of a field that `ingest` does not make: spectrum and bright objects."""

import numpy as np
from jaxtyping import Float64, Int64, UInt

# Fields are cut into tiles of this side: spectra of tiles fit into the CPU's cache, and their mean
# varies less than the spectrum of the whole field (Welch 1967).
_TILE = 256


def power_slope(channel: UInt[np.ndarray, "h w"]) -> float | None:
    """Return the slope of log power over log spatial frequency; None for a constant channel.

    The power log-log slope of Field and Brady (1997), which Bray et al. (2012) use for quality
    control: about -2 for natural images, 0 for noise. The power is the mean over tiles under a Hann
    window, then over rings of one cycle per tile; rings up to the Nyquist frequency are fitted with
    equal weights.
    """
    power = _tile_power(channel)
    side = len(power)
    rows, columns = np.fft.fftfreq(side, 1 / side)[:, None], np.fft.rfftfreq(side, 1 / side)[None]
    rings = np.rint(np.hypot(rows, columns)).astype(np.int64).ravel()
    # A real spectrum is symmetric: the half that rfft leaves out equals the columns within.
    counts = np.full(power.shape, 2.0)
    counts[:, 0] = 1
    if side % 2 == 0:
        counts[:, -1] = 1
    sums = np.bincount(rings, (counts * power).ravel())
    means = (sums / np.bincount(rings, counts.ravel()))[1 : side // 2 + 1]
    if len(means) < 2 or not (means > 0).all():
        return None
    frequencies = np.arange(1, len(means) + 1)
    return float(np.polyfit(np.log(frequencies), np.log(means), 1)[0])


def _tile_power(channel: UInt[np.ndarray, "h w"]) -> Float64[np.ndarray, "t k"]:
    """Return the mean power spectrum of square tiles that cover the channel."""
    from scipy import fft  # imported here: it would delay --help

    side = min(*channel.shape, _TILE)
    window = np.outer(*[np.hanning(side).astype(np.float32)] * 2)
    tops, lefts = (_starts(length, side) for length in channel.shape)
    total = np.zeros((side, side // 2 + 1))
    for top in tops:
        for left in lefts:
            tile = channel[top : top + side, left : left + side].astype(np.float32)
            total += np.abs(np.asarray(fft.rfft2((tile - tile.mean()) * window))) ** 2
    return total / (len(tops) * len(lefts))


def _starts(length: int, side: int) -> Int64[np.ndarray, " n"]:
    """Return the first pixels of the fewest tiles that cover a length, evenly spaced."""
    return np.linspace(0, length - side, -(-length // side)).round().astype(np.int64)


def brightest_object(channel: UInt[np.ndarray, "h w"], side: int) -> int:
    """Return the highest level that all pixels of some square of `side` pixels reach.

    It is the maximum of the grey-scale opening by that square: single bright pixels and structures
    that are narrower do not count.
    """
    from scipy.ndimage import minimum_filter

    side = min(side, *channel.shape)
    # The filter extends the image at its edges by repeating pixels, which would let objects count
    # that are cut off: only squares that lie inside are taken.
    first = side // 2
    last = (side - 1) // 2
    rows, columns = (slice(first, length - last) for length in channel.shape)
    return int(minimum_filter(channel, side)[rows, columns].max())
