"""`phenomae simulate OUT`: simulates a screen with known related pairs, as raw plates for `ingest`.

With a real screen a map cannot be fully verified, because most true relationships are unknown.
"""

import io
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import tifffile
from cyclopts import Parameter
from jaxtyping import Float, UInt16

from phenomae.artefacts import artefact_folder
from phenomae.checks import above, at_least, between, require, whole_numbers
from phenomae.outputs import TableOutput
from phenomae.paths import PathLike
from phenomae.progress import count_of, info, track
from phenomae.records import split_well
from phenomae.signatures import Origin, settings_dict
from phenomae.simulation.cell_population import Population, draw_population
from phenomae.simulation.cells import CHANNELS, Looks, draw_cells
from phenomae.simulation.design import COLUMNS, ROWS, Design, FieldPlace, design_plates
from phenomae.simulation.effects import KINDS
from phenomae.simulation.levels import LevelSettings
from phenomae.simulation.microscope import photograph
from phenomae.simulation.nuisance import Well, well_nuisance
from phenomae.simulation.phenotype import cell_values
from phenomae.simulation.placement import cell_centres
from phenomae.simulation.seeds import Use, make_generator
from phenomae.whole_files import write_bytes
from phenomae.workers import start_workers

KIND = "raw screen"
PLATE_MAP = "plate_map.csv"
RELATIONSHIPS = "relationships.csv"
_SMALL = 2_000_000  # pixels that are drawn sooner than worker processes start, on two cores


@Parameter(name="*")
@dataclass(frozen=True)
class SimulateSettings(LevelSettings):
    """Size, biology and nuisance of the simulated screen."""

    genes: int = 160
    """Number of perturbed genes."""
    complexes: int = 40
    """Number of complexes; every gene belongs to one, and genes of a complex are related pairs."""
    guides: int = 3
    """Guides per gene, with strengths from 0.6 to 1; a single guide has strength 1."""
    batches: int = 2
    """Experimental batches; every guide is in one well of each batch."""
    # With 192 controls for 192 features TVN of all axes had a recall of 0.11, with 384 it had 0.37.
    controls: int = 96
    """Negative control wells per 384-well plate. Corrections are fitted on the controls; those that
    keep all principal components need a few times as many controls as features."""
    sites: int = 2
    """Fields per well."""
    field_size: int = 256
    """Side of a field in pixels: a multiple of 4, at least 64."""
    cells: float = 24.0
    """Typical number of cells per 256 x 256 pixels."""
    effect: float = 4.0
    """Length of the phenotype of a guide of strength 1, in parameter steps (a change of one
    parameter by one step is clearly visible)."""
    spread: float = 0.7
    """Standard deviation between cells of one well, in parameter steps."""
    nuisance: float = 1.0
    """Strength of all nuisance: staining, illumination, focus, crowding, batch effects, noise. 0
    leaves only a little photon noise."""
    seed: int = 0
    """The same seed gives the same bytes."""

    def __post_init__(self) -> None:
        whole_numbers(self)
        super().__post_init__()
        at_least("genes", self.genes, 2)
        require(
            1 <= self.complexes <= self.genes,
            "complexes",
            f"from 1 to the number of genes, {self.genes}",
            self.complexes,
        )
        for name in ("guides", "batches", "sites"):
            at_least(name, getattr(self, name), 1)
        between("controls", self.controls, 0, ROWS * COLUMNS - 1, ends=True)
        size_is_possible = self.field_size >= 64 and self.field_size % 4 == 0
        require(size_is_possible, "field_size", "a multiple of 4, at least 64", self.field_size)
        above("cells", self.cells, 0)
        for name in ("effect", "spread", "nuisance", "seed"):
            at_least(name, getattr(self, name), 0)


class SimulatedPlates(TableOutput):
    """A folder of simulated raw plates."""

    def to_polars(self) -> pl.DataFrame:
        """Return the plate map, one row per well."""
        return pl.read_csv(self.path / PLATE_MAP, glob=False)

    @property
    def relationships(self) -> pl.DataFrame:
        """All pairs of genes of the same complex, one row per pair: entity1, entity2, complex."""
        return pl.read_csv(self.path / RELATIONSHIPS, glob=False)


def simulate(
    out: PathLike, /, *, settings: SimulateSettings = SimulateSettings(), overwrite: bool = False
) -> SimulatedPlates:
    """Simulate a screen: TIFFs, LoadData CSV, plate map, and the pairs that a map should recover.

    Parameters
    ----------
    out
        Folder to write: `load_data.csv` and `plate_map.csv` for `ingest`, `relationships.csv`
        (`entity1,entity2,complex`) for `benchmark`, `images/PLATE/*.tiff`.
    overwrite
        Replace an existing screen that was made with other settings.

    Returns
    -------
    The folder, also if it was already finished.
    """
    path = Path(out)
    origin = Origin(KIND, _identify(settings))
    design = design_plates(
        settings.seed,
        settings.genes,
        settings.complexes,
        settings.guides,
        settings.batches,
        settings.controls,
        settings.effect,
        settings.values,
    )
    with artefact_folder(path, origin, overwrite) as folder:
        if folder is None:
            return SimulatedPlates(path)
        _draw_plates(folder, design, settings)
        for name, table in (
            ("load_data.csv", _load_data(design, settings)),
            (PLATE_MAP, design.plate_map),
            (RELATIONSHIPS, design.relationships),
            *_kind_tables(design),
        ):
            write_bytes(folder / name, table.write_csv().encode())
    wells, pairs = len(design.plate_map), len(design.relationships)
    info(
        f"{path}: {count_of(wells, 'well')}, {count_of(wells * settings.sites, 'field')}, "
        f"{count_of(pairs, 'planted pair')}"
    )
    return SimulatedPlates(path)


def draw_field(
    design: Design, settings: SimulateSettings, place: FieldPlace
) -> UInt16[np.ndarray, "c h w"]:
    """Return the camera image of one field, channels in the order of `CHANNELS`."""
    level = settings.values
    nuisance, centres, cells, rng = populate_field(design, settings, place)
    values = cell_values(cells.units, settings.spread, len(centres), rng)
    values["nucleus_radius"] *= cells.dna ** (1 / 3)
    light = draw_cells(values, centres, settings.field_size, rng, Looks(cells.size, cells.light))
    return photograph(light, nuisance.exposure, rng, level.fixed_histogram)


def populate_field(
    design: Design, settings: SimulateSettings, place: FieldPlace
) -> tuple[Well, Float[np.ndarray, "cells 2"], Population, np.random.Generator]:
    """Return what `draw_field` draws: the well's nuisance, and centres and properties of the cells.

    The generator is the field's, as it is after the centres were drawn.
    """
    letter, digits = split_well(place.well)
    row, column = ord(letter) - ord("A"), int(digits) - 1
    plate, level, effect = place.plate, settings.values, design.effects[place.guide]
    nuisance = well_nuisance(
        settings.seed, settings.nuisance, place.batch, plate, row, column, level
    )
    rng = make_generator(settings.seed, Use.FIELD, plate, row, column, place.site)
    size = settings.field_size
    number = settings.cells * nuisance.crowding * (size / 256) ** 2 * math.exp(effect.number)
    centres = cell_centres(max(1, round(number + rng.uniform(-2, 2))), size, rng)
    # Cells have a generator of their own, so that level easy keeps its bytes.
    cells_rng = make_generator(settings.seed, Use.CELLS, plate, row, column, place.site)
    phenotype = design.phenotypes[place.guide]
    cells = draw_population(phenotype, effect, nuisance.shift, centres, level, cells_rng)
    return nuisance, centres, cells, rng


def _identify(settings: SimulateSettings) -> dict[str, Any]:
    """Return the settings that stand in `artefact.json`, without those of a level not given.

    So a screen of level easy is the same artefact as one made before there were levels.
    """
    given = {name: value for name, value in settings_dict(settings).items() if value is not None}
    if given["level"] == "easy":
        del given["level"]
    return given


def _kind_tables(design: Design) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield the pairs of each kind of complex by file name, if the screen has several kinds."""
    pairs = design.relationships
    of_pairs = pl.Series([design.kinds[name] for name in pairs["complex"]], dtype=pl.String)
    if set(design.kinds.values()) != {"morphology"}:
        for kind in KINDS:
            yield f"relationships_{kind}.csv", pairs.filter(of_pairs == kind)


def _draw_plates(folder: Path, design: Design, settings: SimulateSettings) -> None:
    plates = design.plate_map.partition_by("plate", as_dict=True, maintain_order=True)
    batches = {name: index for index, name in enumerate(design.plate_map["batch"].unique().sort())}
    total = len(design.plate_map) * settings.sites
    parallel_map = _start_map(total * settings.field_size**2)
    with track("simulate", total, "fields") as advance, parallel_map as draw_all:
        for index, ((plate,), wells) in enumerate(plates.items()):
            images = folder / "images" / str(plate)
            images.mkdir(parents=True, exist_ok=True)
            draw = partial(_draw_well, images, design, settings, index)
            jobs = [
                (batches[row["batch"]], row["well"], row["guide"])
                for row in wells.iter_rows(named=True)
            ]
            for _ in draw_all(draw, jobs):
                advance(settings.sites)


@contextmanager
def _start_map(pixels: int) -> Iterator[Callable[..., Iterable[None]]]:
    """Yield a `map` that uses all cores, or only this process if few pixels are drawn."""
    if pixels < _SMALL:
        yield map
    else:
        with start_workers() as pool:
            yield partial(pool.map, chunksize=8)


def _draw_well(
    images: Path, design: Design, settings: SimulateSettings, plate: int, job: tuple[int, str, str]
) -> None:
    batch, well, guide = job
    for site in range(1, settings.sites + 1):
        paths = [images / _file_name(well, site, channel) for channel in CHANNELS]
        # An interrupted call has drawn this field. Files are written completely or not at all, so
        # it is enough that they exist.
        if all(path.exists() for path in paths):
            continue
        field = draw_field(design, settings, FieldPlace(plate, batch, well, guide, site))
        for path, image in zip(paths, field, strict=True):
            buffer = io.BytesIO()
            # By default tifffile writes its version into the file, so that the bytes would change
            # with an update.
            tifffile.imwrite(buffer, image, metadata=None, software=False)
            write_bytes(path, buffer.getvalue(), sync=False)


def _load_data(design: Design, settings: SimulateSettings) -> pl.DataFrame:
    """Return a table for CellProfiler's LoadData with the columns of JUMP's, one row per field."""
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
