"""Base classes of corrections: fitted on negative controls, or computed from all wells at once.

A new correction is one class in its own module and one line in `methods.METHODS`. The class
implements the array methods (`learn`, `learn_new`, `apply`, `state`, `restore`) and inherits `fit`,
`transform` and the rest of scikit-learn's transformer protocol.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

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
"""The fitted parameters of a correction, as arrays by name."""
Own = TypeVar("Own")


class Correction(Estimator, ABC):
    """Base class of all corrections: what the command `correct` needs to know about a method."""

    name: ClassVar[str]
    """Name of the method on the command line, in artefacts and in `methods.METHODS`."""
    fits_on: ClassVar[Literal["controls", "controls and covariates", "all wells"]]
    """`controls` if the method is fitted on controls and then applied to any well; `controls and
    covariates` if it also needs covariates of every well; `all wells` if the method needs all wells
    at once."""
    min_controls: ClassVar[int] = MIN_CONTROLS
    """Minimum number of controls per batch."""
    needs_batches: ClassVar[bool] = False
    """Whether a batch column is required."""
    uses_batches: ClassVar[bool] = True
    """Whether a batch column is allowed."""
    needs_counts: ClassVar[bool] = False
    """Whether the setting `counts` is required."""
    keeps_features: ClassVar[bool] = True
    """Whether each output feature corresponds to one input feature, so that names stay valid."""

    def output_names(self, names: Sequence[str]) -> Sequence[str] | None:
        """Return the names of the output features; None if they are not those of input features.

        `names` are the names of the input features. A fitted correction may keep only some.
        """
        return names if self.keeps_features else None


class JointCorrection(Correction):
    """A correction computed from all wells at once; it cannot be saved or applied to new wells."""

    fits_on = "all wells"

    @abstractmethod
    def correct_jointly(
        self, features: Float64[np.ndarray, "n d"], batches: Batches
    ) -> Float64[np.ndarray, "n k"]:
        """Return the corrected features of all wells."""

    def fit_transform(
        self, features: Features, y: Any = None, *, batches: BatchLabels = None
    ) -> Features:
        """Return the corrected wells as the same kind of table as `features` (or see `set_output`).

        `y` is ignored. Raises ValueError if features or batches have the wrong shape or values.
        """
        self.check_parameters()
        array = to_array(features)
        corrected = self.correct_jointly(array, to_batches(batches, len(array)))
        names = column_names(features) or _default_names(array.shape[1])
        kept = list(self.output_names(names) or _default_names(corrected.shape[1]))
        return like(features, corrected, kept, self._output_kind)


class FittedCorrection(Correction, Generic[Own]):
    """A correction that is fitted on negative controls and can be applied to any well.

    `Own` is what it needs to know about wells beside their features.
    """

    @property
    @abstractmethod
    def known(self) -> frozenset[str]:
        """The batches that this correction was fitted on."""

    @property
    def directions(self) -> int:
        """Number of directions whose covariances are estimated from the controls of each batch.

        0 for a method that only estimates means and standard deviations of a batch.
        """
        return 0

    @abstractmethod
    def learn(self, controls: Float64[np.ndarray, "m d"], own: Own, /) -> Self:
        """Fit the correction on the controls; `own` belongs to these controls."""

    @abstractmethod
    def learn_new(self, controls: Float64[np.ndarray, "m d"], own: Own, /) -> Self:
        """Fit new batches on their controls; parameters of known batches do not change."""

    @abstractmethod
    def apply(
        self, features: Float64[np.ndarray, "n d"], own: Own, /
    ) -> Float64[np.ndarray, "n k"]:
        """Return the corrected wells."""

    @abstractmethod
    def state(self) -> State:
        """Return the fitted parameters as arrays by name, to save them."""

    @abstractmethod
    def restore(self, state: State) -> Self:
        """Set the fitted parameters to the `state` of a correction with the same settings."""


class ControlCorrection(FittedCorrection[Batches]):
    """A correction that needs, beside the features, the batches of the wells or nothing."""

    fits_on = "controls"
    n_features_in_: int
    feature_names_in_: Shaped[np.ndarray, " d"]
    """Columns of the DataFrame given to `fit`; the attribute is absent after a fit on an array."""

    @abstractmethod
    def learn(self, controls: Float64[np.ndarray, "m d"], batches: Batches = None) -> Self:
        """Fit the correction on the controls; `batches` has the batch of each control."""

    @abstractmethod
    def learn_new(self, controls: Float64[np.ndarray, "m d"], batches: Batches = None) -> Self:
        """Fit new batches on their controls; parameters of known batches do not change."""

    @abstractmethod
    def apply(
        self, features: Float64[np.ndarray, "n d"], batches: Batches = None
    ) -> Float64[np.ndarray, "n k"]:
        """Return the corrected wells; raises ValueError for a batch that was not fitted."""

    def fit(
        self,
        features: Features,
        y: Any = None,
        *,
        controls: Any = None,
        batches: BatchLabels = None,
    ) -> Self:
        """Fit the correction on the control wells.

        Parameters
        ----------
        features
            One row per well: an array, a pandas or a polars DataFrame.
        y
            Ignored; scikit-learn's Pipeline passes this argument.
        controls
            One bool per well: True for negative controls. Required, so that a Pipeline cannot fit
            the correction on all wells by mistake.
        batches
            One label per well; None treats all wells as one batch.

        Raises ValueError if `controls` is missing, or if a batch has too few controls or controls
        that do not differ.
        """
        self.check_parameters()
        array = to_array(features)
        mask, labels = self._select_controls(controls, batches, len(array))
        require_controls(labels, mask, self.min_controls)
        self._remember_columns(features, array.shape[1])
        self.learn(array[mask], None if labels is None else labels[mask])
        # The number of output features is read from one corrected row, so that no method has to
        # declare it.
        one_row = self.apply(array[:1], None if labels is None else labels[:1])
        self._n_features_out = one_row.shape[1]
        return self

    def extend(
        self, features: Features, *, controls: Any = None, batches: BatchLabels = None
    ) -> Self:
        """Fit new batches on their controls; parameters of known batches do not change.

        Arguments and errors are those of `fit`, but batches that are known need no controls.
        """
        array = self._check_columns(features)
        mask, labels = self._select_controls(controls, batches, len(array))
        require_controls(labels, mask, self.min_controls, self.known)
        return self.learn_new(array[mask], None if labels is None else labels[mask])

    def transform(self, features: Features, batches: BatchLabels = None) -> Features:
        """Return the corrected wells as the same kind of table as `features` (or see `set_output`).

        Raises ValueError if the correction was not fitted on these columns or on a well's batch.
        Wells of the batch "all wells" are corrected with all controls that `fit` was given.
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
        """Fit the correction on the control wells and return all wells corrected."""
        return self.fit(features, controls=controls, batches=batches).transform(features, batches)

    def get_feature_names_out(self, input_features: Any = None) -> Shaped[np.ndarray, " k"]:
        """Return the names of the corrected features.

        A method that keeps features returns `input_features` (default: the columns given to `fit`,
        or x0, x1, ... after a fit on an array). A method that rotates features to principal axes
        returns its class name with a number: `tvn0`, `tvn1`, ...
        """
        self._require_fitted()
        if not self.keeps_features:
            return np.array(self._axis_names(self._n_features_out), dtype=object)
        fitted = getattr(self, "feature_names_in_", None)
        if input_features is None:
            names = _default_names(self.n_features_in_) if fitted is None else fitted
        elif fitted is not None and list(input_features) != list(fitted):
            raise ValueError("input_features must be the columns that the correction was fitted on")
        else:
            names = input_features
        return np.array(names, dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        # scikit-learn's rule (attributes that end with _), because `learn` and `restore` do not set
        # n_features_in_.
        return any(name.endswith("_") and not name.startswith("_") for name in vars(self))

    def _require_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            from sklearn.exceptions import NotFittedError  # a subclass of ValueError

            raise NotFittedError(f"{type(self).__name__} is not fitted: call fit first")

    def _select_controls(
        self, controls: Any, batches: BatchLabels, count: int
    ) -> tuple[Bool[np.ndarray, " n"], Batches]:
        if controls is None:
            raise ValueError(
                f"{type(self).__name__} is fitted on negative controls: pass controls=MASK, one "
                f"bool per well, to fit (in a Pipeline as STEP__controls=MASK)"
            )
        return to_mask(controls, count), to_batches(batches, count)

    def _remember_columns(self, features: Features, width: int) -> None:
        self.n_features_in_ = width
        vars(self).pop("feature_names_in_", None)  # may be left from an earlier fit on a DataFrame
        if (names := column_names(features)) is not None:
            self.feature_names_in_ = np.array(names, dtype=object)

    def _check_columns(self, features: Features) -> Float64[np.ndarray, "n d"]:
        """Return the features as an array; raises ValueError if the columns differ from `fit`'s."""
        self._require_fitted()
        array, names = to_array(features), column_names(features)
        fitted, width = getattr(self, "feature_names_in_", None), getattr(self, "n_features_in_", 0)
        # 0 after `restore` or `learn`, which do not record the number of features.
        if width not in (0, array.shape[1]):
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
    # scikit-learn uses these names for the columns of an array.
    return [f"x{index}" for index in range(count)]
