"""Lion, and the one cycle of its learning rate."""

import math
import re

from pytorch_optimizer import Lion
from torch import nn

from phenomae.pretraining.learner import Schedule

_START = 25.0  # the cycle begins at lr / 25 and ends at lr / 25 / 10^4, as torch's OneCycleLR
_END = 1e4
_KEPT = re.compile(r"norm|bias|token")  # names of weights that do not decay


def build_lion(
    objective: nn.Module, lr: float, betas: tuple[float, float], weight_decay: float
) -> Lion:
    """Return Lion (Chen et al. 2023, arXiv 2302.06675) that lets only matrices decay.

    Biases, norms, scales and tokens keep their size, also where they are stacks of several.
    """
    parameters = [item for item in objective.named_parameters() if item[1].requires_grad]
    decaying = [item for name, item in parameters if _decays(name, item)]
    others = [item for name, item in parameters if not _decays(name, item)]
    groups = [
        {"params": decaying, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return Lion(groups, lr=lr, betas=betas, foreach=True)


def _decays(name: str, parameter: nn.Parameter) -> bool:
    return parameter.squeeze().ndim >= 2 and not _KEPT.search(name)


def one_cycle(lr: float, steps: int, warmup_share: float) -> Schedule:
    """Return the learning rate of every step: up along a cosine, then down along another.

    Smith & Topin 2018 (arXiv 1708.07120), with the ends of torch's OneCycleLR.
    """
    top = max(warmup_share * steps - 1, 0.0)
    last = max(steps - 1, 1)

    def schedule(step: int) -> float:
        if step < top:
            return _cosine(lr / _START, lr, step / top)
        return _cosine(lr, lr / _START / _END, (step - top) / max(last - top, 1e-9))

    return schedule


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
