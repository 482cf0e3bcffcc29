"""The part of scikit-learn's estimator protocol that all corrections share.

The protocol (parameters, tags, output container) is implemented here instead of inherited from
`BaseEstimator`, because `import sklearn.base` takes about as long as correcting a small screen.
scikit-learn is imported only in methods that scikit-learn itself calls.
"""

from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import sklearn.utils
    import sklearn.utils.metadata_routing


class Estimator:
    """Base class with scikit-learn's parameters: the arguments of `__init__`, stored unchanged.

    `sklearn.base.clone` requires that each stored parameter is the object that was passed, so
    `__init__` neither converts nor validates its arguments. `fit` validates them by
    `check_parameters`.
    """

    @classmethod
    def parameters(cls) -> dict[str, Parameter]:
        """Return the arguments of `__init__` by name."""
        if cls.__init__ is object.__init__:  # object.__init__ has the signature (*args, **kwargs)
            return {}
        found = signature(cls.__init__).parameters
        return {name: found[name] for name in found if name != "self"}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name; `deep` has no effect, as no parameter is an estimator."""
        return {name: getattr(self, name) for name in self.parameters()}

    def set_params(self, **parameters: Any) -> Self:
        """Set parameters by name; raises ValueError for an unknown name."""
        for name, value in parameters.items():
            if name not in self.parameters():
                raise ValueError(
                    f"{type(self).__name__} has no parameter {name!r}; it has "
                    f"{', '.join(self.parameters()) or 'none'}"
                )
            setattr(self, name, value)
        return self

    def check_parameters(self) -> None:
        """Raise ValueError if a parameter has an invalid value; this base class accepts all."""

    def set_output(self, *, transform: str | None = None) -> Self:
        """Choose the type of table that `transform` returns: "pandas", "polars" or "default".

        With "default" the output has the same type as the input. None leaves the choice unchanged.
        Raises ValueError for any other value.
        """
        if transform not in (None, "default", "pandas", "polars"):
            raise ValueError(f"transform must be default, pandas or polars, not {transform!r}")
        if transform is not None:
            # scikit-learn's own attribute name, because `clone` copies this attribute.
            self._sklearn_output_config = {"transform": transform}
        return self

    @property
    def _output_kind(self) -> str:
        return getattr(self, "_sklearn_output_config", {}).get("transform", "default")

    def get_metadata_routing(self) -> "sklearn.utils.metadata_routing.MetadataRequest":
        """Return the metadata that a Pipeline passes to `fit` and `transform`.

        `controls` and `batches` are always requested, so that users need not call
        `set_fit_request`. Pipelines use this method only if metadata routing is enabled.
        """
        from sklearn.utils.metadata_routing import MetadataRequest

        request = MetadataRequest(owner=type(self).__name__)
        for method, names in (("fit", ("controls", "batches")), ("transform", ("batches",))):
            for name in names:
                getattr(request, method).add_request(param=name, alias=True)
        return request

    def __sklearn_tags__(self) -> "sklearn.utils.Tags":
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(),
            input_tags=InputTags(),
        )

    def __repr__(self) -> str:
        values = (f"{name}={value!r}" for name, value in self.get_params().items())
        return f"{type(self).__name__}({', '.join(values)})"
