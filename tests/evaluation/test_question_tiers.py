"""Tiers of pairs of wells in `ask replicates`, `ask mechanisms` and `ask neighbours`."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from copairs import map as copairs_map
from sklearn.metrics import average_precision_score
from sklearn.metrics.pairwise import cosine_similarity

from phenomae.evaluation.questions.average_precision import chance_precision
from phenomae.evaluation.questions.compound_profiles import CompoundProfiles
from phenomae.evaluation.questions.mechanisms import (
    MechanismSettings,
    excluded_codes,
    match_mechanisms,
    shuffled_shares,
)
from phenomae.evaluation.questions.nearest_replicates import QUESTION as NEIGHBOURS
from phenomae.evaluation.questions.nearest_replicates import (
    NeighbourSettings,
    match_neighbours,
    shuffled_rates,
)
from phenomae.evaluation.questions.neighbours import (
    compare_with_chance,
    count_matches,
    matched_share,
    nearest_others,
)
from phenomae.evaluation.questions.perturbation_agreement import measure_agreement
from phenomae.evaluation.questions.precision_settings import PrecisionSettings
from phenomae.evaluation.questions.replicate_retrieval import measure_activity
from phenomae.maps.unit_vectors import unit_rows
from phenomae.records import WELL_COLUMNS
from phenomae.reporting.ask import ask_neighbours, ask_replicates
from phenomae.wells import Profiles, write_wells

HERE = Path("WELLS")
COLUMN = {"any": None, "other-plate": "plate", "other-batch": "batch", "other-position": "well"}
TIERS = tuple(COLUMN)
ALL = pytest.mark.parametrize("tier", TIERS)


def make_wells(features: np.ndarray, **columns: list) -> Profiles:
    absent = {name: [None] * len(features) for name in WELL_COLUMNS}
    table = pl.DataFrame(absent | columns, schema=WELL_COLUMNS)
    return Profiles(table, features.astype(np.float32), "")


@pytest.fixture(scope="module")
def screen() -> Profiles:
    """Ten guides of five genes, five wells each, and 24 controls, at random on six plates.

    Guide g9 is on one plate and at one position alone.
    """
    rng = np.random.default_rng(0)
    guides = np.append(np.repeat(np.arange(10), 5), np.full(24, -1))
    plates = np.where(guides == 9, 5, rng.integers(6, size=74))
    places = np.where(guides == 9, 0, rng.integers(8, size=74))
    features = rng.normal(size=(74, 9))
    features[:50] += rng.normal(size=(5, 9))[guides[:50] // 2]
    return make_wells(
        features,
        plate=[f"P{plate}" for plate in plates],
        batch=[f"B{plate // 3}" for plate in plates],
        well=[f"A{place + 1:02d}" for place in places],
        perturbation=[f"g{guide}" if guide >= 0 else "NTC" for guide in guides],
        gene=[f"G{guide // 2}" if guide >= 0 else None for guide in guides],
        control=(guides < 0).tolist(),
    )


def groups_of(wells: Profiles, tier: str) -> np.ndarray:
    """Return what two wells of a pair may not share; in tier any, a number of their own."""
    column = COLUMN[tier]
    count = len(wells.table)
    return np.arange(count) if column is None else wells.table[column].to_numpy()


def mean_by_name(scores: dict[str, list[float]]) -> dict[str, float]:
    return {name: float(np.mean(values)) for name, values in scores.items() if values}


@ALL
def test_activity_ranks_replicates_and_controls_of_the_tier(screen, tier):
    settings = PrecisionSettings(plates="any", tiers=(tier,), draws=2)
    table = measure_activity(screen, HERE, settings)
    cosines = cosine_similarity(screen.features.astype(np.float64))
    names, groups = screen.table["perturbation"].to_numpy(), groups_of(screen, tier)
    scores: dict[str, list[float]] = {}
    chances: dict[str, list[float]] = {}
    for row in range(50):
        apart = groups != groups[row]
        same = np.flatnonzero(apart & (names == names[row]))
        controls = np.flatnonzero(apart & (names == "NTC"))
        if not len(same) or not len(controls):
            continue
        labels = [1] * len(same) + [0] * len(controls)
        score = average_precision_score(labels, cosines[row, np.append(same, controls)])
        scores.setdefault(names[row], []).append(score)
        chances.setdefault(names[row], []).append(chance_precision(len(same), len(controls)))
    assert table["tier"].unique().to_list() == [tier]
    found = dict(table.select("perturbation", "average_precision").rows())
    assert found == pytest.approx(mean_by_name(scores), abs=1e-6)
    found = dict(table.select("perturbation", "chance").rows())
    assert found == pytest.approx(mean_by_name(chances))
    assert table["rows"].to_list() == [len(scores[name]) for name in table["perturbation"]]
    assert ("g9" in scores) == (tier == "any")


@ALL
def test_activity_of_a_tier_is_what_copairs_gives(screen, tier):
    settings = PrecisionSettings(plates="any", tiers=(tier,), draws=2)
    table = measure_activity(screen, HERE, settings)
    column = COLUMN[tier]
    meta = screen.table.select("plate", "batch", "well", "perturbation").with_columns(
        reference=pl.Series([-1] * 50 + list(range(24)))
    )
    apart = [] if column is None else [column]
    scores = copairs_map.average_precision(
        meta.to_pandas(),
        screen.features.astype(np.float64),
        ["perturbation", "reference"],
        apart,
        [],
        ["perturbation", "reference", *apart],
        progress_bar=False,
    ).query("reference == -1")
    # Wells without a negative in the tier have an average precision of 1 there.
    scores = scores[scores["n_total_pairs"] > scores["n_pos_pairs"]]
    wanted = scores.dropna(subset="average_precision").groupby("perturbation")
    found = dict(table.select("perturbation", "average_precision").rows())
    assert found == pytest.approx(wanted["average_precision"].mean().to_dict(), abs=1e-6)


@ALL
def test_agreement_ranks_means_of_wells_of_one_group(screen, tier):
    settings = PrecisionSettings(plates="any", tiers=(tier,), draws=2)
    table = measure_agreement(screen, HERE, settings)
    column = COLUMN[tier]
    keyed: dict[tuple[str, str, str], list[int]] = {}
    for row, (gene, guide, group) in enumerate(
        screen.table[:50].select("gene", "perturbation", column or pl.lit("all")).iter_rows()
    ):
        keyed.setdefault((gene, guide, group), []).append(row)
    keys = list(keyed)
    means = np.stack([screen.features[rows].astype(float).mean(axis=0) for rows in keyed.values()])
    cosines = cosine_similarity(means)
    scores: dict[str, list[float]] = {}
    for row, (gene, guide, group) in enumerate(keys):
        # In tier any, all profiles share the group "all".
        allowed = [at for at, key in enumerate(keys) if column is None or key[2] != group]
        same = [at for at in allowed if keys[at][0] == gene and keys[at][1] != guide]
        others = [at for at in allowed if keys[at][0] != gene]
        if same and others:
            labels = [1] * len(same) + [0] * len(others)
            score = average_precision_score(labels, cosines[row, same + others])
            scores.setdefault(gene, []).append(score)
    found = dict(table.select("gene", "average_precision").rows())
    assert found == pytest.approx(mean_by_name(scores), abs=1e-6)
    assert table["rows"].to_list() == [len(scores[name]) for name in table["gene"]]


@ALL
def test_neighbours_are_those_of_the_tier(screen, tier):
    table = match_neighbours(screen, HERE, NeighbourSettings(tiers=(tier,), shuffle=400))
    cosines = cosine_similarity(screen.features[:50].astype(np.float64))
    names, groups = screen.table["perturbation"].to_numpy()[:50], groups_of(screen, tier)[:50]
    right, chances, found = [], [], {}
    for row in range(50):
        candidates = np.flatnonzero(groups != groups[row])
        same = names[candidates] == names[row]
        if same.any():
            nearest = candidates[cosines[row, candidates].argmax()]
            right.append(names[nearest] == names[row])
            chances.append(same.mean())
            found.setdefault(names[row], []).append(right[-1])
    row = table.row(0, named=True)
    assert row["tier"] == tier
    assert row["rate"] == pytest.approx(np.mean(right))
    assert (row["wells"], row["left_out"]) == (len(right), 50 - len(right))
    assert row["names"] == len(found)
    settings = NeighbourSettings(tiers=(tier,), shuffle=2)
    of_names = NEIGHBOURS.tables(screen, HERE, settings)["names.csv"]
    assert of_names.rows() == [
        (tier, name, len(rights), sum(rights)) for name, rights in sorted(found.items())
    ]
    # Permuted names change which wells have a replicate in the tier, and so chance, by little.
    assert row["chance"] == pytest.approx(np.mean(chances), abs=0.02)
    assert row["p"] < 0.05


def test_mechanisms_of_a_tier_leave_out_what_shares_its_group(tmp_path):
    rng = np.random.default_rng(1)
    count = 160
    columns = {
        "compound": [f"c{row % 8}" for row in range(count)],
        "concentration_um": [1.0] * count,
        "plate": [f"P{plate}" for plate in rng.integers(4, size=count)],
        "well": [f"A{place + 1:02d}" for place in rng.integers(5, size=count)],
        "control": [False] * count,
    }
    columns["batch"] = [f"B{int(plate[1]) // 2}" for plate in columns["plate"]]
    effects = np.repeat(rng.normal(size=(2, 6)), 4, axis=0)[np.arange(count) % 8]
    wells = make_wells(rng.normal(size=(count, 6)) + effects, **columns)
    path = tmp_path / "mechanisms.csv"
    path.write_text("compound,mechanism\n" + "".join(f"c{k},m{k // 4}\n" for k in range(8)))
    settings = MechanismSettings(path, tiers=TIERS, shuffle=2)
    table, confusion = match_mechanisms(wells, HERE, settings)
    assert table["tier"].to_list() == [tier for tier in TIERS for _ in range(2)]
    for row in table.iter_rows(named=True):
        column = COLUMN[row["tier"]]
        keyed: dict[tuple, list[int]] = {}
        for at in range(count):
            of_tier = None if column is None else columns[column][at]
            key = columns["compound"][at], columns["batch"][at], of_tier
            keyed.setdefault(key, []).append(at)
        keys = list(keyed)
        means = np.stack(
            [wells.features[rows].astype(float).mean(axis=0) for rows in keyed.values()]
        )
        cosines = cosine_similarity(means)
        right = []
        for one, (compound, batch, group) in enumerate(keys):
            others = [
                other
                for other, key in enumerate(keys)
                if key[0] != compound
                and (row["match"] == "nsc" or key[1] != batch)
                and (group is None or key[2] != group)
            ]
            nearest = keys[max(others, key=lambda other: cosines[one, other])]
            right.append(int(nearest[0][1]) // 4 == int(compound[1]) // 4)
        assert row["profiles"] == len(right)
        assert row["accuracy"] == pytest.approx(np.mean(right))
    # With one profile for each compound and batch, tier other-batch is what nscb is.
    by_batch = table.filter(pl.col("match") == "nsc", pl.col("tier") == "other-batch")
    nscb = table.filter(pl.col("match") == "nscb", pl.col("tier") == "any")
    assert by_batch["accuracy"].to_list() == nscb["accuracy"].to_list()
    assert confusion["tier"].unique(maintain_order=True).to_list() == list(TIERS)


def layout_screen(seed: int, column: str, count: int, plates: int) -> Profiles:
    """Return wells whose features are those of their position (or plate), and some noise.

    The perturbations, `count` of them, have two wells each. Both wells of four fifths of them share
    the position (plate). The 48 controls are at positions of their own, and evenly on the plates.
    """
    rng = np.random.default_rng([30, seed])
    one, shared = np.arange(count), np.arange(count) % 5 > 0
    free = np.arange(2 * count, 2 * count + 48)
    if column == "well":
        place = np.concatenate([one, np.where(shared, one, one + count), free])
        plate = np.append(np.arange(2 * count) // count, free % plates)
        features = rng.normal(size=(2 * count + 48, 12))[place]
    else:
        place, first = np.arange(2 * count + 48), rng.permutation(count) % plates
        other = (first + rng.integers(1, plates, size=count)) % plates
        plate = np.concatenate([first, np.where(shared, first, other), free % plates])
        features = rng.normal(size=(plates, 12))[plate]
    return make_wells(
        features + 0.3 * rng.normal(size=features.shape),
        plate=[f"P{number}" for number in plate],
        batch=[f"B{number}" for number in plate],
        well=[f"{'ABCDEFGHIJKLMNOP'[number // 24]}{number % 24 + 1:02d}" for number in place],
        perturbation=[f"g{row % count}" if row < free[0] else "NTC" for row in range(len(plate))],
        control=[row >= free[0] for row in range(len(plate))],
    )


LAYOUTS = pytest.mark.parametrize(
    ("column", "tier"), [("well", "other-position"), ("plate", "other-plate")]
)


def in_errors(values: list[float]) -> float:
    """Return the mean in standard errors."""
    return float(np.mean(values) / np.std(values, ddof=1) * np.sqrt(len(values)))


@LAYOUTS
def test_retrieval_by_layout_alone_is_at_chance_where_the_tier_leaves_it_out(column, tier):
    above: dict[str, list[float]] = {"any": [], tier: []}
    for seed in range(6):
        settings = PrecisionSettings(plates="any", tiers=("any", tier), draws=1)
        table = measure_activity(layout_screen(seed, column, 120, plates=2), HERE, settings)
        for name, rows in table.group_by("tier"):
            more = rows["average_precision"] - rows["chance"]
            above[str(name[0])].append(float(more.to_numpy().mean()))
    assert abs(in_errors(above[tier])) < 2
    # Wells of a plate are ranked first, but among the controls of the plate.
    assert np.mean(above["any"]) > (0.5 if column == "well" else 0.03)
    assert in_errors(above["any"]) > 5


@LAYOUTS
def test_neighbours_by_layout_alone_are_at_chance_where_the_tier_leaves_it_out(column, tier):
    above: dict[str, list[float]] = {"any": [], tier: []}
    for seed in range(40):
        settings = NeighbourSettings(tiers=("any", tier), shuffle=20)
        table = match_neighbours(layout_screen(seed, column, 40, plates=4), HERE, settings)
        for name, rate, chance in table.select("tier", "rate", "chance").iter_rows():
            above[name].append(rate - chance)
    assert abs(in_errors(above[tier])) < 2
    assert np.mean(above["any"]) > (0.5 if column == "well" else 0.02)
    assert in_errors(above["any"]) > 5


def test_mechanisms_by_position_alone_are_at_chance_at_other_positions(tmp_path):
    # The two compounds of a mechanism are at one position of two plates; another pair of wells of
    # theirs is elsewhere.
    path = tmp_path / "mechanisms.csv"
    path.write_text("compound,mechanism\n" + "".join(f"c{k},m{k // 2}\n" for k in range(40)))
    above: dict[str, list[float]] = {"any": [], "other-position": []}
    for seed in range(10):
        rng = np.random.default_rng([4, seed])
        places = rng.permutation(96)
        place = np.concatenate([np.repeat(places[:20], 2), places[20:60]])
        wells = make_wells(
            rng.normal(size=(96, 12))[place] + 0.3 * rng.normal(size=(80, 12)),
            plate=[f"P{row % 2}" for row in range(80)],
            # Wells of a batch are averaged: every well has its own.
            batch=[f"B{row}" for row in range(80)],
            well=[f"{'ABCDEFGH'[number // 12]}{number % 12 + 1:02d}" for number in place],
            compound=[f"c{row % 40}" for row in range(80)],
            concentration_um=[1.0] * 80,
            control=[False] * 80,
        )
        settings = MechanismSettings(path, ("nsc",), tiers=("any", "other-position"), shuffle=50)
        table = match_mechanisms(wells, HERE, settings)[0]
        for name, accuracy, chance in table.select("tier", "accuracy", "chance").iter_rows():
            above[name].append(accuracy - chance)
    assert abs(in_errors(above["other-position"])) < 2
    assert np.mean(above["any"]) > 0.4


@pytest.mark.slow
def test_p_of_neighbours_holds_under_the_null_hypothesis_in_2000_draws():
    p = []
    for draw in range(2000):
        rng = np.random.default_rng([6, draw])
        labels, apart = rng.integers(5, size=24), np.arange(24) % 3
        nearest = nearest_others(unit_rows(rng.normal(size=(24, 4))), apart)
        rate = matched_share(labels, nearest, count_matches(labels, apart) > 0)
        null = shuffled_rates(labels, apart, nearest, NeighbourSettings(shuffle=99, seed=draw))
        p.append(compare_with_chance(rate, null)[2])
    for alpha in (0.01, 0.05, 0.1, 0.5):
        error = np.sqrt(alpha * (1 - alpha) / 2000)
        assert (np.array(p) <= alpha).mean() <= alpha + 2 * error


@pytest.mark.slow
def test_p_of_mechanisms_holds_under_the_null_hypothesis_in_2000_draws():
    p = []
    for draw in range(2000):
        rng = np.random.default_rng([7, draw])
        compounds, plates = np.repeat(np.arange(12), 2), rng.integers(3, size=24)
        labels = rng.permutation(np.arange(12) // 3)
        unit = unit_rows(rng.normal(size=(24, 4)))
        single, named = np.eye(4, dtype=bool), [f"c{number}" for number in range(12)]
        profiles = CompoundProfiles(
            unit, compounds, plates, plates, labels, [*"abcd"], single, named
        )
        excluded = excluded_codes(profiles, "nsc")
        nearest, of_rows = nearest_others(unit, *excluded), labels[compounds]
        rate = matched_share(of_rows, nearest, count_matches(of_rows, *excluded) > 0)
        settings = MechanismSettings("x", shuffle=99, seed=draw)
        null = shuffled_shares(profiles, nearest, excluded, settings)
        p.append(compare_with_chance(rate, null)[2])
    for alpha in (0.01, 0.05, 0.1, 0.5):
        error = np.sqrt(alpha * (1 - alpha) / 2000)
        assert (np.array(p) <= alpha).mean() <= alpha + 2 * error


def test_turning_and_scaling_changes_nothing(screen):
    turn = 3 * np.linalg.qr(np.random.default_rng(5).normal(size=(9, 9)))[0]
    moved = Profiles(screen.table, (screen.features @ turn).astype(np.float32), "")
    settings = NeighbourSettings(tiers=TIERS, shuffle=3)
    assert match_neighbours(moved, HERE, settings).equals(match_neighbours(screen, HERE, settings))
    chosen = PrecisionSettings(plates="any", tiers=("other-plate",), draws=20)
    assert measure_activity(moved, HERE, chosen).equals(measure_activity(screen, HERE, chosen))


def test_tiers_that_leave_no_pair(screen, tmp_path):
    one = Profiles(screen.table.with_columns(batch=pl.lit("B1")), screen.features, "")
    none = Profiles(screen.table.with_columns(batch=pl.lit("")), screen.features, "")
    settings = PrecisionSettings(plates="any", tiers=("other-batch",))
    asked = NeighbourSettings(tiers=("other-batch",))
    path = tmp_path / "mechanisms.csv"
    path.write_text("compound,mechanism\n" + "".join(f"G{k},m{k % 2}\n" for k in range(5)))
    chosen = MechanismSettings(path, ("nsc",), batch="plate", tiers=("other-batch",))
    with_compounds = [
        Profiles(wells.table.with_columns(compound="gene"), wells.features, "")
        for wells in (one, none)
    ]
    asks = [
        lambda at: measure_activity((one, none)[at], HERE, settings),
        lambda at: measure_agreement((one, none)[at], HERE, settings),
        lambda at: match_neighbours((one, none)[at], HERE, asked),
        lambda at: match_mechanisms(with_compounds[at], HERE, chosen),
    ]
    for ask in asks:
        with pytest.raises(ValueError, match="WELLS: tier other-batch leaves no pair, because all"):
            ask(0)
        with pytest.raises(ValueError, match=r"WELLS has \d+ wells without a batch, which tier ot"):
            ask(1)


def test_tiers_that_have_pairs_are_reported_beside_one_that_has_none(screen, capsys):
    one = Profiles(screen.table.with_columns(batch=pl.lit("B")), screen.features, "")
    tiers = ("other-batch", "any", "other-plate")
    settings = PrecisionSettings(plates="any", tiers=tiers, draws=2)
    for measure, its in (
        (measure_activity, settings),
        (measure_agreement, settings),
        (match_neighbours, NeighbourSettings(tiers=tiers, shuffle=2)),
    ):
        table = measure(one, HERE, its)
        said = capsys.readouterr().err
        assert "no tier other-batch: WELLS: tier other-batch leaves no pair, because all" in said
        assert table["tier"].unique(maintain_order=True).to_list() == ["any", "other-plate"]


def test_tiers_that_leave_no_replicates(screen, tmp_path):
    apart = screen.table.with_columns(plate="perturbation", batch="gene")
    wells = Profiles(apart, screen.features, "")
    with pytest.raises(
        ValueError, match="tier other-plate leaves no pair, because no well has both a replicate an"
    ):
        measure_activity(
            wells, HERE, PrecisionSettings(plates="any", tiers=("other-plate",), draws=2)
        )
    with pytest.raises(
        ValueError, match="tier other-plate leaves no pair, because no two wells of a perturbation"
    ):
        match_neighbours(wells, HERE, NeighbourSettings(tiers=("other-plate",)))
    genes = apart.with_columns(batch=pl.col("gene").fill_null("control"))
    with pytest.raises(
        ValueError, match=r"no gene has two perturbations .* them with in tier other-batch; set by"
    ):
        measure_agreement(
            Profiles(genes, screen.features, ""),
            HERE,
            PrecisionSettings(plates="any", tiers=("other-batch",), draws=2),
        )
    path = tmp_path / "mechanisms.csv"
    path.write_text("compound,mechanism\n" + "".join(f"g{k},m{k // 2}\n" for k in range(10)))
    compounds = apart.with_columns(compound="perturbation", batch=pl.lit("B"), plate="gene")
    with pytest.raises(
        ValueError, match="no mechanism has two compounds in WELLS in tier other-plate, so no"
    ):
        match_mechanisms(
            Profiles(compounds.filter(~pl.col("control")), screen.features[:50], ""),
            HERE,
            MechanismSettings(path, ("nsc",), tiers=("other-plate",)),
        )


@pytest.mark.parametrize(
    ("settings", "wrong", "sentence"),
    [
        (PrecisionSettings, {"tiers": ("other-plate",)}, "tiers other-plate need plates any, so"),
        (PrecisionSettings, {"tiers": ("plate",)}, "tiers must be one of any, other-plate, other"),
        (NeighbourSettings, {"tiers": ()}, "tiers must have at least one tier, like other-plate"),
        (NeighbourSettings, {"tiers": ("any", "any")}, "tiers has any twice: give it once"),
        (NeighbourSettings, {"shuffle": 1}, "shuffle must be at least 2, not 1"),
        (NeighbourSettings, {"seed": -1}, "seed must be at least 0, not -1"),
    ],
)
def test_settings_that_will_not_do(settings, wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        settings(**wrong)
    with pytest.raises(ValueError, match="tiers must be one of any, other-plate"):
        MechanismSettings("x", tiers=("well",))


def test_commands_write_a_row_for_each_tier(screen, tmp_path, capsys):
    names = [f"x{index}" for index in range(9)]
    columns = {name: screen.features[:, index] for index, name in enumerate(names)}
    table = screen.table.with_columns(**columns).unique(["plate", "well"], maintain_order=True)
    write_wells(tmp_path / "wells", table, names)
    found = ask_neighbours(
        tmp_path / "wells", tmp_path / "n", settings=NeighbourSettings(tiers=TIERS)
    )
    assert found.to_polars("neighbours")["tier"].to_list() == list(TIERS)
    tiers = ("other-plate", "other-position")
    settings = PrecisionSettings(plates="any", tiers=tiers, draws=2)
    answer = ask_replicates(tmp_path / "wells", tmp_path / "r", settings=settings)
    rows = answer.to_polars("retrieved").select("retrieval", "tier").rows()
    assert rows == [(retrieval, tier) for retrieval in ("activity", "agreement") for tier in tiers]
    assert "other-position" in capsys.readouterr().out
