"""How a network is trained, whatever its family."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

from cyclopts import Parameter

from phenomae.crops.reader import check_pixel_size
from phenomae.devices import Device, Precision, Strategy
from phenomae.pretraining.callbacks.trackers import Tracker


@Parameter(name="*")
@dataclass(frozen=True)
class TrainingSettings:
    """Everything but the network itself."""

    steps: int = 10_000
    """Training steps; 0 gives the untrained run."""
    crops_per_step: int = 256
    """Crops that one step of training takes."""
    lr: float = 1e-4
    """Highest learning rate of the cycle."""
    warmup: float = 0.1
    """Share of the steps in which the learning rate rises."""
    weight_decay: float = 0.05
    """Lion's weight decay; it acts on matrices alone."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Lion's betas."""
    seed: int = 0
    """Decides first weights, crops, what is hidden, and which wells are held out."""
    device: Device = "auto"
    """Where to run: auto takes the GPU where there is one."""
    precision: Precision = "auto"
    """Precision of matrix products: auto takes bf16 where the machine is good at it."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Whether to compile the network: auto does for long runs on a GPU."""
    strategy: Strategy = "auto"
    """How processes (of torchrun or SLURM) share the work: ddp, each with the whole network, which
    auto takes; or fsdp, each with a part of it, for networks that fill a GPU."""
    crops_at_once: int | None = None
    """Most crops that a device takes at a time; of more, gradients are added up. Not given: all
    that fall to it."""
    activation_checkpointing: Literal["on", "off"] = "off"
    """Whether to work out the blocks' insides again on the way back, to save memory."""
    gradient_clip: float = 0.0
    """Largest norm of a step's gradients; those above are scaled down to it. 0 leaves them."""
    rollbacks: int = 3
    """How often a run may go back to its last checkpoint and pass over the step at which the loss
    exploded, before it stops."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    keep: int = 3
    """How many of the newest checkpoints are kept."""
    milestones: tuple[float, ...] = ()
    """Shares of all steps after which checkpoints are kept for good: 0.1,0.5,1."""
    init: Path | None = None
    """A run, or a folder of weights, to start from: of other channels and crop sizes, too."""
    log_every: int = 20
    """Steps between lines of log.jsonl."""
    track: tuple[Tracker, ...] = ()
    """Where to show the training beside log.jsonl: tensorboard, wandb, mlflow (their own variables
    say where those are). Not under fsdp: pictures."""
    validation: float = 0.05
    """Share of the wells that is held out, to measure the loss on."""
    validation_every: int = 500
    """Steps between two measurements of the validation loss."""
    validation_crops: int = 256
    """Most crops of held-out wells to measure the loss on, one a field."""
    recall_every: int = 0
    """Steps between two measurements of the recall of known pairs, on a map of some wells; 0 takes
    none."""
    annotations: Path | None = None
    """The known pairs: a file with the columns entity1,entity2, or a folder of such .txt and .csv
    files, as `benchmark` takes them."""
    recall_wells: int = 1000
    """Most wells that are embedded for it, controls among them."""
    recall_crops: int = 8
    """Most crops of a well that are, spread over those that `embed` would take."""
    recall_method: Literal["center-scale", "pca-center-scale", "tvn", "sphering"] = "center-scale"
    """How `correct` takes the plates out of them."""
    cache_gb: float = 2.0
    """Memory for whole fields: a store that fits is kept there, a larger one read crop by crop."""
    where: str | None = None
    """SQL that a field's row in fields.parquet must fulfil: "focus > 0.1 AND plate != 'P3'". Not
    given: all fields are taken."""
    balance: str | None = None
    """Column of fields.parquet (perturbation, plate, batch, ...) whose values are to come equally
    often, those of few fields too; fields without a value count as one value more. Not given: every
    field comes as often as the others."""
    crops_per_field: int = 1
    """Crops that are cut from a field whenever it is drawn, to save reads; it must divide
    crops_per_step."""
    pixel_size_um: float | None = None
    """Micrometres a pixel to bring all crops to. Not given: pixels stay those of the stores."""

    def __post_init__(self) -> None:
        least = {"steps": 0, "crops_per_step": 1, "seed": 0, "checkpoint_every": 1}
        least |= {"log_every": 1, "validation_every": 1, "validation_crops": 1}
        least |= {"crops_per_field": 1, "rollbacks": 0, "keep": 1}
        least |= {"recall_every": 0, "recall_wells": 16, "recall_crops": 1}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ValueError(f"{name} must be {value} or more, not {getattr(self, name)}")
        for name in ("lr", "weight_decay", "cache_gb", "gradient_clip"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}")
        for name in ("warmup", "validation"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be a share of 0 up to 1, not {getattr(self, name)}")
        if self.seed >= 2**63:
            raise ValueError(f"seed must be below 2^63, not {self.seed}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be two numbers of 0 up to 1, not {self.betas}")
        if self.crops_per_step % self.crops_per_field:
            raise ValueError(
                f"crops_per_field must divide crops_per_step {self.crops_per_step}, not be "
                f"{self.crops_per_field}"
            )
        if not all(0 <= share <= 1 for share in self.milestones):
            raise ValueError(f"milestones must be shares of 0 to 1, not {self.milestones}")
        if self.recall_every and self.annotations is None:
            raise ValueError(
                f"recall_every {self.recall_every} needs annotations: a file of known pairs, or a "
                "folder of such"
            )
        if self.crops_at_once is not None and self.crops_at_once < 1:
            raise ValueError(f"crops_at_once must be 1 or more, not {self.crops_at_once}")
        check_pixel_size(self.pixel_size_um)


_RECALL = ("recall_every", "annotations", "recall_wells", "recall_crops", "recall_method")

INDIFFERENT = (
    "cache_gb",
    "strategy",
    "crops_at_once",
    "activation_checkpointing",
    "keep",
    "track",
    *_RECALL,
)
"""Settings that decide where and how a run's numbers are worked out and looked at, not what they
are (but for rounding): they may be others when it goes on."""

LATER = {
    "crops_at_once": None,
    "activation_checkpointing": "off",
    "crops_per_field": 1,
    "gradient_clip": 0.0,
    "rollbacks": 3,
    "milestones": (),
    "init": None,
}
"""Settings that earlier versions did not have, and what they were then without saying so."""

Sizes = TypeVar("Sizes")


def sizes_of(settings: Any, kind: type[Sizes]) -> Sizes:
    """Return those of a training's settings that are its network's, as `kind`."""
    return kind(**{item.name: getattr(settings, item.name) for item in fields(kind)})  # pyright: ignore
