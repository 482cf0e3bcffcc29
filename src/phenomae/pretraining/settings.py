"""The settings of a training run that do not depend on the network family.

Every field is a flag of `phenomae pretrain FAMILY` and a key of recipes; the field's docstring is
the help text. `combine_settings` adds the settings of a network and of its objective.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from cyclopts import Group, Parameter

from phenomae.checks import at_least, one_of, require, share, whole_numbers
from phenomae.crops.reader import check_pixel_size
from phenomae.devices import Device, Precision, Strategy
from phenomae.paths import PathLike
from phenomae.pretraining.callbacks.trackers import TrackerName

# Groups of `--help`, in this order.
NETWORK = Parameter(group=Group.create_ordered("Network"))
DATA = Parameter(group=Group.create_ordered("Data"))
OPTIMISATION = Parameter(group=Group.create_ordered("Optimisation"))
PAIRS = Parameter(group=Group.create_ordered("Pairs"))
HARDWARE = Parameter(group=Group.create_ordered("Hardware"))
CHECKPOINTS = Parameter(group=Group.create_ordered("Checkpoints"))
RECALL = Parameter(group=Group.create_ordered("Recall"))

OptimiserName = Literal["lion", "adamw", "muon"]


@Parameter(name="*")
@dataclass(frozen=True)
class TrainingSettings:
    """Settings of a training run, without those of the network itself."""

    network: ClassVar[type[Any]]
    """The network class; set only in the classes that `combine_settings` makes."""

    steps: Annotated[int, OPTIMISATION] = 10_000
    """Training steps; 0 writes a run with the initial weights."""
    crops_per_step: Annotated[int, OPTIMISATION] = 256
    """Global batch: crops in one training step, over all processes."""
    optimiser: Annotated[OptimiserName, OPTIMISATION] = "lion"
    """Lion; AdamW; or Muon for the matrices of hidden layers, with AdamW for other weights."""
    # Lion changes every weight by lr in each step; its authors advise 1/3 to 1/10 of AdamW's lr.
    lr: Annotated[float, OPTIMISATION] = 1e-4
    """Peak learning rate of the one-cycle schedule; AdamW and Muon need 3 to 10 times Lion's."""
    warmup: Annotated[float, OPTIMISATION] = 0.1
    """Fraction of the steps during which the learning rate rises."""
    weight_decay: Annotated[float, OPTIMISATION] = 0.05
    """Weight decay; it applies to weight matrices only."""
    betas: Annotated[tuple[float, float], OPTIMISATION] = (0.9, 0.95)
    """Betas of Lion and AdamW."""
    seed: Annotated[int, OPTIMISATION] = 0
    """Seed of the initial weights, the crops, the masks, and the choice of validation wells."""
    device: Annotated[Device, HARDWARE] = "auto"
    """Device to train on: auto uses a GPU if there is one."""
    precision: Annotated[Precision, HARDWARE] = "auto"
    """Precision of matrix products: auto uses bf16 if the device supports it in hardware."""
    compile: Annotated[Literal["auto", "on", "off"], HARDWARE] = "auto"
    """Whether to use torch.compile: auto compiles the network for runs of 2,000 steps or more on a
    GPU."""
    strategy: Annotated[Strategy, HARDWARE] = "auto"
    """How processes of torchrun or SLURM share the network: ddp (auto) gives each process the whole
    network; fsdp gives each a part of every weight, for networks that are too large for a GPU."""
    crops_at_once: Annotated[int | Literal["auto"], HARDWARE] = "auto"
    """Maximum number of crops that a process computes at a time; more crops per step use gradient
    accumulation. auto: as many as fit the free memory, and on a CPU micro-batches on each core."""
    activation_checkpointing: Annotated[Literal["on", "off"], HARDWARE] = "off"
    """Recompute block activations in the backward pass to save memory."""
    gradient_clip: Annotated[float, OPTIMISATION] = 0.0
    """Maximum norm of the gradients of a step; gradients with a larger norm are scaled down to this
    norm. 0: no clipping."""
    rollbacks: Annotated[int, CHECKPOINTS] = 3
    """Maximum number of times a run returns to its last checkpoint and skips the step at which the
    loss exploded; at the next explosion the run stops with an error."""
    checkpoint_every: Annotated[int, CHECKPOINTS] = 500
    """Steps between checkpoints."""
    keep: Annotated[int, CHECKPOINTS] = 3
    """Number of newest checkpoints that are kept, in addition to milestones."""
    milestones: Annotated[tuple[float, ...], CHECKPOINTS] = ()
    """Fractions of the steps after which a checkpoint is saved and never deleted: 0.1,0.5,1."""
    init: Annotated[PathLike | None, OPTIMISATION] = None
    """Warm start: a run or a folder of weights from which the network is initialised. Channels and
    crop size may differ."""
    log_every: Annotated[int, CHECKPOINTS] = 20
    """Steps between lines with the training loss in log.jsonl."""
    track: Annotated[tuple[TrackerName, ...], CHECKPOINTS] = ()
    """Also log to tensorboard, wandb or mlflow, which are configured by their own environment
    variables. Images are not logged under fsdp."""
    validation: Annotated[float, DATA] = 0.05
    """Fraction of the wells that are used for the validation loss and not for training."""
    validation_every: Annotated[int, CHECKPOINTS] = 500
    """Steps between computations of the validation loss."""
    # The crops are the same every time, so that a few hundred suffice to compare steps.
    validation_crops: Annotated[int, DATA] = 256
    """Maximum number of validation crops, one per field."""
    cache_gb: Annotated[float, HARDWARE] = 2.0
    """Memory for whole fields, in GB: if the fields of all stores fit, each field is read once and
    kept in memory; otherwise crops are read one by one."""
    where: Annotated[str | None, DATA] = None
    """Condition on the rows of fields.parquet: "focus > 0.1 AND plate != 'P3'". Only fields
    that meet it are used. Default: all fields."""
    balance: Annotated[str | None, DATA] = None
    """Column of fields.parquet (perturbation, plate, batch, ...) whose values are sampled equally
    often; fields without a value count as one more value. Default: fields are sampled uniformly."""
    sample_by: Annotated[PathLike | None, DATA] = None
    """CSV table with the column weight and one or more columns of fields.parquet (gene, control,
    ...): fields are sampled in proportion to the weight of their row, fields without a row never.
    Default: all fields have weight 1."""
    crops_per_field: Annotated[int, DATA] = 1
    """Crops cut from a field each time it is sampled, to reduce reads; must be a divisor of
    crops_per_step."""
    pixel_size_um: Annotated[float | None, DATA] = None
    """Pixel size in micrometres to which all crops are resampled. Default: no resampling."""

    def __post_init__(self) -> None:
        whole_numbers(self)
        for name in ("steps", "seed", "rollbacks", "lr", "weight_decay", "cache_gb"):
            at_least(name, getattr(self, name), 0)
        at_least("gradient_clip", self.gradient_clip, 0)
        if self.crops_at_once != "auto":
            at_least("crops_at_once", self.crops_at_once, 1)
        for name in ("crops_per_step", "crops_per_field", "checkpoint_every"):
            at_least(name, getattr(self, name), 1)
        for name in ("keep", "log_every", "validation_every", "validation_crops"):
            at_least(name, getattr(self, name), 1)
        for name in ("warmup", "validation"):
            _below_one(name, getattr(self, name))
        # A beta of 1 would never forget the first gradient.
        for beta in self.betas:
            _below_one("betas", beta)
        for fraction in self.milestones:
            share("milestones", fraction)
        # The random number generator takes the seed as a signed 64-bit integer.
        require(self.seed < 2**63, "seed", "below 2^63", self.seed)
        one_of("optimiser", self.optimiser, get_args(OptimiserName))
        if self.optimiser == "muon" and self.strategy == "fsdp":
            raise ValueError("optimiser must be lion or adamw if strategy is fsdp, not muon")
        divides = self.crops_per_step % self.crops_per_field == 0
        rule = f"a divisor of crops_per_step {self.crops_per_step}"
        require(divides, "crops_per_field", rule, self.crops_per_field)
        check_pixel_size(self.pixel_size_um)
        if self.init is not None:
            # Text and paths become one type, so that equal settings compare and record as equal.
            object.__setattr__(self, "init", Path(self.init))

    @property
    def max_crops_at_once(self) -> int | None:
        """The number that `crops_at_once` gives; None if it is automatic."""
        return None if self.crops_at_once == "auto" else self.crops_at_once


def _below_one(name: str, value: float) -> None:
    require(0 <= value < 1, name, "at least 0 and below 1", value)


@dataclass(frozen=True)
class ObjectiveSettings:
    """Base class of the settings that an objective adds to those of a run; has no settings."""

    def __post_init__(self) -> None:
        """Check the values; `self` also has all other settings of the run."""


# Settings of callbacks, such as recall, may change too, but are in no list: they are not part of
# what identifies a run, because callbacks do not change the weights.
CHANGEABLE = (
    "cache_gb",
    "strategy",
    "crops_at_once",
    "activation_checkpointing",
    "keep",
    "track",
)
"""Settings that may change when a run continues: they change the results only by rounding."""

ADDED_LATER = {
    "optimiser": "lion",
    "crops_at_once": "auto",
    "activation_checkpointing": "off",
    "crops_per_field": 1,
    "gradient_clip": 0.0,
    "rollbacks": 3,
    "milestones": (),
    "init": None,
    "pair_weight": 0.0,
    "pair_by": "perturbation",
    "pair_crops": 4,
    "pair_where": None,
    "fourier_norm": "backward",
    "decoder_attention": "self",
    "sample_by": None,
    "masks_per_crop": 1,
}
"""Settings that runs of older versions do not record, and the values that those runs used."""
