"""Recall on the way: the number the commands give, and a training that does not notice."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import polars as pl
import pytest
import torch

from phenomae import cli
from phenomae.correction.correct import CorrectSettings, correct
from phenomae.correction.methods import METHODS, load_method
from phenomae.embedding.embed import EmbedSettings, embed
from phenomae.evaluation.benchmark import benchmark
from phenomae.evaluation.settings import BenchmarkSettings
from phenomae.maps.map import MapSettings, map_wells
from phenomae.models.vit.vit_mae import VitMae
from phenomae.pretraining.data import open_data
from phenomae.pretraining.objectives.masked import MaskedObjective
from phenomae.pretraining.session import open_session
from phenomae.pretraining.team import gather_team
from phenomae.probes import commands
from phenomae.probes.commands import (
    ChannelMaeSettings,
    ClassifierSettings,
    EnergyMaeSettings,
    UnetMaeSettings,
    VitClassifierSettings,
    VitMaeSettings,
)
from phenomae.probes.recall import Recall
from phenomae.runs import read_log
from phenomae.simulation.simulate import SimulateSettings, simulate
from phenomae.store.ingest import ingest
from phenomae.store.read import open_store

TRAINING: dict[str, Any] = {
    "crop_size": 32,
    "steps": 4,
    "lr": 0.05,
    "crops_per_step": 8,
    "checkpoint_every": 2,
    "log_every": 2,
    "device": "cpu",
    "precision": "float32",
}
VIT: dict[str, Any] = {"patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
DECODER: dict[str, Any] = {
    "decoder_embed_dim": 16,
    "decoder_depth": 1,
    "decoder_num_heads": 2,
}
BLOCKS: dict[str, Any] = {"growth_rate": 4, "first_width": 8, "block_depths": (2, 2)}
TINY: dict[str, Any] = {
    "vit_mae": VitMaeSettings(**TRAINING, **VIT, **DECODER),
    "channel_mae": ChannelMaeSettings(**TRAINING, **VIT, **DECODER, cross_num_heads=2),
    "energy_mae": EnergyMaeSettings(**TRAINING, **VIT, **DECODER),
    "unet_mae": UnetMaeSettings(**TRAINING, patch_size=4, widths=(8, 16), depths=(2, 2)),
    "classifier": ClassifierSettings(**{**TRAINING, "crop_size": 64}, **BLOCKS, neck_dim=8),
    "vit_classifier": VitClassifierSettings(**TRAINING, **VIT),
}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Networks so small are slowed down by threads that wait for each other."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A screen of ten genes, and as many sources: the pairs of each gene with all others."""
    folder = tmp_path_factory.mktemp("desk")
    small = SimulateSettings(
        genes=10, complexes=3, guides=2, controls=4, sites=1, field_size=64, cells=80
    )
    simulate(folder / "raw", settings=small)
    ingest(folder / "raw", folder / "store")
    (folder / "known").mkdir()
    genes = open_store(folder / "store").fields.filter(~pl.col("control"))["gene"].unique()
    for gene in genes:
        pairs = [f"{gene},{other}" for other in genes]
        (folder / f"known/{gene}.csv").write_text("\n".join(["entity1,entity2", *pairs]))
    return folder


def measure(desk: Path, **change: Any) -> Recall:
    """Return the callback that measures every crop of every well."""
    return Recall(**{"every": 3, "annotations": desk / "known", "crops": 99, **change})


def pretrain(family: str, *paths: Path, settings: Any, **rest: Any) -> None:
    getattr(commands, f"pretrain_{family}")(*paths, settings=settings, **rest)


@pytest.fixture(scope="module")
def watch(desk: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function that returns a family's run, measured on the way."""

    @cache
    def trained(family: str) -> Path:
        run = tmp_path_factory.mktemp(family) / "run"
        settings, callbacks = TINY[family], [measure(desk)]
        pretrain(family, desk / "store", run, settings=settings, callbacks=callbacks)
        return run

    return trained


def recalls(run: Path) -> list[dict[str, float]]:
    lines = [line for line in read_log(run) if "recall" in line]
    return [{key: value for key, value in line.items() if key != "time"} for line in lines]


def each_family(*fast: str) -> Any:
    """Run a test for all families, the others where there is time."""
    others = [pytest.param(name, marks=pytest.mark.slow) for name in TINY if name not in fast]
    return pytest.mark.parametrize("family", [*fast, *others])


@each_family("vit_mae", "classifier")
def test_the_last_recall_is_that_of_the_commands(
    family: str, desk: Path, watch: Callable[[str], Path], tmp_path: Path
) -> None:
    """For a classifier with AdaBN, each plate has its own statistics."""
    found = by_commands(desk, watch(family), tmp_path, "center-scale")
    lines = recalls(watch(family))
    assert [line["step"] for line in lines] == [0, 3, 4]
    assert lines[-1] == {
        "step": 4,
        "recall": pytest.approx(sum(found.values()) / 10),
        **{f"recall_{gene}": recall for gene, recall in found.items()},
        "recall_chance": 0.1,
    }
    assert sum(found.values()) > 0
    assert {**lines[0], "step": 4} != lines[-1]  # the training changed it


@pytest.mark.slow
@pytest.mark.parametrize("method", ["tvn", "pca-center-scale"])
def test_so_it_is_by_another_method(method: str, desk: Path, tmp_path: Path) -> None:
    settings, callbacks = replace(TINY["vit_mae"], steps=0), [measure(desk, method=method)]
    run = tmp_path / "run"
    pretrain("vit_mae", desk / "store", run, settings=settings, callbacks=callbacks)
    (line,) = recalls(tmp_path / "run")
    found = by_commands(desk, tmp_path / "run", tmp_path, method)
    assert {gene: line[f"recall_{gene}"] for gene in found} == found


def by_commands(desk: Path, run: Path, folder: Path, method: str) -> dict[str, float]:
    """Return the recall of each source as the commands find it."""
    settings = EmbedSettings(device="cpu", precision="float32")
    embed(desk / "store", run, folder / "wells", settings=settings)
    correction = CorrectSettings(method=method, batch="plate")  # pyright: ignore
    correct(folder / "wells", folder / "corrected", settings=correction)
    map_wells(folder / "corrected", folder / "map.h5ad", settings=MapSettings())
    known = BenchmarkSettings(desk / "known")
    benchmark(folder / "map.h5ad", folder / "results", settings=known)
    table = pl.read_csv(folder / "results/recall.csv")
    assert table["chance"].to_list() == [0.1] * 10
    return dict(table.select("source", "recall").iter_rows())


@each_family("vit_mae", "classifier")
def test_the_training_does_not_notice(
    family: str, desk: Path, watch: Callable[[str], Path], tmp_path: Path
) -> None:
    pretrain(family, desk / "store", tmp_path / "alone", settings=TINY[family])
    for name in ("weights/model.safetensors", "checkpoints/step-00000004.safetensors"):
        one, other = ((run / name).read_bytes() for run in (tmp_path / "alone", watch(family)))
        assert one == other, name


def test_every_plate_a_second_time_changes_no_mean(
    desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Plates of two stores are corrected apart, though they have the same names."""
    settings = replace(TINY["vit_mae"], steps=0)
    callbacks = [measure(desk, annotations=desk / "raw/relationships.csv")]
    for name, stores in (("once", [desk / "store"]), ("twice", [desk / "store"] * 2)):
        run = tmp_path / name
        pretrain("vit_mae", *stores, run, settings=settings, callbacks=callbacks)
    once, twice = (recalls(tmp_path / name) for name in ("once", "twice"))
    assert once == twice
    assert once[0].keys() == {"step", "recall", "recall_chance"}
    said = capsys.readouterr().err
    assert (
        "recall is measured on 96 wells, including 16 controls, and 384 crops: 10 genes, " in said
    )
    assert "pairs of relationships; corrected plate by plate" in said


def test_a_run_that_goes_on_logs_the_same(
    desk: Path, watch: Callable[[str], Path], tmp_path: Path
) -> None:
    def stop(done: int, losses: Any) -> None:
        if done == 3:
            raise KeyboardInterrupt

    run, settings, recall = tmp_path / "run", TINY["vit_mae"], measure(desk)
    both = [lambda session: stop, recall]
    with pytest.raises(KeyboardInterrupt):
        pretrain("vit_mae", desk / "store", run, settings=settings, callbacks=both)
    pretrain("vit_mae", desk / "store", run, settings=settings, recall=recall)
    assert recalls(run) == recalls(watch("vit_mae"))
    # not measured at all, it is the same work: nothing is trained again
    pretrain("vit_mae", desk / "store", run, settings=TINY["vit_mae"])
    assert recalls(run) == recalls(watch("vit_mae"))


def test_the_command_measures(
    desk: Path,
    watch: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["pretrain", "vit-mae", str(desk / "store"), str(tmp_path / "run")]
    assert cli.run([*words, "--config", str(watch("vit_mae") / "config.toml")]) == 0
    assert recalls(tmp_path / "run") == recalls(watch("vit_mae"))
    assert ", recall 0." in capsys.readouterr().err
    assert cli.run([*words, "--recall-every", "5"]) == 1
    assert "--recall-every 5 needs annotations: a file of known pairs" in capsys.readouterr().err


KNOWN_ONES = {"absent": None, "few.csv": "GENE0,GENE1", "strange.csv": "A,B"}
THREE_GENES = pl.lit("GENE") + (pl.int_range(pl.len()) % 3).cast(pl.String)


@pytest.mark.parametrize(
    ("known", "change", "sentence"),
    [
        ("absent", {}, "absent: there is no such file or folder of annotations"),
        ("strange.csv", {}, "no annotated pair has both its genes on the map"),
        ("few.csv", {"gene": THREE_GENES}, "has 3 genes, too few"),
        (None, {"control": pl.lit(False)}, "no well is a control"),
        (None, {"control": pl.int_range(pl.len()) == 5}, r"too few controls in all wells \(1\)"),
    ],
)
def test_what_cannot_be_measured_is_named(
    known: str | None, change: dict[str, pl.Expr], sentence: str, desk: Path, tmp_path: Path
) -> None:
    store = open_store(desk / "store")
    changed = store.fields.with_columns(**change)
    store = replace(store, fields=changed)
    annotations = desk / "known" if known is None else tmp_path / known
    if known is not None and KNOWN_ONES[known]:
        annotations.write_text(f"entity1,entity2\n{KNOWN_ONES[known]}\n")
    settings, recall = TINY["vit_mae"], measure(desk, annotations=annotations)
    data = open_data([store], settings.crop_size, settings)
    objective = MaskedObjective(VitMae(settings.model, data.channels), 0)
    session = open_session(tmp_path, objective, data, settings, gather_team(settings))
    with pytest.raises(ValueError, match=sentence):
        recall(session)


def test_it_is_said_before_anything_is_written(desk: Path, tmp_path: Path) -> None:
    settings, callbacks = TINY["vit_mae"], [measure(desk, annotations=tmp_path / "absent")]
    with pytest.raises(ValueError, match="absent: there is no such file or folder"):
        pretrain(
            "vit_mae", desk / "store", tmp_path / "run", settings=settings, callbacks=callbacks
        )
    assert not (tmp_path / "run").exists()


def test_recall_that_is_off_or_measured_twice_is_refused(desk: Path, tmp_path: Path) -> None:
    paths, settings = (desk / "store", tmp_path / "run"), TINY["vit_mae"]
    with pytest.raises(ValueError, match="recall_every must be at least 1 to measure recall"):
        pretrain("vit_mae", *paths, settings=settings, callbacks=[Recall()])
    recall = measure(desk)
    with pytest.raises(ValueError, match="recall must be measured by one callback, not by several"):
        pretrain("vit_mae", *paths, settings=settings, recall=recall, callbacks=[recall])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"every": -1}, "recall_every must be at least 0, not -1"),
        ({"every": 5}, "recall_every 5 needs annotations"),
        ({"wells": 15}, "recall_wells must be at least 16, not 15"),
        ({"crops": 0}, "recall_crops must be at least 1, not 0"),
    ],
)
def test_settings_that_cannot_be(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Recall(**change)


def test_the_methods_are_those_of_correct_that_learn_from_controls() -> None:
    ours = get_args(get_type_hints(Recall)["method"])
    assert ours == tuple(name for name in METHODS if load_method(name).fits_on == "controls")


def test_controls_that_are_alike_do_not_end_a_training(
    make_store: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    pixels = {
        ("P1", f"{row}{column:02d}", 1): (
            rng.integers(200, 4000, (2, 32, 32)) * (column > 1) + 200
        ).astype(np.uint16)
        for row in "AB"
        for column in range(1, 10)
    }
    store = make_store(tmp_path / "store", pixels, ("DNA", "ER"))
    (tmp_path / "pairs.csv").write_text("entity1,entity2\ngene A02,gene B02\n")
    settings = replace(TINY["vit_mae"], steps=1, lr=0.0)
    recall = measure(tmp_path, annotations=tmp_path / "pairs.csv")
    pretrain("vit_mae", store, tmp_path / "run", settings=settings, recall=recall)
    assert recalls(tmp_path / "run") == []
    said = capsys.readouterr().err
    for step in (0, 1):
        assert f"recall after {step} steps is left out: the controls of plate P1 of store" in said


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_of_several_processes_one_measures(
    strategy: str, desk: Path, watch: Callable[[str], Path], tmp_path: Path
) -> None:
    """With fsdp none has the whole network, and a line says that nothing is measured."""
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "phenomae"]
    words = ["pretrain", "vit-mae", str(desk / "store"), str(tmp_path / "run")]
    config = ["--config", str(watch("vit_mae") / "config.toml"), "--strategy", strategy]
    done = subprocess.run(
        [sys.executable, "-m", *torchrun, *words, *config],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    said = done.stderr.count("recall is not measured: under fsdp no process has the whole network")
    assert said == (strategy == "fsdp")
    assert done.stderr.count("recall is measured on") == (strategy == "ddp")
    steps = [line["step"] for line in recalls(tmp_path / "run")]
    assert steps == ([0, 3, 4] if strategy == "ddp" else [])
    if strategy == "ddp":
        assert recalls(tmp_path / "run")[0] == recalls(watch("vit_mae"))[0]
