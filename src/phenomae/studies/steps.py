"""Lists the commands of a study, which are those that one would type."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from phenomae.studies.study_file import Network, Screen, StudyFile
from phenomae.whole_files import write_bytes

Words = list[str]


@dataclass(frozen=True)
class StudyFolder:
    """Where a study keeps its files."""

    path: Path

    @property
    def results(self) -> Path:
        return self.path / "results"

    def recipe(self, training: str) -> Path:
        """The recipe of a training and of its embeddings."""
        return self.path / "recipes" / f"{training}.toml"

    def screen_recipe(self, screen: Screen) -> Path:
        """The recipe of a simulated screen."""
        return self.path / screen.name / "recipe.toml"

    def owner_of(self, recipe: Path | None) -> str:
        """Return the screen or the training that a recipe is of, for messages."""
        assert recipe is not None
        return recipe.stem if recipe.parent == self.path / "recipes" else recipe.parent.name

    def run(self, training: str) -> Path:
        return self.path / "runs" / training

    def store(self, screen: Screen) -> Path:
        return screen.store or self.path / screen.name / "store"

    def annotations(self, screen: Screen) -> Path:
        return screen.annotations or self.path / screen.name / "raw" / "relationships.csv"

    def map(self, screen: Screen, network: str) -> Path:
        """The map of a training, or of a network at random."""
        return self.path / screen.name / f"map-{network}.h5ad"

    def wells(self, screen: Screen, network: str, corrected: bool = False) -> Path:
        return self.path / screen.name / f"{'corrected' if corrected else 'wells'}-{network}"


def list_recipes(study: StudyFile, folder: StudyFolder) -> dict[Path, dict[str, Any]]:
    """Return the recipes of all simulated screens and trainings by their path."""
    shared, recipes = {"correct": study.correct, "map": study.map}, {}
    for screen in study.screens:
        if screen.store is None:
            recipes[folder.screen_recipe(screen)] = {"simulate": screen.simulate, "ingest": {}}
    for network in study.networks:
        for training, steps in network.trainings.items():
            settings = {**network.settings, "steps": steps, "seed": network.seed}
            pretrain = {"pretrain": {network.family: settings}}
            recipes[folder.recipe(training)] = {**pretrain, "embed": network.embed, **shared}
    return recipes


def write_recipes(recipes: dict[Path, dict[str, Any]]) -> None:
    """Write recipes as TOML files."""
    for path, tables in recipes.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, tomli_w.dumps(tables).encode())


def list_steps(study: StudyFile, folder: StudyFolder) -> list[Words]:
    """Return the words of each command of a study after `phenomae`, in their order."""
    steps: list[Words] = []
    for screen in study.screens:
        if screen.store is None:
            raw, config = str(folder.path / screen.name / "raw"), folder.screen_recipe(screen)
            steps.append(["simulate", raw, "--config", str(config)])
            steps.append(["ingest", raw, str(folder.store(screen)), "--config", str(config)])
    store = str(folder.store(study.screens[0]))
    for network in study.networks:
        for training in network.trainings:
            steps.append(["pretrain", network.family, store, str(folder.run(training))])
            steps[-1] += ["--config", str(folder.recipe(training))]
    for network in study.networks:
        for screen in study.screens:
            steps += _map_steps(folder, screen, network)
    return steps


def _map_steps(folder: StudyFolder, screen: Screen, network: Network) -> Iterator[Words]:
    """Yield the commands that make the maps of a network: at random, and of each training."""
    first = next(iter(network.trainings))
    at_random = f"random:{folder.run(first)}", first, ["--seed", str(network.seed)]
    trained = {name: (str(folder.run(name)), name, []) for name in network.trainings}
    for name, (encoder, recipe, more) in {network.name: at_random, **trained}.items():
        config = ["--config", str(folder.recipe(recipe))]
        wells, corrected = folder.wells(screen, name), folder.wells(screen, name, corrected=True)
        store, of_map = str(folder.store(screen)), str(folder.map(screen, name))
        yield ["embed", store, encoder, str(wells), *config, *more]
        yield ["correct", str(wells), str(corrected), *config]
        yield ["map", str(corrected), of_map, *config]
