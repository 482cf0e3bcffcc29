"""How sure a recall is: the genes are drawn again and again, with replacement."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float64, Int

from phenomae.evaluation.recall.cosines import Pairs

_CELLS = 1 << 22  # weights of pairs held at once: 32 MB


def resampled_recalls(
    found: Bool[np.ndarray, "pairs t"], pairs: Pairs, resamples: int, seed: int
) -> Float64[np.ndarray, "resamples t"]:
    """Return the recall among the pairs of genes drawn with replacement, once a resample.

    `found` says which pairs lie in the tails, which stay those of the whole map. A gene drawn twice
    brings its pairs twice (the pigeonhole bootstrap, Owen 2007, Ann Appl Stat): pairs that share a
    gene are not independent, and intervals that took them so would be too narrow. These are seldom
    too narrow, but up to 1.7 times too wide where no gene is in two pairs; they have no width where
    all pairs are found, or none. Resample number k depends on `seed` and k alone; one that draws no
    pair is NaN.
    """
    recalls = np.empty((resamples, found.shape[1]))
    values = found.astype(np.float64)
    for here, weights in _each_weights(pairs, resamples, seed):
        with np.errstate(invalid="ignore"):
            recalls[here] = weights @ values / weights.sum(axis=1, keepdims=True)
    return recalls


def interval(
    resampled: Float64[np.ndarray, " resamples"], confidence: float = 0.95
) -> tuple[float, float]:
    """Return the limits between which that share of the resampled numbers lies.

    What is NaN does not count; NaN where all are.
    """
    tail, known = (1 - confidence) / 2, resampled[~np.isnan(resampled)]
    if not len(known):
        return np.nan, np.nan
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def _each_weights(
    pairs: Pairs, resamples: int, seed: int
) -> Iterator[tuple[slice, Float64[np.ndarray, "some pairs"]]]:
    """Yield which resamples, and how often each pair is in them."""
    genes, places = np.unique(pairs, return_inverse=True)
    first, second = places.reshape(pairs.shape).T
    at_once = max(1, _CELLS // len(pairs))
    for start in range(0, resamples, at_once):
        numbers = range(start, min(start + at_once, resamples))
        drawn = np.stack([_draw(len(genes), [seed, number]) for number in numbers])
        yield slice(start, numbers.stop), drawn[:, first] * drawn[:, second]


def _draw(count: int, key: list[int]) -> Float64[np.ndarray, " genes"]:
    """Return how often each of `count` genes is drawn."""
    drawn: Int[np.ndarray, " draws"] = np.random.default_rng(key).integers(count, size=count)
    return np.bincount(drawn, minlength=count).astype(np.float64)
