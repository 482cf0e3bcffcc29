"""The settings of quality control: the rules by which fields and plates are flagged."""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from cyclopts import Parameter

from phenomae.checks import above, at_least, between, one_of, require, share, whole_numbers

Flag = Literal["blurred", "saturated", "empty", "debris"]
FLAGS: tuple[Flag, ...] = get_args(Flag)


@Parameter(name="*")
@dataclass(frozen=True)
class QcSettings:
    """The rules by which fields and plates are flagged, and the flags that leave fields out."""

    where: str | None = None
    """Condition on the rows of fields.parquet, as in embed: "plate != 'P3'". Only fields that meet
    it are compared and flagged, and the condition of the output includes it. Default: all
    fields."""
    leave_out: Annotated[tuple[Flag, ...], Parameter(consume_multiple=True, negative=())] = FLAGS
    """Flags that leave a field out of the condition; several may be given."""
    z: float = 3.5
    """A field is blurred (or has debris) if the logarithm of its focus (of its brightest object) is
    this many robust standard deviations below (above) the median of the plate and channel; 3.5 as
    Iglewicz and Hoaglin (1993)."""
    max_saturation: float = 0.01
    """A field is saturated if a larger fraction of its pixels in a channel has the field's highest
    value, and half of the fields of the plate are not brighter."""
    min_foreground: float = 0.005
    """A field is empty if the fraction of foreground pixels is below this in every channel."""
    object_size: int = 8
    """Side in pixels of the smallest bright object that is looked for: the brightest object is the
    highest level that a square of this side exceeds everywhere."""
    level: float = 0.05
    """Significance level of edge effects, after adjustment over all tests (FDR)."""
    min_effect: float = 1.0
    """Smallest edge effect: difference of the medians of border and inner wells, in robust standard
    deviations of the inner wells."""

    def __post_init__(self) -> None:
        whole_numbers(self)
        require(bool(self.leave_out), "leave_out", f"one or more of {', '.join(FLAGS)}", "empty")
        for flag in self.leave_out:
            one_of("leave_out", flag, FLAGS)
        above("z", self.z, 0)
        share("max_saturation", self.max_saturation)
        share("min_foreground", self.min_foreground)
        at_least("object_size", self.object_size, 1)
        between("level", self.level, 0, 1)
        at_least("min_effect", self.min_effect, 0)
