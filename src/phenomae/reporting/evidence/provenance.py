"""Provenance of a report: settings, versions and data of its inputs and of their sources.

Paths and times are left out, so that the same inputs in another folder give the same bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from phenomae.reporting.evidence.evidence import Evidence
from phenomae.reporting.evidence.upstream import Source
from phenomae.signatures import Origin


@dataclass(frozen=True)
class Making:
    """Provenance of one artefact."""

    what: str
    identity: str
    made_by: str
    settings: dict[str, str]
    sources: dict[str, str]
    data: Mapping[str, str] = field(default_factory=dict)
    """Of a store: plates, wells, fields, channels and pixels."""
    is_open: bool = False
    """Whether the settings are shown without a click."""


def trace(evidence: Evidence, origin: Origin) -> list[Making]:
    """Return the provenance of all inputs, of what they were made from, and of the report."""
    from phenomae import __version__

    made = []
    if evidence.genes is not None:
        # Other programs record no settings: the identity is the hash of the file's bytes.
        if evidence.map_signature is None:
            other = "not made by phenomae; the identity is a hash of the file’s bytes"
            made.append(Making("map", evidence.genes.identity, other, {}, {}))
        else:
            made.append(_read("map", evidence.map_signature, is_open=True))
    made += [_trace_source(source) for source in evidence.upstream]
    if evidence.training is not None:
        made.append(_read("run", evidence.training.signature))
    if evidence.results is not None:
        made.append(_read("results", evidence.results.signature))
    for name, results in evidence.baselines.items():
        made.append(_read(f"baseline {name}", results.signature))
    made.append(Making("report", origin.identity, f"phenomae {__version__}", {}, origin.sources))
    return made


def _trace_source(source: Source) -> Making:
    if source.record is None:
        where = "not found beside the inputs: name its folder with --among to list its settings"
        return Making(source.role, source.identity, where, {}, {})
    return _read(source.role, source.record, source.data, is_open=source.role != "run")


def _read(
    what: str,
    record: Mapping[str, Any],
    data: Mapping[str, str] | None = None,
    is_open: bool = False,
) -> Making:
    settings = {key: _write(value) for key, value in record["settings"].items()}
    # Maps of version 0.1 record no version.
    version = f"phenomae {record.get('version') or '0.1'}"
    return Making(
        what, record["identity"], version, settings, record["sources"], data or {}, is_open
    )


def _write(value: Any) -> str:
    if value is None or value in ("", []):
        return "not given"
    return ", ".join(_write(item) for item in value) if isinstance(value, list) else str(value)
