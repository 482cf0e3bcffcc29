"""`ask --baseline`: the same question on other features, with paired differences typed out here."""

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from phenomae.artefacts import artefact_folder
from phenomae.cli import run
from phenomae.evaluation.baseline_inputs import open_baseline_wells
from phenomae.evaluation.questions.linear_probe import LinearProbeSettings
from phenomae.evaluation.questions.unit_scores import UnitScores, resample_scores, unit_scores
from phenomae.records import WELL_COLUMNS
from phenomae.signatures import Origin
from phenomae.wells import open_wells, read_wells, write_plate, write_wells

FEATURES = [f"f{number}" for number in range(12)]
COMMANDS = {
    "mechanisms": (
        "mechanisms {0}/{2} {1} --mechanisms {0}/mechanisms.csv --tiers any other-plate "
        "--shuffle 20 --seed 5"
    ),
    "replicates": (
        "replicates {0}/{2} {1} --by guide --plates any --tiers other-plate any --draws 50 --seed 5"
    ),
    "neighbours": "neighbours {0}/{2} {1} --tiers any other-plate --shuffle 20 --seed 5",
    "signal": "signal {0}/{2} {1} --by guide --min-wells 4 --draws 50 --seed 5",
    "probe": "probe {0}/{2} {1} --by gene --seed 5",
    "complexes": (
        "complexes {0}/{2}.h5ad {1} --complexes {0}/complexes.tsv --min-genes 3 --shuffle 2 "
        "--seed 5"
    ),
    "enrichment": (
        "enrichment {0}/{2}.h5ad {1} --complexes {0}/complexes.tsv --top 0.2 0.3 --level 0.1 "
        "--min-genes 3 --shuffle 20 --resamples 0 --seed 5"
    ),
}
# The column of the score, the columns that tell rows apart, and their values in each row.
ROWS = {
    "mechanisms": (
        "accuracy",
        ["tier", "match"],
        [(tier, match) for tier in ("any", "other-plate") for match in ("nsc", "nscb")],
    ),
    "replicates": (
        "average_precision",
        ["retrieval", "tier"],
        [(asked, tier) for asked in ("activity", "agreement") for tier in ("other-plate", "any")],
    ),
    "neighbours": ("rate", ["tier"], [("any",), ("other-plate",)]),
    "signal": ("active", ["measure"], [("magnitude",), ("consistency",)]),
    "probe": ("accuracy", [], [()]),
    "complexes": ("apart", [], [()]),
    "enrichment": ("enriched", ["source", "top"], [("complexes", 0.2), ("complexes", 0.3)]),
}
PRINTED = {
    "mechanisms": "mechanisms",
    "replicates": "retrieved",
    "neighbours": "neighbours",
    "signal": "active",
    "probe": "blocks",
    "complexes": "apart",
    "enrichment": "enriched",
}
MAPS = ("complexes", "enrichment")


def make_table() -> pl.DataFrame:
    """Return four plates, each a batch: two guides of 12 genes, 6 compounds, 10 controls."""
    names = ["plate", "well", "batch", "gene", "guide", "compound", "concentration_um", "control"]
    rows = []
    for plate in ("P1", "P2", "P3", "P4"):
        things = [(f"G{g:02d}", f"G{g:02d}-{k}", None, None) for g in range(12) for k in (1, 2)]
        things += [(None, None, f"c{number}", 1.0) for number in range(6)] * 2
        things += [(None, None, None, None)] * 10
        for at, (gene, guide, compound, dose) in enumerate(things):
            well = f"{'ABCDEF'[at // 12]}{at % 12 + 1:02d}"
            control = gene is None and compound is None
            rows.append((plate, well, plate, gene, guide, compound, dose, control))
    return pl.DataFrame(rows, names, orient="row", infer_schema_length=None).with_columns(
        perturbation=pl.coalesce("guide", "compound", pl.lit("none"))
    )


def draw(table: pl.DataFrame, noise: float, seed: int) -> np.ndarray:
    """Return features in which three genes of a complex, or two compounds, have one direction."""
    axes = np.random.default_rng(0).normal(size=(7, len(FEATURES)))
    features = noise * np.random.default_rng(seed).normal(size=(len(table), len(FEATURES)))
    for row, (gene, compound) in enumerate(table.select("gene", "compound").rows()):
        if gene is not None:
            features[row] += axes[int(gene[1:]) // 3]
        if compound is not None:
            features[row] += axes[4 + int(compound[1:]) // 2]
    return features


def write(folder: Path, name: str, table: pl.DataFrame, features: np.ndarray) -> None:
    columns = pl.DataFrame(features.astype(np.float32), FEATURES)
    write_wells(folder / name, pl.concat([table, columns], how="horizontal"), FEATURES)
    words = f"map {folder / name} {folder / name}.h5ad --by gene --through wells"
    assert run(words.split()) == 0


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three kinds of features of the same wells; those of spectra are written in another order."""
    folder, table = tmp_path_factory.mktemp("screen"), make_table()
    write(folder, "trained", table, draw(table, 1.2, 1))
    order = np.random.default_rng(9).permutation(len(table))
    # The names of another plate map: those of the first input count.
    renamed = table.with_columns(guide=pl.lit("x") + pl.col("guide"))[order]
    write(folder, "spectra", renamed, draw(table, 2.0, 2)[order])
    write(folder, "in-order", table, draw(table, 2.0, 2))
    write(folder, "count", table, draw(table, 30, 3))
    acting = [f"c{number},m{number // 2}" for number in range(6)]
    (folder / "mechanisms.csv").write_text("\n".join(["compound,mechanism", *acting]) + "\n")
    genes = [" ".join(f"G{3 * k + j:02d}" for j in range(3)) for k in range(4)]
    lines = [f"complex {k}\t{its}" for k, its in enumerate(genes)]
    (folder / "complexes.tsv").write_text("\n".join(lines) + "\n")
    return folder


def ask(screen: Path, question: str, out: Path, name: str = "trained", more: str = "") -> None:
    words = COMMANDS[question].format(screen, out, name) + " " + more.format(screen)
    assert run(["ask", *words.split()]) == 0


def baselines_of(question: str, *names: str) -> str:
    suffix = ".h5ad" if question in MAPS else ""
    return "--baseline " + " ".join(f"{name}={{0}}/{name}{suffix}" for name in names)


def rows_of(table: pl.DataFrame, question: str, row: tuple) -> pl.DataFrame:
    """Return the rows of a table that have the values of a row of the answer."""
    for column, value in zip(ROWS[question][1], row, strict=True):
        if column in table.columns:
            table = table.filter(pl.col(column) == value)
    return table


def parts_of(out: Path, question: str, row: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Return numerator and denominator of the score of a row for each unit, from its table."""
    units = {
        "mechanisms": "compounds",
        "replicates": row[0] if row else "",
        "neighbours": "names",
        "signal": "signal",
        "probe": "predictions",
        "complexes": "complexes",
        "enrichment": "genes",
    }
    table = rows_of(pl.read_csv(out / f"{units[question]}.csv"), question, row)
    if question == "mechanisms":
        table = table.sort("compound")
        return table["right"].to_numpy(), table["profiles"].to_numpy()
    if question == "neighbours":
        return table["right"].to_numpy(), table["wells"].to_numpy()
    if question == "probe":
        folds = table["fold"].to_numpy()
        share = np.array([1 / (folds == fold).sum() for fold in folds])
        right = (table["name"] == table["predicted"]).to_numpy()
        names, codes = np.unique(table["name"].to_numpy(), return_inverse=True)
        sums = [np.bincount(codes, part, len(names)) for part in (right * share, share)]
        return sums[0], sums[1]
    if question == "signal":
        values = (table.sort("guide")[f"{row[0]}_p"] <= 0.05).to_numpy()
    elif question == "complexes":
        # Benjamini & Hochberg: the largest rank k with p_(k) <= k / n * level.
        p = table["ks_p"].to_numpy()
        passed = np.sort(p) <= np.arange(1, len(p) + 1) / len(p) * 0.05
        limit = np.sort(p)[passed].max() if passed.any() else -1.0
        values = (p <= limit) & (table["within"] > table["between"]).to_numpy()
    elif question == "enrichment":
        values = (table.sort("gene")["p"] <= 0.1).to_numpy()
    else:
        values = table["average_precision"].to_numpy()
    return values.astype(float), np.ones(len(values))


def draws_of(right: np.ndarray, every: np.ndarray) -> np.ndarray:
    """Return a score in 1,000 bootstrap resamples of its units, by numpy alone."""
    drawn = [
        np.random.default_rng([5, k]).integers(len(right), size=len(right)) for k in range(1000)
    ]
    return np.array([right[chosen].sum() / every[chosen].sum() for chosen in drawn])


@pytest.fixture(scope="module", params=COMMANDS)
def answer(request, screen, tmp_path_factory) -> tuple[str, Path, list[str]]:
    """A question, its answers beside baselines (all) and for each of them alone, what it prints."""
    pytest.importorskip("copairs")
    folder = tmp_path_factory.mktemp(request.param)
    for name in ("trained", "spectra", "count"):
        # Null distributions depend on the order of the wells, which is that of the first input.
        alone = "in-order" if name == "spectra" else name
        ask(screen, request.param, folder / name, alone)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        more = baselines_of(request.param, "count", "spectra")
        ask(screen, request.param, folder / "all", more=more)
    return request.param, folder, printed.getvalue().splitlines()


def test_differences_are_paired_over_the_units_of_a_question(answer):
    question, folder, printed = answer
    table = pl.read_csv(folder / "all/baselines.csv")
    score, keys, answered = ROWS[question]
    assert table.columns[: len(keys) + 1] == [*keys, "features"]
    lines = []
    for row in answered:
        rows = rows_of(table, question, row)
        assert rows["features"].to_list() == ["these features", "spectra", "count"]
        parts = [parts_of(folder / name, question, row) for name in ("trained", "spectra", "count")]
        scores = np.array([right.sum() / every.sum() for right, every in parts])
        drawn = [draws_of(*of_features) for of_features in parts]
        wanted = pl.DataFrame(
            {
                score: scores,
                **limits("ci", drawn),
                "difference": [None, *(scores[0] - scores[1:])],
                **limits("difference_ci", [None, *(drawn[0] - other for other in drawn[1:])]),
            }
        )
        for column in wanted.columns:
            np.testing.assert_allclose(
                rows[column].cast(pl.Float64), wanted[column].cast(pl.Float64), atol=1e-12
            )
        best = 1 + int(np.argmax(scores[1:]))
        lines.append((["", "spectra", "count"][best], wanted["difference_ci_low"][best]))
    best, low = lines[-1]
    if low > 0:
        assert printed[-1].startswith("learned: +")
        assert printed[-1].endswith(f"over the best feature without learning ({best})")
    else:
        assert printed[-1].startswith(f"nothing was learned beyond {best}: ")
    assert printed[-2] == (
        "missing baselines: untrained (random-network or random-network-spread or random-layer), "
        "position (position)"
    )


def limits(name: str, drawn: Sequence[np.ndarray | None]) -> dict[str, list[float | None]]:
    """Return the 95 % interval of each of several distributions, as two columns."""
    ends = [[None] * 2 if one is None else np.quantile(one, [0.025, 0.975]) for one in drawn]
    return {f"{name}_low": [low for low, _ in ends], f"{name}_high": [high for _, high in ends]}


def test_the_other_columns_and_tables_are_those_of_each_alone(answer):
    question, folder, _ = answer
    for name, label in (("trained", "these features"), ("spectra", "spectra")):
        alone = pl.read_csv(folder / name / f"{PRINTED[question]}.csv")
        table = pl.read_csv(folder / "all/baselines.csv").filter(pl.col("features") == label)
        if keys := ROWS[question][1]:
            alone, table = alone.sort(keys), table.sort(keys)
        # The interval in enriched.csv is that of the odds ratio.
        other = {"ci_low", "ci_high"} if question in MAPS else set()
        # One block is the best of one.
        left_out = {"block", "best"} if question == "probe" else set()
        assert left_out.isdisjoint(table.columns)
        for column in set(alone.columns) - other - left_out:
            if alone[column].dtype == pl.Float64:
                np.testing.assert_allclose(table[column], alone[column], rtol=1e-12)
            else:
                assert table[column].to_list() == alone[column].to_list()
    for path in (folder / "trained").glob("*.csv"):
        assert path.read_bytes() == (folder / "all" / path.name).read_bytes()


def test_matches_per_compound_are_those_of_brute_force(screen, tmp_path):
    ask(screen, "mechanisms", tmp_path / "out")
    wells = read_wells(screen / "trained")
    keys = wells.table.select("compound", "batch").rows()
    profiles = {
        key: wells.features[[other == key for other in keys]].astype(float).mean(axis=0)
        for key in sorted({key for key in keys if key[0] is not None})
    }
    cosines = cosine_similarity(list(profiles.values()))
    names = list(profiles)
    found = pl.read_csv(tmp_path / "out/compounds.csv")
    for match in ("nsc", "nscb"):
        right = dict.fromkeys(sorted({compound for compound, _ in names}), 0)
        for one, (compound, batch) in enumerate(names):
            allowed = [
                other
                for other, (its, of_batch) in enumerate(names)
                if its != compound and (match == "nsc" or of_batch != batch)
            ]
            nearest = names[max(allowed, key=lambda other: cosines[one, other])][0]
            right[compound] += int(nearest[1:]) // 2 == int(compound[1:]) // 2
        rows = found.filter((pl.col("tier") == "any") & (pl.col("match") == match))
        assert dict(rows.select("compound", "right").rows()) == right
        assert rows["profiles"].to_list() == [4] * 6
        assert rows["mechanism"].to_list() == [f"m{number // 2}" for number in range(6)]


def test_an_answer_with_baselines_is_made_once_and_is_other_work(screen, tmp_path, capsys, resign):
    more = baselines_of("mechanisms", "spectra")
    ask(screen, "mechanisms", tmp_path / "out", more=more)
    first = capsys.readouterr().out
    ask(screen, "mechanisms", tmp_path / "out", more=more)
    again = capsys.readouterr()
    assert again.out == first
    assert "already there" in again.err
    words = COMMANDS["mechanisms"].format(screen, tmp_path / "out", "trained").split()
    assert run(["ask", *words]) == 1
    assert "another source: baseline spectra" in capsys.readouterr().err
    found = json.loads((tmp_path / "out/learned.json").read_text())
    assert found["kinds"] == {"spectra": "hand-made"}
    rows = [(one["tier"], one["match"]) for one in found["learned"]]
    assert rows == ROWS["mechanisms"][2]
    assert found["line"] == found["learned"][-1]["line"]
    (tmp_path / "out/learned.json").write_text("{}")
    resign(tmp_path / "out")
    assert run(["ask", *words, *more.format(screen).split()]) == 1
    assert "learned.json was made by an earlier version of phenomae: make" in (
        capsys.readouterr().err
    )


def test_a_recipe_names_baselines(screen, tmp_path, capsys):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f'[ask.mechanisms]\nmechanisms = "{screen}/mechanisms.csv"\nshuffle = 5\n'
        f'baseline = ["spectra={screen}/spectra", "trained-other={screen}/count"]\n'
    )
    words = f"ask mechanisms {screen}/trained {tmp_path}/out --config {recipe}"
    assert run(words.split()) == 0
    assert "(spectra)" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    ("question", "baseline", "sentence"),
    [
        (
            "probe",
            "spectra",
            "baseline must be NAME=WELLS, like spectra=spectra-wells, not spectra",
        ),
        ("complexes", "spectra", "baseline must be NAME=MAP, like spectra=spectra.h5ad, not spect"),
        ("mechanisms", "a={0}/count a={0}/spectra", "baseline a is repeated: give every baseline"),
        ("signal", "a={0}/none", "none holds no wells: there is nothing of that name"),
        ("complexes", "a={0}/none.h5ad", "none.h5ad is not a map: there is no file of that name"),
        (
            "replicates",
            "a={0}/few",
            "few) has other wells than {0}/trained: it lacks 46, like P1 A01; make both from the "
            "same fields",
        ),
        (
            "probe",
            "a={0}/more",
            "more) has other wells than {0}/trained: it has 46 more, like P5 A01; make",
        ),
        (
            "complexes",
            "a={0}/few-genes.h5ad",
            "has other genes than {0}/trained.h5ad: it lacks 11, like G01; make both maps",
        ),
    ],
)
def test_baselines_that_will_not_do(screen, tmp_path, capsys, question, baseline, sentence):
    pytest.importorskip("copairs")
    table = make_table()
    if not (screen / "few").exists():
        few = table.filter(pl.col("plate") != "P1")
        write(screen, "few", few, draw(few, 1, 1))
        fifth = table.filter(pl.col("plate") == "P1").with_columns(plate=pl.lit("P5"))
        more = pl.concat([table, fifth])
        write(screen, "more", more, draw(more, 1, 1))
        genes = table.filter(pl.col("gene").is_null() | (pl.col("gene") == "G00"))
        write(screen, "few-genes", genes, draw(genes, 1, 1))
    words = COMMANDS[question].format(screen, tmp_path / "out", "trained").split()
    capsys.readouterr()
    assert run(["ask", *words, "--baseline", *baseline.format(screen).split()]) == 1
    err = capsys.readouterr().err
    assert sentence.format(screen) in err
    assert len(err.strip().splitlines()) == 1
    assert not list(tmp_path.glob("out*"))


@pytest.fixture(scope="module")
def counts(screen) -> Path:
    """The number of nuclei alone: none in the wells of a compound, a guide and a control."""
    table = make_table()
    gone = ["c0", "G00-1"]
    is_gone = table.select(pl.col("compound", "guide").is_in(gone)).fill_null(False)
    first_control = (pl.col("well") == table.filter("control")["well"][0]) & (
        pl.col("plate") == "P1"
    )
    empty = is_gone.select(pl.any_horizontal("compound", "guide")).to_series()
    empty |= table.select(first_control).to_series()
    numbers = np.random.default_rng(4).integers(50, 100, len(table))
    count = pl.Series("nuclei", np.where(empty.to_numpy(), 0, numbers).astype(np.float32))
    write_wells(screen / "raw-count", table.with_columns(count), ["nuclei"])
    words = f"correct {screen}/raw-count {screen}/corrected-count --method center-scale"
    assert run([*words.split(), "--batch", "plate"]) == 0
    return screen


@pytest.mark.parametrize(
    ("question", "wells"),
    [
        ("signal", "13 wells that are all 0 and have no cosine, first plate P1, well A01"),
        ("replicates", "5 wells that are all 0 and have no cosine, first plate P1, well A01"),
        ("neighbours", "12 wells that are all 0 and have no cosine, first plate P1, well A01"),
        ("mechanisms", "8 wells that are all 0 and have no cosine, first plate P1, well C01"),
    ],
)
def test_a_count_of_0_is_to_be_corrected_first(counts, tmp_path, capsys, question, wells):
    if question == "replicates":
        pytest.importorskip("copairs")
    words = COMMANDS[question].format(counts, tmp_path / "out", "trained").split()
    assert run(["ask", *words, "--baseline", f"count={counts}/raw-count"]) == 1
    assert capsys.readouterr().err == (
        f"phenomae: baseline count ({counts}/raw-count) has {wells}: correct these features "
        "first (phenomae correct), or leave these wells out of all features\n"
    )
    assert not list(tmp_path.glob("out*"))
    assert run(["ask", *words, "--baseline", f"count={counts}/corrected-count"]) == 0


def test_a_well_of_zeros_that_is_not_compared_will_do(counts, tmp_path):
    # The linear probe computes no cosines.
    ask(counts, "probe", tmp_path / "probe", more=f"--baseline count={counts}/raw-count")


def test_wells_of_baselines_are_finite(screen, tmp_path, capsys):
    table = make_table()
    features = draw(table, 1.0, 1)
    features[3, 2] = np.nan
    columns = pl.DataFrame(features.astype(np.float32), FEATURES)
    joined = pl.concat([table, columns], how="horizontal")
    write_wells(tmp_path / "nan", joined, FEATURES, max_missing=None)
    words = COMMANDS["probe"].format(screen, tmp_path / "out", "trained").split()
    assert run(["ask", *words, "--baseline", f"spectra={tmp_path}/nan"]) == 1
    assert "nan has features that are NaN, empty or infinite: wells P1 A04" in (
        capsys.readouterr().err
    )
    assert not list(tmp_path.glob("out*"))


def test_wells_are_matched_by_plate_and_well(tmp_path):
    for name, rows in {
        "own": [("P", "1 A01"), ("P 1", "A01")],
        "other": [("P 1", "A01"), ("P", "1 A01")],
        "fewer": [("P 1", "A01"), ("P 1", "A02")],
    }.items():
        with artefact_folder(tmp_path / name, Origin("wells", {}, {}), overwrite=False) as folder:
            assert folder is not None
            table = pl.DataFrame(rows, ["plate", "well"], orient="row")
            empty = [pl.lit(None).alias(column) for column in WELL_COLUMNS if column not in table]
            table = table.with_columns(empty)
            for plate in table["plate"].unique():
                of_plate = table.filter(pl.col("plate") == plate)
                features = of_plate["well"].str.len_chars().to_numpy()[:, None]
                write_plate(folder, of_plate, features.astype(np.float32))
    table = open_wells(tmp_path / "own").table
    baseline = open_baseline_wells("x", tmp_path / "other", table, tmp_path / "own")
    assert baseline.read().features[:, 0].tolist() == table["well"].str.len_chars().to_list()
    with pytest.raises(ValueError, match="it lacks 1, like P 1 A01 and it has 1 more, like P 1 A0"):
        open_baseline_wells("x", tmp_path / "fewer", table, tmp_path / "own")


def test_one_baseline_may_be_a_string(screen, tmp_path):
    from phenomae.reporting.ask import ask_probe

    settings = LinearProbeSettings(by="gene")
    ask_probe(
        screen / "trained",
        tmp_path / "out",
        settings=settings,
        baseline=f"spectra={screen}/spectra",
    )
    features = pl.read_csv(tmp_path / "out/baselines.csv")["features"]
    assert features.to_list() == ["these features", "spectra"]
    with pytest.raises(ValueError, match="baseline these features is the name of another row of"):
        ask_probe(screen / "trained", tmp_path / "no", baseline=f"these features={screen}/spectra")


def test_blocks_are_compared_one_at_a_time(screen, tmp_path, capsys):
    blocks = tmp_path / "blocks"
    blocks.mkdir()
    for number in (1, 2):
        (blocks / f"block-{number:02d}").symlink_to(screen / "trained")
    words = f"ask probe {blocks} {tmp_path}/out --by gene --baseline spectra={screen}/spectra"
    assert run(words.split()) == 1
    assert (
        f"blocks has 2 blocks, but baselines are compared with one: give a block, like {blocks}"
        in capsys.readouterr().err
    )
    words = words.replace(f"probe {blocks}", f"probe {blocks}/block-02")
    assert run(words.split()) == 0


def test_a_question_without_a_score_takes_no_baseline(screen, tmp_path, capsys):
    words = f"ask compounds {screen}/trained.h5ad {screen}/trained.h5ad {tmp_path}/out"
    assert run([*words.split(), "--potencies", "p.csv", "--baseline", "a=b"]) == 2
    assert "Unknown option: --baseline" in capsys.readouterr().err
    from phenomae.reporting.ask import ask_compounds

    with pytest.raises(TypeError, match="ask_compounds takes no baseline"):
        ask_compounds("a", "b", "c", baseline=("x=y",))


def test_features_of_equal_quality_have_learned_seldom():
    # The interval is above 0 by chance in 2.5 % of screens.
    learned, units = 0, [f"u{number:03d}" for number in range(60)]
    for number in range(200):
        rng = np.random.default_rng(number)
        easy = rng.normal(size=60)
        one, other = (UnitScores(units, easy + rng.normal(size=60), np.ones(60)) for _ in range(2))
        drawn = resample_scores([one, other], 100, number)
        learned += np.quantile(drawn[:, 0] - drawn[:, 1], 0.025) > 0
    assert learned / 200 <= 0.025 + 2 * np.sqrt(0.025 * 0.975 / 200)


def test_units_are_weighted_by_their_rows():
    table = pl.DataFrame({"gene": ["b", "a", "b"], "right": [1, 0, 0], "wells": [1, 2, 3]})
    scores = unit_scores(table, "gene", total=pl.col("right"), weight=pl.col("wells"))
    assert (scores.units, scores.score) == (["a", "b"], 1 / 6)
    assert unit_scores(table, "gene", total=pl.col("right")).score == pytest.approx(1 / 3)
