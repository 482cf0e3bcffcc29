"""Colours of cosines in standard deviations of the null distribution; what is not rare is white."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from phenomae.reporting.evidence.null_cosines import NullCosines
from phenomae.reporting.figures.style import PALE

_COLOURS = 512
_NO_VALUE = "#eef0f4"


@dataclass(frozen=True)
class NullScale:
    """Where colours begin and where they end, in standard deviations of the null distribution."""

    null: NullCosines
    threshold: float
    limit: float

    @classmethod
    def fit(
        cls,
        null: NullCosines,
        cosines: Float64[np.ndarray, "cells cells"],
        from_zero: bool = False,
    ) -> "NullScale":
        """Return the scale for cosines off the diagonal of a symmetric matrix.

        Colours begin at the threshold of the null distribution, and end at the 99th percentile of
        the values, but not below twice the threshold: a map of noise is white, and its few values
        above the threshold are pale. Nor do they end above what a cosine of 1 has. `from_zero`:
        they begin at 0, for cells whose order the values themselves did not decide.
        """
        values = np.abs(null.standardise(cosines[np.triu_indices(len(cosines), k=1)]))
        highest = float(null.standardise(np.ones(1))[0])
        ninety_ninth = float(np.quantile(values, 0.99)) if len(values) else 0.0
        limit = min(highest, max(2 * null.threshold, ninety_ninth))
        begin = 0.0 if from_zero else null.threshold
        return cls(null, begin, max(limit, 1.25 * null.threshold))

    @property
    def colour_map(self) -> Colormap:
        """Blue, white up to the threshold on both sides of 0, red."""
        values = np.linspace(-self.limit, self.limit, _COLOURS)
        above = np.maximum(np.abs(values) - self.threshold, 0) / (self.limit - self.threshold)
        colours = colormaps["RdBu_r"]((np.sign(values) * above + 1) / 2)
        # The middle of this map is not quite white; a colour is of a range of values.
        colours[np.abs(values) <= self.threshold + 2 * self.limit / _COLOURS] = 1.0
        return ListedColormap(colours).with_extremes(bad=_NO_VALUE)

    def draw(self, ax: Axes, cosines: Float64[np.ndarray, "cells cells"]) -> AxesImage:
        """Draw cosines as an image with one pixel per cell, which viewers scale without blurring.

        Cells that are NaN, as those of rows with themselves, are grey.
        """
        look = {"cmap": self.colour_map, "vmin": -self.limit, "vmax": self.limit}
        image = ax.imshow(self.null.standardise(cosines), interpolation="none", **look)
        ax.spines[:].set_visible(True)
        ax.spines[:].set(color=PALE, linewidth=0.6)
        return image

    def draw_bar(self, figure: Figure, image: AxesImage, **place) -> None:
        """Draw the colour bar; `place` is that of matplotlib's `colorbar`."""
        bar = figure.colorbar(image, orientation="horizontal", **place)
        begins = {
            -self.threshold: f"−{self.threshold:.1f}",
            self.threshold: f"+{self.threshold:.1f}",
        }
        ends = [-self.limit, *(begins if self.threshold else [0.0]), self.limit]
        between = list(begins.values()) if self.threshold else ["0"]
        names = [f"≤ −{self.limit:.1f}\nopposite", *between, f"≥ +{self.limit:.1f}\nsimilar"]
        bar.set_ticks(ends, labels=names)
        bar.ax.tick_params(labelsize=8)
        bar.outline.set(color=PALE, linewidth=0.6)  # pyright: ignore[reportCallIssue]
