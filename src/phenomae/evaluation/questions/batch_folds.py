"""Which wells a linear probe is fitted on, which it is asked: whole batches are held out."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Int

from phenomae.evaluation.questions.replicates import places_among_alike

Codes = Int[np.ndarray, " n"]


def repeated_labels(labels: Codes, batches: Codes) -> Int[np.ndarray, " names"]:
    """Return the labels that have wells in two batches or more; -1 is none."""
    inside = labels >= 0
    pairs = np.unique(np.column_stack([labels[inside], batches[inside]]), axis=0)
    return np.flatnonzero(np.bincount(pairs[:, 0]) > 1)


def draw_wells(labels: Codes, batches: Codes, most_names: int, most_wells: int, seed: int) -> Codes:
    """Return the labels of the wells that are taken, -1 for the others.

    At most `most_names` of those in two batches or more, and alike many wells of each, of as many
    batches as can be. A function of the seed, the labels and the batches.
    """
    rng = np.random.default_rng(seed)
    names = rng.permutation(repeated_labels(labels, batches))[:most_names]
    assert len(names)
    labels = np.where(np.isin(labels, names), labels, -1)
    keys = rng.random(len(labels))
    in_batch = places_among_alike(np.lexsort([keys, batches, labels]), labels, batches)
    in_label = places_among_alike(np.lexsort([keys, in_batch, labels]), labels)
    return np.where(in_label < most_wells // len(names), labels, -1)


def deal_batches(batches: Codes, folds: int, seed: int) -> Codes:
    """Return the part of every well: batches are shuffled, then dealt to the parts in turn."""
    distinct, places = np.unique(batches, return_inverse=True)
    part_of = np.empty(len(distinct), dtype=np.int64)
    part_of[np.random.default_rng([seed, 1]).permutation(len(distinct))] = (
        np.arange(len(distinct)) % folds
    )
    return part_of[places]


def each_part(
    labels: Codes, parts: Codes
) -> Iterator[tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]]:
    """Yield the wells to fit on and the wells to ask, a part at a time, where there are any.

    A well is asked where its name is among those fitted on, which must be two or more.
    """
    for part in np.unique(parts):
        train = parts != part
        known = np.unique(labels[train])
        asked = ~train & np.isin(labels, known)
        if len(known) > 1 and asked.any():
            yield train, asked
