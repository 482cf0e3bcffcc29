"""The settings and the callback that measure the recall of known pairs of genes during training.

In Python, pass `Recall(every=500, annotations="annotations")` in `callbacks` of a training; on the
command line the fields of `Recall` are the flags of the group Recall.
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from phenomae.checks import at_least, whole_numbers
from phenomae.paths import PathLike
from phenomae.pretraining.loop import Callback, Losses
from phenomae.pretraining.session import Session
from phenomae.pretraining.team import is_shared
from phenomae.probes.measurement import Measurement
from phenomae.progress import info
from phenomae.signatures import settings_dict


@Parameter(name="*")
@dataclass(frozen=True)
class Recall:
    """Settings of the recall during training; calling them with a session makes the callback."""

    every: Annotated[int, Parameter(name="--recall-every")] = 0
    """Steps between measurements of the recall of known pairs, on a map of some wells. 0: recall is
    not measured."""
    annotations: PathLike | None = None
    """Known pairs, as for `benchmark`: a file with the columns entity1,entity2, or a folder of such
    .txt and .csv files."""
    wells: Annotated[int, Parameter(name="--recall-wells")] = 1000
    """Maximum number of wells that are embedded, controls included."""
    crops: Annotated[int, Parameter(name="--recall-crops")] = 8
    """Maximum number of crops per well, evenly spaced over those that `embed` would use."""
    method: Annotated[
        Literal["center-scale", "pca-center-scale", "tvn", "tvn-2024", "sphering", "mad-robust"],
        Parameter(name="--recall-method"),
    ] = "center-scale"
    """Correction of the wells, as in `correct`."""

    def __post_init__(self) -> None:
        whole_numbers(self)
        at_least("recall_every", self.every, 0)
        # 16 wells have at most 12 genes (a quarter are controls), and 5 % of 66 pairs are 3 pairs.
        at_least("recall_wells", self.wells, 16)
        at_least("recall_crops", self.crops, 1)
        if self.every and self.annotations is None:
            raise ValueError(
                f"recall_every {self.every} needs annotations: a file of known pairs, or a folder "
                "of such files"
            )
        if self.annotations is not None:
            object.__setattr__(self, "annotations", Path(self.annotations))

    def recorded(self) -> dict[str, Any]:
        """Return the settings by the names of flags and recipe keys."""
        values = settings_dict(self)
        return {
            key if key == "annotations" else f"recall_{key}": value for key, value in values.items()
        }

    def __call__(self, session: Session) -> Callback:
        """Choose wells and crops, and return the callback that measures recall on them.

        Under FSDP recall is not measured, and a line is printed. Raises ValueError if `every` is 0,
        or in the cases of `Measurement`.
        """
        if not self.every:
            raise ValueError("recall_every must be at least 1 to measure recall, not 0")
        # Under FSDP a forward pass needs all processes, but only rank zero embeds.
        if is_shared(session.objective):
            info("recall is not measured: under fsdp no process has the whole network")
            return lambda done, losses: None
        assert self.annotations is not None
        measurement = Measurement(
            session,
            Path(self.annotations),
            max_wells=self.wells,
            max_crops=self.crops,
            method=self.method,
        )
        return RecallCallback(session, measurement, self.every)


class RecallCallback:
    """Logs the recall of known pairs every `every` steps, and after the last step.

    The training is not affected: train mode and batch norm statistics are restored, and no random
    numbers are drawn.
    """

    def __init__(self, session: Session, measurement: Measurement, every: int) -> None:
        self.session, self.measurement, self.every = session, measurement, every

    def __call__(self, done: int, losses: Losses) -> None:
        """Callback: log the recall every `every` steps and after the last step."""
        team = self.session.team
        if done % self.every and done != self.session.settings.steps:
            return
        if team.writes:
            self.log(done)
        # The other processes wait here for rank zero. Otherwise they would start the next step and
        # could run into the timeout of its all-reduce.
        team.any(False)

    def log(self, done: int) -> None:
        """Log the recall after `done` steps, or print why it could not be computed."""
        try:
            recalls, chance = self.measurement.measure()
        # An early network may give all controls equal embeddings, which must not end the training.
        except ValueError as error:
            info(f"recall after {done} steps is left out: {error}")
            return
        values = {"recall": fmean(recalls.values())}
        # With one source the mean equals the recall of the source.
        if len(recalls) > 1:
            values |= {f"recall_{name}": recall for name, recall in recalls.items()}
        self.session.journal.write(done, **{**values, "recall_chance": chance})
