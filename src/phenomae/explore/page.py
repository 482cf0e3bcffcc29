"""The page: puts pictures, tables and words into report.html."""

from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from phenomae.artefacts import Origin
from phenomae.explore.evidence.baselines import Comparison
from phenomae.explore.evidence.clusters import Clusters
from phenomae.explore.evidence.evidence import Evidence
from phenomae.explore.evidence.provenance import trace
from phenomae.explore.evidence.results import at
from phenomae.explore.figures.curves import loss_in_words, recall_in_words
from phenomae.explore.figures.style import Picture
from phenomae.explore.words import tails, times


def render(
    title: str,
    origin: Origin,
    evidence: Evidence,
    clusters: Clusters | None,
    pictures: dict[str, Picture],
) -> str:
    """Return the whole page as HTML that needs no other file and no network."""
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.filters |= {"share": _share, "count": _count, "name": _name, "times": times}
    template = environment.from_string(
        (files("phenomae.explore") / "report.html").read_text(encoding="utf-8")
    )
    losses = evidence.training.losses if evidence.training else {}
    recalls = evidence.training.recalls if evidence.training else None
    return template.render(
        title=title,
        pictures=pictures,
        results=evidence.results,
        at=at,
        tails=tails,
        comparison=[part for part in evidence.comparison if len(part.entries) > 1],
        uneven=_uneven(evidence.comparison),
        absent=_absent(evidence),
        genes=evidence.genes,
        clusters=clusters,
        noun=(evidence.map_signature or {"settings": {"by": "row"}})["settings"]["by"],
        losses=losses,
        loss_in_words=loss_in_words(losses),
        recall_in_words=recall_in_words(recalls) if recalls else "",
        making=trace(evidence, origin),
    )


def _uneven(comparison: list[Comparison]) -> list[str]:
    """Return the maps that were asked other pairs than this one, so are not quite comparable."""
    names = [
        entry.name
        for part in comparison
        for entry in part.entries
        if entry.n_pairs != part.entries[0].n_pairs
    ]
    return list(dict.fromkeys(names))


def _absent(evidence: Evidence) -> list[tuple[str, str]]:
    """Return baselines and the sources they were not asked."""
    return [
        (name, part.source)
        for part in evidence.comparison
        for name in evidence.baselines
        if name not in {entry.name for entry in part.entries}
    ]


def _share(value: float) -> str:
    return f"{value:.3f}"


def _count(value: int) -> str:
    return f"{value:,}"


def _name(name: str) -> Markup:
    """Return a name that may go on in the next line after each underscore."""
    return Markup("_<wbr>").join(escape(part) for part in name.split("_"))
