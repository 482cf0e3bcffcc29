"""The command `report`: one page that shows a training run, benchmark results and a map."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from phenomae.artefacts import Origin, artefact_folder, whole_file
from phenomae.evaluation.settings import Several
from phenomae.explore.evidence.baselines import parse_baselines
from phenomae.explore.evidence.evidence import Evidence, read_evidence
from phenomae.explore.figures.style import house_style
from phenomae.explore.page import render
from phenomae.explore.sections.section import Part, make_part
from phenomae.explore.sections.table import load_sections
from phenomae.outputs import Output
from phenomae.paths import PathLike
from phenomae.progress import info

KIND = "report"
PAGE = "report.html"


class Report(Output):
    """What `report` wrote: a folder with a page and its figures."""

    @property
    def page(self) -> Path:
        """The HTML file, to open in a browser."""
        return self.path / PAGE


@Parameter(name="*")
@dataclass(frozen=True)
class ReportSettings:
    """What the page shows; at least one of run, results and map."""

    run: PathLike | None = None
    """Run folder: shows reconstructions and the loss."""
    results: PathLike | None = None
    """Folder written by `benchmark`: shows recall, chance and, if computed, the null
    distribution."""
    map: PathLike | None = None
    """Map (.h5ad): shows a clustered heat map of cosine similarities."""
    baseline: Annotated[tuple[str, ...], Several] = ()
    """NAME=RESULTS: benchmark results of another map to compare with. Several may be given."""
    title: str = "phenomae report"
    """Heading of the page."""

    def __post_init__(self) -> None:
        parse_baselines(self.baseline)
        if self.baseline and self.results is None:
            raise ValueError("baseline needs results to compare with: give results too")

    @property
    def shown(self) -> dict[str, Path]:
        """The paths that were given, by setting."""
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
    as SVG and PNG. Sections for which nothing is given are left out.

    Parameters
    ----------
    out
        Folder to write.
    overwrite
        Replace `out` if it was made with other settings.

    Raises
    ------
    ValueError
        If there is nothing to show, or an input cannot be used; the message says why.
    """
    out, baselines = Path(out), parse_baselines(settings.baseline)
    _check(out, settings, baselines)
    shown = settings.shown
    evidence = read_evidence(shown.get("run"), shown.get("results"), shown.get("map"), baselines)
    decisive = {"title": settings.title, "baselines": list(baselines)}
    origin = Origin(KIND, decisive, evidence.identities)
    with artefact_folder(out, origin, overwrite) as folder:
        if folder is not None:
            parts = draw_parts(folder / "figures", evidence)
            page = render(settings.title, origin, evidence, parts)
            with whole_file(folder / PAGE) as partial:
                partial.write_text(page, encoding="utf-8")
    info(f"open {out / PAGE} in a browser")
    return Report(out)


def draw_parts(folder: Path, evidence: Evidence) -> list[Part]:
    """Return the sections that have something to show; their figures are written to `folder`."""
    folder.mkdir(exist_ok=True)
    with house_style():
        return [
            make_part(section, evidence, folder)
            for section in load_sections()
            if section.needs(evidence)
        ]


def _check(out: Path, settings: ReportSettings, baselines: dict[str, Path]) -> None:
    """Raise ValueError if nothing is given, or `out` contains an input, which it would replace."""
    if not settings.shown:
        raise ValueError("there is nothing to show: give run, results or map")
    for path in (*settings.shown.values(), *baselines.values()):
        if path.resolve().is_relative_to(out.resolve()):
            raise ValueError(f"{out} cannot be the report: it contains {path}, which it would show")
