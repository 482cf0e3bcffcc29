"""All that a report shows, read and checked before anything is written."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phenomae.explore.evidence.baselines import Comparison, compare
from phenomae.explore.evidence.clusters import require_cosines
from phenomae.explore.evidence.results import Results, read_results
from phenomae.explore.evidence.training import Training, read_training
from phenomae.maps.read import ConsensusProfiles, read_map, read_signature_of_map


@dataclass(frozen=True)
class Evidence:
    """What was given; None for what was not."""

    training: Training | None
    results: Results | None
    genes: ConsensusProfiles | None
    map_signature: dict[str, Any] | None
    """What made the map; None also where phenomae did not."""
    baselines: dict[str, Results]
    comparison: list[Comparison]
    """The results beside the baselines and the shuffled names, one a source."""

    @property
    def identities(self) -> dict[str, str]:
        """The identities of what is shown, by what it is."""
        made = {"run": self.training, "results": self.results}
        return {
            **{name: part.signature["identity"] for name, part in made.items() if part},
            **({} if self.genes is None else {"map": self.genes.identity}),
            **{
                f"baseline {name}": part.signature["identity"]
                for name, part in self.baselines.items()
            },
        }


def read_evidence(
    run: Path | None, results: Path | None, map_path: Path | None, baselines: dict[str, Path]
) -> Evidence:
    """Read what is given.

    Raises ValueError where something cannot be used, or where the results are another map's.
    """
    training = None if run is None else read_training(run)
    measured = None if results is None else read_results(results)
    genes = signature = None
    if map_path is not None:
        genes, signature = read_map(map_path), read_signature_of_map(map_path)
        require_cosines(genes, map_path)
        if measured is not None and measured.signature["sources"].get("map") != genes.identity:
            raise ValueError(
                f"{results} was not measured on {map_path} but on another map: give the map that "
                "was benchmarked, or benchmark this one"
            )
    others = {name: read_results(path) for name, path in baselines.items()}
    comparison = [] if measured is None else compare(measured, others)
    return Evidence(training, measured, genes, signature, others, comparison)
