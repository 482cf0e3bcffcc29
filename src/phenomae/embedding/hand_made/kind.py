"""The base of the kinds of hand-made features: what a kind is given, and what it returns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Float64, UInt

Describe = Callable[[UInt[np.ndarray, "c h w"]], Float64[np.ndarray, " d"]]
"""Function that returns the features of an image, a whole field or a crop."""


@runtime_checkable
class DescribeObjects(Protocol):
    """Function that returns the features of the objects of an image; it can be pickled."""

    @property
    def names(self) -> Sequence[str]:
        """Names of the features."""
        ...

    def __call__(
        self, pixels: UInt[np.ndarray, "c h w"], windows: Float32[np.ndarray, "c 2"]
    ) -> Float64[np.ndarray, "m d"]:
        """Return one row per object; a feature that cannot be computed is NaN or infinite.

        `windows` are the stored values that become 0 and 1, of each channel.
        """
        ...


@dataclass(frozen=True)
class View:
    """What is known of the images before the first is read."""

    source: str
    """The store, for messages."""
    channels: Sequence[str]
    """Names of the channels, in order."""
    side: int
    """Smallest side of an image in pixels."""
    settings: Any
    """The settings of the command."""


@dataclass(frozen=True)
class Kind:
    """A kind of hand-made features: of images, of the objects in images, or of names of wells.

    One of the first three fields is given.
    """

    from_pixels: Callable[[View], Describe] | None = None
    """Returns the function that is called for every image; raises ValueError if it cannot be."""
    from_objects: Callable[[View], DescribeObjects] | None = None
    """Returns the function that is called for every image, as `from_pixels`. The profile of a well
    is the median over its objects."""
    from_wells: Callable[[Sequence[str]], Float64[np.ndarray, "n d"]] | None = None
    """Returns one row of features per well of a plate."""
    recorded: Mapping[str, Any] = field(default_factory=dict)
    """Constants that the numbers depend on, recorded with the wells."""
    settings: Sequence[str] = ()
    """Names of the settings that this kind uses and not every kind does."""
    require: Callable[[], object] | None = None
    """Called before anything is read; raises ValueError if a package is not installed."""
