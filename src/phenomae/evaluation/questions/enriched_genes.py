"""Are the known partners of a gene enriched among the genes most similar to it? As in MorphoHELM.

MorphoHELM (Lu et al. 2026, arXiv 2605.15383, appendix A.2 and A.3) ranks all other genes by their
cosine with a query gene, and compares the top of the ranking with the rest in a 2 x 2 table.
"""

from collections.abc import Sequence
from fractions import Fraction
from functools import partial

import numpy as np
from jaxtyping import Bool, Int

from phenomae.evaluation.questions.odds import Tables
from phenomae.evaluation.recall.cosines import Pairs, Unit
from phenomae.evaluation.recall.tiles import SIDE, Strip, run_strips

_ROWS = 64  # rows of a tile: 9 MB for 17,000 genes, of which each core has two at a time
Found = tuple[Int[np.ndarray, "t rows"], Bool[np.ndarray, "t some"]]


def partners(pairs: Pairs) -> Pairs:
    """Return each pair in both directions, sorted by the first row: queries and their partners."""
    both = np.concatenate([pairs, pairs[:, ::-1]])
    return both[np.lexsort((both[:, 1], both[:, 0]))]


def top_size(others: int, top: float) -> int:
    """Return how many of the other genes are the top of a ranking: at least one."""
    return max(1, int(Fraction(str(float(top))) * others))


def rank_genes(unit: Unit, tops: Sequence[float], sets: Sequence[Pairs]) -> list[list[Tables]]:
    """Return the 2 x 2 tables of all genes, for each set of known pairs and fraction of the genes.

    A gene without a known pair has a table without known pairs. If the cosine at the end of the top
    is there more than once, the top has fewer genes.
    """
    queries = [partners(known) for known in sets]
    both = np.concatenate(queries)
    # By strip of rows, so that every strip finds its queries as one slice.
    order = np.argsort(both[:, 0], kind="stable")
    sizes = [top_size(len(unit) - 1, top) for top in tops]
    work = partial(_look, both[order], sizes)
    strips = list(run_strips(len(unit), partial(_rows, unit), work, "neighbours"))
    counts = np.concatenate([counts for counts, _ in strips], axis=1)
    found = np.empty((len(tops), len(both)), dtype=bool)
    found[:, order] = np.concatenate([marks for _, marks in strips], axis=1)
    ends = np.cumsum([len(known) for known in queries])[:-1]
    of_sets = zip(queries, np.split(found, ends, axis=1), strict=True)
    return [
        [_tables(known[:, 0], marks, in_top) for marks, in_top in zip(of_set, counts, strict=True)]
        for known, of_set in of_sets
    ]


def _rows(unit: Unit, first: int) -> Strip:
    """Yield the cosines of some rows with all rows, in tiles that are as wide as the map."""
    last = min(first + SIDE, len(unit))
    for start in range(first, last, _ROWS):
        yield start, 0, unit[start : min(start + _ROWS, last)] @ unit.T


def _look(queries: Pairs, sizes: list[int], strip: Strip) -> Found:
    """Return the size of the top of each row, and which partners are in it, for each fraction."""
    counts, marks = [], []
    for first, _, cosines in strip:
        rows = np.arange(len(cosines))
        cosines[rows, first + rows] = -np.inf  # a gene is not its own neighbour
        # The first cosine below the top; those above it are the top.
        places = [cosines.shape[1] - 1 - size for size in sizes]
        limits = np.partition(cosines, places, axis=1)[:, places].T
        low, high = np.searchsorted(queries[:, 0], [first, first + len(cosines)])
        query, partner = queries[low:high].T
        counts.append([np.count_nonzero(cosines > limit[:, None], axis=1) for limit in limits])
        marks.append(cosines[query - first, partner] > limits[:, query - first])
    return np.concatenate(counts, axis=1), np.concatenate(marks, axis=1)


def _tables(
    queries: Int[np.ndarray, " known"],
    marks: Bool[np.ndarray, " known"],
    in_top: Int[np.ndarray, " g"],
) -> Tables:
    count = len(in_top)
    known = np.bincount(queries, minlength=count)
    known_top = np.bincount(queries[marks], minlength=count)
    other_top = in_top - known_top
    return Tables(known_top, known - known_top, other_top, count - 1 - known - other_top)
