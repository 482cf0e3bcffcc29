"""The pair loss: crops of two wells of one perturbation are told from crops of other wells.

A softmax over pairs (InfoNCE, van den Oord et al. 2018, arXiv 1807.03748; with masked crops as in
Huang et al. 2022, arXiv 2207.13532). A well is compared only with the other sides of the pairs, and
not with wells of its own batch: as its partner is of another batch, so are the wrong answers.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_gather
from torch.nn import functional

from phenomae.checks import at_least, require, whole_numbers
from phenomae.models.precision import without_autocast
from phenomae.pretraining.settings import PAIRS, ObjectiveSettings

_TEMPERATURE = 0.2
_HIDDEN, _WIDTH = 256, 64  # of the projection, which only the loss uses


@dataclass(frozen=True)
class PairSettings(ObjectiveSettings):
    """Settings of the pair loss."""

    pair_weight: Annotated[float, PAIRS] = 0.0
    """Weight of the pair loss, which is added to the reconstruction loss: wells of the same
    perturbation in different batches (or plates, or wells) are to have similar embeddings. 0: no
    pair loss. Leave out of training, with pair_where, what the map is measured by."""
    pair_by: Annotated[str, PAIRS] = "perturbation"
    """With pair_weight: column of fields.parquet whose values are the labels (perturbation, guide,
    compound, ...). Genes as labels would teach what the benchmark asks."""
    pair_crops: Annotated[int, PAIRS] = 4
    """With pair_weight: crops from each well of a pair, whose embeddings are averaged."""
    pair_where: Annotated[str | None, PAIRS] = None
    """With pair_weight: condition on the fields that may be in pairs, such as "gene NOT IN
    ('TP53')". Other fields are then not trained on. Default: all fields."""

    def __post_init__(self) -> None:
        whole_numbers(self)
        settings: Any = self  # also has the fields of the other settings of the run
        at_least("pair_weight", self.pair_weight, 0)
        at_least("pair_crops", self.pair_crops, 1)
        if not self.pair_weight:
            return
        of_pair, step = 2 * self.pair_crops, settings.crops_per_step
        rule = f"a multiple of {of_pair}, the crops of a pair of wells, and at least {2 * of_pair}"
        require(step % of_pair == 0 and step > of_pair, "crops_per_step", rule, step)
        defaults = {
            "crops_at_once": "auto",
            "balance": None,
            "sample_by": None,
            "crops_per_field": 1,
        }
        for name, default in defaults.items():
            value = getattr(settings, name)
            require(value == default, name, f"{default} if pair_weight is above 0", value)


class PairLoss(nn.Module):
    """Projects the embeddings of pairs of wells and compares each with all others of a step."""

    def __init__(self, width: int, crops_per_well: int) -> None:
        super().__init__()
        self.crops_per_well = crops_per_well
        self.project = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, _HIDDEN), nn.GELU(), nn.Linear(_HIDDEN, _WIDTH)
        )

    def forward(
        self, embeddings: Float[Tensor, "b d"], groups: Int64[Tensor, " b"]
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the loss of crops that are ordered as by `PairSampler`, and its accuracy.

        `groups` are the numbers of their groups. The loss is over the pairs of all processes, so
        that several processes train as one does.
        """
        shape = (-1, 2, self.crops_per_well)
        # In float32: with bf16 most cosines of similar wells would be equal.
        with without_autocast(embeddings.device):
            wells = embeddings.float().unflatten(0, shape).mean(2)
            projected = functional.normalize(self.project(wells), dim=-1)
            sides = groups.unflatten(0, shape)[:, :, 0].contiguous()
            if distributed.is_available() and distributed.is_initialized():
                projected = torch.cat(all_gather(projected))  # with gradients
                sides = torch.cat(all_gather(sides))
            return compare_pairs(projected, sides)


def compare_pairs(
    projected: Float[Tensor, "pairs 2 d"], groups: Int64[Tensor, "pairs 2"]
) -> dict[str, Float[Tensor, ""]]:
    """Return the mean cross entropy of finding a well's partner among the other sides of all pairs.

    Wrong answers of the well's own group do not count. The logits are cosines divided by a
    temperature of 0.2; `pair_accuracy` is the share found.
    """
    first, second = projected.unbind(1)
    logits = first @ second.T / _TEMPERATURE
    is_own_group = groups[:, :1] == groups[:, 1]
    logits = logits.masked_fill(is_own_group, -torch.inf)
    partners = torch.arange(len(logits), device=logits.device)
    both = torch.stack([logits, logits.T])
    loss = functional.cross_entropy(both.flatten(0, 1), partners.repeat(2))
    accuracy = (both.argmax(-1) == partners).float().mean()
    return {"pair_loss": loss, "pair_accuracy": accuracy}
