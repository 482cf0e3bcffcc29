"""Formats numbers, percentiles and names for the report and its figures."""

import polars as pl

_NO_BREAK = "\N{NO-BREAK SPACE}"
_DASH = "–"


def tails(low: float, high: float) -> str:
    """Return a percentile pair in words: `lowest 5 % and highest 5 %`."""
    # Rounded, because 1 - 0.95 is 0.050000000000000044 in floating point.
    ends = {"lowest": low, "highest": round(1 - high, 9)}
    parts = [f"{end} {100 * share:.3g}{_NO_BREAK}%" for end, share in ends.items() if share]
    return " and ".join(parts) or f"0{_NO_BREAK}%"


def shorten(name: str, longest: int = 28) -> str:
    """Return a name cut to `longest` letters for a figure; tables have the full name."""
    return name if len(name) <= longest else name[: longest - 1] + "…"


def fraction(value: float | None) -> str:
    """Return a number from 0 to 1 with three decimals, or a dash for None."""
    return _DASH if value is None else f"{value:.3f}"


def p_value(value: float | None) -> str:
    """Return a p-value with two significant digits, or a dash for None: `0.034`, `0.0005`."""
    return _DASH if value is None else f"{value:.2g}" if value < 0.1 else f"{value:.2f}"


def signed(value: float) -> str:
    """Return a difference with its sign and three decimals."""
    # Adding 0 makes 0 of -0.
    return f"{round(value, 3) + 0.0:+.3f}"


def with_interval(value: str, interval: tuple[float, float] | None) -> str:
    """Return a formatted number and its interval: `+0.094 (0.008 to 0.192)`.

    A line may be broken in front of the interval, but not in it.
    """
    if interval is None:
        return value
    low, high = interval
    return f"{value} ({low:.3f}{_NO_BREAK}to{_NO_BREAK}{high:.3f})"


def count(value: int) -> str:
    """Return a whole number with thousands separators."""
    return f"{value:,}"


def times(ratio: float | None) -> str:
    """Return a ratio as `4.3 ×`, or a dash for None."""
    return _DASH if ratio is None else f"{ratio:.2f} ×" if ratio < 1 else f"{ratio:.1f} ×"


def spread(values: pl.Series) -> str:
    """Return the median of whole numbers with their range: `6 (4 to 8)`; `6` if all are equal."""
    low, middle, high = (
        f"{value:,.1f}".removesuffix(".0")
        for value in (values.min(), values.median(), values.max())
    )
    return middle if low == high else f"{middle} ({low} to {high})"
