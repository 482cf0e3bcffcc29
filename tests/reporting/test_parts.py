"""The parts of a report: clusters and colours, comparison, losses, words."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import cdist, pdist

from phenomae.evaluation.benchmark import benchmark
from phenomae.evaluation.settings import BenchmarkSettings
from phenomae.maps.read import ConsensusProfiles, read_map
from phenomae.reporting.evidence.baselines import compare, parse_baselines
from phenomae.reporting.evidence.clusters import block_cosines, cluster_map
from phenomae.reporting.evidence.results import read_results
from phenomae.reporting.evidence.training import read_training
from phenomae.reporting.figures.curves import draw_curve, draw_loss
from phenomae.reporting.figures.recall_dots import draw_recall
from phenomae.reporting.words import shorten, signed, tails, times, with_interval
from phenomae.runs import append_log


def make_map(features: np.ndarray) -> ConsensusProfiles:
    names = [f"G{row}" for row in range(len(features))]
    return ConsensusProfiles(names, features.astype(np.float32), pl.DataFrame(), "identity")


def groups(count: int, size: int, noise: float = 0.1) -> np.ndarray:
    """Return `count` groups of `size` rows each, shuffled; row i belongs to group order[i]."""
    rng = np.random.default_rng(0)
    centres = np.repeat(rng.normal(size=(count, 24)), size, axis=0)
    return rng.permutation(centres + noise * rng.normal(size=centres.shape), axis=0)


def test_cosines_stand_in_the_order_of_scipys_own_clustering(screen):
    genes = read_map(screen.map)
    clusters = cluster_map(genes)
    distances = pdist(genes.features.astype(np.float64), "cosine")
    tree = linkage(distances, "average", optimal_ordering=True)
    assert clusters.order.tolist() == leaves_list(tree).tolist()
    np.testing.assert_allclose(clusters.tree[:, 2], tree[:, 2], atol=1e-12)
    ordered = genes.features[clusters.order].astype(np.float64)
    cosines = 1 - cdist(ordered, ordered, "cosine")
    np.testing.assert_allclose(clusters.links, np.diag(cosines, k=1), atol=1e-12)
    np.fill_diagonal(cosines, np.nan)
    np.testing.assert_allclose(clusters.cosines, cosines, atol=1e-12)
    centred = ordered - ordered.mean(axis=1, keepdims=True)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    correlations = np.corrcoef(ordered)
    np.fill_diagonal(correlations, np.nan)
    np.testing.assert_allclose(block_cosines(unit, 1), correlations, atol=1e-12)


@pytest.mark.parametrize("size", [3, 7, 13, 40])
def test_a_cell_is_the_mean_of_its_cosines_of_different_rows(size):
    unit = groups(8, 5)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    every = unit @ unit.T
    np.fill_diagonal(every, np.nan)
    cells = block_cosines(unit, size)
    edges = [*range(0, 40, size), 40]
    for row, column in np.ndindex(cells.shape):
        rows, columns = slice(*edges[row : row + 2]), slice(*edges[column : column + 2])
        values = every[rows, columns]
        mean = np.nanmean(values) if np.isfinite(values).any() else np.nan
        assert cells[row, column] == pytest.approx(mean, abs=1e-12, nan_ok=True)


def test_more_rows_than_are_clustered_stand_beside_their_likes():
    features = groups(12, 30)
    clusters = cluster_map(make_map(features), max_clustered=120, max_cells=100)
    assert sorted(clusters.order.tolist()) == list(range(360))
    assert clusters.clustered == 120
    assert clusters.rows_per_cell == 4
    assert clusters.cosines.shape == (90, 90)
    # Rows of one group are the only ones with a cosine near 1, so its rows must be neighbours.
    nearest = 1 - cdist(features, features, "cosine") > 0.9
    labels = nearest.argmax(axis=1)[clusters.order]
    assert np.count_nonzero(np.diff(labels)) == 11
    whole = cluster_map(make_map(features), max_cells=100)
    assert whole.clustered == 360
    assert np.count_nonzero(np.diff(nearest.argmax(axis=1)[whole.order])) == 11


def test_the_order_file_tells_rows_of_the_heat_map():
    clusters = cluster_map(make_map(groups(2, 5)), max_cells=4)
    table = clusters.table([f"G{row}" for row in range(10)])
    assert table["row"].to_list() == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4]
    assert table["name"].to_list() == [f"G{row}" for row in clusters.order]


def test_rows_that_are_all_alike_can_be_clustered():
    clusters = cluster_map(make_map(np.ones((6, 3))))
    np.testing.assert_allclose(clusters.cosines[~np.eye(6, dtype=bool)], 1)
    assert sorted(clusters.order.tolist()) == list(range(6))


def test_a_baseline_asked_other_percentiles_answers_from_its_curve(screen, tmp_path):
    settings = BenchmarkSettings(screen.annotations, low=(0.2,), high=(0.8,))
    benchmark(screen.map, tmp_path / "results", settings=settings)
    own = read_results(screen.results)
    other = read_results(tmp_path / "results")
    entries = compare(own, {"again": other})[0].entries
    assert [entry.name for entry in entries] == ["these features", "again", "shuffled"]
    assert entries[1].recall == entries[0].recall  # the same map, at 5 % and 5 %
    assert entries[1].difference == 0
    assert (entries[1].interval, entries[1].difference_interval) == (None, None)
    assert entries[2].difference == pytest.approx(entries[0].recall - entries[2].recall)


def test_a_baseline_that_cannot_be_compared_is_refused(screen, tmp_path):
    for name, settings in {
        "one": BenchmarkSettings(screen.annotations, low=(0.0,), high=(0.93,)),
        "two": BenchmarkSettings(screen.annotations / "complexes.csv"),
    }.items():
        benchmark(screen.map, tmp_path / name, settings=settings)
    one, two = read_results(tmp_path / "one"), read_results(tmp_path / "two")
    with pytest.raises(ValueError, match=r"baseline x has no recall .* low 0.0 and high 0.93"):
        compare(one, {"x": two})
    sources = {
        part.source: [entry.name for entry in part.entries]
        for part in compare(read_results(screen.results), {"x": two})
    }
    assert sources == {
        "signal_ing <&> more": ["these features", "shuffled"],
        "complexes": ["these features", "x", "shuffled"],
    }


def test_names_and_folders_of_baselines():
    assert parse_baselines(()) == {}
    parsed = parse_baselines(("intensity = a/b=c", "untrained=d"))
    assert parsed == {"intensity": Path("a/b=c"), "untrained": Path("d")}


def test_recall_and_curve_are_drawn_at_their_numbers(screen):
    results = read_results(screen.results)
    axes = draw_recall(results).figure.axes
    assert len(axes) == 2
    for ax, low in zip(axes, (0.05, 0.1), strict=True):
        rows = results.recall.filter(pl.col("low") == low)
        dots = next(line for line in ax.lines if line.get_label() == "these features")
        np.testing.assert_array_equal(dots.get_xdata(), rows["recall"])
        chance = next(line for line in ax.lines if line.get_label() == "chance")
        assert set(chance.get_xdata()) == {2 * low}
    (ax,) = draw_curve(results).figure.axes
    curve = pl.read_csv(screen.results / "curve.csv").filter(pl.col("source") == "complexes")
    line = next(line for line in ax.lines if line.get_label() == "complexes")
    np.testing.assert_allclose(line.get_xdata(), [0, *(2 * curve["low"])])
    np.testing.assert_array_equal(line.get_ydata(), [0, *curve["recall"]])
    diagonal = next(line for line in ax.lines if line.get_label() == "chance")
    np.testing.assert_array_equal(diagonal.get_xydata(), [[0, 0], [1, 1]])


def test_losses_are_those_of_the_log(new_run, resign):
    run = new_run()
    with open(run / "log.jsonl", "a") as file:
        file.write(json.dumps({"step": 40, "loss": 2.0}) + "\n")  # the later one counts
        file.write('{"step": 80, "loss": NaN}\n{"step": 100, "lo')
    resign(run)
    losses = read_training(run).losses
    assert list(losses) == ["training", "validation"]
    np.testing.assert_array_equal(losses["training"].steps, [20, 40, 60])
    np.testing.assert_array_equal(losses["training"].values, [1 / 20, 2, 1 / 60])
    assert losses["training"].broken == 1
    np.testing.assert_array_equal(losses["validation"].values, [1.25, 0.5])
    (ax,) = draw_loss(losses).figure.axes
    assert ax.get_yscale() == "log"
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), losses["training"].values)


def test_recall_on_the_way_is_drawn_below_the_loss(new_run, resign):
    run = new_run()
    for step, recall in ((0, 0.1), (30, 0.25), (60, 0.375)):
        append_log(run, step=step, recall=recall, recall_CORUM=0.5, recall_chance=0.1)
    resign(run)
    training = read_training(run)
    drawn = draw_loss(training.losses, training.recalls)
    loss, recall = drawn.figure.axes
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), training.losses["training"].values)
    measured, chance = recall.lines
    np.testing.assert_array_equal(measured.get_xydata(), [[0, 0.1], [30, 0.25], [60, 0.375]])
    assert list(chance.get_ydata()) == [0.1, 0.1]
    assert drawn.alt.endswith("; recall 0.375 at step 60.")
    append_log(run, step=70, recall="high", recall_chance=0.1)
    resign(run)
    with pytest.raises(ValueError, match="is damaged: expected one JSON object per line"):
        read_training(run)


def test_a_long_log_is_averaged_to_what_a_line_can_show(new_run, resign):
    run = new_run()
    records = [{"step": step, "loss": 1.0 + (step % 2)} for step in range(1, 4001)]
    (run / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    resign(run)
    (ax,) = draw_loss(read_training(run).losses).figure.axes
    steps, values = ax.lines[0].get_xydata().T
    assert len(steps) == 1000
    np.testing.assert_allclose(values, 1.5)
    np.testing.assert_allclose(steps[:2], [2.5, 6.5])


@pytest.mark.parametrize(
    ("percentiles", "words"),
    [
        ((0.05, 0.95), "lowest 5 % and highest 5 %"),
        ((0.005, 1.0), "lowest 0.5 %"),
        ((0.0, 0.9), "highest 10 %"),
        ((0.0, 1.0), "0 %"),
    ],
)
def test_percentiles_in_words(percentiles, words):
    assert tails(*percentiles).replace("\xa0", " ") == words


def test_names_and_ratios_in_words():
    assert shorten("a" * 28) == "a" * 28
    assert shorten("a" * 29) == "a" * 27 + "…"
    assert [signed(value) for value in (-0.0001, 0.12345)] == ["+0.000", "+0.123"]
    assert with_interval("+0.100", (-0.02, 0.3)).replace("\xa0", " ") == "+0.100 (-0.020 to 0.300)"
    assert with_interval("0.100", None) == "0.100"
    assert [times(ratio) for ratio in (None, 0.384, 4.26)] == ["–", "0.38 ×", "4.3 ×"]
