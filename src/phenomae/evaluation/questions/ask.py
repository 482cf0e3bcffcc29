"""The commands `ask ...`: wells and maps in, the answer to one question out, as tables."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from phenomae.artefacts import Origin, artefact_folder, hash_file, settings_dict, write_bytes
from phenomae.evaluation.questions.compounds import (
    CompoundSettings,
    mean_over_compounds,
    rank_targets,
)
from phenomae.evaluation.questions.mechanisms import MechanismSettings, match_mechanisms
from phenomae.evaluation.questions.replicate_retrieval import (
    PrecisionSettings,
    can_agree,
    measure_activity,
    measure_agreement,
    share_retrieved,
)
from phenomae.evaluation.questions.signal import SignalSettings, measure_signal, share_active
from phenomae.maps.read import read_map
from phenomae.print_table import read_written, show
from phenomae.progress import info
from phenomae.wells import read_wells

KIND = "answer"
Tables = dict[str, pl.DataFrame]


def ask_signal(
    wells: Path,
    out: Path,
    /,
    *,
    settings: SignalSettings = SignalSettings(),
    overwrite: bool = False,
) -> None:
    """Ask whether perturbations do anything: consistency and magnitude, beside control wells.

    Writes signal.csv, a row a perturbation, and active.csv, the share of them that is active,
    which is printed.

    Parameters
    ----------
    wells
        Folder of wells, corrected as a rule.
    out
        Folder to write.
    overwrite
        Replace `out` where it was made with other settings.

    Raises ValueError where controls or replicates are too few; the sentence says how many.
    """
    screen = read_wells(wells)

    def make() -> Tables:
        table = measure_signal(screen, wells, settings)
        return {"signal.csv": table, "active.csv": share_active(table, settings.level)}

    sources = {"wells": screen.identity}
    origin = describe("signal", settings, sources, unexpressed=settings.unexpressed)
    answer(out, origin, overwrite, make, printed="active.csv")


def ask_compounds(
    genes: Path,
    compounds: Path,
    out: Path,
    /,
    *,
    settings: CompoundSettings,
    overwrite: bool = False,
) -> None:
    """Ask whether a compound looks like the genes it acts on: average precision of its targets.

    Writes compounds.csv, a row a dose and one for the best dose, and means.csv, which is printed.

    Parameters
    ----------
    genes
        Map by gene.
    compounds
        Map by dose (`map --by dose`) of the same screen, from wells corrected alike.
    out
        Folder to write.
    overwrite
        Replace `out` where it was made with other settings.

    Raises ValueError where the potencies fit no compound or gene of the maps.
    """
    gene_map, compound_map = read_map(genes), read_map(compounds)

    def make() -> Tables:
        table = rank_targets(gene_map, compound_map, genes, compounds, settings)
        return {"compounds.csv": table, "means.csv": mean_over_compounds(table)}

    sources = {"genes": gene_map.identity, "compounds": compound_map.identity}
    origin = describe("compounds", settings, sources, potencies=settings.potencies)
    answer(out, origin, overwrite, make, printed="means.csv")


def ask_mechanisms(
    wells: Path,
    out: Path,
    /,
    *,
    settings: MechanismSettings,
    overwrite: bool = False,
) -> None:
    """Ask whether a compound's nearest neighbour acts as it does: NSC and NSCB accuracy.

    Writes mechanisms.csv, which is printed, and confusion.csv.

    Parameters
    ----------
    wells
        Folder of wells of compounds, corrected as a rule.
    out
        Folder to write.
    overwrite
        Replace `out` where it was made with other settings.

    Raises ValueError where the file of mechanisms does not do, or no neighbour can be right.
    """
    screen = read_wells(wells)

    def make() -> Tables:
        table, confusion = match_mechanisms(screen, wells, settings)
        return {"mechanisms.csv": table, "confusion.csv": confusion}

    sources = {"wells": screen.identity}
    origin = describe("mechanisms", settings, sources, mechanisms=settings.mechanisms)
    answer(out, origin, overwrite, make, printed="mechanisms.csv")


def ask_replicates(
    wells: Path,
    out: Path,
    /,
    *,
    settings: PrecisionSettings = PrecisionSettings(),
    overwrite: bool = False,
) -> None:
    """Ask whether replicates find each other before others: mean average precision, by copairs.

    Writes activity.csv (wells of a perturbation among controls), agreement.csv (perturbations of a
    gene among all others) where some have more than one, and retrieved.csv, which is printed.

    Parameters
    ----------
    wells
        Folder of wells, corrected as a rule.
    out
        Folder to write.
    overwrite
        Replace `out` where it was made with other settings.

    Raises ValueError where copairs is not installed, or there are no replicates or no controls.
    """
    screen = read_wells(wells)

    def make() -> Tables:
        tables = {"activity.csv": measure_activity(screen, wells, settings)}
        if can_agree(screen, settings):
            tables["agreement.csv"] = measure_agreement(screen, wells, settings)
        elif settings.agree != settings.by:
            info(f"no {settings.agree} has two {settings.by}s, so no agreement is asked")
        rows = [
            share_retrieved(table).select(
                pl.lit(name.removesuffix(".csv")).alias("asked"), pl.all()
            )
            for name, table in tables.items()
        ]
        return {**tables, "retrieved.csv": pl.concat(rows)}

    origin = describe(
        "replicates", settings, {"wells": screen.identity}, mechanisms=settings.mechanisms
    )
    answer(out, origin, overwrite, make, printed="retrieved.csv")


def describe(question: str, settings: Any, sources: dict[str, str], **files: Path | None) -> Origin:
    """Return what makes an answer: of files that settings name, what they say, not where they lie.

    Raises ValueError where such a file is missing.
    """
    plain = {key: value for key, value in settings_dict(settings).items() if key not in files}
    given = {name: path for name, path in files.items() if path is not None}
    for name, path in given.items():
        if not path.is_file():
            raise ValueError(f"--{name} {path}: there is no such file")
    checksums = {name: hash_file(path) for name, path in given.items()}
    return Origin(KIND, {"question": question, **plain}, {**sources, **checksums})


def answer(
    out: Path,
    origin: Origin,
    overwrite: bool,
    make: Callable[[], Tables],
    *,
    printed: str,
    draw: Callable[[Path, Tables], None] | None = None,
) -> None:
    """Write the tables that `make` returns into the folder `out`, and print one of them.

    `draw` may add figures to the folder. Raises ValueError where the table of an earlier call is
    missing or damaged.
    """
    with artefact_folder(out, origin, overwrite) as folder:
        if folder is not None:
            tables = make()
            for name, table in tables.items():
                write_bytes(folder / name, table.write_csv().encode())
            if draw is not None:
                draw(folder, tables)
    show(read_written(out / printed))
