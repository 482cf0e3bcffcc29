"""The command `report`: one page that shows a training run, benchmark results and a map."""

from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from phenomae.artefacts import artefact_folder
from phenomae.evaluation.settings import Several
from phenomae.outputs import Output
from phenomae.paths import PathLike
from phenomae.progress import info
from phenomae.reporting.evidence.baselines import parse_baselines
from phenomae.reporting.evidence.evidence import Evidence, read_evidence
from phenomae.reporting.evidence.on_map import Beside
from phenomae.reporting.figures.style import house_style
from phenomae.reporting.page import render
from phenomae.reporting.sections.section import Part, make_part
from phenomae.reporting.sections.table import load_sections
from phenomae.signatures import Origin
from phenomae.urls import Location, locate
from phenomae.whole_files import whole_file

KIND = "report"
PAGE = "report.html"


class Report(Output):
    """The folder that `report` wrote: a page and its figures."""

    @property
    def page(self) -> Path:
        """Path of the HTML file."""
        return self.path / PAGE


@Parameter(name="*")
@dataclass(frozen=True)
class ReportSettings:
    """What the page shows; at least one of run, results and map is required."""

    run: PathLike | None = None
    """Run folder: the page shows its reconstructions and loss, and recall if measured."""
    results: PathLike | None = None
    """Folder written by `benchmark`: the page shows recall, chance and, if computed, confidence
    intervals and the null distribution."""
    map: PathLike | None = None
    """Map (.h5ad): the page shows a clustered heat map of the cosines of its rows, and its
    layout."""
    wells: PathLike | None = None
    """Folder of the wells that the map was made from: the page shows what they are, their plates,
    and their correction."""
    store: Location | None = None
    """Store that the wells were computed from: the page shows cells of the nearest pairs of the map
    beside controls."""
    annotations: PathLike | None = None
    """File of known pairs, or folder of such files: the page shows which pairs are found, and the
    nearest pairs that are in none."""
    baseline: Annotated[tuple[str, ...], Several] = ()
    """NAME=RESULTS: benchmark results of another map, to compare with. Several may be given."""
    among: Annotated[tuple[PathLike, ...], Several] = ()
    """Folders in which the wells, runs and stores that the inputs were made from are looked for,
    beside the folders of the inputs; the page lists their settings."""
    search: bool = True
    """With a map: a box that finds a name, its point on the layout and its nearest names. It is the
    only script of the page."""
    clusters: PathLike | None = None
    """Folder that `clusters` wrote for the map: the page lists them, and colours the layout by
    them."""
    title: str = "phenomae report"
    """Heading of the page."""

    def __post_init__(self) -> None:
        parse_baselines(self.baseline)
        if self.baseline and self.results is None:
            raise ValueError("baseline needs results to compare with: give results too")
        for name in ("wells", "store", "annotations", "clusters"):
            if getattr(self, name) is not None and self.map is None:
                raise ValueError(f"{name} goes with a map: give map too")

    @property
    def beside(self) -> Beside:
        """What goes with the map."""
        store = None if self.store is None else locate(self.store)
        wells, annotations, clusters = (
            None if path is None else Path(path)
            for path in (self.wells, self.annotations, self.clusters)
        )
        return Beside(wells, store, annotations, clusters)

    @property
    def shown(self) -> dict[str, Path]:
        """The given paths of run, results and map, by setting."""
        paths = {"run": self.run, "results": self.results, "map": self.map}
        return {name: Path(path) for name, path in paths.items() if path is not None}


def report(
    out: PathLike,
    /,
    *,
    settings: ReportSettings = ReportSettings(),
    overwrite: bool = False,
) -> Report:
    """Write report.html, a page that shows a training run, benchmark results and a map.

    The page is one file that needs no network. Its figures are also written to the folder figures,
    as SVG and PNG, pictures of cells as JPEG. A section is left out if its input is not given.
    Raises ValueError if there is nothing to show, or an input cannot be used.

    Parameters
    ----------
    out
        Folder to write.
    overwrite
        Replace `out` if it was made with other settings.
    """
    out, baselines = Path(out), parse_baselines(settings.baseline)
    _check(out, settings, baselines)
    shown = settings.shown
    inputs = (shown.get("run"), shown.get("results"), shown.get("map"))
    among = [Path(place) for place in settings.among]
    evidence = read_evidence(*inputs, baselines, among, settings.beside)
    # Only what changes the page is recorded; paths are not, the identities of the inputs are.
    decisive: dict[str, Any] = {"title": settings.title, "baselines": list(baselines)}
    if not settings.search:  # earlier versions had no such key
        decisive["search"] = False
    origin = Origin(KIND, decisive, evidence.identities)
    with artefact_folder(out, origin, overwrite, resume=False) as folder:
        if folder is not None:
            parts = draw_parts(folder / "figures", evidence)
            page = render(settings.title, origin, evidence, parts, settings.search)
            with whole_file(folder / PAGE) as partial:
                partial.write_text(page, encoding="utf-8", newline="\n")
    info(f"open {out / PAGE} in a browser")
    return Report(out)


def draw_parts(folder: Path, evidence: Evidence) -> list[Part]:
    """Return the sections for which there is input, and write their figures to `folder`."""
    folder.mkdir(exist_ok=True)
    with house_style():
        return [
            make_part(section, evidence, folder)
            for section in load_sections()
            if section.needs(evidence)
        ]


def _check(out: Path, settings: ReportSettings, baselines: dict[str, Path]) -> None:
    """Raise ValueError if no input is given, or `out` contains an input and would overwrite it."""
    if not settings.shown:
        raise ValueError("there is nothing to show: give run, results or map")
    local = [path for path in astuple(settings.beside) if isinstance(path, Path)]
    for path in (*settings.shown.values(), *baselines.values(), *local):
        # With overwrite, `out` is replaced as a whole, including an input inside it.
        if path.resolve().is_relative_to(out.resolve()):
            raise ValueError(
                f"{out} cannot be the folder of the report, because it contains the input {path}"
            )
