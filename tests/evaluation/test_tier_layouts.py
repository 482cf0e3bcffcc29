"""Screens whose only signal is their layout: recall is at chance in the tier that leaves it out.

240 genes of four guides. Each guide has a position and a plate of a library, of which there are two
copies; the copies of a plate are of two of six batches. Profiles are a function of the position,
the plate or the batch, and noise. The genes of a complex, whose pairs are the known ones, share the
layout of some of their guides, either alone or with 76 other genes.
"""

import numpy as np
import pytest

from phenomae.evaluation.recall.mean_cosines import MeanCosines, TierPairs
from phenomae.evaluation.recall.strata import find_strata
from phenomae.evaluation.recall.tier_tables import measure_tiers
from phenomae.evaluation.recall.tiers import TierName
from phenomae.evaluation.recall.well_groups import count_wells
from phenomae.evaluation.recall.well_sums import OfWells, sum_wells
from phenomae.evaluation.settings import BenchmarkSettings
from phenomae.maps.unit_vectors import unit_rows

GENES, GUIDES, WIDTH = 240, 4, 64
LIBRARY, BATCHES, ROWS, COLUMNS = 20, 6, 16, 24
POSITIONS = ROWS * COLUMNS
TAILS = [(0.05, 0.95)]
COMPLEX = np.arange(GENES) // 4
KNOWN = np.argwhere(np.triu(COMPLEX[:, None] == COMPLEX, k=1))
TIER: dict[str, TierName] = {
    "position": "other-position",
    "smooth position": "other-position",
    "plate": "other-plate",
    "batch": "other-batch",
}


def draw_places(rng: np.random.Generator, count: int, shared: int, alike: int) -> np.ndarray:
    """Return four of `count` places for each gene, `shared` of them those of `alike` genes."""
    drawn = np.argsort(rng.random((GENES, count)), axis=1)
    common = np.repeat(drawn[::alike, :shared], alike, axis=0)
    own = [row[~np.isin(row, some)] for row, some in zip(drawn, common, strict=True)]
    return np.column_stack([common, np.stack([row[: GUIDES - shared] for row in own])])


def draw_effect(rng: np.random.Generator, signal: str) -> np.ndarray:
    """Return what each position, plate or batch adds to a profile."""
    if signal != "smooth position":
        count = {"position": POSITIONS, "plate": 2 * LIBRARY, "batch": BATCHES}[signal]
        return rng.normal(size=(count, WIDTH))
    rows, columns = np.divmod(np.arange(POSITIONS), COLUMNS)
    waves = [
        np.cos(np.pi * i * (rows + 0.5) / ROWS) * np.cos(np.pi * j * (columns + 0.5) / COLUMNS)
        for i, j in np.argwhere(np.ones((4, 4)))[1:]  # none for 0, 0, which is the mean
    ]
    sizes = [1 / (1 + i * i + j * j) for i, j in np.argwhere(np.ones((4, 4)))[1:]]
    return np.column_stack(waves) * sizes @ rng.normal(size=(len(waves), WIDTH))


def draw_screen(
    seed: int, signal: str, shared: int, alike: int, effect: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the profiles of wells, their genes, and what the tier leaves out.

    `effect` is the size of what the genes of a complex have in common.
    """
    rng = np.random.default_rng([78, seed])
    is_position = signal.endswith("position")
    plates = draw_places(rng, LIBRARY, 0 if is_position else shared, alike)
    places = draw_places(rng, POSITIONS, shared if is_position else 0, alike)
    batches = np.argsort(rng.random((LIBRARY, BATCHES)), axis=1)[:, :2]
    genes, copies = np.repeat(np.arange(GENES), 2 * GUIDES), np.tile([0, 1], GENES * GUIDES)
    plate = np.repeat(plates.ravel(), 2)
    groups = {"plate": 2 * plate + copies, "batch": batches[plate, copies]}
    group = groups.get(signal, np.repeat(places.ravel(), 2))
    profiles = draw_effect(rng, signal)[group] + 0.3 * rng.normal(size=(len(genes), WIDTH))
    profiles += effect * rng.normal(size=(GENES // 4, WIDTH))[COMPLEX[genes]]
    return unit_rows(profiles), genes, group


def measure(signal: str, screen: tuple[np.ndarray, np.ndarray, np.ndarray]) -> dict:
    """Return the rows of tier any and of that without the layout."""
    unit, genes, group = screen
    return measure_tiers_of(unit, genes, {"any": None, TIER[signal]: group}, KNOWN)


def measure_tiers_of(
    unit: np.ndarray,
    genes: np.ndarray,
    groups: dict[TierName, np.ndarray | None],
    known: np.ndarray,
) -> dict:
    """Return the row of each tier, from wells and what the tiers leave out."""
    tiers: dict[TierName, TierPairs] = {}
    counts = {tier: count_wells(genes, some, GENES) for tier, some in groups.items()}
    parts = [(np.arange(len(unit)), unit)]
    of_wells: dict[TierName, OfWells] = {
        tier: (counts[tier], some) for tier, some in groups.items()
    }
    totals, sums = sum_wells(parts, genes, of_wells, WIDTH)
    for tier in groups:
        tiers[tier] = TierPairs(counts[tier], find_strata(counts[tier], TAILS), sums[tier])
    values = MeanCosines(totals, np.bincount(genes), tiers)
    settings = BenchmarkSettings("x", wells="w", resamples=0)
    table = measure_tiers(values, {"known": known}, TAILS, settings)
    return {row["tier"]: row for row in table.iter_rows(named=True)}


def measure_screens(signal: str, shared: int, alike: int, count: int, effect: float = 0.0):
    """Return recalls in tier any, recalls without the layout, chance and the largest recall."""
    numbers = []
    for seed in range(count):
        rows = measure(signal, draw_screen(seed, signal, shared, alike, effect))
        row = rows[TIER[signal]]
        numbers.append((rows["any"]["recall"], row["recall"], row["chance"], row["max_recall"]))
    return np.transpose(numbers)


def standard_error(numbers: np.ndarray) -> float:
    return float(numbers.std(ddof=1) / np.sqrt(len(numbers)))


LAYOUTS = [
    # signal, guides with a shared place, genes that share it (a complex has four)
    ("position", 1, 4),
    ("position", 2, 4),
    ("position", 2, 80),
    ("smooth position", 2, 4),
    ("plate", 2, 4),
    ("plate", 1, 80),
    ("batch", 0, 4),
]


@pytest.mark.parametrize(("signal", "shared", "alike"), LAYOUTS)
def test_layout_alone_gives_chance_in_the_tier_without_it(signal, shared, alike):
    with_layout, recalls, chances, _ = measure_screens(signal, shared, alike, count=12)
    assert abs((recalls - chances).mean()) <= 3 * standard_error(recalls - chances)
    if (
        alike == 4 and shared
    ):  # only the genes of a complex share places, so that tier any finds these
        assert with_layout.mean() > 0.15


@pytest.mark.parametrize("layout", [("position", 2, 80), ("plate", 2, 4)])
def test_biology_is_found_in_the_tier_without_the_layout(layout):
    _, recalls, chances, largest = measure_screens(*layout, count=3, effect=0.3)
    assert (recalls > chances + 0.1).all()
    assert (recalls <= largest).all()


@pytest.mark.parametrize("tier", ["any", "other-position"])
@pytest.mark.parametrize("few", [2, 4, 6])
def test_genes_with_fewer_wells_have_recall_by_chance(few, tier):
    # Their mean cosines vary more, and only their pairs are known.
    excess = []
    for seed in range(12):
        rng = np.random.default_rng([79, seed])
        genes = np.repeat(np.arange(GENES), np.where(np.arange(GENES) < 80, few, 8))
        unit = unit_rows(rng.normal(size=(len(genes), WIDTH)))
        groups = None if tier == "any" else rng.integers(POSITIONS, size=len(genes))
        row = measure_tiers_of(unit, genes, {tier: groups}, KNOWN[KNOWN[:, 1] < 80])[tier]
        excess.append(row["recall"] - row["chance"])
    assert abs(np.mean(excess)) <= 3 * standard_error(np.array(excess))
