"""Reads JSON files that other people wrote, and numbers in them."""

import json
from pathlib import Path
from typing import Any


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; raises ValueError if the file holds anything else."""
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError):  # RecursionError: deeply nested lists
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{path} is damaged: it should be a JSON object")
    return found


def read_side(value: Any) -> int | None:
    """Return the side of a square: 224, [224, 224] or {"height": 224, "width": 224}; else None."""
    if isinstance(value, dict):
        value = [value[key] for key in ("height", "width", "shortest_edge") if key in value]
    if isinstance(value, list):
        value = value[0] if value and len({str(side) for side in value}) == 1 else None
    return value if type(value) is int and value > 0 else None  # True is an int to isinstance
