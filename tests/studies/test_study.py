"""The command `study`: its files, its steps, and the fit of recall over training FLOPs."""

import shlex
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr

from phenomae import cli, command_parser
from phenomae.evaluation.benchmark import benchmark
from phenomae.evaluation.settings import BenchmarkSettings
from phenomae.reporting.evidence.training_flops import read_compute
from phenomae.studies.scaling import (
    MIN_NETWORKS,
    fit_groups,
    fit_line,
    measure_recalls,
    resample_screens,
)
from phenomae.studies.steps import StudyFolder, list_recipes, list_steps
from phenomae.studies.study_file import read_study

ROOT = Path(__file__).parents[2]
STUDIES = sorted((ROOT / "studies").glob("*.toml"))
SCREEN = """
[[screen]]
name = "{name}"
genes = 24
complexes = 4
guides = 1
controls = 8
sites = 1
field_size = 64
seed = {seed}
"""
CORRECTION = """
[correct]
method = "center-scale"
batch = "plate"
[map]
by = "gene"
"""
NETWORK = """
[[network]]
name = "vit"
family = "energy-mae"
steps = [1, 20, 60]
crop_size = 64
patch_size = 16
embed_dim = 8
depth = 1
num_heads = 1
decoder_embed_dim = 8
decoder_depth = 1
decoder_num_heads = 1
crops_per_step = 4
validation_crops = 4
layer_scale = 1.0
lr = 1e-2
"""
TOY = (
    "seed = 3"
    + CORRECTION
    + "".join(SCREEN.format(name=name, seed=seed) for name, seed in (("seen", 1), ("unseen", 2)))
)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def outcome(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = cli.run([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_study_from_pixels_to_the_fit(tmp_path, capsys):
    file, out = write(tmp_path / "study.toml", TOY + NETWORK), tmp_path / "out"
    code, printed, said = outcome(capsys, "study", file, out, "--resamples", 50)
    assert code == 0, said
    networks = pl.read_csv(out / "results" / "networks.csv")
    assert networks["training"].to_list() == ["vit-1", "vit-20", "vit-60"]
    assert networks["flops"].to_list() == [
        read_compute(out / "runs" / name).flops for name in networks["training"]
    ]
    recall = pl.read_csv(out / "results" / "recall.csv")
    assert sorted(set(recall["screen"])) == ["seen", "unseen"]
    for screen, network, value in recall.iter_rows():
        assert value == recall_by_benchmark(out / screen, network, tmp_path)
    assert recall["recall"].n_unique() > 2  # otherwise maps could be mixed up
    means = dict(recall.group_by("network").agg(pl.col("recall").mean()).iter_rows())
    for row in networks.iter_rows(named=True):
        assert row["recall"] == pytest.approx(means[row["training"]])
        assert row["difference"] == pytest.approx(row["recall"] - means["vit"])
    fit = pl.read_csv(out / "results" / "fit.csv").row(0, named=True)
    log = np.log10(networks["flops"].to_numpy())
    slope, intercept = np.polyfit(log, networks["recall"].to_numpy(), 1)
    assert (fit["networks"], fit["n"]) == ("all", 3)
    assert fit["recall_per_decade"] == pytest.approx(slope)
    assert fit["intercept"] == pytest.approx(intercept)
    drawn = (out / "results" / "figures" / "scaling.svg").read_text()
    assert "same network at random" in drawn
    assert "rank_correlation" in printed

    # A study that goes on makes what is missing, and the rest is left alone.
    capsys.readouterr()
    lost = out / "unseen" / "map-vit-20.h5ad"
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.h5ad")}
    content = lost.read_bytes()
    lost.unlink()
    assert outcome(capsys, "study", file, out, "--resamples", 50)[:2] == (0, printed)
    after = {path: path.stat().st_mtime_ns for path in out.rglob("*.h5ad")}
    assert [path for path in before if after[path] != before[path]] == [lost]
    assert lost.read_bytes() == content

    # Another setting of a network is another network: nothing that was made is replaced.
    recipes = {path: path.read_bytes() for path in out.rglob("*.toml")}
    for old, new, named in (
        ("depth = 1", "depth = 2", "runs/vit-1 was made from another study file"),
        ("seed = 3", "seed = 4", "runs/vit-1 was made from another study file"),
        ("genes = 24", "genes = 16", "seen/raw was made from another study file"),
        ('name = "unseen"', 'name = "other"', "results has other networks, screens or settings"),
        ("steps = [1, 20, 60]", "steps = [1, 20]", "results has other networks, screens or"),
    ):
        write(file, (TOY + NETWORK).replace(old, new, 1))
        code, _, said = outcome(capsys, "study", file, out, "--resamples", 50)
        assert code == 1
        assert named in said
        assert len(said.splitlines()) == 1
    assert recipes == {path: path.read_bytes() for path in out.rglob("*.toml")}
    write(file, TOY + NETWORK)
    code, _, said = outcome(capsys, "study", file, out, "--resamples", 60)
    assert (code, "other networks, screens or settings" in said) == (1, True)
    assert outcome(capsys, "study", file, out, "--resamples", 60, "--overwrite", "--quiet")[0] == 0


def recall_by_benchmark(screen: Path, network: str, folder: Path) -> float:
    settings = BenchmarkSettings(annotations=screen / "raw" / "relationships.csv", shuffle=0)
    results = folder / f"results-{screen.name}-{network}"
    benchmark(screen / f"map-{network}.h5ad", results, settings=settings)
    return pl.read_csv(results / "recall.csv")["recall"][0]


@pytest.mark.parametrize("file", STUDIES, ids=lambda path: path.name)
def test_the_commands_of_our_studies_parse_and_are_printed(file, tmp_path, capsys):
    study, folder = read_study(file), StudyFolder(tmp_path / "out")
    assert sum(len(network.steps) for network in study.networks) == 12
    code, printed, _ = outcome(capsys, "study", file, folder.path, "--dry-run")
    assert code == 0
    commands = [shlex.split(line)[1:] for line in printed.splitlines()]
    assert commands == list_steps(study, folder)
    assert {path.name for path in folder.path.iterdir()} == {
        "recipes",
        *(screen.name for screen in study.screens),
    }
    for command in commands:
        tokens, recipe, _ = cli.split_common_flags(command)
        assert "settings" in command_parser.parse(tokens, recipe) or tokens[0] == "ingest"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "has no screen: add a table [[screen]]"),
        (SCREEN.format(name="a", seed=1), "has no network: add a table [[network]]"),
        (TOY + NETWORK + "[pretrain]\n", "a study file has no pretrain: it has correct, map"),
        (TOY + NETWORK + NETWORK, "has the name vit twice"),
        (TOY + NETWORK.replace("[1, 20, 60]", "[4, 4]"), "steps of network vit must be a list of"),
        (TOY + NETWORK.replace("[1, 20, 60]", "0"), "steps of network vit must be a list of"),
        (TOY + NETWORK.replace("[1, 20, 60]", "true"), "steps of network vit must be a list of"),
        (
            TOY + NETWORK + "overwrite = true\n",
            "network vit has 'overwrite', which a study does not",
        ),
        (TOY + NETWORK + "recipe = 3\n", "recipe must be a path, not 3"),
        (TOY + NETWORK.replace("crop_size = 64", "crop_size = 50"), "vit-1: crop_size must be"),
        (
            TOY.replace("complexes = 4", "complexes = 40") + NETWORK,
            "seen: complexes must be from 1",
        ),
        (TOY.replace('"unseen"', '"results"') + NETWORK, "results is a folder of the study"),
        ("network = [1]\n" + TOY, "has no network: add a table [[network]]"),
        (TOY + NETWORK.replace("energy-mae", "mae"), "family of network vit must be vit-mae"),
        (TOY + NETWORK.replace('"vit"', '"../vit"'), "name of a network must be letters"),
        (TOY + NETWORK + "dept = 2\n", "there is no setting 'dept': did you mean depth?"),
        (TOY + NETWORK + "embed = 8\n", "embed of network vit must be a table"),
        (TOY + NETWORK + "embed = { turn = 8 }\n", "'turn': did you mean turns?"),
        (TOY + NETWORK + 'recipe = "absent.toml"\n', "there is no such recipe file"),
        (
            TOY.replace("seed = 3", "seed = 'a'") + NETWORK,
            "seed must be a whole number of at least",
        ),
        (TOY + '[[screen]]\nname = "mine"\nstore = "s"\n' + NETWORK, "has a store but no annot"),
        ("seed = ", "is not TOML"),
    ],
)
def test_a_study_file_that_cannot_be_used(text, sentence, tmp_path, capsys):
    file, out = write(tmp_path / "study.toml", text), tmp_path / "out"
    code, _, said = outcome(capsys, "study", file, out)
    assert code == 1
    assert sentence in said
    assert len(said.splitlines()) == 1
    assert not out.exists()


def test_a_screen_that_is_not_there_is_told_before_the_first_step(tmp_path, capsys):
    screen = '[[screen]]\nname = "mine"\nstore = "absent"\nannotations = "pairs.csv"\n'
    file = write(tmp_path / "study.toml", CORRECTION + screen + NETWORK)
    code, _, said = outcome(capsys, "study", file, tmp_path / "out")
    assert code == 1
    assert f"{tmp_path / 'absent'}" in said
    assert not (tmp_path / "out").exists()


def test_a_step_that_fails_is_named(tmp_path, capsys):
    network = NETWORK.replace("[1, 20, 60]", "[1]") + 'embed = { where = "dose > 1" }\n'
    file = write(tmp_path / "study.toml", TOY + network)
    code, _, said = outcome(capsys, "study", file, tmp_path / "out", "--quiet")
    assert code == 1
    assert "store has no column 'dose'" in said
    assert "step 6 of 17 failed (phenomae embed" in said


def test_networks_may_have_seeds_of_their_own(tmp_path):
    other = NETWORK.replace('"vit"', '"other"') + "seed = 7\n"
    study = read_study(write(tmp_path / "study.toml", TOY + NETWORK + other))
    folder = StudyFolder(tmp_path / "out")
    recipes = list_recipes(study, folder)
    seeds = [
        recipes[folder.recipe(name)]["pretrain"]["energy-mae"]["seed"]
        for name in ("vit-1", "other-1")
    ]
    assert seeds == [3, 7]
    at_random = [
        step for step in list_steps(study, folder) if step[0] == "embed" and "--seed" in step
    ]
    assert {step[-1] for step in at_random} == {"3", "7"}


def test_paths_of_a_study_file_start_at_its_folder(tmp_path):
    network = NETWORK + 'sample_by = "weights.csv"\n'
    study = read_study(write(tmp_path / "study.toml", TOY + network))
    assert study.networks[0].settings["sample_by"] == str(tmp_path / "weights.csv")


def test_fits_agree_with_numpy_and_scipy():
    rng = np.random.default_rng(0)
    flops, recall = 10 ** rng.uniform(9, 13, 6), rng.uniform(0, 1, (4, 6))
    slopes, intercepts = fit_line(flops, recall)
    expected = np.polyfit(np.log10(flops), recall.T, 1)
    np.testing.assert_allclose([slopes, intercepts], expected)

    names = [f"n{number}" for number in range(6)]
    pairs = [np.array([[0, 1], [1, 2], [3, 4], [0, 4]]), np.array([[0, 2], [1, 3], [2, 4]])]
    found = [rng.random((len(known), 6)) < 0.5 for known in pairs]
    recalls = measure_recalls(names, found, pairs, 20, seed=1)
    mean = (found[0].mean(axis=0) + found[1].mean(axis=0)) / 2
    np.testing.assert_allclose(recalls.mean, mean)
    its = dict(zip(names, flops.tolist(), strict=True))
    groups = {"all": names, "few": names[: MIN_NETWORKS - 1]}
    (row,) = fit_groups(groups, its, recalls).iter_rows(named=True)
    assert row["rank_correlation"] == pytest.approx(spearmanr(flops, mean).statistic)
    assert row["decade_ci_low"] <= row["decade_ci_high"]


def test_screens_are_drawn_with_replacement_and_genes_for_each():
    rng = np.random.default_rng(2)
    pairs = [np.array([[2 * k, 2 * k + 1] for k in range(30)]) for _ in range(4)]
    found = [rng.random((30, 1)) < share for share in (0.1, 0.3, 0.5, 0.9)]
    drawn = resample_screens(found, pairs, 4000, seed=5)[:, 0]
    shares = np.array([marks.mean() for marks in found])
    assert drawn.mean() == pytest.approx(shares.mean(), abs=0.01)
    # Disjoint pairs: a pair counts if both genes are drawn, with weights of variance 3 about 1.
    within = np.mean(3 * shares * (1 - shares) / 30)
    assert drawn.var() == pytest.approx((shares.var() + within) / 4, rel=0.15)
    fixed = resample_screens(found[:1] * 4, pairs, 4000, seed=5)[:, 0]
    assert fixed.var() == pytest.approx(3 * shares[0] * (1 - shares[0]) / 30 / 4, rel=0.2)
