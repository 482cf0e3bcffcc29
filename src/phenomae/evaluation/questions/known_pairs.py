"""The known pairs of a map: lists of pairs, complexes of genes, mechanisms of compounds."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from jaxtyping import Int

from phenomae.evaluation.annotations import pairs_on_map, read_annotations
from phenomae.evaluation.questions.complexes import read_complexes, rows_on_map
from phenomae.evaluation.questions.compound_profiles import read_mechanisms
from phenomae.evaluation.recall.cosines import Pairs
from phenomae.paths import PathLike
from phenomae.progress import info

Rows = Int[np.ndarray, " k"]


@dataclass(frozen=True)
class Source:
    """The known pairs of one file, as row indices of a map, and the classes they are from."""

    name: str
    pairs: Pairs
    classes: dict[str, Rows]
    """The rows of each complex or mechanism; none for a list of pairs."""


def read_sources(
    annotations: PathLike | None,
    complexes: PathLike | None,
    mechanisms: PathLike | None,
    names: list[str],
    path: Path,
) -> list[Source]:
    """Return the sources with a known pair on a map whose rows have these `names`.

    A source is named by the stem of its file. Two members of a complex are a known pair, and two
    compounds of a mechanism. Sources without a pair on the map are skipped and logged. `path`, the
    map, is named in errors. Raises ValueError if no file is given or one cannot be used, two
    sources have the same name, or none has a pair on the map.
    """
    if annotations is None and complexes is None and mechanisms is None:
        raise ValueError("enrichment needs known pairs: give annotations, complexes or mechanisms")
    found = []
    if annotations is not None:
        lists = read_annotations(annotations)
        found += [Source(one.name, pairs_on_map(one, names), {}) for one in lists]
    if complexes is not None:
        found.append(_of_classes(Path(complexes), read_complexes(Path(complexes)), names))
    if mechanisms is not None:
        known = read_mechanisms(Path(mechanisms))
        grouped = known.group_by("mechanism", maintain_order=True).agg("compound")
        found.append(_of_classes(Path(mechanisms), dict(grouped.rows()), names))
    stems = [source.name for source in found]
    if repeated := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise ValueError(f"two sources are named {repeated[0]}: rename one of their files")
    for source in found:
        if not len(source.pairs):
            info(f"{source.name} is skipped: none of its pairs has both names on the map")
    kept = [source for source in found if len(source.pairs)]
    if not kept:
        raise ValueError(
            f"none of the known pairs of {', '.join(stems)} has both names on the map {path}, "
            f"which has names like {', '.join(names[:3])}"
        )
    return kept


def pairs_within(rows: Rows) -> Pairs:
    """Return all pairs of some rows: smaller first, sorted."""
    return np.array(list(combinations(np.sort(rows).tolist(), 2)), dtype=np.int64).reshape(-1, 2)


def _of_classes(path: Path, members: Mapping[str, list[str]], names: list[str]) -> Source:
    classes = rows_on_map(dict(members), names)
    pairs = [pairs_within(rows) for rows in classes.values()]
    # A pair that is in two classes counts once.
    distinct = np.unique(np.concatenate([np.empty((0, 2), dtype=np.int64), *pairs]), axis=0)
    return Source(path.stem, distinct, classes)
