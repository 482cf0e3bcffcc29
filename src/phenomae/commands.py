"""The table of commands. Each is named by string, so that only the one that runs is imported.

Together with `overview` this is all that `phenomae --help` needs, so that page appears without the
time it takes to import the parser of command lines, let alone polars or torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from phenomae import __version__

Table = Mapping[str, tuple[str, str]]
"""Command: its function as "module:function", and its help, of which lists show the first line."""

PLAN = """Estimate what a training run would cost before you start it.

Write the word plan before any `pretrain` command line, with all its settings:

phenomae plan pretrain vit-mae STORE RUN --steps 1000

A few training steps are timed, and the whole run is extrapolated from them: epochs, FLOPs, memory,
disk and hours. Nothing is written.
"""

COMMANDS: Table = {
    "simulate": (
        "phenomae.simulation.simulate:simulate",
        "Simulate a screen with known ground truth.",
    ),
    "ingest": ("phenomae.store.ingest:ingest", "Convert raw plates to a store of OME-Zarr plates."),
    "qc": (
        "phenomae.reporting.qc:qc",
        "Find bad fields and edge effects in a store.",
    ),
    "napari": (
        "phenomae.store.open_in_napari:napari",
        "Open the fields of wells in napari, or print a script that does.",
    ),
    "embed": (
        "phenomae.embedding.embed:embed",
        "Compute one embedding per well with a trained network.",
    ),
    "features": (
        "phenomae.embedding.features:features",
        "Compute profiles without learning: baselines for networks.",
    ),
    "import": (
        "phenomae.profiles.import_profiles:import_command",
        "Turn profile tables of other software into wells.",
    ),
    "correct": ("phenomae.correction.correct:correct", "Remove batch effects from profiles."),
    "map": (
        "phenomae.maps.map:map_wells",
        "Aggregate wells to a map of genes, compounds or doses.",
    ),
    "layout": (
        "phenomae.maps.layout:layout",
        "Place the names of a map in a plane with UMAP, and keep the points in its file.",
    ),
    "export": (
        "phenomae.maps.export:export",
        "Write wells or a map as a table for other tools.",
    ),
    "benchmark": (
        "phenomae.evaluation.benchmark:benchmark",
        "Measure the recall of known relationships on a map.",
    ),
    "neighbors": (
        "phenomae.evaluation.neighbors.neighbors:neighbors",
        "List the names that are most alike to names of a map, and how sure that is.",
    ),
    "explore": (
        "phenomae.probes.explore:explore",
        "Show what is on a map in a browser: neighbors, cells, pairs, plates, doses.",
    ),
    "nearest-crops": (
        "phenomae.evaluation.nearest_crops:nearest_crops",
        "List the crops that are most alike to one crop of a screen.",
    ),
    "clusters": (
        "phenomae.evaluation.clusters.clusters:clusters",
        "Cluster the names of a map, and find the known sets in the clusters.",
    ),
    "sweep": (
        "phenomae.evaluation.sweep:sweep",
        "Try corrections, and choose one by recall on a split of the known pairs.",
    ),
    "models": (
        "phenomae.models.cost.catalogue:list_models",
        "List the networks with their parameters and FLOPs.",
    ),
    "recipes": (
        "phenomae.shipped_recipes:list_recipes",
        "List the recipes that come with phenomae, and what they cost.",
    ),
    "plan": ("phenomae.command_parser:plan", PLAN),
    "compare": ("phenomae.reporting.compare:compare", "Compare maps, or training runs."),
    "report": ("phenomae.reporting.report:report", "Write report.html: figures and tables."),
    "check": (
        "phenomae.reporting.check:check",
        "Verify an output, and the outputs that it was made from.",
    ),
    "study": (
        "phenomae.studies.study:study",
        "Train networks of several sizes, and fit recall over training FLOPs.",
    ),
    "info": (
        "phenomae.installation:info",
        "Show versions, device, memory and disk, for reports of bugs.",
    ),
    "completion": (
        "phenomae.completion:completion",
        "Print the script that completes commands in a shell.",
    ),
}

NETWORK_PACKAGES = (
    "torch",
    "lightning_fabric",
    "pytorch_optimizer",
    "einops",
    "safetensors",
    "huggingface_hub",
)
"""What `pip install 'phenomae[train]'` adds; half of the commands work without it."""


@dataclass(frozen=True)
class Group:
    """Commands of two words."""

    help: str
    """What the first word is for."""
    read_table: Callable[[], Table]
    """Returns the second words; some are listed in the room that they belong to."""

    @property
    def table(self) -> Table:
        return self.read_table()


@cache
def _families() -> Table:
    from phenomae.models.families import FAMILIES

    functions = "phenomae.probes.commands:pretrain_"
    return {
        name: (functions + name.replace("-", "_"), help) for name, (_, help) in FAMILIES.items()
    }


def _questions() -> Table:
    from phenomae.evaluation.questions.table import ask_commands

    return ask_commands()


GROUPS: Mapping[str, Group] = {
    "ask": Group("Evaluate wells and maps, one question per command.", _questions),
    "annotations": Group(
        "Known relationships between genes.",
        lambda: {
            "fetch": (
                "phenomae.evaluation.fetch:fetch_annotations",
                "Download the public lists of known relationships.",
            )
        },
    ),
    "store": Group(
        "Check stores, replace their labels, and export single plates.",
        lambda: {
            "relabel": (
                "phenomae.store.relabel:relabel_store",
                "Replace the labels of wells by those of a plate map.",
            ),
            "check": (
                "phenomae.store.check:check_store",
                "Verify that a store is complete, down to every pixel.",
            ),
            "export": (
                "phenomae.store.single_file:export_plate",
                "Write a plate as one file: a zipped OME-Zarr, .ozx.",
            ),
        },
    ),
    "pretrain": Group("Train an encoder, one command per network family.", _families),
    "weights": Group(
        "Import, export and upload weights.",
        lambda: {
            "import": (
                "phenomae.weights.import_export:import_weights",
                "Import published weights, from a folder or the Hugging Face hub.",
            ),
            "export": (
                "phenomae.weights.import_export:export_weights",
                "Export weights in the layout of the published ones.",
            ),
            "push": (
                "phenomae.weights.push:push_weights",
                "Upload exported weights to the Hugging Face hub.",
            ),
        },
    ),
}

ABOUT = "Masked autoencoders for cell morphology: from raw plates to a benchmarked map of genes."
FOOTER = (
    "Every command takes --config RECIPE (settings; flags win), --threads N (CPU cores to use) "
    "and --quiet."
)


def overview() -> str:
    """Return what `phenomae --help` prints."""
    first = {name: help.partition("\n")[0] for name, (_, help) in COMMANDS.items()}
    groups = {f"{name} ...": group.help for name, group in GROUPS.items()}
    width = max(map(len, [*first, *groups])) + 2

    def lines(table: Mapping[str, str]) -> list[str]:
        return [f"  {name:{width}}{help}" for name, help in table.items()]

    return "\n".join(
        [
            f"phenomae {__version__}",
            ABOUT,
            "",
            "Usage: phenomae COMMAND ...",
            "",
            "Commands:",
            *lines(first),
            "",
            "Groups of commands:",
            *lines(groups),
            "",
            "phenomae COMMAND --help lists the settings of a command; phenomae -V is the version.",
            FOOTER,
        ]
    )


def is_command(words: tuple[str, ...]) -> bool:
    """Return whether `words` name a command, of one word or two."""
    if words and words[0] in GROUPS:
        return len(words) == 2 and words[1] in GROUPS[words[0]].table
    return len(words) == 1 and words[0] in COMMANDS
