"""Checkpoints: what a stopped run needs to go on as if nothing had happened."""

import json
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from phenomae.artefacts import whole_file
from phenomae.pretraining.loop import Losses
from phenomae.pretraining.team import Team, shared_like, whole
from phenomae.progress import info

_DAMAGE = (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError)


class Checkpoints:
    """Saves objective and optimiser now and then, and keeps the newest few and the milestones.

    Safetensors, as the same state then gives the same bytes, and nothing is unpickled. A file holds
    whole tensors, however many processes share them, so that another number can go on. It is
    written while the training goes on.
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
        notes: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        """Save after every so many steps, and after the steps that are `milestones`.

        `notes` gives what else a run has to know when it goes on.
        """
        self.folder, self.team = folder, team
        self.objective, self.optimiser = objective, optimiser
        self.every, self.keep, self.milestones = every, keep, frozenset(milestones)
        self.notes = notes
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._written: Future[None] | None = None
        self.saved: int | None = None
        """After how many steps it was saved last."""

    def __call__(self, done: int, losses: Losses) -> None:
        """Save where it is time to: a probe of the loop."""
        if done % self.every == 0 or done in self.milestones:
            self.save(done)

    def save(self, done: int) -> None:
        """Take what there is after `done` steps, and begin to write it, whole or not at all.

        Raises what went wrong with the one before.
        """
        self.finish()
        self.saved = done
        tensors, groups = self._collect()
        if self.team.writes:
            rest = json.dumps({"step": done, "param_groups": groups, "notes": self.notes()})
            self._written = self._writer.submit(self._write, done, tensors, rest)

    def finish(self) -> None:
        """Wait until what was saved last lies on the disk; raises OSError where it does not."""
        written, self._written = self._written, None
        if written is not None:
            written.result()

    def resume(self) -> tuple[int, dict[str, Any]]:
        """Take up the newest checkpoint that is whole, and return its steps and its notes.

        0 and no notes where there is none yet. Raises ValueError where none can be read.
        """
        self.finish()
        self.team.wait()  # or another process would take up the one before
        paths = sorted(self.folder.glob("step-*.safetensors"), reverse=True)
        for number, path in enumerate(paths):
            try:
                rest, tensors = _read(path)
                self._take_up(rest, tensors)
            except _DAMAGE as error:
                if number + 1 == len(paths):
                    raise ValueError(
                        f"{path} is damaged ({error}), and no other checkpoint can be read: delete "
                        f"{self.folder}, and the run begins anew"
                    ) from None
                info(f"{path} is damaged ({error}): going on from {paths[number + 1].name}")
                continue
            self._prune()
            return rest["step"], rest.get("notes", {})
        return 0, {}

    def _collect(self) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
        """Return copies of all tensors, by name, and the optimiser's settings."""
        found = {f"objective.{key}": value for key, value in self.objective.state_dict().items()}
        optimiser = self.optimiser.state_dict()
        for index, state in optimiser["state"].items():
            found |= {f"optimiser.{index}.{key}": value for key, value in state.items()}
        wholes = {name: whole(value.detach()) for name, value in found.items()}
        if not self.team.writes:
            return {}, []
        copies = {name: value.to("cpu", copy=True) for name, value in wholes.items()}
        return copies, optimiser["param_groups"]

    def _write(self, done: int, tensors: dict[str, Tensor], rest: str) -> None:
        self.folder.mkdir(exist_ok=True)
        tensors = {name: value.contiguous() for name, value in tensors.items()}
        with whole_file(self.folder / _name(done)) as partial:
            save_file(tensors, partial, metadata={"rest": rest})
        self._prune()

    def _take_up(self, rest: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        own = self.objective.state_dict()
        states: dict[int, dict[str, Tensor]] = {}
        parameters = [item for group in self.optimiser.param_groups for item in group["params"]]
        for name, value in tensors.items():
            part, _, key = name.partition(".")
            if part == "optimiser":
                index, _, key = key.partition(".")
                like = parameters[int(index)]
                fitting = shared_like(value, like) if value.shape == like.shape else value
                states.setdefault(int(index), {})[key] = fitting
        self.objective.load_state_dict(
            {name: shared_like(tensors[f"objective.{name}"], like) for name, like in own.items()}
        )
        self.optimiser.load_state_dict({"state": states, "param_groups": rest["param_groups"]})

    def _prune(self) -> None:
        if not self.team.writes:
            return
        lasting = {_name(done) for done in self.milestones}
        paths = sorted(self.folder.glob("step-*.safetensors"))
        for path in [path for path in paths if path.name not in lasting][: -self.keep]:
            path.unlink()


def _name(done: int) -> str:
    return f"step-{done:08d}.safetensors"


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    with safe_open(path, framework="pt") as file:
        rest = json.loads(file.metadata()["rest"])
        return rest, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
