"""What a run tells of its training: the losses it logged, the picture it left."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from phenomae.artefacts import read_signature
from phenomae.runs import KIND, read_log

# What the log calls a loss, and what the report does.
LOSSES = {"loss": "training", "validation_loss": "validation"}


@dataclass(frozen=True)
class Loss:
    """One kind of loss as it was logged."""

    steps: Float64[np.ndarray, " k"]
    values: Float64[np.ndarray, " k"]
    """Finite ones only."""
    broken: int
    """How many more were logged that were no number."""


@dataclass(frozen=True)
class Recalls:
    """The recall of known pairs as it was measured on the way."""

    steps: Float64[np.ndarray, " k"]
    values: Float64[np.ndarray, " k"]
    chance: float


@dataclass(frozen=True)
class Training:
    """What is shown of a run."""

    losses: dict[str, Loss]
    """By name, training and validation; empty where the run keeps no log, as one of weights that
    were brought from elsewhere."""
    recalls: Recalls | None
    """None where none was measured."""
    picture: bytes | None
    """The PNG of the reconstructions."""
    signature: dict[str, Any]


def read_training(run: Path) -> Training:
    """Read a finished run.

    Raises ValueError where it is missing or unfinished, its log is damaged or without a loss, its
    picture is no PNG, or there is neither log nor picture.
    """
    signature = read_signature(run, KIND)
    if signature["identity"] is None:
        raise ValueError(f"{run} is unfinished: give its pretrain command again, it goes on")
    path = run / "reconstructions.png"
    picture = path.read_bytes() if path.exists() else None
    if picture is not None and not picture.startswith(b"\x89PNG\r\n\x1a\n"):
        raise ValueError(f"{path} is damaged: it should be the PNG picture that pretrain wrote")
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
    for name in filter(points.__contains__, LOSSES.values()):
        pairs = points[name]
        finite = [pair for pair in pairs if math.isfinite(pair[1])]
        table = np.array(finite, dtype=np.float64).reshape(-1, 2)
        losses[name] = Loss(table[:, 0], table[:, 1], len(pairs) - len(finite))
    if not any(len(loss.steps) for loss in losses.values()):
        raise ValueError(f"{path} has no line with a loss that is a number: no curve can be drawn")
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
    return ValueError(f"{path} is damaged: expected lines of JSON with step and loss")
