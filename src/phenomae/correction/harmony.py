"""Harmony: wells that look alike in different batches are moved onto each other."""

from typing import ClassVar, NoReturn, Self

import numpy as np
from jaxtyping import Float64

from phenomae.cores import available_cores
from phenomae.correction.batches import Batches
from phenomae.correction.correction import Correction, State

_WELLS_A_CLUSTER = 30  # harmonypy takes a cluster for so many wells, so fewer have none


class Harmony(Correction):
    """Harmony (Korsunsky et al. 2019), as the package harmonypy computes it with its own defaults.

    It looks at all wells at once, not at controls: only `fit_transform`, given all wells, does
    anything, and new wells cannot be added later.
    """

    least_controls: ClassVar[int] = 0
    spares_batches: ClassVar[bool] = False

    @property
    def known(self) -> frozenset[str]:
        """The batches that it has learned."""
        return frozenset()

    def fit_transform(
        self, controls: Float64[np.ndarray, "n d"], batches: Batches = None
    ) -> Float64[np.ndarray, "n d"]:
        """Return all the wells given, controls or not, corrected.

        Raises ValueError where harmonypy is not installed, there are no batches or only one, or
        fewer than 30 wells.
        """
        try:
            from harmonypy import run_harmony
        except ImportError:
            raise ValueError("harmony needs harmonypy: pip install 'phenomae[harmony]'") from None
        if batches is None or len(np.unique(batches)) < 2:
            held = "no batches" if batches is None else f"{batches[0]} only"
            raise ValueError(
                f"harmony moves batches onto each other, and it was given {held}: name a column "
                "with two or more, like --batch plate"
            )
        if len(controls) < _WELLS_A_CLUSTER:
            raise ValueError(
                f"harmony needs at least {_WELLS_A_CLUSTER} wells, and here are {len(controls)}"
            )
        meta = {"batch": batches}
        fitted = run_harmony(
            controls, meta, "batch", verbose=False, random_state=0, ncores=available_cores()
        )
        return np.asarray(fitted.Z_corr, dtype=np.float64).reshape(controls.shape)

    def fit(self, controls: Float64[np.ndarray, "n d"], batches: Batches = None) -> NoReturn:
        """Raise ValueError: it cannot be fitted on some wells and applied to others."""
        _refuse()

    def extend(self, controls: Float64[np.ndarray, "n d"], batches: Batches = None) -> NoReturn:
        """Raise ValueError, as `fit` does."""
        _refuse()

    def transform(self, features: Float64[np.ndarray, "n d"], batches: Batches = None) -> NoReturn:
        """Raise ValueError, as `fit` does."""
        _refuse()

    def state(self) -> NoReturn:
        """Raise ValueError, as `fit` does."""
        _refuse()

    def restore(self, state: State) -> Self:
        """Raise ValueError, as `fit` does."""
        _refuse()


def _refuse() -> NoReturn:
    raise ValueError(
        "harmony looks at all wells at once, so it cannot be fitted on controls, saved or applied "
        "to new plates: use fit_transform, or another method"
    )
