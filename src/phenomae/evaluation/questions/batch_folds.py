"""Cross-validation folds of the linear probe: whole batches, plates or compounds are left out."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Int

from phenomae.evaluation.questions.replicates import rank_within

Codes = Int[np.ndarray, " n"]


def repeated_labels(labels: Codes, batches: Codes) -> Int[np.ndarray, " names"]:
    """Return the labels with wells in at least two batches; wells with label -1 are ignored."""
    # Rows are unique pairs of label and batch, so a label occurs once per batch.
    inside = labels >= 0
    pairs = np.unique(np.column_stack([labels[inside], batches[inside]]), axis=0)
    return np.flatnonzero(np.bincount(pairs[:, 0]) > 1)


def draw_wells(labels: Codes, batches: Codes, max_names: int, max_wells: int, seed: int) -> Codes:
    """Return the labels of a random subset of wells, and -1 for all other wells.

    The subset has at most `max_names` labels, all of them with wells in at least two batches, and
    at most `max_wells` wells, with the same maximum for every label; the wells of a label are
    spread over its batches. The subset depends on seed, labels and batches, but not on features, so
    that all blocks of a network are compared on the same wells.
    """
    rng = np.random.default_rng(seed)
    names = rng.permutation(repeated_labels(labels, batches))[:max_names]
    assert len(names)
    labels = np.where(np.isin(labels, names), labels, -1)
    keys = rng.random(len(labels))
    # Sorting by the rank within the batch takes the wells of a label from its batches in turn.
    in_batch = rank_within(np.lexsort([keys, batches, labels]), labels, batches)
    in_label = rank_within(np.lexsort([keys, in_batch, labels]), labels)
    return np.where(in_label < max_wells // len(names), labels, -1)


def assign_folds(batches: Codes, folds: int, seed: int) -> Codes:
    """Return the fold of every well: batches are permuted and then assigned to folds in turn."""
    distinct, indices = np.unique(batches, return_inverse=True)
    fold_of = np.empty(len(distinct), dtype=np.int64)
    # The random seed differs from that of `draw_wells`, so that the two draws are independent.
    fold_of[np.random.default_rng([seed, 1]).permutation(len(distinct))] = (
        np.arange(len(distinct)) % folds
    )
    return fold_of[indices]


def each_fold(
    labels: Codes, folds: Sequence[Codes]
) -> Iterator[tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]]:
    """Yield masks of the training wells and of the validation wells, fold by fold.

    `folds` has the folds of one or several columns, such as compounds and plates. Validation wells
    agree in all of them; training wells differ from the validation wells in every one, so that they
    share neither a compound nor a plate with them. Every well is validated at most once.

    Wells whose label no training well has are not validated. Folds with fewer
    than two training labels, or without validation wells, are skipped.
    """
    codes = np.column_stack(folds)
    for fold in np.unique(codes, axis=0):
        train = (codes != fold).all(axis=1)
        known = np.unique(labels[train])
        validation = (codes == fold).all(axis=1) & np.isin(labels, known)
        if len(known) > 1 and validation.any():
            yield train, validation
