"""How the report puts shares, percentiles and names into words."""

_NO_BREAK = "\N{NO-BREAK SPACE}"


def tails(low: float, high: float) -> str:
    """Return which cosines count as found: `lowest 5 % and highest 5 %`."""
    ends = {"lowest": low, "highest": round(1 - high, 9)}
    parts = [f"{end} {100 * share:.3g}{_NO_BREAK}%" for end, share in ends.items() if share]
    return " and ".join(parts) or f"0{_NO_BREAK}%"


def shorten(name: str, most: int = 28) -> str:
    """Return a name that fits into a figure; the page's tables hold the whole one."""
    return name if len(name) <= most else name[: most - 1] + "…"


def times(ratio: float | None) -> str:
    """Return `4.3 ×`, or a dash where there is nothing to divide by."""
    return "–" if ratio is None else f"{ratio:.2f} ×" if ratio < 1 else f"{ratio:.1f} ×"
