"""The two kinds of correction: fitted on negative controls, or computed from all wells at once.

A new correction is one class in one module and one line in `methods.METHODS`. It implements the
array methods (`learn`, `learn_new`, `apply`, `state`, `restore`); `fit`, `transform` and the rest
of scikit-learn's protocol come from here.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, Self

import numpy as np
from jaxtyping import Bool, Float64, Shaped

from phenomae.correction.batches import MIN_CONTROLS, Batches, require_controls
from phenomae.correction.estimator import Estimator
from phenomae.correction.frames import (
    BatchLabels,
    Features,
    column_names,
    like,
    to_array,
    to_batches,
    to_mask,
)

State = dict[str, Shaped[np.ndarray, "..."]]
"""All that a correction has learned, as arrays by name."""


class Correction(Estimator, ABC):
    """What the command needs to know of every correction."""

    name: ClassVar[str]
    """Its name on the command line and in artefacts; also its key in `methods.METHODS`."""
    fits_on: ClassVar[Literal["controls", "all wells"]]
    """Whether it is fitted on controls and applied to any well, or needs all wells at once."""
    min_controls: ClassVar[int] = MIN_CONTROLS
    """Controls that every batch needs."""
    needs_batches: ClassVar[bool] = False
    """Whether a batch column is required; without one, all wells are one batch."""
    keeps_features: ClassVar[bool] = True
    """Whether each output feature is an input feature, so that names are kept."""


class JointCorrection(Correction):
    """A correction of all wells at once: it cannot be saved or applied to new wells."""

    fits_on = "all wells"

    @abstractmethod
    def correct_jointly(
        self, features: Float64[np.ndarray, "n d"], batches: Batches
    ) -> Float64[np.ndarray, "n d"]:
        """Return all wells corrected."""

    def fit_transform(
        self, features: Features, y: Any = None, *, batches: BatchLabels = None
    ) -> Features:
        """Return all wells corrected, as the kind of table that was given.

        `y` is ignored. Raises ValueError if features or batches have the wrong shape or values.
        """
        self.check_parameters()
        array = to_array(features)
        corrected = self.correct_jointly(array, to_batches(batches, len(array)))
        names = column_names(features) or _default_names(array.shape[1])
        return like(features, corrected, names, self._output_kind)


class ControlCorrection(Correction):
    """A correction that learns from negative controls and can be applied to any well."""

    fits_on = "controls"
    n_features_in_: int
    feature_names_in_: Shaped[np.ndarray, " d"]
    """The columns of the DataFrame that it was fitted on; absent after a fit on an array."""

    @property
    @abstractmethod
    def known(self) -> frozenset[str]:
        """The batches that it has learned."""

    @abstractmethod
    def learn(self, controls: Float64[np.ndarray, "m d"], batches: Batches = None) -> Self:
        """Learn from the controls; `batches` holds the batch of each control."""

    @abstractmethod
    def learn_new(self, controls: Float64[np.ndarray, "m d"], batches: Batches = None) -> Self:
        """Learn the batches that are new from their controls; all that was learned stays."""

    @abstractmethod
    def apply(
        self, features: Float64[np.ndarray, "n d"], batches: Batches = None
    ) -> Float64[np.ndarray, "n k"]:
        """Return wells corrected; raises ValueError for a batch that was not learned."""

    @abstractmethod
    def state(self) -> State:
        """Return what was learned, to be saved."""

    @abstractmethod
    def restore(self, state: State) -> Self:
        """Set what was learned to the `state` of another one with the same parameters."""

    def fit(
        self,
        features: Features,
        y: Any = None,
        *,
        controls: Any = None,
        batches: BatchLabels = None,
    ) -> Self:
        """Learn from the controls among the wells.

        Parameters
        ----------
        features
            One row per well: an array, a pandas or a polars DataFrame.
        y
            Ignored; a Pipeline passes it.
        controls
            One bool per well: True for negative controls. Required, so that no Pipeline fits on all
            wells by mistake.
        batches
            One label per well; None treats all wells as one batch.

        Raises ValueError if `controls` is missing, a batch has too few controls, or its controls do
        not differ.
        """
        self.check_parameters()
        array = to_array(features)
        mask, labels = self._select_controls(controls, batches, len(array))
        require_controls(labels, mask, self.min_controls)
        self._remember_columns(features, array.shape[1])
        self.learn(array[mask], None if labels is None else labels[mask])
        # One corrected row shows the number of outputs, so that no method has to declare it.
        one_row = self.apply(array[:1], None if labels is None else labels[:1])
        self._n_features_out = one_row.shape[1]
        return self

    def extend(
        self, features: Features, *, controls: Any = None, batches: BatchLabels = None
    ) -> Self:
        """Learn the batches that are new from their controls; all that was learned stays.

        Takes what `fit` takes, and raises ValueError as it does.
        """
        array = self._check_columns(features)
        mask, labels = self._select_controls(controls, batches, len(array))
        require_controls(labels, mask, self.min_controls, self.known)
        return self.learn_new(array[mask], None if labels is None else labels[mask])

    def transform(self, features: Features, batches: BatchLabels = None) -> Features:
        """Return wells corrected, as the kind of table that was given (see also `set_output`).

        Raises ValueError for columns or a batch that it was not fitted on. Wells of the batch
        "all wells" are corrected by all controls that `fit` was given.
        """
        array = self._check_columns(features)
        corrected = self.apply(array, to_batches(batches, len(array)))
        if self._output_kind == "default" and isinstance(features, np.ndarray):
            return corrected
        if self.keeps_features:
            names = column_names(features) or _default_names(corrected.shape[1])
        else:
            names = self._axis_names(corrected.shape[1])
        return like(features, corrected, names, self._output_kind)

    def fit_transform(
        self,
        features: Features,
        y: Any = None,
        *,
        controls: Any = None,
        batches: BatchLabels = None,
    ) -> Features:
        """Learn from the controls among the wells and return all wells corrected."""
        return self.fit(features, controls=controls, batches=batches).transform(features, batches)

    def get_feature_names_out(self, input_features: Any = None) -> Shaped[np.ndarray, " k"]:
        """Return the names of the corrected features.

        They are `input_features` (default: the columns it was fitted on, else x0, x1, ...) if
        features are kept, and `tvn0`, `tvn1`, ... if they are rotated to other axes.
        """
        self._require_fitted()
        if not self.keeps_features:
            return np.array(self._axis_names(self._n_features_out), dtype=object)
        fitted = getattr(self, "feature_names_in_", None)
        if input_features is None:
            names = _default_names(self.n_features_in_) if fitted is None else fitted
        elif fitted is not None and list(input_features) != list(fitted):
            raise ValueError("input_features must be the columns that it was fitted on")
        else:
            names = input_features
        return np.array(names, dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        # Also after `learn` and `restore`, which leave no n_features_in_.
        return any(name.endswith("_") and not name.startswith("_") for name in vars(self))

    def _require_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            from sklearn.exceptions import NotFittedError  # is a ValueError, too

            raise NotFittedError(f"{type(self).__name__} is not fitted: call fit first")

    def _select_controls(
        self, controls: Any, batches: BatchLabels, count: int
    ) -> tuple[Bool[np.ndarray, " n"], Batches]:
        if controls is None:
            raise ValueError(
                f"{type(self).__name__} learns from negative controls: pass controls=MASK, one "
                f"bool per well, to fit (in a Pipeline as STEP__controls=MASK)"
            )
        return to_mask(controls, count), to_batches(batches, count)

    def _remember_columns(self, features: Features, width: int) -> None:
        self.n_features_in_ = width
        vars(self).pop("feature_names_in_", None)  # of an earlier fit
        if (names := column_names(features)) is not None:
            self.feature_names_in_ = np.array(names, dtype=object)

    def _check_columns(self, features: Features) -> Float64[np.ndarray, "n d"]:
        """Return the features as an array; raises ValueError if `fit` was given other columns."""
        self._require_fitted()
        array, names = to_array(features), column_names(features)
        fitted, width = getattr(self, "feature_names_in_", None), getattr(self, "n_features_in_", 0)
        if width not in (0, array.shape[1]):  # 0 if it was restored, or fitted by `learn`
            raise ValueError(
                f"{type(self).__name__} was fitted on {width} features, and was given "
                f"{array.shape[1]}"
            )
        if names is not None and fitted is not None and names != fitted.tolist():
            raise ValueError(
                f"{type(self).__name__} was fitted on other columns, or in another order: expected "
                f"{', '.join(fitted[:5])} ..."
            )
        return array

    def _axis_names(self, count: int) -> list[str]:
        return [f"{type(self).__name__.lower()}{index}" for index in range(count)]


def _default_names(count: int) -> list[str]:
    return [f"x{index}" for index in range(count)]  # as scikit-learn names columns of arrays
