"""Computes the validation loss, always on the same crops with the same masks."""

import torch
from torch import nn

from phenomae.crops.tensors import Crops
from phenomae.pretraining.callbacks.log import Journal
from phenomae.pretraining.loop import Losses


class Validation:
    """Callback that logs the mean loss on crops of validation wells."""

    def __init__(
        self, journal: Journal, objective: nn.Module, crops: list[Crops], every: int, last: int
    ) -> None:
        self.journal, self.objective, self.crops = journal, objective, crops
        self.every, self.last = every, last

    def __call__(self, done: int, losses: Losses) -> None:
        """Callback: log the validation loss every `every` steps and after the last step."""
        if done % self.every == 0 or done == self.last:
            self.measure(done)

    def measure(self, done: int) -> None:
        """Log the mean loss over the validation crops, if there are any."""
        if self.crops:
            self.journal.write(done, validation_loss=self.mean())

    @torch.no_grad()
    def mean(self) -> float:
        """Return the mean loss over all crops; there must be at least one."""
        # Without drop path, and with the running statistics of batch norm (AdaBN: the plate's).
        self.objective.eval()
        # The index of the batch is passed as the step, so that masks are the same every time.
        sums = [
            float(self.objective(part, index)["loss"]) * len(part)
            for index, part in enumerate(self.crops)
        ]
        self.objective.train()
        return sum(sums) / sum(len(part) for part in self.crops)
