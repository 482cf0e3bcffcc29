"""Pictures of what a masked autoencoder sees, what is hidden from it, and what it makes of it."""

import io
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32
from matplotlib.figure import Figure
from torch import nn

from phenomae.artefacts import write_bytes
from phenomae.crops.tensors import Crops
from phenomae.pretraining.callbacks.log import Journal
from phenomae.pretraining.loop import Losses
from phenomae.pretraining.objectives.masked import MaskedObjective
from phenomae.pretraining.team import is_shared

_HIDDEN = "#31405c"
_SIDE_INCHES = 1.35


class Panels:
    """Draws reconstructions when the validation loss is measured, for trackers to show."""

    def __init__(
        self, journal: Journal, objective: nn.Module, crops: Crops, every: int, last: int
    ) -> None:
        self.journal, self.objective, self.crops = journal, objective, crops
        self.every, self.last = every, last

    def __call__(self, done: int, losses: Losses) -> None:
        """Draw where it is time to, and somebody looks: a probe of the loop."""
        due = done % self.every == 0 or done == self.last
        if not due or not self.journal.trackers or is_shared(self.objective):
            return
        if isinstance(self.objective, MaskedObjective):
            path = self.journal.run / "reconstructions.png"
            draw_reconstructions(path, self.objective, self.crops)
            self.objective.train()
            for tracker in self.journal.trackers:
                tracker.picture(done, "reconstructions", path)


def draw_reconstructions(path: Path, objective: MaskedObjective, crops: Crops) -> None:
    """Write a PNG: per crop the rows input, masked and rebuilt, one column a channel.

    Rebuilt shows the network's guess where patches were hidden and the input where they were not.
    Every channel is shown from its 0.5th to its 99.5th percentile in the input.
    """
    objective.eval()
    output = objective.rebuild(crops)
    assert output.reconstruction is not None
    assert output.target is not None
    mask = output.mask.unsqueeze(-1).expand_as(output.target)
    images, guesses, hidden = (
        objective.model.unpatch(patches).float().cpu().numpy()
        for patches in (output.target, output.reconstruction, mask)
    )
    rebuilt = np.where(hidden > 0, guesses, images)
    figure = _draw(images, rebuilt, hidden > 0, crops.channels)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    write_bytes(path, buffer.getvalue())


def _draw(
    images: Float32[np.ndarray, "b c h w"],
    rebuilt: Float32[np.ndarray, "b c h w"],
    hidden: Bool[np.ndarray, "b c h w"],
    channels: tuple[str, ...],
) -> Figure:
    rows, columns = 3 * len(images), len(channels)
    figure = Figure(
        figsize=(_SIDE_INCHES * columns + 0.4, _SIDE_INCHES * 1.04 * rows + 0.3),
        dpi=110,
        layout="compressed",
    )
    axes = figure.subplots(rows, columns, squeeze=False)
    for row, column in np.ndindex(len(images), columns):
        image = images[row, column]
        low, high = np.percentile(image, [0.5, 99.5])
        masked = np.ma.masked_array(image, hidden[row, column])
        shown = (image, masked, rebuilt[row, column])
        for ax, pixels in zip(axes[3 * row : 3 * row + 3, column], shown, strict=True):
            ax.imshow(pixels, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
            ax.set_facecolor(_HIDDEN)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
    for ax, channel in zip(axes[0], channels, strict=True):
        ax.set_title(channel, fontsize=9)
    for index, ax in enumerate(axes[:, 0]):
        ax.set_ylabel(("input", "masked", "rebuilt")[index % 3], fontsize=9)
    figure.get_layout_engine().set(w_pad=0.015, h_pad=0.015, wspace=0, hspace=0)  # pyright: ignore
    return figure
