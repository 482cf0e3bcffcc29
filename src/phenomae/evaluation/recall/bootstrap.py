"""Bootstrap confidence intervals of recall, by resampling genes and not pairs.

Pairs that share a gene are not independent, so resampling pairs would give intervals that are too
narrow. Resampling genes with replacement is the pigeonhole bootstrap (Owen 2007, Ann Appl Stat).
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float64, Int

from phenomae.evaluation.recall.cosines import Pairs

_CELLS = 1 << 22  # weights of pairs that are in memory at once: 32 MB


def resampled_recalls(
    found: Bool[np.ndarray, "pairs t"], pairs: Pairs, resamples: int, seed: int
) -> Float64[np.ndarray, "resamples t"]:
    """Return the recall in each bootstrap resample of the genes.

    `found` marks the known pairs in the tails of the cosine distribution; the tails are not
    resampled. A gene drawn twice contributes its pairs twice. Confidence intervals from these
    recalls are seldom too narrow, but up to 1.7 times too wide if no gene is in two known pairs;
    they have zero width if all known pairs are in the tails, or none. Resample k depends on `seed`
    and k alone. The recall of a resample without any known pair is NaN.
    """
    recalls = np.empty((resamples, found.shape[1]))
    values = found.astype(np.float64)
    for rows, weights in _each_weights(pairs, resamples, seed):
        with np.errstate(invalid="ignore"):  # 0 / 0 in a resample without any known pair
            recalls[rows] = weights @ values / weights.sum(axis=1, keepdims=True)
    return recalls


def interval(
    resampled: Float64[np.ndarray, " resamples"], confidence: float = 0.95
) -> tuple[float, float]:
    """Return the percentile interval of the resampled values, ignoring NaN; NaN if all are NaN."""
    tail, known = (1 - confidence) / 2, resampled[~np.isnan(resampled)]
    if not len(known):
        return np.nan, np.nan
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def _each_weights(
    pairs: Pairs, resamples: int, seed: int
) -> Iterator[tuple[slice, Float64[np.ndarray, "some pairs"]]]:
    """Yield consecutive slices of the resamples with the number of times each pair occurs."""
    genes, indices = np.unique(pairs, return_inverse=True)
    first, second = indices.reshape(pairs.shape).T
    at_once = max(1, _CELLS // len(pairs))
    for start in range(0, resamples, at_once):
        numbers = range(start, min(start + at_once, resamples))
        # One random generator per resample, so that a resample does not depend on `at_once`.
        drawn = np.stack([_draw(len(genes), [seed, number]) for number in numbers])
        # Pigeonhole bootstrap: the weight of a pair is the product of its genes' counts.
        yield slice(start, numbers.stop), drawn[:, first] * drawn[:, second]


def _draw(count: int, key: list[int]) -> Float64[np.ndarray, " genes"]:
    """Return how often each of `count` genes is drawn in one resample."""
    drawn: Int[np.ndarray, " draws"] = np.random.default_rng(key).integers(count, size=count)
    return np.bincount(drawn, minlength=count).astype(np.float64)
