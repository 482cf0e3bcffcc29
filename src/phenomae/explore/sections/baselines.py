"""Section: recall of other maps and of permuted gene names, compared with this map."""

from phenomae.explore.evidence.evidence import Evidence
from phenomae.explore.sections.section import Row, Section, Table
from phenomae.explore.words import count, fraction, tails, times


def _text(evidence: Evidence) -> str:
    return (
        "Recall of the same sources on other maps. A method is worth its cost if its recall is "
        "clearly above the recall of simpler methods. Shuffled names are the null distribution: "
        "the recall of this map with permuted gene names. The tails of all recalls in this table "
        f"are the {tails(*evidence.measured.percentiles[0])} of all cosines."
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
        # A source with this map alone is no comparison.
        if len(rows) > 1:
            groups.append((part.source, rows))
    columns = ["map", "recall", "relative to this map", "chance", "pairs"]
    return Table("Baselines by source", columns, groups)


def _spread(sd: float | None) -> str:
    return "" if sd is None else f" ± {fraction(sd)}"


def _notes(evidence: Evidence) -> list[str]:
    # A map without some of the genes has fewer known pairs, so its recall is that of other pairs.
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
            f"{names}: benchmarked on another number of known pairs than this map, so compare "
            "recall with care."
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
