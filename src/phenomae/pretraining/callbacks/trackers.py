"""Logs a training to TensorBoard, Weights & Biases or MLflow as well.

`log.jsonl` is the record of a run, and trackers repeat its metrics. A tracker that fails during a
training is reported and no longer used; the training continues.
"""

import importlib.util
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from phenomae.progress import info, is_quiet
from phenomae.runs import read_log
from phenomae.whole_files import write_bytes

TrackerName = Literal["tensorboard", "wandb", "mlflow"]

_UPLOAD_S = "600"  # limit for the upload at the end of a run; by default W&B has no limit


@runtime_checkable
class Tracker(Protocol):
    """Receives the metrics of a training; `step` is the number of steps done."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log metrics by name."""
        ...

    def picture(self, step: int, name: str, path: Path) -> None:
        """Log a PNG file under a name."""
        ...

    def close(self) -> None:
        """Write everything that is still buffered; nothing may be logged afterwards."""
        ...


def require_trackers(names: Sequence[TrackerName]) -> None:
    """Raise ValueError if the package of a tracker is missing; no package is imported."""
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:  # origin is None for a mere folder of that name
            raise ValueError(
                f"track {name} needs the package {name}: pip install 'phenomae[track]'"
            )


def open_trackers(
    names: Sequence[TrackerName], run: Path, settings: dict[str, Any], first_step: int
) -> list[Tracker]:
    """Open trackers for the run folder `run`, which has done `first_step` steps.

    A run that continues also continues in every tracker. A tracker that fails, during the training
    or when a run continues, is reported once and no longer used. Raises ValueError if a package is
    missing, or if a tracker cannot be opened for a new run.
    """
    require_trackers(names)
    opened: list[Tracker] = []
    # dict.fromkeys: every tracker once, in the order given.
    for name in dict.fromkeys(names):
        try:
            opened.append(_Guarded(name, _OPEN[name](run, settings, first_step)))
        # Any exception: the packages have their own classes of network and configuration errors.
        except Exception as error:
            if first_step == 0:
                for tracker in opened:
                    tracker.close()
                raise ValueError(f"track {name} cannot be opened: {_first_line(error)}") from error
            info(f"track {name} cannot be opened and is not used: {_first_line(error)}")
    return opened


class TensorBoard:
    """Writes to RUN/tensorboard; `tensorboard --logdir RUN` shows it."""

    def __init__(self, run: Path, settings: dict[str, Any], first_step: int) -> None:
        # Imported here, because the package is optional and its import takes a second or more.
        from torch.utils.tensorboard import SummaryWriter

        # purge_step hides values that were logged after the checkpoint of an interrupted start.
        # Values of the checkpoint's own step are not hidden, because they are not logged again.
        purge_step = first_step + 1 if first_step else 0
        self.writer = SummaryWriter(str(run / "tensorboard"), purge_step=purge_step)
        table = f"```json\n{json.dumps(settings, indent=2)}\n```"
        self.writer.add_text("settings", table, first_step)
        self.writer.flush()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        # Flushed, so that a kill loses nothing and a full disk raises here, not in the writer's
        # thread.
        self.writer.flush()

    def picture(self, step: int, name: str, path: Path) -> None:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        self.writer.add_image(name, pixels, step, dataformats="HWC")
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


class WeightsAndBiases:
    """Logs to W&B, configured by the environment (WANDB_PROJECT, WANDB_MODE, ...)."""

    def __init__(self, run: Path, settings: dict[str, Any], first_step: int) -> None:
        import wandb  # pyright: ignore[reportMissingImports]

        known = _read_id(run / "wandb.txt")
        quiet = {"silent": True} if is_quiet() else {}
        upload_s = float(os.environ.get("WANDB_FINISH_TIMEOUT", _UPLOAD_S))
        self.image = wandb.Image
        self.run = wandb.init(
            dir=str(run),
            id=known,
            resume="allow",
            reinit="create_new",
            config=settings,
            name=None if known else os.environ.get("WANDB_NAME", run.resolve().name),
            settings={"finish_timeout": upload_s, **quiet},
        )
        _write_id(run / "wandb.txt", self.run.id)
        # W&B loses the last seconds before a kill, and offline it makes a new folder at each start,
        # so the records that W&B lacks are logged again from log.jsonl.
        for record in read_log(run):
            step, _ = record.pop("step"), record.pop("time")
            if step <= first_step:
                self._log(step, record)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._log(step, dict(values))

    def picture(self, step: int, name: str, path: Path) -> None:
        self._log(step, {name: self.image(str(path))})

    def close(self) -> None:
        self.run.finish()

    def _log(self, step: int, values: dict[str, Any]) -> None:
        # In W&B steps may only increase, so a step that is repeated keeps its first record.
        if step >= self.run.starting_step:
            self.run.log(values, step=step)


class Mlflow:
    """Logs to MLflow, configured by MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME."""

    def __init__(self, run: Path, settings: dict[str, Any], first_step: int) -> None:
        import mlflow  # pyright: ignore[reportMissingImports]

        known = _read_id(run / "mlflow.txt")
        name = None if known else run.resolve().name  # a name would rename an existing run
        active = mlflow.start_run(run_id=known, run_name=name)
        self.mlflow, self.id = mlflow, active.info.run_id
        _write_id(run / "mlflow.txt", self.id)
        # MLflow parameters are constant, but some settings may change when a run continues.
        new = {key: value for key, value in settings.items() if key not in active.data.params}
        mlflow.log_params(new, run_id=self.id)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.mlflow.log_metrics(dict(values), step=step, run_id=self.id)

    def picture(self, step: int, name: str, path: Path) -> None:
        with Image.open(path) as image:
            self.mlflow.MlflowClient().log_image(self.id, image, key=name, step=step)

    def close(self) -> None:
        self.mlflow.end_run()


_OPEN: dict[TrackerName, Callable[[Path, dict[str, Any], int], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "mlflow": Mlflow,
}


class _Guarded:
    """A tracker whose first failure is reported, and that is not used after a failure."""

    def __init__(self, name: TrackerName, tracker: Tracker) -> None:
        self.name, self.tracker = name, tracker
        self.failed = False

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._attempt(lambda: self.tracker.log(step, values))

    def picture(self, step: int, name: str, path: Path) -> None:
        self._attempt(lambda: self.tracker.picture(step, name, path))

    def close(self) -> None:
        self._attempt(self.tracker.close)

    def _attempt(self, act: Callable[[], None]) -> None:
        if self.failed:
            return
        try:
            act()
        except Exception as error:
            self.failed = True
            info(f"track {self.name} failed and is no longer used: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    """Return type and first line of an error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _read_id(path: Path) -> str | None:
    return path.read_text(encoding="utf-8").strip() if path.exists() else None


def _write_id(path: Path, value: str) -> None:
    write_bytes(path, f"{value}\n".encode())
