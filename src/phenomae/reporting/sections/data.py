"""Section: the data of the map: plates, wells, replicates, controls, channels, correction."""

import polars as pl

from phenomae.reporting.evidence.evidence import Evidence
from phenomae.reporting.evidence.on_map import OnMap
from phenomae.reporting.sections.section import Fact, Section
from phenomae.reporting.words import count, spread


def _text(evidence: Evidence) -> str:
    return (
        "What the map was made from. Replicates are the wells of one "
        f"{evidence.noun}; the more there are, and on the more plates, the less of a profile is "
        "chance or plate."
    )


def _facts(evidence: Evidence) -> list[Fact]:
    on_map = evidence.map
    facts = [] if on_map.wells is None else _of_wells(on_map, evidence.noun)
    if on_map.store is not None:
        facts += _of_store(on_map)
    if on_map.annotations:
        pairs = on_map.pairs.counts().select("source", "pairs").iter_rows()
        listed = [f"{source} ({count(number)})" for source, number in pairs]
        facts.append(Fact("known pairs", ", ".join(listed)))
    found = on_map.corrections
    if found is not None:
        facts.append(Fact("correction", found.words))
        if found.verdict is not None:
            facts.append(Fact("its verdict", found.verdict.removeprefix("verdict: ")))
        facts += [Fact("warning", warning) for warning in found.warnings]
    return facts


def _of_wells(on_map: OnMap, noun: str) -> list[Fact]:
    assert on_map.wells is not None
    table, rows = on_map.wells.profiles.table, pl.Series("row", on_map.wells.of_map.genes)
    batches = table["batch"].replace("", None).drop_nulls().n_unique()
    plates = count(table["plate"].n_unique())
    is_control = pl.col("control").fill_null(False)
    controls = table.group_by("plate").agg(is_control.sum().alias("wells"))["wells"]
    its = table.select("plate").with_columns(rows).filter(pl.col("row") >= 0)
    of_rows = its.group_by("row").agg(pl.len().alias("wells"), pl.col("plate").n_unique())
    names, features = on_map.profiles.features.shape
    return [
        Fact("plates", f"{plates}, of {count(batches)} batches" if batches > 1 else plates),
        Fact("wells", f"{count(len(table))}, of which {count(len(its))} are on the map"),
        Fact("controls", f"{count(int(controls.sum()))}; per plate {spread(controls)}"),
        Fact(f"{noun}s", count(names)),
        Fact("replicates", f"{spread(of_rows['wells'])}, on {spread(of_rows['plate'])} plates"),
        Fact("features", count(features)),
    ]


def _of_store(on_map: OnMap) -> list[Fact]:
    store = on_map.store
    assert store is not None
    sizes = store.fields.select("height", "width").unique().sort("height", "width").rows()
    shown = ", ".join(f"{height} × {width}" for height, width in sizes[:3])
    size = store.pixel_size_um
    sites = store.fields.group_by("plate", "well").len()["len"]
    return [
        Fact("channels", ", ".join(store.channels)),
        Fact("fields", f"{count(len(store.fields))}; per well {spread(sites)}"),
        Fact("field size", f"{shown}{', …' if len(sizes) > 3 else ''} pixels"),
        Fact("pixel size", "unknown" if size is None else f"{size:g} µm"),
    ]


SECTION = Section(
    "data",
    link="Data",
    heading="Data",
    needs=lambda evidence: (
        evidence.on_map is not None
        and (evidence.on_map.wells is not None or evidence.on_map.store is not None)
    ),
    text=_text,
    facts=_facts,
)
