"""The part of scikit-learn's protocol that all corrections share: parameters, tags, output kind.

It is written here instead of inherited because `import sklearn.base` takes about as long as a whole
correction of a small screen. scikit-learn is imported only by the methods that its own tools call.
"""

from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import sklearn.utils
    import sklearn.utils.metadata_routing


class Estimator:
    """Parameters as scikit-learn understands them: the arguments of `__init__`, stored unchanged.

    `sklearn.base.clone` compares each stored parameter with what was passed, so `__init__` may
    neither convert nor check its arguments; `check_parameters` does, and `fit` calls it.
    """

    @classmethod
    def parameters(cls) -> dict[str, Parameter]:
        """Return the arguments of `__init__` by name."""
        if cls.__init__ is object.__init__:  # whose signature is (*args, **kwargs)
            return {}
        found = signature(cls.__init__).parameters
        return {name: found[name] for name in found if name != "self"}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name; `deep` makes no difference, as none is an estimator."""
        return {name: getattr(self, name) for name in self.parameters()}

    def set_params(self, **parameters: Any) -> Self:
        """Set parameters by name; raises ValueError for one that does not exist."""
        for name, value in parameters.items():
            if name not in self.parameters():
                raise ValueError(
                    f"{type(self).__name__} has no parameter {name!r}; it has "
                    f"{', '.join(self.parameters()) or 'none'}"
                )
            setattr(self, name, value)
        return self

    def check_parameters(self) -> None:
        """Raise ValueError unless all parameters have sensible values."""

    def set_output(self, *, transform: str | None = None) -> Self:
        """Choose what `transform` returns: "default" (the kind it was given), "pandas", "polars".

        None changes nothing. Raises ValueError for any other kind.
        """
        if transform not in (None, "default", "pandas", "polars"):
            raise ValueError(f"transform must be default, pandas or polars, not {transform!r}")
        if transform is not None:
            # scikit-learn's own name for it, which `clone` copies.
            self._sklearn_output_config = {"transform": transform}
        return self

    @property
    def _output_kind(self) -> str:
        return getattr(self, "_sklearn_output_config", {}).get("transform", "default")

    def get_metadata_routing(self) -> "sklearn.utils.metadata_routing.MetadataRequest":
        """Return which arguments a Pipeline passes on if metadata routing is enabled.

        They are always requested, so that no `set_fit_request` can be forgotten.
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
