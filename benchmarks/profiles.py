"""Runs real profiles through every correction and all questions that apply; prints one table.

    python benchmarks/profiles.py mitocheck mitocheck_screenB_wells.parquet --annotations FOLDER
    python benchmarks/profiles.py idr0028 idr0028_rhogtpases_wells.parquet --annotations FOLDER

Mitocheck (Neumann et al. 2010, IDR idr0013 screen B, CC0): 1,126 genes, two siRNAs each, seven
scores per well, 28 plates. idr0028 (Pascual-Vargas et al. 2017, CC BY 4.0): 173 genes, 133 usable
features, 16 plates of two cell lines and two libraries; controls are mock-transfected.

One row per correction: recall of each source at 5 % + 5 %, a star if p by shuffled names is at most
.05, and its confidence interval; the fraction of genes that are consistent, and far from controls
(both with FDR (BH) <= .05); mean average precision of the wells of a gene among controls; accuracy
of the linear probe on validation plates; the fraction of CORUM's complexes that are more similar
within than between, and that with names shuffled. Below each row is what `correct --diagnose`
measures. Every part is an artefact, so that a run that was stopped continues where it was.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import polars as pl

from phenomae.correction.correct import CorrectSettings, correct
from phenomae.evaluation.benchmark import benchmark
from phenomae.evaluation.questions.complexes import ComplexSettings
from phenomae.evaluation.questions.linear_probe import LinearProbeSettings
from phenomae.evaluation.questions.precision_settings import PrecisionSettings
from phenomae.evaluation.questions.signal import SignalSettings
from phenomae.evaluation.settings import BenchmarkSettings
from phenomae.maps.map import MapSettings, map_wells
from phenomae.progress import info
from phenomae.reporting.ask import ask_complexes, ask_probe, ask_replicates, ask_signal
from phenomae.wells import write_wells

CORRECTIONS: dict[str, CorrectSettings | None] = {
    "none": None,
    "center-scale": CorrectSettings("center-scale"),
    "center-scale, plate": CorrectSettings("center-scale", "plate"),
    "pca-center-scale": CorrectSettings("pca-center-scale"),
    "pca-center-scale, plate": CorrectSettings("pca-center-scale", "plate"),
    "tvn": CorrectSettings("tvn"),
    "tvn, plate": CorrectSettings("tvn", "plate"),
    "sphering": CorrectSettings("sphering"),
    "sphering, plate": CorrectSettings("sphering", "plate"),
    "harmony, plate": CorrectSettings("harmony", "plate"),
    "center-scale, plate; tvn": CorrectSettings("center-scale", "plate", then=("tvn:",)),
    "center-scale, plate; sphering": CorrectSettings("center-scale", "plate", then=("sphering:",)),
    "center-scale, plate; harmony": CorrectSettings("center-scale", "plate", then=("harmony",)),
}
SHUFFLES = 999
MIN_WELLS = 4  # Mitocheck mostly has four wells per siRNA, eight per gene


def read_mitocheck(path: Path) -> tuple[pl.DataFrame, list[str]]:
    """Return the wells of genes and scrambled controls, and the names of their features."""
    table = pl.read_parquet(path).select(
        pl.col("^score_.*$"),
        plate="Metadata_Plate",
        well="Metadata_Well",
        gene="Metadata_GeneSymbol",
        guide="Metadata_siRNA",
        role="Metadata_Role",
        control=pl.col("Metadata_Role") == "negative_control",
    )
    table = table.filter(pl.col("role").is_in(["gene", "negative_control"]))
    return table, [name for name in table.columns if name.startswith("score_")]


def read_idr0028(path: Path) -> tuple[pl.DataFrame, list[str]]:
    """Return the wells of genes and mock-transfected controls that pass, and their features."""
    table = pl.read_parquet(path)
    table = table.filter(pl.col("Metadata_QC") != "fail")
    kind = pl.col("Metadata_ControlType").fill_null("")
    negative = kind.str.contains("(?i)negative")
    gene = pl.col("Metadata_GeneSymbol").is_not_null() & (kind == "")
    table = table.filter(negative | gene)
    features = [name for name in table.columns if not name.startswith("Metadata_")]
    usable = [
        name for name in features if table[name].is_finite().all() and table[name].n_unique() > 1
    ]
    return table.select(
        *usable,
        plate="Metadata_Plate",
        well="Metadata_WellName",
        gene=pl.when(~negative).then("Metadata_GeneSymbol"),
        guide=pl.when(~negative).then("Metadata_siRNAPool"),
        control=negative,
    ), usable


READERS = {"mitocheck": read_mitocheck, "idr0028": read_idr0028}


def ask_all(wells: Path, folder: Path, annotations: Path, settings: CorrectSettings | None) -> str:
    """Correct the wells and return one row of the table."""
    corrected, cells = wells, []
    if settings is not None:
        corrected = folder / "wells"
        correct(wells, corrected, settings=replace(settings, diagnose=True))
    map_wells(corrected, folder / "map.h5ad", settings=MapSettings(through="wells"))
    recall = BenchmarkSettings(annotations, shuffle=SHUFFLES)
    benchmark(folder / "map.h5ad", folder / "results", settings=recall)
    for row in pl.read_csv(folder / "results" / "recall.csv").iter_rows(named=True):
        star = "*" if row["p"] <= 0.05 else ""
        cells.append(f"{row['recall']:.3f}{star} ({row['ci_low']:.2f}-{row['ci_high']:.2f})")
    signal = SignalSettings(by="gene", min_wells=MIN_WELLS)
    ask_signal(corrected, folder / "signal", settings=signal)
    cells += [f"{share:.2f}" for share in pl.read_csv(folder / "signal/active.csv")["active_bh"]]
    precision = PrecisionSettings(by="gene", agree="compound")
    ask_replicates(corrected, folder / "replicates", settings=precision)
    retrieved = pl.read_csv(folder / "replicates" / "retrieved.csv").row(0, named=True)
    cells.append(f"{retrieved['average_precision']:.3f} ({retrieved['chance']:.3f})")
    ask_probe(
        corrected, folder / "probe", settings=LinearProbeSettings(by="gene", leave_out=("plate",))
    )
    probe = pl.read_csv(folder / "probe" / "blocks.csv").row(0, named=True)
    cells.append(f"{probe['accuracy']:.3f} ± {probe['sd']:.3f} ({probe['chance']:.3f})")
    return " | ".join([*cells, count_complexes(folder, annotations / "CORUM_clusters.tsv")])


def count_complexes(folder: Path, complexes: Path) -> str:
    """Return the fraction of separate complexes, or a dash if there are too few genes."""
    try:
        ask_complexes(
            folder / "map.h5ad", folder / "complexes", settings=ComplexSettings(complexes)
        )
    except ValueError as error:
        info(str(error))
        return "-"
    row = pl.read_csv(folder / "complexes" / "apart.csv").row(0, named=True)
    return f"{row['apart']:.2f} of {row['complexes']} ({row['shuffled']:.2f})"


def list_diagnosis(folder: Path) -> list[str]:
    """Return the lines of a correction's diagnosis."""
    table = pl.read_csv(folder / "wells" / "diagnosis.csv")
    return [
        f"{row['measure']} ({row['wells']}): {row['before']:.3f} to {row['after']:.3f}, "
        f"chance {row['chance']:.3f}"
        for row in table.iter_rows(named=True)
        if row["chance"] is not None
    ]


def main() -> None:
    """Run all corrections and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("screen", choices=READERS)
    parser.add_argument("profiles", type=Path)
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("profiles"))
    given = parser.parse_args()
    folder = given.folder / given.screen
    table, features = READERS[given.screen](given.profiles)
    write_wells(folder / "wells", table, features)
    genes, controls = table["gene"].n_unique() - 1, int(table["control"].sum())
    lines = [
        f"{given.screen}: {len(table)} wells, {genes} genes, {controls} controls, "
        f"{table['plate'].n_unique()} plates, {len(features)} features"
    ]
    for name, settings in CORRECTIONS.items():
        place = folder / name.replace(", ", "-by-").replace("; ", "-then-")
        row = ask_all(folder / "wells", place, given.annotations, settings)
        if settings is None:
            sources = pl.read_csv(place / "results" / "recall.csv")
            heads = [f"{row[0]} ({row[1]} pairs)" for row in sources["source", "n_pairs"].rows()]
            heads += ["consistent", "far", "mAP (chance)", "linear probe (chance)"]
            heads.append("complexes apart (shuffled)")
            lines.append("| " + " | ".join(["correction", *heads]) + " |")
            lines.append("|" + "---|" * (len(heads) + 1))
        lines.append(f"| {name} | {row} |")
        if settings is not None:
            lines += [f"    {name}: {line}" for line in list_diagnosis(place)]
    print("\n".join(lines))


if __name__ == "__main__":
    main()
