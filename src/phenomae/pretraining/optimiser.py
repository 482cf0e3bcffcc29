"""The optimisers, Lion, AdamW and Muon, and the one-cycle schedule of their learning rate."""

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from pytorch_optimizer import Lion
from torch import nn
from torch.torch_version import TorchVersion

from phenomae.pretraining.loop import Schedule
from phenomae.pretraining.settings import OptimiserName
from phenomae.pretraining.team import is_shared

# Defaults of torch's OneCycleLR: lr / 25 rises to lr, then falls to lr / 25 / 10^4.
_START = 25.0
_END = 1e4
_NO_DECAY = re.compile(r"norm|bias|token")
# The first and last layers, whose inputs or outputs are pixels or classes.
_NOT_HIDDEN = re.compile(r"patch_embed|pred|head")


def build_optimiser(
    name: OptimiserName,
    objective: nn.Module,
    lr: float,
    betas: tuple[float, float],
    weight_decay: float,
) -> torch.optim.Optimizer:
    """Return an optimiser with weight decay for matrices only.

    Biases, norm weights, tokens and all vectors get no weight decay. Biases, norm weights and
    tokens are recognised by name, so that stacks of them (matrices) get none either.
    """
    # Frozen parameters, such as the unused norm of an encoder, get no gradient.
    parameters = {key: item for key, item in objective.named_parameters() if item.requires_grad}
    decaying = {key: item for key, item in parameters.items() if _decays(key, item)}
    others = [item for key, item in parameters.items() if key not in decaying]
    rest = {"params": others, "weight_decay": 0.0}
    if name == "muon":
        return Muon(decaying, rest, lr=lr, betas=betas, weight_decay=weight_decay)
    groups = [{"params": list(decaying.values()), "weight_decay": weight_decay}, rest]
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=lr, betas=betas)
    # foreach launches one kernel for many tensors; a loop would launch one per tensor. Before 2.13
    # torch raises NotImplementedError for some foreach operations on sharded tensors (FSDP2).
    foreach = TorchVersion(torch.__version__) >= "2.13" or not is_shared(objective)
    return Lion(groups, lr=lr, betas=betas, foreach=foreach)


class Muon(torch.optim.Optimizer):
    """Muon for the matrices of hidden layers, and AdamW for all other weights, as one optimiser.

    Jordan et al. 2024; updates are scaled to the size of AdamW's (Liu et al. 2025, arXiv
    2502.16982), so that both have one learning rate.
    """

    def __init__(
        self,
        decaying: Mapping[str, nn.Parameter],
        rest: dict[str, Any],
        *,
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
    ) -> None:
        """`decaying` are the weights with weight decay, by name; `rest` is a group of others."""
        hidden = [item for name, item in decaying.items() if _is_hidden(name, item)]
        outer = [item for name, item in decaying.items() if not _is_hidden(name, item)]
        if not hidden:
            raise ValueError(
                "optimiser must be lion or adamw for a network without hidden linear layers, not "
                "muon"
            )
        groups = [{"params": outer, "weight_decay": weight_decay}, rest]
        muon = torch.optim.Muon(
            hidden, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
        )
        self._parts = (muon, torch.optim.AdamW(groups, lr=lr, betas=betas))
        super().__init__([group for part in self._parts for group in part.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Give both parts the groups and the state of this optimiser."""
        muon, adamw = self._parts
        muon.param_groups, adamw.param_groups = self.param_groups[:1], self.param_groups[1:]
        muon.state = adamw.state = self.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the state of both parts."""
        super().load_state_dict(state_dict)
        self._share()

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Change all weights once."""
        for part in self._parts:
            part.step()


def _decays(name: str, parameter: nn.Parameter) -> bool:
    # A stack of biases (one per channel) has two dimensions, so the shape alone does not decide.
    return parameter.squeeze().ndim >= 2 and not _NO_DECAY.search(name)


def _is_hidden(name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim == 2 and not _NOT_HIDDEN.search(name)


def one_cycle(lr: float, steps: int, warmup: float) -> Schedule:
    """Return a learning rate schedule that rises along a half cosine and then falls along another.

    `warmup` is the fraction of the steps during which the learning rate rises. Smith & Topin 2018
    (arXiv 1708.07120), with the initial and final learning rate of torch's OneCycleLR.
    """
    top = max(warmup * steps - 1, 0.0)
    # As in torch, the last step of the rise has the peak, and the last step has the final rate.
    last = max(steps - 1, 1)

    def schedule(step: int) -> float:
        if step < top:
            return _cosine(lr / _START, lr, step / top)
        return _cosine(lr, lr / _START / _END, (step - top) / max(last - top, 1e-9))

    return schedule


def _cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * progress))
