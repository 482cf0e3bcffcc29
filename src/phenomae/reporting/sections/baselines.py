"""Section: recall of maps that needed no training and of others, compared with this map."""

from pathlib import Path

from phenomae.evaluation.learned import list_kinds
from phenomae.evaluation.recall.baselines import SHUFFLED
from phenomae.reporting.evidence.baselines import Comparison, Entry, find_missing, with_missing
from phenomae.reporting.evidence.evidence import Evidence
from phenomae.reporting.evidence.verdict import describe_difference
from phenomae.reporting.figures.baseline_dots import draw_baselines
from phenomae.reporting.figures.style import Picture, save
from phenomae.reporting.sections.section import Row, Section, Table
from phenomae.reporting.words import fraction, signed, tails, with_interval

_GIVE = "give maps of the same genes to benchmark as --baseline NAME=MAP"


def learned_line(evidence: Evidence) -> str | None:
    """Return the line on what was learned, the first of the page; None without results.

    If the results have no baselines, it says how they are given.
    """
    if evidence.results is None:
        return None
    if evidence.results.learned is not None:
        return evidence.results.learned
    if evidence.baselines:
        return (
            "What was learned is unknown: these are results of other maps, which benchmark did "
            f"not compare with this one; {_GIVE}."
        )
    return (
        f"Nothing was compared: {_GIVE}, such as random-network, spectra, count and position, to "
        "see what was learned beyond features without learning."
    )


def differences_line(evidence: Evidence) -> str | None:
    """Return the recall of the map and its difference from every baseline; None without these.

    They are those of the first comparison: all sources together at the first percentile pair.
    """
    if evidence.results is None or not evidence.comparison:
        return None
    entries = evidence.comparison[0].entries
    differences = [
        f"{entry.name} {with_interval(signed(entry.difference), entry.difference_interval)}"
        for entry in entries
        if entry.difference is not None
    ]
    if not differences:
        return None
    own = next(entry for entry in entries if not entry.kind)
    recall = with_interval(fraction(own.recall), own.interval)
    return f"Recall {recall}. Difference from {', '.join(differences)}."


def _text(evidence: Evidence) -> str:
    return (
        "Recall of the same known pairs on maps that needed no training, and on other maps. "
        "Difference is the recall of these features minus that of the row; its 95 % CI is from a "
        "bootstrap of the genes that all maps share. These features are better than another map if "
        "the interval is above 0, and worse if it is below. A network is worth its training if it "
        "is better than every map without learning. Shuffled is the null distribution: the recall "
        "of these features with permuted gene names."
    )


def _draw(evidence: Evidence, folder: Path) -> Picture:
    main = evidence.measured.percentiles[0]
    shown = [part for part in evidence.comparison if part.percentiles == main]
    chance = evidence.measured.main["chance"][0]
    return save(draw_baselines(shown, find_missing(shown), chance), folder, "baselines")


def _caption(evidence: Evidence) -> str:
    parts = [
        f"Left: recall, {tails(*evidence.measured.percentiles[0])}; dashed line: chance. Right: "
        "recall of these features minus that of the row. Bars: 95 % CI; marks without a bar have "
        "none."
    ]
    if len(evidence.measured.percentiles) > 1:
        parts.append("The table has the other percentile pairs.")
    return " ".join(parts)


def _table(evidence: Evidence) -> Table:
    every = evidence.comparison
    sources, pairs = {part.source for part in every}, {part.percentiles for part in every}
    missing = find_missing(every)
    # A source with this map alone is no comparison.
    parts = [part for part in every if len(part.entries) > 1]
    groups = [
        (
            _heading(part, len(sources) > 1, len(pairs) > 1),
            # Missing kinds are rows of the first group only, because all groups miss the same.
            _rows(part, missing if number == 0 else {}),
        )
        for number, part in enumerate(parts)
    ]
    interval = "(95 % CI)".replace(" ", "\N{NO-BREAK SPACE}")
    columns = ["map", f"recall {interval}", f"difference {interval}", "these features are"]
    return Table("Baselines by source", columns, groups)


def _heading(part: Comparison, several_sources: bool, several_pairs: bool) -> str:
    words = [part.source] if several_sources else []
    if several_pairs:
        words.append(tails(*part.percentiles))
    return ", ".join(words)


def _rows(part: Comparison, missing: dict[str, list[str]]) -> list[Row]:
    return [
        Row([row, "missing", "", ""], faint=True) if isinstance(row, str) else _row(row)
        for row in with_missing(part, missing)
    ]


def _row(entry: Entry) -> Row:
    difference = verdict = ""
    if entry.difference is not None:
        verdict = describe_difference(entry.difference_interval)
        difference = with_interval(signed(entry.difference), entry.difference_interval)
    recall = with_interval(fraction(entry.recall), entry.interval)
    note = entry.kind if entry.kind != entry.name else ""
    return Row([entry.name, recall, difference, verdict], emphasised=not entry.kind, note=note)


def _notes(evidence: Evidence) -> list[str]:
    notes = []
    if missing := find_missing(evidence.comparison):
        how = ["takes maps as --baseline NAME=MAP"] if set(missing) - {SHUFFLED} else []
        how += ["permutes gene names with --shuffle"] if SHUFFLED in missing else []
        notes.append(f"Missing: {list_kinds(missing)}. The command benchmark {' and '.join(how)}.")
    # A map without some of the genes has fewer known pairs, so its recall is that of other pairs.
    entries = [entry for part in evidence.comparison for entry in part.entries]
    if uneven := dict.fromkeys(entry.name for entry in entries if entry.uneven):
        notes.append(
            f"{', '.join(uneven)}: benchmarked on another number of known pairs than this map, so "
            "compare recall with care."
        )
    sources = set(evidence.measured.main["source"])
    return notes + [
        f"{name} was not benchmarked with {part.source}."
        for part in evidence.comparison
        for name in evidence.baselines
        if part.source in sources
        and part.percentiles == evidence.measured.percentiles[0]
        and name not in {entry.name for entry in part.entries}
    ]


SECTION = Section(
    "baselines",
    link="Baselines",
    heading="Comparison with baselines",
    needs=lambda evidence: any(len(part.entries) > 1 for part in evidence.comparison),
    text=_text,
    draw=_draw,
    caption=_caption,
    table=_table,
    notes=_notes,
)
