"""What is written to TensorBoard, W&B and MLflow is what their own readers find there."""

import io
import json
import re
import resource
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from phenomae.pretraining.callbacks.trackers import open_trackers, require_trackers
from phenomae.runs import append_log

SETTINGS = {"lr": 1e-4, "betas": [0.9, 0.95], "where": None}
NEEDS = "needs the packages of phenomae[track]"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A PNG with an alpha channel, as matplotlib writes them."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 20, 4), dtype=np.uint8)
    pixels[:, :, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def read_rgb(source: Any) -> np.ndarray:
    with Image.open(source) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_a_missing_package_is_told_before_anything_is_written(name, run, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    sentence = rf"^track {name} needs the package {name}: pip install 'phenomae\[track\]'$"
    with pytest.raises(ValueError, match=sentence):
        require_trackers([name])
    with pytest.raises(ValueError, match=sentence):
        open_trackers([name], run, SETTINGS, 0)
    assert list(run.iterdir()) == []


def test_a_folder_that_wandb_left_is_not_the_package(tmp_path, monkeypatch):
    (tmp_path / "wandb").mkdir()
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(ValueError, match="track wandb needs the package wandb"):
        require_trackers(["wandb"])


def read_events(run: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(run / "tensorboard")).Reload()


def scalars(run: Path, name: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read_events(run).Scalars(name)]


def test_tensorboard_has_values_settings_and_picture(run, picture):
    (tracker,) = open_trackers(["tensorboard", "tensorboard"], run, SETTINGS, 0)
    tracker.log(0, {"validation_loss": 4.0})
    tracker.log(3, {"loss": 0.5, "lr": 2.0})
    tracker.log(6, {"loss": 0.25, "lr": 1.0})
    tracker.picture(6, "reconstructions", picture)
    before_close = scalars(run, "loss")
    tracker.close()

    assert before_close == scalars(run, "loss") == [(3, 0.5), (6, 0.25)]
    assert scalars(run, "lr") == [(3, 2.0), (6, 1.0)]
    assert scalars(run, "validation_loss") == [(0, 4.0)]
    events = read_events(run)
    (text,) = events.Tensors("settings/text_summary")
    table = text.tensor_proto.string_val[0].decode()
    assert json.loads(table.removeprefix("```json\n").removesuffix("\n```")) == SETTINGS
    (image,) = events.Images("reconstructions")
    assert image.step == 6
    found = read_rgb(io.BytesIO(image.encoded_image_string))
    assert np.array_equal(found, read_rgb(picture))


def age(run: Path) -> None:
    """Rename what a start wrote, as files are read in the order of the second they are from."""
    (file,) = (run / "tensorboard").iterdir()
    file.rename(file.with_name("events.out.tfevents.0000000000"))


def test_tensorboard_shows_repeated_steps_once(run):
    (tracker,) = open_trackers(["tensorboard"], run, SETTINGS, 0)
    for step in (0, 3, 6, 9):
        tracker.log(step, {"loss": float(step)})
    age(run)

    (tracker,) = open_trackers(["tensorboard"], run, SETTINGS, 6)
    for step in (9, 12):
        tracker.log(step, {"loss": step + 0.5})
    tracker.close()
    assert scalars(run, "loss") == [(0, 0.0), (3, 3.0), (6, 6.0), (9, 9.5), (12, 12.5)]


def test_tensorboard_of_a_run_without_a_checkpoint_begins_anew(run):
    (tracker,) = open_trackers(["tensorboard"], run, SETTINGS, 0)
    tracker.log(0, {"loss": 1.0})
    age(run)
    (tracker,) = open_trackers(["tensorboard"], run, SETTINGS, 0)
    tracker.log(0, {"loss": 2.0})
    tracker.close()
    assert scalars(run, "loss") == [(0, 2.0)]


def test_a_tracker_that_cannot_be_opened_ends_a_run_only_at_its_beginning(run, capsys):
    (run / "tensorboard").write_text("in the way")
    with pytest.raises(ValueError, match=r"^track tensorboard cannot be opened: \w+: .*exists"):
        open_trackers(["tensorboard"], run, SETTINGS, 0)
    assert open_trackers(["tensorboard"], run, SETTINGS, 8) == []
    assert "track tensorboard cannot be opened and is not used: " in capsys.readouterr().err


@contextmanager
def full_disk() -> Iterator[None]:
    """Let the system refuse whatever this process writes to a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_tracker_whose_disk_is_full_is_told_once_and_left_out(run, picture, capsys):
    threads = set(threading.enumerate())
    (tracker,) = open_trackers(["tensorboard"], run, SETTINGS, 0)
    tracker.log(3, {"loss": 0.5})
    with full_disk():
        tracker.log(6, {"loss": 0.25})
    tracker.log(9, {"loss": 0.125})
    tracker.picture(9, "reconstructions", picture)
    tracker.close()
    for thread in set(threading.enumerate()) - threads:
        thread.join()  # it prints what it met with, which is to belong to this test
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("track ")]
    assert len(told) == 1
    assert told[0].startswith("track tensorboard failed and is no longer used: OSError")
    assert scalars(run, "loss") == [(3, 0.5)]


@pytest.fixture
def wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """W&B offline, as a user chooses by the environment."""
    for name in ("WANDB_RUN_ID", "WANDB_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    chosen = {"MODE": "offline", "PROJECT": "cells", "SILENT": "true", "CONSOLE": "off"}
    for name, value in {**chosen, "ERROR_REPORTING": "false"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    return pytest.importorskip("wandb", reason=NEEDS)


def read_offline(run: Path) -> list[list[Any]]:
    """Return W&B's own records of each start, once its other process has written the last."""
    deadline = time.monotonic() + 30
    while True:
        starts = [read_records(path) for path in sorted(run.glob("wandb/offline-run-*/*.wandb"))]
        if all(records and records[-1].HasField("exit") for records in starts):
            return starts
        assert time.monotonic() < deadline
        time.sleep(0.02)


def read_records(path: Path) -> list[Any]:
    """Return W&B's records of a file.

    It has no reader in Python: a file is a header of 7 bytes and LevelDB's log format, blocks of
    32 KiB with pieces of (checksum, length, kind: 1 whole, 2 first, 3 middle, 4 last).
    """
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, message, records = path.read_bytes(), 7, b"", []
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        at += 7 + length
        if at > len(content):
            break
        message += content[at - length : at]
        if kind in (1, 4):
            records.append(Record.FromString(message))
            message = b""
    return records


def history(records: list[Any]) -> dict[int, dict[str, Any]]:
    """Return values by step, without W&B's own (`_step`, `_timestamp`, ...)."""
    steps = {}
    for record in records:
        if record.HasField("history"):
            items = {
                "/".join(item.nested_key) or item.key: json.loads(item.value_json)
                for item in record.history.item
            }
            steps[record.history.step.num] = {
                key: value for key, value in items.items() if not key.startswith("_")
            }
    return steps


def test_wandb_has_values_settings_and_picture(wandb, run, picture):
    (tracker,) = open_trackers(["wandb"], run, SETTINGS, 0)
    tracker.log(0, {"validation_loss": 4.0})
    tracker.log(3, {"loss": 0.5, "lr": 2.0})
    tracker.log(3, {"validation_loss": 3.0})
    tracker.picture(6, "reconstructions", picture)
    tracker.close()

    (records,) = read_offline(run)
    (made,) = [record.run for record in records if record.HasField("run")]
    config = {item.key: json.loads(item.value_json) for item in made.config.update}
    assert {key: config[key] for key in SETTINGS} == SETTINGS
    assert (made.project, made.display_name) == ("cells", "run")
    assert (run / "wandb.txt").read_text() == f"{made.run_id}\n"
    steps = history(records)
    image = {key: value for key, value in steps.pop(6).items() if key.endswith("/path")}
    (file,) = run.glob(f"wandb/offline-run-*/files/{image['reconstructions/path']}")
    assert file.read_bytes() == picture.read_bytes()
    assert steps == {
        0: {"validation_loss": 4.0},
        3: {"loss": 0.5, "lr": 2.0, "validation_loss": 3.0},
    }


def test_wandb_goes_on_in_the_same_run_with_what_it_lacks(wandb, run):
    (tracker,) = open_trackers(["wandb"], run, SETTINGS, 0)
    for step in (3, 6, 9):
        append_log(run, step=step, loss=float(step))
        tracker.log(step, {"loss": float(step)})
    tracker.close()

    (tracker,) = open_trackers(["wandb"], run, {**SETTINGS, "lr": 2e-4}, 6)
    for step in (9, 12, 12, 3):
        tracker.log(step, {"loss": step + 0.5})
    tracker.close()
    first, second = read_offline(run)
    identities = {record.run.run_id for record in first + second if record.HasField("run")}
    assert identities == {(run / "wandb.txt").read_text().strip()}
    assert history(first) == {step: {"loss": float(step)} for step in (3, 6, 9)}
    assert history(second) == {
        3: {"loss": 3.0},
        6: {"loss": 6.0},
        9: {"loss": 9.5},
        12: {"loss": 12.5},
    }


def test_wandb_that_dies_is_told_once_and_left_out(wandb, run, capsys):
    (tracker,) = open_trackers(["wandb"], run, SETTINGS, 0)
    wandb.teardown()
    tracker.log(3, {"loss": 0.5})
    tracker.log(6, {"loss": 0.25})
    tracker.close()
    told = capsys.readouterr().err
    assert told.count("track wandb failed and is no longer used: ") == 1


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """MLflow with a folder in the place of a server, as a user chooses by the environment.

    Without SQL, which mlflow-skinny does not bring, a folder is all there is but a server.
    """
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "cells")
    for name in ("ALLOW_FILE_STORE", "DISABLE_TELEMETRY"):
        monkeypatch.setenv(f"MLFLOW_{name}", "true")
    return pytest.importorskip("mlflow", reason=NEEDS)


def test_mlflow_has_values_settings_and_picture_and_goes_on_in_the_same_run(mlflow, run, picture):
    (tracker,) = open_trackers(["mlflow"], run, SETTINGS, 0)
    tracker.log(3, {"loss": 0.5, "lr": 2.0})
    tracker.log(6, {"loss": 0.25, "lr": 1.0})
    tracker.close()
    (tracker,) = open_trackers(["mlflow"], run, {**SETTINGS, "lr": 2e-4, "steps": 9}, 3)
    tracker.log(6, {"loss": 0.25})
    tracker.log(9, {"loss": 0.125})
    tracker.picture(9, "reconstructions", picture)
    tracker.close()

    client = mlflow.MlflowClient()
    (experiment,) = client.search_experiments(filter_string="name = 'cells'")
    (made,) = client.search_runs([experiment.experiment_id])
    assert (run / "mlflow.txt").read_text() == f"{made.info.run_id}\n"
    assert (made.info.status, made.info.run_name) == ("FINISHED", "run")
    assert made.data.params == {
        "lr": "0.0001",
        "betas": "[0.9, 0.95]",
        "where": "None",
        "steps": "9",
    }
    losses = client.get_metric_history(made.info.run_id, "loss")
    found = sorted((metric.step, metric.value) for metric in losses)
    assert found == [(3, 0.5), (6, 0.25), (6, 0.25), (9, 0.125)]
    (image,) = [
        item.path
        for item in client.list_artifacts(made.info.run_id, "images")
        if item.path.endswith(".png")
    ]
    assert re.match(r"images/reconstructions[+%]step[+%]9[+%]", image)  # by MLflow's version
    file = client.download_artifacts(made.info.run_id, image)
    assert np.array_equal(read_rgb(file), read_rgb(picture))


def test_mlflow_that_is_gone_is_told_once_and_left_out(mlflow, run, tmp_path, capsys):
    (tracker,) = open_trackers(["mlflow"], run, SETTINGS, 0)
    (tmp_path / "mlruns").rename(tmp_path / "away")
    tracker.log(3, {"loss": 0.5})
    (tmp_path / "away").rename(tmp_path / "mlruns")
    tracker.log(6, {"loss": 0.25})
    tracker.close()
    made = mlflow.active_run()
    mlflow.end_run()
    assert mlflow.MlflowClient().get_metric_history(made.info.run_id, "loss") == []
    told = capsys.readouterr().err
    assert told.count("track mlflow failed and is no longer used: ") == 1


def test_trackers_that_were_opened_are_closed_where_the_next_cannot_be(mlflow, run):
    (run / "tensorboard").write_text("in the way")
    with pytest.raises(ValueError, match=r"^track tensorboard cannot be opened"):
        open_trackers(["mlflow", "tensorboard"], run, SETTINGS, 0)
    assert mlflow.active_run() is None
