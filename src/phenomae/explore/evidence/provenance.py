"""Provenance of the inputs of a report: identities, settings and versions, no paths or times.

Paths and times are left out, so that the same inputs in another folder give the same bytes.
"""

from dataclasses import dataclass
from typing import Any

from phenomae.explore.evidence.evidence import Evidence
from phenomae.signatures import Origin


@dataclass(frozen=True)
class Making:
    """Provenance of one artefact."""

    what: str
    identity: str
    version: str | None
    """Version of phenomae that made the artefact; None if another program made it."""
    settings: dict[str, str]
    sources: dict[str, str]


def trace(evidence: Evidence, origin: Origin) -> list[Making]:
    """Return the provenance of all inputs, then that of the report."""
    from phenomae import __version__

    made = []
    if evidence.training is not None:
        made.append(_read("run", evidence.training.signature))
    if evidence.genes is not None:
        # Other programs record no settings: the identity is the hash of the file's bytes.
        if evidence.map_signature is None:
            made.append(Making("map", evidence.genes.identity, None, {}, {}))
        else:
            made.append(_read("map", evidence.map_signature))
    if evidence.results is not None:
        made.append(_read("results", evidence.results.signature))
    for name, results in evidence.baselines.items():
        made.append(_read(f"baseline {name}", results.signature))
    made.append(Making("report", origin.identity, __version__, {}, origin.sources))
    return made


def _read(what: str, signature: dict[str, Any]) -> Making:
    settings = {key: _write(value) for key, value in signature["settings"].items()}
    return Making(what, signature["identity"], signature["version"], settings, signature["sources"])


def _write(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(_write(item) for item in value)
    return "not given" if value is None else str(value)
