"""What a run trains on: fields filtered, balanced, cut into several crops, brought to a scale."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from phenomae import cli
from phenomae.pretraining.data import open_data
from phenomae.probes.commands import ClassifierSettings, VitMaeSettings, pretrain_vit_mae
from phenomae.signatures import read_signature
from phenomae.store.read import open_store

MakeVariant = Callable[..., Path]


@pytest.fixture
def variant(screen_path: Path, tmp_path: Path, resign) -> MakeVariant:
    """A function that copies the store with another pixel size or other columns in its tables."""

    def copy(name: str, pixel_size_um: float | None = 0.5, **columns: list) -> Path:
        path = tmp_path / name
        shutil.copytree(screen_path, path)
        table = pl.read_parquet(path / "fields.parquet")
        table = table.with_columns(**{key: pl.Series(value) for key, value in columns.items()})
        table.write_parquet(path / "fields.parquet")
        settings = json.loads((path / "artefact.json").read_text())["settings"]
        resign(path, settings={**settings, "pixel_size_um": pixel_size_um}, identity=name)
        return path

    return copy


def test_a_run_sees_only_the_fields_of_which_the_expression_holds(
    variant: MakeVariant, tiny: VitMaeSettings, tmp_path: Path, resign
) -> None:
    """It is the run on a store that never had the others, and its settings tell the two apart."""
    focus = [0.05 if row % 5 == 0 else 0.5 for row in range(20)]
    whole = variant("whole", focus=focus)
    few = variant("few", focus=focus)
    table = pl.read_parquet(few / "fields.parquet")
    table.filter(pl.col("focus") > 0.1).write_parquet(few / "fields.parquet")
    resign(few)
    filtered = replace(tiny, where="focus > 0.1")
    pretrain_vit_mae(whole, tmp_path / "filtered", settings=filtered)
    pretrain_vit_mae(few, tmp_path / "expected", settings=tiny)
    weights = [tmp_path / name / "weights/model.safetensors" for name in ("filtered", "expected")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    with pytest.raises(ValueError, match=r"another setting: where = 'focus > 0\.1', now None"):
        pretrain_vit_mae(whole, tmp_path / "filtered", settings=tiny)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"where": "plate = 'P9'"}, "matches no row of .*other"),
        ({"where": "dose > 1"}, "whole has no column 'dose'; it has plate, well, site"),
        ({"where": "site"}, "gives Int32, not true or false"),
        ({"balance": "dose"}, "balance 'dose': .*whole has no such column"),
        ({"balance": "window_low"}, "balance 'window_low' has lists"),
        ({"pixel_size_um": 0.8}, "other has no pixel size and cannot be resampled to 0.8"),
    ],
)
def test_what_does_not_do_is_told_before_anything_is_written(
    variant: MakeVariant, tiny: VitMaeSettings, tmp_path: Path, change: dict, sentence: str
) -> None:
    whole = variant("whole", plate=["P9"] * 20)
    other = variant("other", None, plate=["P8"] * 20)
    with pytest.raises(ValueError, match=sentence):
        pretrain_vit_mae(whole, other, tmp_path / "run", settings=replace(tiny, **change))
    assert not (tmp_path / "run").exists()


def test_a_crop_too_large_at_its_scale_says_how_many_pixels_it_is(
    screen_path: Path, tiny: VitMaeSettings, tmp_path: Path
) -> None:
    settings = replace(tiny, pixel_size_um=1.5)  # three times the store's
    with pytest.raises(ValueError, match=r"crop_size 16 \(48 of its own pixels\) is larger than"):
        pretrain_vit_mae(screen_path, tmp_path / "run", settings=settings)


def test_a_balanced_run_draws_every_value_as_often(
    variant: MakeVariant, tiny: VitMaeSettings
) -> None:
    """Of the fields it trains on: wells A01 to A07 are of one batch, the rest of two others."""
    batch = ["one"] * 14 + ["two"] * 4 + [None] * 2
    settings = replace(tiny, balance="batch", crops_per_step=60)
    store = open_store(variant("batches", batch=batch))
    data = open_data([store], 16, settings)
    stream = data.stream(settings, 1, pin=False)
    drawn = np.concatenate([stream.step(step).keys[:, 0].numpy() for step in range(100)])
    assert set(drawn) == set(data.training)
    names = np.array(batch, dtype=object)[drawn]
    found = [np.sum(names == name) for name in dict.fromkeys(batch)]
    present = {batch[field] for field in data.training}
    assert len(found) == len(present) == 3
    assert stats.chisquare(found).pvalue > 0.001


def test_several_crops_a_field_train(
    screen_path: Path, tiny: VitMaeSettings, tmp_path: Path
) -> None:
    settings = replace(tiny, crops_per_field=4)
    data = open_data([open_store(screen_path)], 16, settings)
    fields = data.stream(settings, 1, pin=False).step(0).keys[:, 0].tolist()
    assert fields == [fields[0]] * 4 + [fields[4]] * 4
    pretrain_vit_mae(screen_path, tmp_path / "run", settings=settings)
    assert read_signature(tmp_path / "run")["settings"]["crops_per_field"] == 4


def test_a_run_of_a_version_without_these_settings_is_the_same_work(
    screen_path: Path, tiny: VitMaeSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    pretrain_vit_mae(screen_path, run, settings=tiny)
    signature = read_signature(run, "run")
    for name in ("where", "balance", "pixel_size_um"):
        del signature["settings"][name]
    assert "crops_per_field" not in signature["settings"]
    # That version recorded no checksums either.
    kept = {key: signature[key] for key in ("kind", "settings", "sources", "identity")}
    old = {"format": 1, **kept, "version": "0.1.0"}
    (run / "artefact.json").write_text(json.dumps(old))
    pretrain_vit_mae(screen_path, run, settings=tiny)
    assert "already there, made by phenomae 0.1.0 with the same" in capsys.readouterr().err


def test_weights_carry_the_scale_they_were_trained_at(
    variant: MakeVariant, tiny: VitMaeSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fine, coarse = variant("fine", 0.5), variant("coarse", 0.6)
    sizes = {}
    for wanted in (None, 0.7):
        run = tmp_path / f"run-{wanted}"
        pretrain_vit_mae(fine, coarse, run, settings=replace(tiny, pixel_size_um=wanted))
        sizes[wanted] = json.loads((run / "weights/config.json").read_text())["pixel_size_um"]
        told = capsys.readouterr().err
        expected = f"pixel sizes differ: {fine} 0.5 um, {coarse} 0.6 um; --pixel-size-um resamples"
        assert (expected in told) == (wanted is None)
    assert sizes == {None: None, 0.7: 0.7}


@pytest.mark.parametrize(
    ("kind", "change", "sentence"),
    [
        (VitMaeSettings, {"crops_per_field": 0}, "crops_per_field must be at least 1, not 0"),
        (VitMaeSettings, {"crops_per_field": 3}, "must be a divisor of crops_per_step 256, not 3"),
        (VitMaeSettings, {"pixel_size_um": 0.0}, "pixel_size_um must be above 0, not 0.0"),
        (VitMaeSettings, {"pixel_size_um": float("nan")}, "pixel_size_um must be above 0, not nan"),
        (
            ClassifierSettings,
            {"crops_per_step": 24, "plates_per_step": 4, "crops_per_field": 4},
            "crops_per_field must be a divisor of 6, the crops per plate, not 4",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(kind: type, change: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        kind(**change)


def test_the_command_takes_them(variant: MakeVariant, tiny: VitMaeSettings, tmp_path: Path) -> None:
    store = variant("store", focus=[0.1 * row for row in range(20)])
    pretrain_vit_mae(store, tmp_path / "first", settings=tiny)
    command = ["pretrain", "vit-mae", str(store), str(tmp_path / "run")]
    command += ["--config", str(tmp_path / "first/config.toml"), "--where", "focus > 0.3"]
    command += ["--balance", "perturbation", "--crops-per-field", "2", "--pixel-size-um", "0.6"]
    assert cli.run(command) == 0
    settings = read_signature(tmp_path / "run", "run")["settings"]
    assert settings["where"] == "focus > 0.3"
    assert settings["balance"] == "perturbation"
    assert settings["crops_per_field"] == 2
    assert settings["pixel_size_um"] == 0.6
    repeat = ["pretrain", "vit-mae", str(store), str(tmp_path / "again")]
    assert cli.run([*repeat, "--config", str(tmp_path / "run/config.toml")]) == 0
    weights = [tmp_path / name / "weights/model.safetensors" for name in ("run", "again")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_the_number_of_fields_that_where_keeps_is_printed(
    variant: MakeVariant, tiny: VitMaeSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = variant("store", focus=[0.05 if row % 5 == 0 else 0.5 for row in range(20)])
    settings = replace(tiny, steps=0, where="focus > 0.1")
    pretrain_vit_mae(store, tmp_path / "run", settings=settings)
    assert "where 'focus > 0.1' keeps 16 of 20 fields" in capsys.readouterr().err


def test_fields_without_a_weight_are_not_trained_on(
    screen_path: Path, tiny: VitMaeSettings, tmp_path: Path
) -> None:
    """It is the run without them, and the table's content is a source of the run."""
    fields = open_store(screen_path).fields
    plate = fields["plate"][0]
    table = tmp_path / "weights.csv"
    table.write_text(f"plate,weight\n{plate},3\n")
    settings = replace(tiny, sample_by=table, validation=0.0)
    pretrain_vit_mae(screen_path, tmp_path / "weighted", settings=settings)
    only = replace(tiny, where=f"plate = '{plate}'", validation=0.0)
    pretrain_vit_mae(screen_path, tmp_path / "only", settings=only)
    weights = [tmp_path / name / "weights/model.safetensors" for name in ("weighted", "only")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    table.write_text(f"plate,weight\n{plate},2\n")
    with pytest.raises(ValueError, match="was made with another source: sample_by"):
        pretrain_vit_mae(screen_path, tmp_path / "weighted", settings=settings)


def test_a_step_needs_as_many_weighed_plates_as_it_takes(screen_path: Path, tmp_path: Path) -> None:
    table = tmp_path / "weights.csv"
    plate = open_store(screen_path).fields["plate"][0]
    table.write_text(f"plate,weight\n{plate},3\n")
    settings = ClassifierSettings(
        crop_size=32, crops_per_step=4, plates_per_step=2, sample_by=table
    )
    data = open_data([open_store(screen_path)], 32, settings, by_plate=True)
    with pytest.raises(ValueError, match="plates_per_step must be at most 1, the number of plates"):
        data.stream(settings, 2, pin=False)
