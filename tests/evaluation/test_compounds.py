"""Compounds beside the genes they act on: which genes are asked, in what order, what chance is."""

from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from sklearn.metrics.pairwise import cosine_similarity

from phenomae.evaluation.questions.average_precision import average_precisions, chance_precision
from phenomae.evaluation.questions.compounds import (
    CompoundSettings,
    doses_of,
    draw_inactive,
    mean_over_compounds,
    rank_targets,
)
from phenomae.evaluation.questions.potencies import Targets, find_targets, read_potencies
from phenomae.maps.map import map_wells
from phenomae.maps.read import ConsensusProfiles, read_map
from phenomae.maps.settings import MapSettings
from phenomae.wells import write_wells

GENES, DOSES = Path("GENES.h5ad"), Path("DOSES.h5ad")
HEAD = "compound,gene,activity_um\n"


def make_map(features: np.ndarray, names: list[str], **obs: list) -> ConsensusProfiles:
    return ConsensusProfiles(names, features.astype(np.float32), pl.DataFrame(obs), "")


def make_doses(features: dict[tuple[str, float], np.ndarray]) -> ConsensusProfiles:
    names = [f"{compound} @ {dose} uM" for compound, dose in features]
    compounds, doses = zip(*features, strict=True)
    vectors = np.stack(list(features.values()))
    return make_map(vectors, names, compound=list(compounds), concentration_um=list(doses))


@pytest.fixture
def planted(tmp_path: Path) -> tuple[ConsensusProfiles, ConsensusProfiles, Path]:
    """60 genes; `hit` looks opposite to its two genes at 10 uM, `idle` like nothing."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(60, 100))
    genes = make_map(vectors, [f"G{row:02d}" for row in range(60)])
    doses = {
        ("hit", 1.0): rng.normal(size=100),
        ("hit", 10.0): -5 * (vectors[3] + vectors[7]),
        ("idle", 1.0): rng.normal(size=100),
        ("idle", 10.0): rng.normal(size=100),
    }
    rows = ["hit,G03,0.5", "hit,G07,1", "hit,G08,5", "hit,G09,50", "idle,G05,0.1", "gone,G06,0.1"]
    rows += [f"other,G{row},100" for row in range(10, 60)]
    path = tmp_path / "potencies.csv"
    path.write_text(HEAD + "\n".join(rows) + "\n")
    return genes, make_doses(doses), path


def test_a_planted_compound_finds_its_genes_at_the_dose_where_it_acts(planted, capsys):
    genes, doses, path = planted
    table = rank_targets(genes, doses, GENES, DOSES, CompoundSettings(path))
    assert "active and inactive genes there: 2" in capsys.readouterr().err  # gone, and other
    found = {(row[0], row[1]): row for row in table.iter_rows()}
    assert list(found) == [
        (compound, dose) for compound in ("hit", "idle") for dose in (1, 10, None)
    ]
    assert found["hit", 10][3:6] == (2, 20, 1)
    assert found["hit", None][2:6] == (True, 2, 20, 1)
    assert found["hit", 1][5] < 0.8
    assert found["idle", 1][3:5] == (1, 20)
    assert table["chance"][0] == pytest.approx(chance_precision(2, 20))
    means = mean_over_compounds(table)
    assert means.select("concentration_um", "best", "compounds").rows() == [
        (1, False, 2),
        (10, False, 2),
        (None, True, 2),
    ]
    both = [found["hit", 10][5], found["idle", 10][5]]
    assert means["average_precision"][1] == pytest.approx(np.mean(both))
    assert means["se"][1] == pytest.approx(np.std(both, ddof=1) / np.sqrt(2))
    chances = [chance_precision(2, 20), chance_precision(1, 20)]
    assert means["chance"].to_list() == pytest.approx([np.mean(chances)] * 3)


def test_each_number_is_that_of_scikit_learn_on_the_genes_that_were_drawn(planted):
    genes, doses, path = planted
    settings = CompoundSettings(path, samples=5, seed=3)
    table = rank_targets(genes, doses, GENES, DOSES, settings)
    active, inactive = [3, 7], [5, 6, 9, *range(10, 60)]  # G08 is between 1 and 10 uM
    drawn = draw_inactive("hit", Targets(np.array(active), np.array(inactive)), settings)
    cosines = np.abs(cosine_similarity(doses.features, genes.features).astype(np.float64))
    for row, scores in enumerate([cosines[0], cosines[1], cosines[:2].max(axis=0)]):
        wanted = [
            average_precision_score([1, 1] + [0] * 20, scores[[*active, *np.array(inactive)[some]]])
            for some in drawn
        ]
        assert table["average_precision"][row] == pytest.approx(np.mean(wanted))
        assert table["sd"][row] == pytest.approx(np.std(wanted, ddof=1))


def test_turning_and_scaling_both_maps_changes_nothing(planted):
    genes, doses, path = planted
    settings = CompoundSettings(path, samples=4)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(100, 100)))[0]
    moved = [
        ConsensusProfiles(one.names, 7 * one.features @ turn, one.obs, "") for one in (genes, doses)
    ]
    wanted = rank_targets(genes, doses, GENES, DOSES, settings)
    assert rank_targets(*moved, GENES, DOSES, settings).equals(wanted)


def test_random_maps_give_chance(tmp_path):
    rng = np.random.default_rng(2)
    names = [f"G{row:02d}" for row in range(80)]
    rows = [f"C{row:03d},{gene},0.5" for row in range(150) for gene in rng.permutation(names)[:4]]
    path = tmp_path / "potencies.csv"
    path.write_text(HEAD + "\n".join(rows) + "\n")
    doses = {(f"C{row:03d}", dose): rng.normal(size=20) for row in range(150) for dose in (1.0, 2)}
    settings = CompoundSettings(path, samples=20)
    genes = make_map(rng.normal(size=(80, 20)), names)
    means = mean_over_compounds(rank_targets(genes, make_doses(doses), GENES, DOSES, settings))
    # The best of doses is no easier: scores of right and wrong genes are raised alike.
    assert (means["average_precision"] - means["chance"]).abs().max() < 0.03
    assert means["chance"][0] == pytest.approx(chance_precision(4, 20))


def test_maps_of_different_features_are_not_compared(planted):
    genes, doses, path = planted
    narrow = ConsensusProfiles(doses.names, doses.features[:, :60], doses.obs, "")
    with pytest.raises(
        ValueError, match=r"GENES.h5ad has 100 features and DOSES.h5ad has 60: make bo"
    ):
        rank_targets(genes, narrow, GENES, DOSES, CompoundSettings(path))


def test_a_map_by_compound_gives_the_best_alone(planted):
    genes, doses, path = planted
    compounds = make_map(doses.features[[1, 2]], ["hit", "idle"])
    table = rank_targets(genes, compounds, GENES, DOSES, CompoundSettings(path, samples=1))
    assert table.select("compound", "concentration_um", "best", "sd").rows() == [
        ("hit", None, True, None),
        ("idle", None, True, None),
    ]
    assert doses_of(compounds)["row"].to_list() == [0, 1]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 9), st.integers(2, 20))
def test_average_precision_is_that_of_scikit_learn_ties_and_all(seed, right, wrong, values):
    rng = np.random.default_rng(seed)
    good, bad = rng.integers(values, size=right) / 4, rng.integers(values, size=(3, wrong)) / 4
    labels = [1] * right + [0] * wrong
    wanted = [average_precision_score(labels, [*good, *some]) for some in bad]
    np.testing.assert_allclose(average_precisions(good, bad), wanted)


@pytest.mark.parametrize(("right", "wrong"), [(1, 0), (1, 4), (2, 5), (3, 3), (4, 0)])
def test_chance_is_the_mean_over_all_orders_of_the_labels(right, wrong):
    scores = np.arange(right + wrong)
    wanted = [
        average_precision_score(np.isin(scores, some), scores)
        for some in combinations(scores, right)
    ]
    assert chance_precision(right, wrong) == pytest.approx(np.mean(wanted))


def test_maps_by_gene_and_by_dose_as_they_are_written(tmp_path):
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(30, 6))
    columns = {
        "plate": ["P1"] * 34,
        "well": [f"A{row + 1:02d}" for row in range(34)],
        "gene": [f"G{row:02d}" for row in range(30)] + [None] * 4,
        "compound": [None] * 30 + ["hit"] * 4,
        "concentration_um": [None] * 30 + [0.5, 0.5, 10, 10],
        "control": [False] * 34,
    }
    features = np.concatenate([vectors, np.repeat(rng.normal(size=(2, 6)), 2, axis=0)])
    features[32:] = -vectors[4]
    names = [f"f{column}" for column in range(6)]
    table = pl.DataFrame(columns).hstack(pl.DataFrame(features, schema=names))
    write_wells(tmp_path / "wells", table, names)
    paths = [tmp_path / f"{by}.h5ad" for by in ("gene", "dose")]
    for path in paths:
        chosen = MapSettings(by=path.stem, through="wells")
        map_wells(tmp_path / "wells", path, settings=chosen)
    potencies = tmp_path / "potencies.csv"
    rows = ["hit,G04,0.01", *(f"other,G{row:02d},1" for row in range(30))]
    potencies.write_text(HEAD + "\n".join(rows) + "\n")
    found = rank_targets(*map(read_map, paths), *paths, CompoundSettings(potencies))
    assert found.select("compound", "concentration_um", "best").rows() == [
        ("hit", 0.5, False),
        ("hit", 10, False),
        ("hit", None, True),
    ]
    assert found["average_precision"][1] == found["average_precision"][2] == 1


def test_genes_are_active_inactive_or_neither(tmp_path):
    path = tmp_path / "potencies.csv"
    rows = [
        "A,g1,1",
        "A,g2,1.1",
        "A,g3,10",
        "A,g4,11",
        "A,off,0.1",
        "A,g2,20",
        "B,g5,2",
        " C ,g1,.1",
    ]
    path.write_text(HEAD + "\n".join(rows) + "\n")
    table = read_potencies(path)
    assert ("A", "g2", 1.1) in table.rows()  # the lower of two
    found = find_targets(table, ["g5", "g4", "g3", "g2", "g1", "unlisted"], 1, 10)
    assert list(found) == ["A", "C"]
    assert found["A"].active.tolist() == [4]
    assert found["A"].inactive.tolist() == [0, 1]
    assert found["C"].inactive.tolist() == [0, 1, 2, 3]


def test_draws_depend_on_the_seed_and_the_name_of_the_compound(planted):
    targets = Targets(np.arange(30), np.arange(30, 120))
    settings = CompoundSettings(planted[2], samples=4)
    one = draw_inactive("A", targets, settings)
    assert one.shape == (4, 60)
    assert all(len(set(some)) == 60 for some in one.tolist())
    np.testing.assert_array_equal(one, draw_inactive("A", targets, settings))
    for name, seed in (("B", 0), ("A", 1)):
        other = draw_inactive(name, targets, CompoundSettings(planted[2], samples=4, seed=seed))
        assert not np.array_equal(other, one)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("compound,gene\nhit,G03\n", "potencies.csv lacks the columns activity_um: a table of pot"),
        (HEAD + "hit,G03,>10\n", "1 row whose activity_um is not a number above 0, the first is"),
        (HEAD + "hit,G03,0\n", "first is hit on G03: '0'"),
        (HEAD + "hit,G03\n", "first is hit on G03: None"),
        (HEAD + "hit,G03,1,2,3\n", "potencies.csv is not a readable table"),
        (HEAD + "x,G03,1\ny,G03,1\n", "none of its 2 compounds is on the map DOSES.h5ad, which"),
        (
            HEAD + "hit,TP53,1\n",
            "none of its 1 genes is on the map GENES.h5ad, which has genes l",
        ),
        (HEAD + "hit,G03,1\n", "no compound of the map has an active gene .* and 20 inact"),
    ],
)
def test_potencies_that_will_not_do(planted, text, sentence):
    planted[2].write_text(text)
    with pytest.raises(ValueError, match=sentence):
        rank_targets(*planted[:2], GENES, DOSES, CompoundSettings(planted[2]))


def test_a_missing_file_and_maps_without_directions(planted):
    genes, doses, path = planted
    with pytest.raises(ValueError, match="there is no such file of potencies"):
        read_potencies(path.with_name("absent.csv"))
    empty = ConsensusProfiles(genes.names, genes.features * 0, genes.obs, "")
    with pytest.raises(
        ValueError, match=r"GENES.h5ad has rows that .* have no cosine: G00, .* \(60 in total"
    ):
        rank_targets(empty, doses, GENES, DOSES, CompoundSettings(path))
    twice = ConsensusProfiles(["G03", *genes.names[1:]], genes.features, genes.obs, "")
    with pytest.raises(
        ValueError, match=r"GENES.h5ad has G03 more than once: expected one row per"
    ):
        rank_targets(twice, doses, GENES, DOSES, CompoundSettings(path))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"active_um": 20}, "inactive_um must be at least 20, not 10"),
        ({"active_um": 0}, "active_um must be above 0, not 0"),
        ({"min_inactive": 0}, "min_inactive must be at least 1, not 0"),
        ({"samples": 0}, "samples must be at least 1, not 0"),
    ],
)
def test_settings_that_will_not_do(tmp_path, wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        CompoundSettings(tmp_path, **wrong)
