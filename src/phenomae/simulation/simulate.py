"""`phenomae simulate OUT`: a raw screen of known truth, as a microscope would leave it."""

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import tifffile
from cyclopts import Parameter
from jaxtyping import UInt16

from phenomae.artefacts import Origin, artefact_folder, settings_dict, write_bytes
from phenomae.progress import info, track
from phenomae.records import split_well
from phenomae.simulation.cells import CHANNELS, draw_cells
from phenomae.simulation.design import (
    FIELD,
    Design,
    cell_centres,
    plan_screen,
    random_numbers,
    well_nuisance,
)
from phenomae.simulation.microscope import photograph
from phenomae.simulation.phenotype import cell_values
from phenomae.workers import start_workers

KIND = "raw screen"


@Parameter(name="*")
@dataclass(frozen=True)
class SimulateSettings:
    """What screen to draw."""

    genes: int = 160
    """Genes that are perturbed."""
    complexes: int = 40
    """Planted complexes; every gene belongs to one."""
    guides: int = 3
    """Guides per gene, from weak to full strength."""
    batches: int = 2
    """Experimental batches; every guide stands once in each."""
    controls: int = 96
    """Negative control wells per plate of 384 wells; corrections are fitted on them, and one that
    turns to principal axes wants a few times as many as there are features."""
    sites: int = 2
    """Fields per well."""
    field_size: int = 256
    """Side of a field in pixels."""
    cells: float = 24.0
    """Usual number of cells in a field of 256 x 256."""
    effect: float = 4.0
    """Length of a full phenotype, in steps of the parameters (one step is clearly visible)."""
    spread: float = 0.7
    """How much cells of one well differ, in the same steps."""
    nuisance: float = 1.0
    """Strength of all that hides the truth: staining, lamp, focus, crowding, read noise; 0 leaves
    the noise of the photons alone."""
    seed: int = 0
    """The same seed gives the same bytes."""


def simulate(
    out: Path, /, *, settings: SimulateSettings = SimulateSettings(), overwrite: bool = False
) -> None:
    """Draw a screen whose truth is known: TIFFs, LoadData CSV, plate map and planted pairs.

    Parameters
    ----------
    out
        The folder to make: `load_data.csv` and `plate_map.csv` for `ingest`, `relationships.csv`
        (`entity1,entity2,complex`) for `benchmark`, `images/PLATE/*.tiff`.
    overwrite
        Replace a screen that is there.
    """
    _check(settings)
    origin = Origin(KIND, settings_dict(settings))
    design = plan_screen(
        settings.seed,
        settings.genes,
        settings.complexes,
        settings.guides,
        settings.batches,
        settings.controls,
        settings.effect,
    )
    with artefact_folder(out, origin, overwrite) as folder:
        if folder is None:
            return
        _draw_plates(folder, design, settings)
        for name, table in (
            ("load_data.csv", _load_data(design, settings)),
            ("plate_map.csv", design.plate_map),
            ("relationships.csv", design.relationships),
        ):
            write_bytes(folder / name, table.write_csv().encode())
    wells, pairs = len(design.plate_map), len(design.relationships)
    info(f"{out}: {wells} wells, {wells * settings.sites} fields, {pairs} planted pairs")


def draw_field(
    design: Design,
    settings: SimulateSettings,
    plate: int,
    batch: int,
    well: str,
    guide: str,
    site: int,
) -> UInt16[np.ndarray, "c h w"]:
    """Return one field as the camera sees it: DNA, RNA, ER, Actin, Golgi, Mito."""
    letter, digits = split_well(well)
    row, column = ord(letter) - ord("A"), int(digits) - 1
    nuisance = well_nuisance(settings.seed, settings.nuisance, batch, plate, row, column)
    rng = random_numbers(settings.seed, FIELD, plate, row, column, site)
    size = settings.field_size
    number = settings.cells * nuisance.crowding * (size / 256) ** 2
    centres = cell_centres(max(1, round(number + rng.uniform(-2, 2))), size, rng)
    phenotype = design.phenotypes[guide] + nuisance.shift
    values = cell_values(phenotype, settings.spread, len(centres), rng)
    return photograph(draw_cells(values, centres, size, rng), nuisance.exposure, rng)


def _draw_plates(folder: Path, design: Design, settings: SimulateSettings) -> None:
    plates = design.plate_map.partition_by("plate", as_dict=True, maintain_order=True)
    batches = {name: index for index, name in enumerate(design.plate_map["batch"].unique().sort())}
    total = len(design.plate_map) * settings.sites
    with track("simulate", total, "fields") as advance, start_workers() as pool:
        for index, ((plate,), wells) in enumerate(plates.items()):
            images = folder / "images" / str(plate)
            images.mkdir(parents=True, exist_ok=True)
            draw = partial(_draw_well, images, design, settings, index)
            jobs = [
                (batches[row["batch"]], row["well"], row["guide"])
                for row in wells.iter_rows(named=True)
            ]
            for _ in pool.map(draw, jobs, chunksize=8):
                advance(settings.sites)


def _draw_well(
    images: Path, design: Design, settings: SimulateSettings, plate: int, job: tuple[int, str, str]
) -> None:
    batch, well, guide = job
    for site in range(1, settings.sites + 1):
        paths = [images / _file_name(well, site, channel) for channel in CHANNELS]
        if all(path.exists() for path in paths):
            continue
        field = draw_field(design, settings, plate, batch, well, guide, site)
        for path, image in zip(paths, field, strict=True):
            buffer = io.BytesIO()
            tifffile.imwrite(buffer, image, metadata=None, software=False)
            write_bytes(path, buffer.getvalue(), sync=False)


def _load_data(design: Design, settings: SimulateSettings) -> pl.DataFrame:
    """Return the table CellProfiler's LoadData reads, one row a field, as JUMP publishes it."""
    return pl.DataFrame(list(_load_data_rows(design, settings)))


def _load_data_rows(design: Design, settings: SimulateSettings) -> Iterator[dict[str, str | int]]:
    for row in design.plate_map.iter_rows(named=True):
        for site in range(1, settings.sites + 1):
            names = {
                f"FileName_Orig{name}": _file_name(row["well"], site, name) for name in CHANNELS
            }
            folders = {f"PathName_Orig{name}": f"images/{row['plate']}/" for name in CHANNELS}
            place = {"Metadata_Plate": row["plate"], "Metadata_Well": row["well"]}
            yield {**names, **folders, **place, "Metadata_Site": site}


def _file_name(well: str, site: int, channel: str) -> str:
    return f"{well}_s{site}_{channel}.tiff"


def _check(settings: SimulateSettings) -> None:
    lowest = {"genes": 2, "complexes": 1, "guides": 1, "batches": 1, "controls": 0, "sites": 1}
    lowest |= {"seed": 0}
    for name, least in lowest.items():
        if getattr(settings, name) < least:
            raise ValueError(f"{name} = {getattr(settings, name)}: expected {least} or more")
    if settings.complexes > settings.genes:
        raise ValueError(
            f"complexes = {settings.complexes}: expected at most the number of genes, "
            f"{settings.genes}"
        )
    if settings.controls >= 384:
        raise ValueError(f"controls = {settings.controls}: a plate has 384 wells, leave some free")
    if settings.field_size < 64 or settings.field_size % 4:
        raise ValueError(
            f"field_size = {settings.field_size}: expected a multiple of 4, 64 or more"
        )
    for name in ("effect", "spread", "nuisance"):
        if not 0 <= getattr(settings, name) < math.inf:
            raise ValueError(f"{name} = {getattr(settings, name)}: expected 0 or more")
    if not 0 < settings.cells < math.inf:
        raise ValueError(f"cells = {settings.cells}: expected more than 0")
