"""Sends pictures of reconstructions to the trackers, whenever the validation loss is computed."""

from phenomae.crops.tensors import Crops
from phenomae.pretraining.callbacks.log import Journal
from phenomae.pretraining.loop import Losses
from phenomae.pretraining.objectives.objective import Objective
from phenomae.pretraining.team import is_shared


class Panels:
    """Callback that draws reconstructions if a tracker is open."""

    def __init__(
        self, journal: Journal, objective: Objective, crops: Crops, every: int, last: int
    ) -> None:
        self.journal, self.objective, self.crops = journal, objective, crops
        self.every, self.last = every, last

    def __call__(self, done: int, losses: Losses) -> None:
        """Callback: draw every `every` steps and after the last step."""
        due = done % self.every == 0 or done == self.last
        # Under FSDP a forward pass would need all processes, but only rank zero has trackers.
        if not due or not self.journal.trackers or is_shared(self.objective):
            return
        path = self.journal.run / "reconstructions.png"
        if self.objective.draw(path, self.crops):
            for tracker in self.journal.trackers:
                tracker.picture(done, "reconstructions", path)
