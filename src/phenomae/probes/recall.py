"""The recall of known pairs of genes during training: settings and callback in one.

From Python, pass `Recall(every=500, annotations="annotations")` in `callbacks` of a training; on
the command line its fields are the flags of the group Recall.
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from phenomae.artefacts import settings_dict
from phenomae.checks import at_least
from phenomae.paths import PathLike
from phenomae.pretraining.loop import Callback, Losses
from phenomae.pretraining.session import Session
from phenomae.pretraining.team import is_shared
from phenomae.probes.measurement import Measurement
from phenomae.progress import info


@Parameter(name="*")
@dataclass(frozen=True)
class Recall:
    """When and how recall is measured during a training."""

    every: Annotated[int, Parameter(name="--recall-every")] = 0
    """Steps between measurements of the recall of known pairs, on a map of some wells; 0: none."""
    annotations: PathLike | None = None
    """Known pairs, as `benchmark` takes them: a file with the columns entity1,entity2, or a folder
    of such .txt and .csv files."""
    wells: Annotated[int, Parameter(name="--recall-wells")] = 1000
    """Maximum number of wells that are embedded, controls included."""
    crops: Annotated[int, Parameter(name="--recall-crops")] = 8
    """Maximum number of crops per well, evenly spaced over those that `embed` would use."""
    method: Annotated[
        Literal["center-scale", "pca-center-scale", "tvn", "sphering"],
        Parameter(name="--recall-method"),
    ] = "center-scale"
    """Correction of the wells, as in `correct`."""

    def __post_init__(self) -> None:
        at_least("recall_every", self.every, 0)
        # 16 wells are 12 genes at most; 5 % of their 66 pairs are three pairs.
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
        """Return the settings under the names that flags and recipes have."""
        values = settings_dict(self)
        return {
            key if key == "annotations" else f"recall_{key}": value for key, value in values.items()
        }

    def __call__(self, session: Session) -> Callback:
        """Choose wells and crops, and return the callback that measures recall on them.

        Under FSDP nothing is measured, and a line says so. Raises ValueError if `every` is 0, or as
        `Measurement` does.
        """
        if not self.every:
            raise ValueError("recall_every must be at least 1 to measure recall, not 0")
        # A forward pass would need all processes, and embedding runs in rank zero only.
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
    """Logs the recall of known pairs every `every` steps, and after the last one.

    The training is not affected: modes, batch norm statistics and random state are restored.
    """

    def __init__(self, session: Session, measurement: Measurement, every: int) -> None:
        self.session, self.measurement, self.every = session, measurement, every

    def __call__(self, done: int, losses: Losses) -> None:
        """Callback: measure if it is due."""
        team = self.session.team
        if done % self.every and done != self.session.settings.steps:
            return
        if team.writes:
            self.log(done)
        # The other processes wait here. Without this they would start the next step and could run
        # into the timeout of its all-reduce.
        team.any(False)

    def log(self, done: int) -> None:
        """Write the recall after `done` steps to the log, or say why it could not be computed."""
        try:
            recalls, chance = self.measurement.measure()
        # Early networks may embed all controls alike; the training should not stop because of that.
        except ValueError as error:
            info(f"recall after {done} steps is left out: {error}")
            return
        values = {"recall": fmean(recalls.values())}
        # With one source the mean is that source.
        if len(recalls) > 1:
            values |= {f"recall_{name}": recall for name, recall in recalls.items()}
        self.session.journal.write(done, **{**values, "recall_chance": chance})
