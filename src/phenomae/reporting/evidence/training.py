"""Reads the log of a training run (losses and recalls) and its picture of reconstructions."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from phenomae.runs import KIND, SHOWN, read_log
from phenomae.signatures import read_verified

# Names of the losses in the report, by their key in log.jsonl.
LOSSES = {"loss": "training", "validation_loss": "validation"}


@dataclass(frozen=True)
class Loss:
    """The logged values of the training loss or of the validation loss."""

    steps: Float64[np.ndarray, " k"]
    values: Float64[np.ndarray, " k"]
    """Finite values only."""
    broken: int
    """Number of logged values that were not finite."""


@dataclass(frozen=True)
class Recalls:
    """Recall of known pairs, measured during training."""

    steps: Float64[np.ndarray, " k"]
    values: Float64[np.ndarray, " k"]
    chance: float


@dataclass(frozen=True)
class Training:
    """Everything that a report shows of a training run."""

    losses: dict[str, Loss]
    """Training and validation loss by name; empty for runs without a log (imported weights)."""
    recalls: Recalls | None
    """None if recall was not measured during training."""
    picture: bytes | None
    """Bytes of reconstructions.png; None if the run has none."""
    signature: dict[str, Any]


def read_training(run: Path) -> Training:
    """Read a finished run.

    Raises ValueError if the run is missing or unfinished, its log is damaged or has no finite
    loss, its picture is not a PNG, or it has neither log nor picture.
    """
    signature = read_verified(run, KIND, SHOWN)
    path = run / "reconstructions.png"
    picture = path.read_bytes() if path.exists() else None
    if picture is not None and not picture.startswith(b"\x89PNG\r\n\x1a\n"):
        raise ValueError(f"{path} is damaged: expected the PNG that pretrain wrote")
    # Imported weights have no log.
    has_log = (run / "log.jsonl").exists()
    if picture is None and not has_log:
        raise ValueError(f"{run} has nothing to show: neither log.jsonl nor reconstructions.png")
    return Training(_read_losses(run) if has_log else {}, _read_recalls(run), picture, signature)


def _read_losses(run: Path) -> dict[str, Loss]:
    path = run / "log.jsonl"
    points: dict[str, list[tuple[float, float]]] = {}
    try:
        for record in read_log(run):
            for key, name in LOSSES.items():
                if key in record:
                    points.setdefault(name, []).append((record["step"], float(record[key])))
    except (KeyError, TypeError, ValueError):
        raise _damaged(path) from None
    losses = {}
    # In the order of LOSSES, which becomes the order of the legend.
    for name in filter(points.__contains__, LOSSES.values()):
        pairs = points[name]
        # Without NaN and infinity, for which matplotlib has no axis limits.
        finite = [pair for pair in pairs if math.isfinite(pair[1])]
        table = np.array(finite, dtype=np.float64).reshape(-1, 2)
        losses[name] = Loss(table[:, 0], table[:, 1], len(pairs) - len(finite))
    if not any(len(loss.steps) for loss in losses.values()):
        raise ValueError(f"{path} has no line with a finite loss: there is no curve to draw")
    return losses


def _read_recalls(run: Path) -> Recalls | None:
    names = ("step", "recall", "recall_chance")
    try:
        measured = [record for record in read_log(run) if "recall" in record]
        table = np.array([[float(record[name]) for name in names] for record in measured])
    except (KeyError, TypeError, ValueError):
        raise _damaged(run / "log.jsonl") from None
    return Recalls(table[:, 0], table[:, 1], float(table[-1, 2])) if len(table) else None


def _damaged(path: Path) -> ValueError:
    return ValueError(f"{path} is damaged: expected one JSON object per line, with step and loss")
