"""The Lion optimiser and the one-cycle schedule of its learning rate."""

import math
import re

import torch
from pytorch_optimizer import Lion
from torch import nn
from torch.torch_version import TorchVersion

from phenomae.pretraining.loop import Schedule
from phenomae.pretraining.team import is_shared

# Defaults of torch's OneCycleLR: lr / 25 rises to lr, then falls to lr / 25 / 10^4.
_START = 25.0
_END = 1e4
_NO_DECAY = re.compile(r"norm|bias|token")


def build_lion(
    objective: nn.Module, lr: float, betas: tuple[float, float], weight_decay: float
) -> Lion:
    """Return Lion (Chen et al. 2023, arXiv 2302.06675) with weight decay for matrices only.

    Biases, norm weights, tokens and all vectors get no weight decay. Biases, norm weights and
    tokens are recognised by name, so that stacks of them (matrices) get none either.
    """
    # Frozen parameters, such as the unused norm of an encoder, get no gradient.
    parameters = [item for item in objective.named_parameters() if item[1].requires_grad]
    decaying = [item for name, item in parameters if _decays(name, item)]
    others = [item for name, item in parameters if not _decays(name, item)]
    groups = [
        {"params": decaying, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    # foreach launches one kernel for many tensors; a loop would launch one per tensor. Before 2.13
    # torch raises NotImplementedError for some foreach operations on sharded tensors (FSDP2).
    foreach = TorchVersion(torch.__version__) >= "2.13" or not is_shared(objective)
    return Lion(groups, lr=lr, betas=betas, foreach=foreach)


def _decays(name: str, parameter: nn.Parameter) -> bool:
    # A stack of biases (one per channel) has two dimensions, so the shape alone does not decide.
    return parameter.squeeze().ndim >= 2 and not _NO_DECAY.search(name)


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
