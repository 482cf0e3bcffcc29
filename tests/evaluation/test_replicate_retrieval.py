"""Mean average precision beside copairs' own calls, a count by hand, and chance."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from copairs import map as copairs_map
from copairs.map.normalization import expected_ap
from copairs.matching import assign_reference_index
from scipy.stats import false_discovery_control
from sklearn.metrics import average_precision_score
from sklearn.metrics.pairwise import cosine_similarity

from phenomae.evaluation.questions.average_precision import chance_precision
from phenomae.evaluation.questions.copairs_map import load_copairs
from phenomae.evaluation.questions.perturbation_agreement import can_agree, measure_agreement
from phenomae.evaluation.questions.precision_settings import PrecisionSettings
from phenomae.evaluation.questions.replicate_retrieval import measure_activity, share_retrieved
from phenomae.records import WELL_COLUMNS
from phenomae.reporting.ask import ask_replicates
from phenomae.wells import Profiles, write_wells

HERE = Path("WELLS")


def make_wells(features: np.ndarray, **columns: list) -> Profiles:
    """Wells in turn on three plates, unless `plate` is given."""
    count = len(features)
    given = {
        "plate": [f"P{row % 3}" for row in range(count)],
        "well": [f"A{row + 1:02d}" for row in range(count)],
        "control": [False] * count,
    }
    absent = {name: [None] * count for name in WELL_COLUMNS}
    table = pl.DataFrame(absent | given | columns, schema=WELL_COLUMNS)
    return Profiles(table, features.astype(np.float32), "")


@pytest.fixture(scope="module")
def planted() -> Profiles:
    """Eight guides of four genes, six wells each, the first four of which act; 36 controls."""
    rng = np.random.default_rng(0)
    guides = [f"g{row // 6}" for row in range(48)] + [f"ntc{row % 2}" for row in range(36)]
    features = rng.normal(size=(84, 20))
    features[:24] += np.repeat(2.5 * rng.normal(size=(2, 20)), 12, axis=0)
    return make_wells(
        features,
        perturbation=guides,
        gene=[f"G{row // 12}" for row in range(48)] + ["NTC"] * 36,
        control=[False] * 48 + [True] * 36,
    )


def ask_copairs(wells: Profiles, neg_sameby: list[str], draws: int, folder: Path) -> pl.DataFrame:
    """What copairs' example of phenotypic activity does."""
    meta = pl.DataFrame(
        {
            "perturbation": wells.table["perturbation"].to_list()[:48] + ["NTC"] * 36,
            "plate": wells.table["plate"],
        }
    ).to_pandas()
    meta = assign_reference_index(meta, "perturbation == 'NTC'", reference_col="reference")
    scores = copairs_map.average_precision(
        meta,
        wells.features.astype(np.float64),
        ["perturbation", "reference"],
        [],
        neg_sameby,
        ["perturbation", "reference"],
        progress_bar=False,
    ).query("perturbation != 'NTC'")
    means = copairs_map.mean_average_precision(
        scores, ["perturbation"], draws, 0.05, 0, progress_bar=False, cache_dir=folder
    )
    return pl.from_pandas(means)


@pytest.mark.parametrize(("plates", "sameby"), [("same", ["plate"]), ("any", [])])
def test_activity_is_what_copairs_example_gives(planted, tmp_path, plates, sameby):
    table = measure_activity(planted, HERE, PrecisionSettings(plates=plates, draws=300))
    columns = "tier perturbation rows average_precision chance p p_adjusted copairs_p retrieved"
    assert table.columns == columns.split()
    wanted = ask_copairs(planted, sameby, 300, tmp_path)
    assert table["perturbation"].to_list() == wanted["perturbation"].to_list()
    found = table["average_precision"].to_numpy()
    np.testing.assert_allclose(found, wanted["mean_average_precision"], atol=1e-7)
    np.testing.assert_allclose(table["copairs_p"], wanted["p_value"])
    np.testing.assert_allclose(table["p_adjusted"], false_discovery_control(table["p"].to_numpy()))
    assert table["retrieved"].to_list() == [True] * 4 + [False] * 4
    negatives = 12 if sameby else 36
    assert table["chance"].to_list() == pytest.approx([expected_ap(5, negatives)] * 8)
    summary = share_retrieved(table).row(0, named=True)
    assert summary["names"] == 8
    assert summary["retrieved"] == 0.5
    assert summary["average_precision"] == pytest.approx(found.mean())


def test_activity_against_scikit_learn(planted):
    table = measure_activity(planted, HERE, PrecisionSettings(draws=2))
    cosines = cosine_similarity(planted.features.astype(np.float64))
    plates = np.arange(84) % 3
    scores = []
    for row in range(6):  # the wells of g0
        others = [other for other in range(6) if other != row]
        controls = [other for other in range(48, 84) if plates[other] == plates[row]]
        labels = [1] * 5 + [0] * 12
        scores.append(average_precision_score(labels, cosines[row, others + controls]))
    assert table["average_precision"][0] == pytest.approx(np.mean(scores), abs=1e-7)


def test_agreement_of_guides_against_scikit_learn(planted):
    table = measure_agreement(planted, HERE, PrecisionSettings(draws=500))
    assert table["gene"].to_list() == ["G0", "G1", "G2", "G3"]
    assert table["rows"].to_list() == [2] * 4
    means = planted.features[:48].astype(np.float64).reshape(8, 6, 20).mean(axis=1)
    cosines = cosine_similarity(means)
    for gene in range(4):
        scores = []
        for row, mate in ((2 * gene, 2 * gene + 1), (2 * gene + 1, 2 * gene)):
            others = [other for other in range(8) if other not in (row, mate)]
            scores.append(average_precision_score([1] + [0] * 6, cosines[row, [mate, *others]]))
        assert table["average_precision"][gene] == pytest.approx(np.mean(scores), abs=1e-7)
    assert table["chance"][0] == pytest.approx(chance_precision(1, 6))
    # Perfect: the guides are each other's nearest. copairs says 1 of 501, although a random pair of
    # these guides is as often as some pairs of them are.
    assert table["average_precision"][:2].to_list() == [1, 1]
    np.fill_diagonal(cosines, -1)
    nearest = cosines.argmax(axis=1)
    mutual = sum(nearest[nearest[row]] == row for row in range(8)) / 2
    share = mutual / 28  # of all pairs of guides
    error = np.sqrt(share * (1 - share) / 500)
    assert table["p"][:2].to_list() == pytest.approx([share] * 2, abs=4 * error)
    assert table["copairs_p"][:2].to_list() == pytest.approx([1 / 501] * 2)


def test_agreement_of_compounds_by_mechanism_counts_no_dose_of_the_same(tmp_path):
    rng = np.random.default_rng(1)
    compounds = [f"c{row // 4}" for row in range(24)]
    path = tmp_path / "mechanisms.csv"
    path.write_text("compound,mechanism\nc0,m0\nc1,m0\nc2,m1\nc3,m1\nc4,m2\n")
    wells = make_wells(
        rng.normal(size=(24, 6)),
        compound=compounds,
        perturbation=[f"{name} dose {row % 2}" for row, name in enumerate(compounds)],
    )
    settings = PrecisionSettings(agree="mechanism", mechanisms=path, draws=20)
    table = measure_agreement(wells, HERE, settings)
    # m2 has one compound. Each profile has two positives, and six of other mechanisms.
    assert table["mechanism"].to_list() == ["m0", "m1"]
    assert table["rows"].to_list() == [4, 4]
    assert table["chance"].to_list() == pytest.approx([chance_precision(2, 6)] * 2)
    means = wells.features.astype(np.float64).reshape(6, 2, 2, 6).mean(axis=1).reshape(12, 6)[:10]
    cosines = cosine_similarity(means)
    scores = [
        average_precision_score([1, 1] + [0] * 6, cosines[row, [*mates, *range(4, 10)]])
        for row, mates in ((0, (2, 3)), (1, (2, 3)), (2, (0, 1)), (3, (0, 1)))
    ]
    assert table["average_precision"][0] == pytest.approx(np.mean(scores), abs=1e-7)


def test_wells_without_replicates_or_without_controls_beside_them_do_not_count(capsys):
    rng = np.random.default_rng(2)
    wells = make_wells(
        rng.normal(size=(12, 4)),
        perturbation=["A"] * 4 + ["B"] + ["C"] * 2 + ["NTC"] * 5,
        plate=["P1", "P1", "P2", "P2", "P1", "P2", "P2"] + ["P1"] * 5,
        control=[False] * 7 + [True] * 5,
    )
    table = measure_activity(wells, HERE, PrecisionSettings(draws=10))
    assert table.select("perturbation", "rows").rows() == [("A", 2)]
    assert table["chance"][0] == pytest.approx(chance_precision(3, 5))
    assert "controls on their plates: 2" in capsys.readouterr().err
    table = measure_activity(wells, HERE, PrecisionSettings(draws=10, plates="any"))
    assert table.select("perturbation", "rows").rows() == [("A", 4), ("C", 2)]


def test_turning_and_scaling_changes_nothing_and_the_seed_says_all(planted):
    turn = 3 * np.linalg.qr(np.random.default_rng(3).normal(size=(20, 20)))[0]
    moved = Profiles(planted.table, (planted.features @ turn).astype(np.float32), "")
    settings = PrecisionSettings(draws=50)
    wanted = measure_activity(planted, HERE, settings)
    assert measure_activity(moved, HERE, settings).equals(wanted)
    other = measure_activity(planted, HERE, PrecisionSettings(draws=50, seed=1))
    assert other["average_precision"].equals(wanted["average_precision"])
    assert not other["p"].equals(wanted["p"])


def test_agreement_needs_two_perturbations_of_a_gene(planted):
    assert can_agree(planted, PrecisionSettings())
    alone = planted.table.with_columns(gene="perturbation")
    assert not can_agree(Profiles(alone, planted.features, ""), PrecisionSettings())
    assert not can_agree(planted, PrecisionSettings(agree="compound"))
    assert not can_agree(planted, PrecisionSettings(by="gene"))
    assert can_agree(planted, PrecisionSettings(agree="mechanism", mechanisms=HERE))


def test_an_agreement_that_is_not_asked_is_told(planted, tmp_path, capsys):
    table = planted.table.with_columns(
        perturbation="gene", well=pl.Series([f"B{row + 1:02d}" for row in range(84)])
    )
    names = [f"x{index}" for index in range(20)]
    columns = {name: planted.features[:, index] for index, name in enumerate(names)}
    write_wells(tmp_path / "wells", table.with_columns(**columns), names)
    ask_replicates(tmp_path / "wells", tmp_path / "out")
    assert "no agreement.csv: no gene has two perturbations" in capsys.readouterr().err
    ask_replicates(tmp_path / "wells", tmp_path / "genes", settings=PrecisionSettings(by="gene"))
    assert capsys.readouterr().err == ""
    assert pl.read_csv(tmp_path / "out/retrieved.csv")["retrieval"].to_list() == ["activity"]


def test_without_copairs_it_says_what_to_install(planted, monkeypatch):
    monkeypatch.setitem(sys.modules, "copairs", None)
    monkeypatch.delitem(sys.modules, "copairs.matching", raising=False)
    for measure in (measure_activity, measure_agreement, lambda *_: load_copairs()):
        with pytest.raises(ValueError, match=r"needs copairs: pip install 'phenomae\[copairs\]'"):
            measure(planted, HERE)


NORMAL = np.random.default_rng(4).normal(size=(6, 3))
PAIRS = {"perturbation": [*"AABBNN"], "control": [False] * 4 + [True] * 2}


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"perturbation": [*"AABBCC"]}, "WELLS has 0 control wells, but at least 1 are needed"),
        (PAIRS | {"perturbation": [*"ABCDNN"]}, "at most 1 well per perturbation, but at least 2"),
        (PAIRS | {"plate": [*"111122"]}, "no well with replicates is on a plate with controls"),
        ({"control": [True] * 6}, "WELLS has no treated well with a perturbation: fill the column"),
    ],
)
def test_wells_whose_activity_cannot_be_asked(columns, sentence):
    with pytest.raises(ValueError, match=sentence):
        measure_activity(make_wells(NORMAL, **columns), HERE)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"gene": [*"AABBCC"]}, "no gene has two perturbations and other perturbations to rank"),
        ({"gene": [*"AAAAAA"]}, "the perturbation 'A' has wells with two|no gene has two pert"),
        ({"gene": [*"ABCCDD"]}, "the perturbation 'A' has wells with two values of gene"),
        ({}, "no gene has two perturbations and other perturbations"),
    ],
)
def test_wells_whose_agreement_cannot_be_asked(columns, sentence):
    wells = make_wells(NORMAL, perturbation=[*"AABBCC"], **columns)
    with pytest.raises(ValueError, match=sentence):
        measure_agreement(wells, HERE)


def test_mechanisms_and_features_that_will_not_do(planted, tmp_path):
    path = tmp_path / "mechanisms.csv"
    path.write_text("compound,mechanism\nc0,m0\n")
    with pytest.raises(ValueError, match=r"mechanisms.csv: none of its compounds is in WELLS"):
        measure_agreement(planted, HERE, PrecisionSettings(agree="mechanism", mechanisms=path))
    with pytest.raises(ValueError, match="agree and by must be different columns, not both gene"):
        measure_agreement(planted, HERE, PrecisionSettings(by="gene"))
    broken = Profiles(planted.table, planted.features * np.float32(np.nan), "")
    for measure in (measure_activity, measure_agreement):
        with pytest.raises(ValueError, match="WELLS has features that are NaN, empty or infinite"):
            measure(broken, HERE)


def test_wells_without_a_cosine_are_no_perfect_replicates(planted):
    """copairs takes a cosine that is NaN for the first in every order."""
    features = planted.features.copy()
    features[6:12] = 0
    zero = replace(planted, features=features)
    with pytest.raises(ValueError, match="WELLS has 6 wells with a profile that is NaN"):
        measure_activity(zero, HERE)
    with pytest.raises(
        ValueError, match="WELLS: the mean of the wells of g1 is zero, so it has no"
    ):
        measure_agreement(zero, HERE)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"draws": 0}, "draws must be at least 1, not 0"),
        ({"level": 2}, "level must be between 0 and 1 .both excluded., not 2"),
        ({"agree": "mechanism"}, "agree mechanism needs mechanisms: name a file"),
        (
            {"mechanisms": HERE},
            "mechanisms needs agree mechanism: set agree to mechanism, or leave",
        ),
    ],
)
def test_settings_that_will_not_do(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        PrecisionSettings(**wrong)


@pytest.fixture
def guides(planted) -> Callable[..., Path]:
    """A function that writes the planted wells, with other columns, and returns their folder."""

    def write(folder: Path, **columns: object) -> Path:
        table = planted.table.with_columns(**columns)
        names = [f"f{column}" for column in range(planted.features.shape[1])]
        features = pl.DataFrame(planted.features, names, orient="row")
        write_wells(folder, pl.concat([table, features], how="horizontal"), names)
        return folder

    return write


def test_agreement_is_reported_without_activity(guides, planted, tmp_path, capsys):
    wells = guides(tmp_path / "wells", control=pl.lit(False))
    settings = PrecisionSettings(draws=20)
    answer = ask_replicates(wells, tmp_path / "out", settings=settings)
    said = capsys.readouterr().err
    assert "no activity.csv: " in said
    assert "0 control wells, but at least 1 are needed" in said
    assert answer.tables == ["agreement", "retrieved"]
    assert answer.to_polars("retrieved")["retrieval"].to_list() == ["agreement"]


def test_activity_is_reported_without_agreement(guides, planted, tmp_path, capsys):
    """The first well of a guide has another gene than its other wells."""
    first = pl.int_range(pl.len()) == 0
    wells = guides(tmp_path / "wells", gene=pl.when(first).then(pl.lit("X")).otherwise("gene"))
    settings = PrecisionSettings(draws=20)
    answer = ask_replicates(wells, tmp_path / "out", settings=settings)
    assert "no agreement.csv: " in (said := capsys.readouterr().err)
    assert "the perturbation 'g0' has wells with two values of gene" in said
    assert answer.tables == ["activity", "retrieved"]
    expected = measure_activity(planted, HERE, settings)
    assert answer.to_polars("activity").equals(expected)


def test_a_file_of_mechanisms_that_names_no_compound_is_an_error(guides, tmp_path):
    path = tmp_path / "mechanisms.csv"
    path.write_text("compound,mechanism\nc0,m0\n")
    settings = PrecisionSettings(agree="mechanism", mechanisms=path)
    wells = guides(tmp_path / "wells")
    with pytest.raises(ValueError, match=r"mechanisms.csv: none of its compounds is in"):
        ask_replicates(wells, tmp_path / "out", settings=settings)
    assert not list(tmp_path.glob("out*"))


def test_neither_is_an_error_with_both_reasons(guides, tmp_path):
    first = pl.int_range(pl.len()) == 0
    gene = pl.when(first).then(pl.lit("X")).otherwise("gene")
    wells = guides(tmp_path / "wells", gene=gene, control=pl.lit(False))
    sentence = r"no activity.csv: .* 0 control wells, .*; no agreement.csv: .* two values of gene"
    with pytest.raises(ValueError, match=sentence):
        ask_replicates(wells, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))
