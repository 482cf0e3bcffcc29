"""The base of the kinds of hand-made features: what a kind is given, and what it returns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float64, UInt

Describe = Callable[[UInt[np.ndarray, "c h w"]], Float64[np.ndarray, " d"]]
"""Function that returns the features of an image, a whole field or a crop."""


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
    """A kind of hand-made features, computed either from pixels or from the names of wells."""

    from_pixels: Callable[[View], Describe] | None = None
    """Returns the function that is called for every image; raises ValueError if it cannot be."""
    from_wells: Callable[[Sequence[str]], Float64[np.ndarray, "n d"]] | None = None
    """Returns one row of features per well of a plate."""
    recorded: Mapping[str, Any] = field(default_factory=dict)
    """Constants that the numbers depend on, recorded with the wells."""
    settings: Sequence[str] = ()
    """Names of the settings that only this kind uses."""
