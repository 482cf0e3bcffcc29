"""The verdict on a score beside chance, by its interval and p-value."""

LEVEL = 0.05
ABOVE = "above chance"
BELOW = "below chance"
NOT_SHOWN = "not shown to differ from chance"
UNKNOWN = "undetermined"
NO_DIFFERENCE = "no difference shown"


def compare_with_chance(
    chance: float, interval: tuple[float | None, float | None], p: float | None
) -> str:
    """Return whether a score is above chance, by its 95 % CI and, if there is one, its p-value.

    *above chance*: the interval is above chance, and the p-value, which is one-sided, is at most
    `LEVEL`. *below chance*: the interval is below chance. *not shown to differ from chance*: none
    of the two. *undetermined*: there is no interval.

    An interval has no width if all known pairs are recalled, or none, and says nothing. The p-value
    then decides alone; without one the verdict is *undetermined*.
    """
    low, high = interval
    if low is None or high is None:
        return UNKNOWN
    if low == high:
        return UNKNOWN if p is None else ABOVE if p <= LEVEL else NOT_SHOWN
    if high < chance:
        return BELOW
    return ABOVE if low > chance and (p is None or p <= LEVEL) else NOT_SHOWN


def describe_difference(interval: tuple[float, float] | None) -> str:
    """Return whether a map is better than another one, by the 95 % CI of the paired difference.

    *better* if the interval is above 0, *worse* if it is below 0, *no difference
    shown* if it contains 0, *undetermined* if there is none.
    """
    if interval is None:
        return UNKNOWN
    low, high = interval
    return "better" if low > 0 else "worse" if high < 0 else NO_DIFFERENCE
