"""Count the operators that a training step of S/16 dispatches: what a GPU waits for if it is fast.

    python benchmarks/operators.py               an eager step
    python benchmarks/operators.py --compile     a compiled one

From a profile on a CPU, forward, backward, norm of the gradients and optimiser. `all` are the
operators with those that they call; `outermost` are those that Python and autograd call, where an
operation on a list of tensors is one, as on a GPU.
"""

import argparse
from collections import Counter

import torch
from torch.profiler import ProfilerActivity, profile

from phenomae.crops.tensors import Crops
from phenomae.devices import Device, Precision, open_machine
from phenomae.models.create import create_model
from phenomae.pretraining.loop import Learner
from phenomae.pretraining.objectives.masked import ChannelObjective, MaskedObjective
from phenomae.pretraining.optimiser import build_optimiser

CHANNELS = [f"channel {number}" for number in range(1, 7)]


def make_learner(
    family: str = "vit-mae", device: Device = "cpu", precision: Precision = "float32", **settings
) -> Learner:
    """Return what `pretrain` trains S/16 of a masked family with; `settings` differ from S/16's."""
    torch.manual_seed(0)
    network = create_model(f"{family}/S16", CHANNELS, **settings)
    if family == "channel-mae":
        objective = ChannelObjective(network, seed=0, drop_channel=0.5)
    else:
        objective = MaskedObjective(network, seed=0)
    fabric = open_machine(device, precision).fabric
    wrapped = fabric.setup_module(objective)
    optimiser = fabric.setup_optimizers(build_optimiser("lion", objective, 1e-4, (0.9, 0.95), 0.05))
    return Learner(fabric, wrapped, optimiser, lambda step: 1e-4)


def make_crops(count: int, size: int) -> Crops:
    """Return random crops in all eight turns."""
    generator = torch.Generator().manual_seed(0)
    shape = (count, len(CHANNELS), size, size)
    return Crops(
        pixels=torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8),
        windows=torch.tensor([0.0, 255.0]).expand(count, len(CHANNELS), 2),
        turns=torch.arange(count, dtype=torch.uint8) % 8,
        keys=torch.zeros(count, 3, dtype=torch.int64),
        channels=tuple(CHANNELS),
    )


def main() -> None:
    """Print the counts of one step, after steps that compile and allocate."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--operators", type=int, default=8, help="how many to list")
    arguments = parser.parse_args()
    learner = make_learner()
    if arguments.compile:
        learner.objective.module.compile()
    crops = make_crops(8, learner.objective.model.settings.crop_size)
    for step in range(2):
        learner(crops, step)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        learner(crops, 2)
    events = [event for event in profiled.events() if event.name.startswith("aten::")]
    outermost = [event for event in events if not _is_called(event)]
    for name, counted in (("all", events), ("outermost", outermost)):
        most = Counter(event.name.removeprefix("aten::") for event in counted)
        listed = ", ".join(f"{kind} {n}" for kind, n in most.most_common(arguments.operators))
        print(f"{name:10} {len(counted):6,}   {listed}")


def _is_called(event) -> bool:
    """Return whether another operator of torch called this one."""
    parent = event.cpu_parent
    return parent is not None and (parent.name.startswith("aten::") or _is_called(parent))


if __name__ == "__main__":
    main()
