"""The command `report`: a run, results and a map in, one page that shows them out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from phenomae.artefacts import Origin, artefact_folder, whole_file
from phenomae.evaluation.settings import Several
from phenomae.explore.evidence.baselines import parse_baselines
from phenomae.explore.evidence.clusters import Clusters, cluster_map
from phenomae.explore.evidence.evidence import Evidence, read_evidence
from phenomae.explore.figures.curves import draw_curve, draw_loss
from phenomae.explore.figures.heatmap import draw_heatmap
from phenomae.explore.figures.recall_dots import draw_recall
from phenomae.explore.figures.style import Picture, copy_png, house_style, save
from phenomae.explore.page import render
from phenomae.progress import info

KIND = "report"
PAGE = "report.html"
_ROWS_OF_THREE = "Images in rows of three: the input, the input with patches hidden, and rebuilt."


@Parameter(name="*")
@dataclass(frozen=True)
class ReportSettings:
    """What is shown; at least one of run, results and map."""

    run: Path | None = None
    """Run folder: shows what its network rebuilds, and its loss."""
    results: Path | None = None
    """Folder that `benchmark` wrote: shows recall beside chance, and beside shuffled names."""
    map: Path | None = None
    """Map (.h5ad): shows how similar its rows are, clustered."""
    baseline: Annotated[tuple[str, ...], Several] = ()
    """NAME=RESULTS, the results of another map to set beside these; several may be given."""
    title: str = "phenomae report"
    """Heading of the page."""


def report(
    out: Path,
    /,
    *,
    settings: ReportSettings = ReportSettings(),
    overwrite: bool = False,
) -> None:
    """Write report.html, a page that shows a run, the results of a benchmark and a map.

    The page is one file that needs no network; its figures lie beside it in the folder figures,
    as SVG and PNG. What is not given is left out of the page.

    Parameters
    ----------
    out
        Folder to write.
    overwrite
        Replace `out` where it was made with other settings.

    Raises ValueError where nothing is given to show, or something given cannot be used; the
    sentence says why.
    """
    baselines = parse_baselines(settings.baseline)
    _check(out, settings, baselines)
    evidence = read_evidence(settings.run, settings.results, settings.map, baselines)
    decisive = {"title": settings.title, "baselines": list(baselines)}
    origin = Origin(KIND, decisive, evidence.identities)
    with artefact_folder(out, origin, overwrite) as folder:
        if folder is not None:
            clusters = None if evidence.genes is None else cluster_map(evidence.genes)
            pictures = draw_figures(folder / "figures", evidence, clusters)
            page = render(settings.title, origin, evidence, clusters, pictures)
            with whole_file(folder / PAGE) as partial:
                partial.write_text(page, encoding="utf-8")
    info(f"open {out / PAGE} in a browser")


def draw_figures(folder: Path, evidence: Evidence, clusters: Clusters | None) -> dict[str, Picture]:
    """Draw into `folder` what there is to show; returns pictures by the names of their files."""
    folder.mkdir(exist_ok=True)
    pictures: dict[str, Picture] = {}
    training, results, genes = evidence.training, evidence.results, evidence.genes
    with house_style():
        if results is not None:
            drawn = draw_recall(results, evidence.comparison)
            pictures["recall"] = save(drawn, folder, "recall")
            pictures["curve"] = save(draw_curve(results), folder, "curve")
        if genes is not None and clusters is not None:
            drawn = draw_heatmap(genes.names, clusters)
            pictures["similarity"] = save(drawn, folder, "similarity")
            with whole_file(folder / "similarity_order.csv") as partial:
                clusters.table(genes.names).write_csv(partial)
        if training is not None and training.losses:
            pictures["loss"] = save(draw_loss(training.losses, training.recalls), folder, "loss")
    if training is not None and training.picture is not None:
        pictures["reconstructions"] = copy_png(
            training.picture, folder, "reconstructions", _ROWS_OF_THREE
        )
    return pictures


def _check(out: Path, settings: ReportSettings, baselines: dict[str, Path]) -> None:
    """Raise ValueError where nothing is asked for, or `out` would swallow what it shows."""
    given = [path for path in (settings.run, settings.results, settings.map) if path is not None]
    if not given:
        raise ValueError("there is nothing to show: give --run, --results or --map")
    if baselines and settings.results is None:
        raise ValueError("--baseline is set beside the results: give --results too")
    for path in (*given, *baselines.values()):
        if path.resolve().is_relative_to(out.resolve()):
            raise ValueError(f"{out} cannot be the report: it holds {path}, which is to be shown")
