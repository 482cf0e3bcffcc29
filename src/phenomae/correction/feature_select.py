"""Feature selection by pycytominer: features that vary little or repeat another are left out.

The selection is made on all wells of all plates, as pycytominer does by default: a feature that
does not vary among controls may be the one in which a perturbation has its effect.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64

from phenomae import checks
from phenomae.correction.batches import Batches
from phenomae.correction.correction import JointCorrection
from phenomae.correction.mad_robust import require_pycytominer
from phenomae.progress import count_of, info

OPERATIONS = ("variance_threshold", "correlation_threshold", "drop_outliers", "blocklist")


class FeatureSelect(JointCorrection):
    """Keeps the features that `pycytominer.feature_select` keeps; their values do not change.

    `operation` names one or several of variance_threshold, correlation_threshold, drop_outliers and
    blocklist, separated by commas. The other parameters and their defaults are pycytominer's.
    """

    name = "feature-select"
    uses_batches = False
    min_controls = 0

    names: Sequence[str] | None = None
    """Names of the input features, which the blocklist needs; `correct` sets them."""
    kept_: Bool[np.ndarray, " d"]
    """Which features are kept."""

    def __init__(
        self,
        operation: str = "variance_threshold,correlation_threshold",
        corr_threshold: float = 0.9,
        freq_cut: float = 0.05,
        unique_cut: float = 0.01,
        outlier_cutoff: float = 500.0,
    ) -> None:
        self.operation = operation
        self.corr_threshold = corr_threshold
        self.freq_cut = freq_cut
        self.unique_cut = unique_cut
        self.outlier_cutoff = outlier_cutoff

    def check_parameters(self) -> None:
        """Raise ValueError for an unknown operation or a threshold outside its range."""
        for operation in self._list_operations():
            checks.one_of("operation", operation, OPERATIONS)
        for name in ("corr_threshold", "freq_cut", "unique_cut"):
            checks.share(name, getattr(self, name))
        checks.above("outlier_cutoff", self.outlier_cutoff, 0)

    def correct_jointly(
        self, features: Float64[np.ndarray, "n d"], batches: Batches
    ) -> Float64[np.ndarray, "n k"]:
        """Return the features that are kept.

        Raises ValueError if none is kept, the blocklist is asked for without names of the features,
        or pycytominer is not installed.
        """
        pycytominer = require_pycytominer(self.name)
        import pandas as pd

        operations = self._list_operations()
        if self.names is None and "blocklist" in operations:
            raise ValueError(
                "feature-select: the blocklist names features of CellProfiler, but these features "
                "have no names: leave blocklist out of operation"
            )
        names = list(self.names or map(str, range(features.shape[1])))
        selected = pycytominer.feature_select(
            pd.DataFrame(features, columns=pd.Index(names)),
            features=names,
            operation=operations,
            corr_threshold=self.corr_threshold,
            freq_cut=self.freq_cut,
            unique_cut=self.unique_cut,
            outlier_cutoff=self.outlier_cutoff,
        )
        self.kept_ = np.isin(names, list(selected.columns))
        if not self.kept_.any():
            raise ValueError(f"feature-select: {self.operation} leaves none of the features")
        info(f"feature-select keeps {self.kept_.sum()} of {count_of(len(names), 'feature')}")
        return features[:, self.kept_]

    def output_names(self, names: Sequence[str]) -> Sequence[str] | None:
        """Return the names of the features that are kept."""
        return [name for name, kept in zip(names, self.kept_, strict=True) if kept]

    def _list_operations(self) -> list[str]:
        return [operation.strip() for operation in self.operation.split(",")]
