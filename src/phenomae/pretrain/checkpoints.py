"""Checkpoints: what a stopped run needs to go on as if nothing had happened."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from phenomae.artefacts import whole_file

KEPT = 2


class Checkpoints:
    """Saves objective and optimiser every so many steps, and keeps the newest few.

    Safetensors, as the same state then gives the same bytes, and nothing is unpickled.
    """

    def __init__(
        self, folder: Path, every: int, objective: nn.Module, optimiser: torch.optim.Optimizer
    ) -> None:
        self.folder = folder
        self.every = every
        self.objective = objective
        self.optimiser = optimiser

    def __call__(self, done: int, losses: Mapping[str, Tensor]) -> None:
        """Save where it is time to: a probe of the loop."""
        if done % self.every == 0:
            self.save(done)

    def save(self, done: int) -> None:
        """Write the checkpoint after `done` steps, whole or not at all, and drop the oldest."""
        self.folder.mkdir(exist_ok=True)
        tensors = {f"objective.{key}": value for key, value in self.objective.state_dict().items()}
        optimiser = self.optimiser.state_dict()
        for index, state in optimiser["state"].items():
            tensors |= {f"optimiser.{index}.{key}": value for key, value in state.items()}
        rest = json.dumps({"step": done, "param_groups": optimiser["param_groups"]})
        whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        with whole_file(self.folder / f"step-{done:08d}.safetensors") as partial:
            save_file(whole, partial, metadata={"rest": rest})
        self._prune()

    def resume(self) -> int:
        """Take up the newest checkpoint and return how many steps it has done; 0 without one.

        Raises ValueError where it cannot be read.
        """
        paths = sorted(self.folder.glob("step-*.safetensors"))
        if not paths:
            return 0
        try:
            with safe_open(paths[-1], framework="pt") as file:
                rest = json.loads(file.metadata()["rest"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(
                f"{paths[-1]} is damaged ({error}): delete it, and the run goes on from the "
                "checkpoint before"
            ) from None
        self.objective.load_state_dict(
            {name: tensors[f"objective.{name}"] for name in self.objective.state_dict()}
        )
        states: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            part, _, key = name.partition(".")
            if part == "optimiser":
                index, _, key = key.partition(".")
                states.setdefault(int(index), {})[key] = value
        self.optimiser.load_state_dict({"state": states, "param_groups": rest["param_groups"]})
        self._prune()
        return rest["step"]

    def _prune(self) -> None:
        for path in sorted(self.folder.glob("step-*.safetensors"))[:-KEPT]:
            path.unlink()
