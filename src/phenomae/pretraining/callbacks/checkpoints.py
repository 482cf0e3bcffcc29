"""Writes and loads checkpoints, from which a stopped run continues and ends with the same weights.

Checkpoints are safetensors files: equal states give equal bytes, and reading a file runs no code.
They hold no random state, because random numbers depend on (seed, step, index) only.
"""

import json
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from phenomae.pretraining.team import Team, shared_like, whole
from phenomae.progress import info
from phenomae.runs import UNSEALED, is_sealed, seal_checkpoint
from phenomae.whole_files import whole_file

# A truncated or overwritten file raises one of these errors, depending on where the damage is.
_DAMAGE = (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError)


class Checkpoints:
    """Saves objective and optimiser, and keeps the newest checkpoints and the milestones.

    A file holds full tensors even if the weights are sharded, so that a run can continue with
    another number of processes. Files are written in the background during the next steps.
    """

    def __init__(
        self,
        folder: Path,
        team: Team,
        objective: nn.Module,
        optimiser: torch.optim.Optimizer,
        *,
        every: int,
        keep: int,
        milestones: Collection[int] = (),
    ) -> None:
        """A checkpoint is due every `every` steps, and after the numbers of steps `milestones`."""
        self.folder, self.team = folder, team
        self.objective, self.optimiser = objective, optimiser
        self.every, self.keep, self.milestones = every, keep, frozenset(milestones)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._written: Future[None] | None = None
        self.saved: int | None = None
        """Number of steps done when this process last saved a checkpoint."""

    def is_due(self, done: int) -> bool:
        """Return whether a checkpoint is due after `done` steps."""
        return done % self.every == 0 or done in self.milestones

    def save(self, done: int, notes: dict[str, Any]) -> None:
        """Copy the state after `done` steps and start to write it together with `notes`.

        Raises OSError if the previous checkpoint could not be written.
        """
        self.finish()
        self.saved = done
        tensors, groups = self._collect()
        if self.team.writes:
            rest = {"step": done, "param_groups": groups, "notes": notes, "sha256": UNSEALED}
            self._written = self._writer.submit(self._write, done, tensors, json.dumps(rest))

    def finish(self) -> None:
        """Wait until the last checkpoint is on disk; raises OSError if it could not be written."""
        written, self._written = self._written, None
        if written is not None:
            written.result()

    def resume(self) -> tuple[int, dict[str, Any]]:
        """Load the newest checkpoint that is not damaged; return its number of steps and its notes.

        Returns 0 and no notes if there is no checkpoint. Raises ValueError if all are damaged.
        """
        self.finish()
        # Without the barrier another process could list the files before the newest is written.
        self.team.wait()
        paths = sorted(self.folder.glob("step-*.safetensors"), reverse=True)
        for number, path in enumerate(paths):
            try:
                rest, tensors = _read(path)
                self._load(rest, tensors)
            except _DAMAGE as error:
                if number + 1 == len(paths):
                    raise ValueError(
                        f"{path} is damaged ({error}), and no other checkpoint can be read: delete "
                        f"{self.folder} to start the run again"
                    ) from None
                info(f"{path} is damaged ({error}): continuing from {paths[number + 1].name}")
                continue
            # A kill between writing and pruning leaves one checkpoint too many.
            self._prune()
            return rest["step"], rest.get("notes", {})
        return 0, {}

    def _collect(self) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
        """Return copies of all tensors by name, and the optimiser's parameter groups."""
        found = {f"objective.{key}": value for key, value in self.objective.state_dict().items()}
        optimiser = self.optimiser.state_dict()
        for index, state in optimiser["state"].items():
            found |= {f"optimiser.{index}.{key}": value for key, value in state.items()}
        # All processes gather the shards, although only rank zero keeps the result.
        wholes = {name: whole(value.detach()) for name, value in found.items()}
        if not self.team.writes:
            return {}, []
        # Copies, because the training changes the weights while they are written.
        copies = {name: value.to("cpu", copy=True) for name, value in wholes.items()}
        return copies, optimiser["param_groups"]

    def _write(self, done: int, tensors: dict[str, Tensor], rest: str) -> None:
        self.folder.mkdir(exist_ok=True)
        tensors = {name: value.contiguous() for name, value in tensors.items()}
        with whole_file(self.folder / _name(done)) as partial:
            save_file(tensors, partial, metadata={"rest": rest})
            seal_checkpoint(partial)
        self._prune()

    def _load(self, rest: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        own = self.objective.state_dict()
        states: dict[int, dict[str, Tensor]] = {}
        parameters = [item for group in self.optimiser.param_groups for item in group["params"]]
        for name, value in tensors.items():
            part, _, key = name.partition(".")
            if part == "optimiser":
                index, _, key = key.partition(".")
                like = parameters[int(index)]
                # Momentum is sharded like its weight; scalar state is the same in all processes.
                fitting = shared_like(value, like) if value.shape == like.shape else value
                states.setdefault(int(index), {})[key] = fitting
        self.objective.load_state_dict(
            {name: shared_like(tensors[f"objective.{name}"], like) for name, like in own.items()}
        )
        self.optimiser.load_state_dict({"state": states, "param_groups": rest["param_groups"]})

    def _prune(self) -> None:
        """Delete all checkpoints but the newest `keep` and the milestones."""
        if not self.team.writes:
            return
        # Milestones do not count towards `keep`.
        lasting = {_name(done) for done in self.milestones}
        paths = sorted(self.folder.glob("step-*.safetensors"))
        for path in [path for path in paths if path.name not in lasting][: -self.keep]:
            path.unlink()


def _name(done: int) -> str:
    return f"step-{done:08d}.safetensors"


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if is_sealed(path) is False:
        raise ValueError("its SHA-256 is not the one that it records")
    with safe_open(path, framework="pt") as file:
        rest = json.loads(file.metadata()["rest"])
        return rest, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
