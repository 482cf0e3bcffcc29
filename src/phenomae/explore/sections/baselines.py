"""Section: the recall of other maps and of permuted names, next to that of this map."""

from phenomae.explore.evidence.evidence import Evidence
from phenomae.explore.sections.section import Row, Section, Table
from phenomae.explore.words import count, fraction, tails, times


def _text(evidence: Evidence) -> str:
    return (
        "The same known pairs on other maps. A method is worth its cost if its recall is clearly "
        "above that of simpler ones; shuffled names show the recall that remains without the map’s "
        f"biology. All at {tails(*evidence.measured.percentiles[0])}."
    )


def _table(evidence: Evidence) -> Table:
    groups = []
    for part in evidence.comparison:
        rows = [
            Row(
                [
                    entry.name,
                    fraction(entry.recall) + _spread(entry.sd),
                    times(entry.ratio),
                    fraction(entry.chance),
                    count(entry.n_pairs),
                ],
                emphasised=place == 0,
            )
            for place, entry in enumerate(part.entries)
        ]
        if len(rows) > 1:
            groups.append((part.source, rows))
    columns = ["map", "recall", "relative to this map", "chance", "pairs"]
    return Table("Baselines by source", columns, groups)


def _spread(sd: float | None) -> str:
    return "" if sd is None else f" ± {fraction(sd)}"


def _notes(evidence: Evidence) -> list[str]:
    uneven = [
        entry.name
        for part in evidence.comparison
        for entry in part.entries
        if entry.n_pairs != part.entries[0].n_pairs
    ]
    notes = []
    if uneven:
        names = ", ".join(dict.fromkeys(uneven))
        notes.append(
            f"{names}: benchmarked on other known pairs than this map, so compare with care."
        )
    return notes + [
        f"{name} was not benchmarked with {part.source}."
        for part in evidence.comparison
        for name in evidence.baselines
        if name not in {entry.name for entry in part.entries}
    ]


SECTION = Section(
    "baselines",
    link="Baselines",
    heading="Comparison with baselines",
    needs=lambda evidence: any(len(part.entries) > 1 for part in evidence.comparison),
    text=_text,
    table=_table,
    notes=_notes,
)
