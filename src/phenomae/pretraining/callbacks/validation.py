"""Computes the validation loss, always on the same crops with the same masks."""

from phenomae.crops.tensors import Crops
from phenomae.pretraining.callbacks.log import Journal
from phenomae.pretraining.loop import Learner, Losses


class Validation:
    """Callback that logs the mean loss on crops of validation wells."""

    def __init__(
        self, journal: Journal, learner: Learner, crops: list[Crops], every: int, last: int
    ) -> None:
        self.journal, self.learner, self.crops = journal, learner, crops
        self.every, self.last = every, last

    def __call__(self, done: int, losses: Losses) -> None:
        """Callback: log the validation loss every `every` steps and after the last step."""
        if done % self.every == 0 or done == self.last:
            self.measure(done)

    def measure(self, done: int) -> None:
        """Log the mean loss over the validation crops, if there are any."""
        if self.crops:
            self.journal.write(done, validation_loss=self.learner.validate(self.crops))
