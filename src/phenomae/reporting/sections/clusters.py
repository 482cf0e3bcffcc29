"""Section: the clusters of the map, how stable they are, and what they are known for."""

import polars as pl

from phenomae.evaluation.clusters.stability import DISSOLVED, STABLE
from phenomae.progress import count_of
from phenomae.reporting.evidence.cluster_tables import ClusterTables
from phenomae.reporting.evidence.evidence import Evidence
from phenomae.reporting.sections.section import Row, Section, Table
from phenomae.reporting.words import count, fraction, p_value

_SHOWN = 30  # clusters of the table, the largest
_MEMBERS = 8  # names of a cluster that are listed
_LEVEL = 0.05  # false discovery rate up to which the best set of a cluster is named


def _clusters(evidence: Evidence) -> ClusterTables:
    assert evidence.map.clusters is not None
    return evidence.map.clusters


def _text(evidence: Evidence) -> str:
    found = _clusters(evidence)
    more = len(found.sizes) - _SHOWN
    return (
        f"{count(len(found.sizes))} clusters of the graph of nearest {evidence.noun}s (Leiden"
        f"{f'; the {_SHOWN} largest are listed' if more > 0 else ''}). Jaccard is the mean overlap "
        f"with the best cluster of runs with other seeds: from {STABLE} a cluster is found again, "
        f"below {DISSOLVED} it is not. Clusters are found in noise, too: the numbers below the "
        "table say how much more there is."
    )


def _table(evidence: Evidence) -> Table:
    found = _clusters(evidence)
    best = _best_sets(found)
    rows = []
    for row in found.sizes.head(_SHOWN).iter_rows(named=True):
        members = row["members"].split(" | ")
        listed = " ".join(members[:_MEMBERS]) + (" …" if len(members) > _MEMBERS else "")
        cells = [str(row["cluster"]), count(row["names"]), fraction(row["jaccard"]), listed]
        rows.append(Row([*cells, *([best.get(row["cluster"], "")] if best is not None else [])]))
    columns = ["cluster", "names", "Jaccard", "members"]
    columns += ["best set"] if best is not None else []
    return Table("Clusters", columns, [("", rows)], prose=("members", "best set"))


def _best_sets(found: ClusterTables) -> dict[int, str] | None:
    """Return the set with the lowest p of each cluster that is enriched; None if not tested."""
    if found.enrichment is None:
        return None
    first = found.enrichment.filter(pl.col("fdr") <= _LEVEL).unique(
        "cluster", keep="first", maintain_order=True
    )
    return {
        row["cluster"]: (
            f"{row['source']}: {row['set']} ({row['overlap']} of {row['in_set']}, FDR "
            f"{p_value(row['fdr'])})"
        )
        for row in first.iter_rows(named=True)
    }


def _notes(evidence: Evidence) -> list[str]:
    found = _clusters(evidence)
    own, *normal = found.structure["modularity"].to_list()
    notes = []
    if normal:
        verdict = "" if own > max(normal) else ": these clusters need not be groups"
        notes.append(
            f"Modularity {fraction(own)}; of maps without clusters but with the same covariance up "
            f"to {fraction(max(normal))} ({count_of(len(normal), 'map')}){verdict}."
        )
    if found.chance is not None:
        row = found.chance.row(0, named=True)
        notes.append(
            f"Clusters that are enriched for a known set: {row['enriched']} of {row['clusters']}; "
            f"of random clusters of the same sizes {row['shuffled']:.2g} (mean of {row['n']}, p "
            f"{p_value(row['enriched_p'])})."
        )
    return notes


SECTION = Section(
    "clusters",
    link="Clusters",
    heading="Clusters",
    needs=lambda evidence: evidence.on_map is not None and evidence.on_map.clusters is not None,
    text=_text,
    table=_table,
    notes=_notes,
)
