"""Baselines: their names and kinds, and maps of the same genes that are read by name.

A baseline says what a map is worth: features of an untrained network, hand-made features, the cell
count or the well position find known pairs too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from phenomae.evaluation.annotations import resolve_names
from phenomae.evaluation.recall.baselines import SHUFFLED, THESE
from phenomae.maps.read import ConsensusProfiles, read_map
from phenomae.maps.unit_vectors import require_directions
from phenomae.progress import info

Name = TypeVar("Name", str, tuple[str, ...])
UNTRAINED, HAND_MADE, COUNT, POSITION, TRAINED = (
    "untrained",
    "hand-made",
    "count",
    "position",
    "trained",
)
KINDS = {
    "random-network": UNTRAINED,
    "random-network-spread": UNTRAINED,
    "random-layer": UNTRAINED,
    "spectra": HAND_MADE,
    "intensity": HAND_MADE,
    "cellprofiler": HAND_MADE,
    "count": COUNT,
    "position": POSITION,
    SHUFFLED: SHUFFLED,
}
"""The kind of each name of the vocabulary."""
ORDER = (UNTRAINED, HAND_MADE, COUNT, POSITION, SHUFFLED, TRAINED)
"""The order of kinds in tables and figures."""


def kind_of(name: str) -> str:
    """Return the kind of a baseline. Names that are not in `KINDS` are hand-made features.

    A name that begins with `trained` is another trained network, which is shown beside the map and
    is no feature without learning.
    """
    return KINDS.get(name, TRAINED if name.startswith(TRAINED) else HAND_MADE)


def kinds_of(names: Iterable[str]) -> dict[str, str]:
    """Return the kinds of baselines by name."""
    return {name: kind_of(name) for name in names}


def report_assumed_kinds(kinds: Mapping[str, str]) -> None:
    """Log which names are taken for hand-made features, because they are not in `KINDS`."""
    for name, kind in kinds.items():
        if kind == HAND_MADE and name not in KINDS:
            info(
                f"baseline {name} counts as hand-made features: name it {TRAINED}-{name} if it was "
                "trained"
            )


def without_learning(kinds: Mapping[str, str]) -> list[str]:
    """Return the names, of maps or features with these kinds, of those without learning.

    A kind of "" is that of a map of which this is not known.
    """
    return [name for name, kind in kinds.items() if kind not in ("", TRAINED)]


def in_order(names: Iterable[str]) -> list[str]:
    """Return names of baselines in the `ORDER` of their kinds; those of one kind as they are."""
    return sorted(names, key=lambda name: ORDER.index(kind_of(name)))


def kinds_side_by_side(names: Sequence[str]) -> dict[str, str]:
    """Return the kind of each of several maps of which none is the map that baselines are of.

    If no name begins with `trained`, names that are not in `KINDS` have no kind (""), because they
    may be of one network with several corrections.
    """
    kinds = kinds_of(names)
    if TRAINED in kinds.values():
        return kinds
    return {name: kind if name in KINDS else "" for name, kind in kinds.items()}


def name_baselines(
    words: Sequence[str] | str,
    form: str = "NAME=MAP, like spectra=spectra.h5ad",
    reserved: Sequence[str] = (THESE, SHUFFLED),
) -> dict[str, Path]:
    """Return the paths of NAME=PATH by name; `form` describes such a word in messages.

    A string is one word. Raises ValueError if a name or a path is missing, or a name is repeated or
    `reserved`.
    """
    paths: dict[str, Path] = {}
    for word in [words] if isinstance(words, str) else words:
        # Split at the first =, because a path may contain = too.
        name, equals, path = (part.strip() for part in word.partition("="))
        if not (name and equals and path):
            raise ValueError(f"baseline must be {form}, not {word}")
        if name in paths:
            raise ValueError(f"baseline {name} is repeated: give every baseline its own name")
        # Figures and tables tell the entries of a comparison apart by name.
        if name in reserved:
            raise ValueError(
                f"baseline {name} is the name of another row of the table: choose another"
            )
        paths[name] = Path(path)
    return paths


def read_baseline(
    name: str, path: Path, genes: Sequence[str], source: Path, aliases: dict[str, str]
) -> ConsensusProfiles:
    """Return a baseline's map with its rows in the order of `genes`.

    `source` is the map that has these genes. Raises ValueError if the baseline has other genes, or
    a row without a cosine.
    """
    profiles = read_map(path)
    require_directions(profiles, path)
    names = resolve_names(profiles.names, aliases)
    rows = rows_in_order(
        names,
        genes,
        f"baseline {name} ({path}) has other genes than {source}",
        "make both maps from the same wells",
    )
    return replace(
        profiles, names=list(genes), features=profiles.features[rows], obs=profiles.obs[rows]
    )


def rows_in_order(
    found: Sequence[Name], expected: Sequence[Name], problem: str, advice: str
) -> list[int]:
    """Return the index in `found` of each expected name: of a gene, or plate and well.

    Raises ValueError, which begins with `problem` and ends with `advice`, if the names differ.
    """
    row_of = {name: row for row, name in enumerate(found)}
    missing = [name for name in expected if name not in row_of]
    more = sorted(set(found) - set(expected))
    if missing or more:
        lacks = f"it lacks {len(missing)}, like {_show(missing[0])}" if missing else ""
        has = f"it has {len(more)} more, like {_show(more[0])}" if more else ""
        raise ValueError(f"{problem}: {' and '.join(filter(None, [lacks, has]))}; {advice}")
    return [row_of[name] for name in expected]


def _show(name: Name) -> str:
    return name if isinstance(name, str) else " ".join(name)


def missing_kinds(names: Sequence[str], shuffled: bool) -> dict[str, list[str]]:
    """Return the kinds of baselines that were not given, each with its names."""
    given = {kind_of(name) for name in names}
    missing = {
        kind: [name for name, its in KINDS.items() if its == kind]
        for kind in (UNTRAINED, HAND_MADE, COUNT, POSITION)
        if kind not in given
    }
    return missing if shuffled else {**missing, SHUFFLED: ["shuffle"]}
