"""Are the known partners of a gene enriched among the genes most similar to it? As in MorphoHELM.

MorphoHELM (Lu et al. 2026, arXiv 2605.15383, appendix A.2 and A.3) ranks all other genes by their
cosine with a query gene, and compares the top of the ranking with the rest in a 2 x 2 table.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from jaxtyping import Bool, Int

from phenomae.evaluation.questions.odds import Tables
from phenomae.evaluation.recall.cosines import Pairs, Unit
from phenomae.evaluation.recall.tiles import SIDE, Strip, run_pieces

_ROWS = 64  # rows of a tile: 9 MB for 17,000 genes, of which each core has two at a time
Rows = Int[np.ndarray, " k"]
Found = tuple[Int[np.ndarray, "t rows"], Bool[np.ndarray, "t some"]]


def partners(pairs: Pairs) -> Pairs:
    """Return each pair in both directions, sorted by the first row: queries and their partners."""
    both = np.concatenate([pairs, pairs[:, ::-1]])
    return both[np.lexsort((both[:, 1], both[:, 0]))]


def top_size(others: int, top: float) -> int:
    """Return how many of the other genes are the top of a ranking: at least one."""
    return max(1, int(Fraction(str(float(top))) * others))


def rank_genes(
    unit: Unit, tops: Sequence[float], sets: Sequence[Pairs]
) -> list[tuple[Rows, list[Tables]]]:
    """Return the genes of each set of known pairs, and their 2 x 2 tables for each fraction.

    If the cosine at the end of the top is there more than once, the top has fewer genes.
    """
    queries = [partners(known) for known in sets]
    both = np.concatenate(queries)
    # By gene, so that every tile finds its queries as one slice.
    order = np.argsort(both[:, 0], kind="stable")
    genes = np.unique(both[:, 0])
    sizes = [top_size(len(unit) - 1, top) for top in tops]
    firsts, sorted_queries = range(0, len(genes), SIDE), both[order]
    # Every strip is as wide as the map.
    tiles = [-(-len(unit) // SIDE)] * len(firsts)

    def look(first: int) -> Found:
        return _look(sorted_queries, genes, sizes, _rows(unit, genes, first))

    strips = list(run_pieces(firsts, look, "neighbours", tiles))
    counts = np.concatenate([counts for counts, _ in strips], axis=1)
    found = np.empty((len(tops), len(both)), dtype=bool)
    found[:, order] = np.concatenate([marks for _, marks in strips], axis=1)
    ends = np.cumsum([len(known) for known in queries])[:-1]
    ranked = []
    for known, marks in zip(queries, np.split(found, ends, axis=1), strict=True):
        own, degrees = np.unique(known[:, 0], return_counts=True)
        in_top = counts[:, np.searchsorted(genes, own)]
        # Queries are sorted by gene, so that those of a gene are adjacent.
        hits = np.add.reduceat(marks, np.cumsum(degrees) - degrees, axis=1, dtype=np.int64)
        others = len(unit) - 1
        tables = [
            Tables(hit, degrees - hit, top - hit, others - degrees - top + hit)
            for hit, top in zip(hits, in_top, strict=True)
        ]
        ranked.append((own, tables))
    return ranked


def _rows(unit: Unit, genes: Rows, first: int) -> Strip:
    """Yield the cosines of some genes with all rows, in tiles that are as wide as the map."""
    last = min(first + SIDE, len(genes))
    for start in range(first, last, _ROWS):
        yield start, 0, unit[genes[start : min(start + _ROWS, last)]] @ unit.T


def _look(queries: Pairs, genes: Rows, sizes: list[int], strip: Strip) -> Found:
    """Return the size of the top of each gene, and which partners are in it, for each fraction."""
    counts, marks = [], []
    for first, _, cosines in strip:
        own = genes[first : first + len(cosines)]
        cosines[np.arange(len(own)), own] = -np.inf  # a gene is not its own neighbour
        # The first cosine below the top; those above it are the top.
        places = [cosines.shape[1] - 1 - size for size in sizes]
        limits = np.partition(cosines, places, axis=1)[:, places].T
        low, high = np.searchsorted(queries[:, 0], [own[0], own[-1] + 1])
        query, partner = queries[low:high].T
        row = np.searchsorted(own, query)
        counts.append([np.count_nonzero(cosines > limit[:, None], axis=1) for limit in limits])
        marks.append(cosines[row, partner] > limits[:, row])
    return np.concatenate(counts, axis=1), np.concatenate(marks, axis=1)
