"""Shows a training elsewhere too: in TensorBoard, in Weights & Biases, in MLflow.

`log.jsonl` is the record of a run; what is here is beside it, and never stops a training.
"""

import importlib.util
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from phenomae.artefacts import write_bytes
from phenomae.progress import info, is_quiet
from phenomae.runs import read_log

Tracker = Literal["tensorboard", "wandb", "mlflow"]

_UPLOAD_S = "600"  # that W&B may take at the end; its own default waits for ever


@runtime_checkable
class OpenTracker(Protocol):
    """Takes what is measured while a network is trained; steps are the number of those done."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add numbers by name."""
        ...

    def picture(self, step: int, name: str, path: Path) -> None:
        """Add a PNG file under a name."""
        ...

    def close(self) -> None:
        """Write what is not yet written; nothing may be added after it."""
        ...


def require_trackers(names: Sequence[Tracker]) -> None:
    """Raise ValueError where a tracker's package is missing; imports none."""
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:  # a folder `wandb` or `mlflow` is no package yet
            raise ValueError(
                f"track {name} needs the package {name}: pip install 'phenomae[track]'"
            )


def open_trackers(
    names: Sequence[Tracker], run: Path, settings: dict[str, Any], first_step: int
) -> list[OpenTracker]:
    """Open trackers for the run folder `run`, which has done `first_step` steps.

    A run that is gone on with is gone on with in every tracker. One that fails, be it in the middle
    of a training or as a run is gone on with, is told about and left out from then on. Raises
    ValueError where a package is missing, or where one cannot be opened for a run that begins.
    """
    require_trackers(names)
    opened: list[OpenTracker] = []
    for name in dict.fromkeys(names):
        try:
            opened.append(_Guarded(name, _OPEN[name](run, settings, first_step)))
        except Exception as error:
            if first_step == 0:
                for tracker in opened:
                    tracker.close()
                raise ValueError(f"track {name} cannot be opened: {_told(error)}") from error
            info(f"track {name} cannot be opened and is left out: {_told(error)}")
    return opened


class TensorBoard:
    """Writes to RUN/tensorboard; `tensorboard --logdir RUN` shows it."""

    def __init__(self, run: Path, settings: dict[str, Any], first_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # Hides what an earlier start wrote for this step and later. What was logged right before
        # the checkpoint that is gone on from is not logged again.
        purge_step = first_step + 1 if first_step else 0
        self.writer = SummaryWriter(str(run / "tensorboard"), purge_step=purge_step)
        table = f"```json\n{json.dumps(settings, indent=2)}\n```"
        self.writer.add_text("settings", table, first_step)
        self.writer.flush()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()  # a kill loses nothing, and a full disk is told here, not in a thread

    def picture(self, step: int, name: str, path: Path) -> None:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        self.writer.add_image(name, pixels, step, dataformats="HWC")
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


class WeightsAndBiases:
    """Writes to W&B, as the environment says (WANDB_PROJECT, WANDB_MODE, ...)."""

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
        # W&B loses the last seconds before a kill, and offline it makes a folder of its own for
        # each start, so what it does not have is read from the log.
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
        # W&B's steps only increase: of steps that are repeated it keeps the first record.
        if step >= self.run.starting_step:
            self.run.log(values, step=step)


class Mlflow:
    """Writes to MLflow, as the environment says (MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME)."""

    def __init__(self, run: Path, settings: dict[str, Any], first_step: int) -> None:
        import mlflow  # pyright: ignore[reportMissingImports]

        known = _read_id(run / "mlflow.txt")
        name = None if known else run.resolve().name  # a name would rename a run that is gone on
        active = mlflow.start_run(run_id=known, run_name=name)
        self.mlflow, self.id = mlflow, active.info.run_id
        _write_id(run / "mlflow.txt", self.id)
        # A parameter cannot be changed, but a setting may be from one start to the next.
        new = {key: value for key, value in settings.items() if key not in active.data.params}
        mlflow.log_params(new, run_id=self.id)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.mlflow.log_metrics(dict(values), step=step, run_id=self.id)

    def picture(self, step: int, name: str, path: Path) -> None:
        with Image.open(path) as image:
            self.mlflow.MlflowClient().log_image(self.id, image, key=name, step=step)

    def close(self) -> None:
        self.mlflow.end_run()


_OPEN: dict[Tracker, Callable[[Path, dict[str, Any], int], OpenTracker]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "mlflow": Mlflow,
}


class _Guarded:
    """A tracker whose first failure is told, and after which it is left out."""

    def __init__(self, name: Tracker, tracker: OpenTracker) -> None:
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
            info(f"track {self.name} has failed and is left out from now on: {_told(error)}")


def _told(error: Exception) -> str:
    """Return an error in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _read_id(path: Path) -> str | None:
    return path.read_text().strip() if path.exists() else None


def _write_id(path: Path, value: str) -> None:
    write_bytes(path, f"{value}\n".encode())
