"""Number of this process among those that share a command's work: `shard`, SLURM or torchrun.

Shards need not know each other: the folder that they fill says what is done (`shared_artefacts`).
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from phenomae.progress import info

Unit = TypeVar("Unit")

_MOUNTS = Path("/proc/self/mounts")
# File systems that only the machine with the disk can see.
_LOCAL_DISKS = (
    *("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "ramfs", "overlay"),
    *("apfs", "hfs", "vfat", "exfat", "ntfs", "ntfs3"),
)


@dataclass(frozen=True)
class Shard:
    """One of several processes that do the work of one command together."""

    number: int
    """Counted from 1."""
    count: int
    source: str
    """The setting or environment variables that give the number, for messages."""

    def __str__(self) -> str:
        return f"shard {self.number} of {self.count} ({self.source})"

    def order(self, units: Sequence[Unit]) -> list[Unit]:
        """Return the units of work with this shard's own first: every `count`-th of them.

        The others follow, because another shard may be slower, or never start.
        """
        own = list(units[self.number - 1 :: self.count])
        others = [unit for at, unit in enumerate(units) if (at + 1 - self.number) % self.count]
        return own + others


def find_shard(given: str | None) -> Shard | None:
    """Return the shard that this process is; None if it does all the work alone.

    `given` is I/N, counted from 1; 1/1 is a process alone. None looks at the environment: the
    position in a job array of SLURM, and the rank under torchrun. Raises ValueError if `given` or a
    variable is not understood.
    """
    shard = _read_environment(os.environ) if given is None else _parse(given)
    if shard.count == 1:
        return None
    if given is None:
        info(str(shard))
    return shard


def _parse(given: str) -> Shard:
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", given)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= count:
        raise ValueError(
            f"shard must be I/N with I from 1 to N, like 3/8 for the third of eight, not {given}"
        )
    return Shard(number, count, "shard")


def _read_environment(environment: Mapping[str, str]) -> Shard:
    """Return the shard by the variables of SLURM and torchrun, which can be combined."""
    number, count, sources = 0, 1, []
    for position, total, source in (*_find_task(environment), *_find_rank(environment)):
        number, count = number * total + position, count * total
        sources.append(source)
    return Shard(number + 1, count, ", ".join(sources))


def _find_task(environment: Mapping[str, str]) -> list[tuple[int, int, str]]:
    """Return position and length of a job array, if this is a task of one with several."""
    names = ("ID", "COUNT", "MIN", "STEP")
    name, *_ = variables = [f"SLURM_ARRAY_TASK_{part}" for part in names]
    if any(variable not in environment for variable in variables[:2]):
        return []
    defaults = dict(zip(variables[2:], ("0", "1"), strict=True))
    task, count, first, step = (_number({**defaults, **environment}, key) for key in variables)
    # An array 1,5,6 has no step. Two tasks of one position only take turns, plate by plate.
    position = (task - first) // max(step, 1) % max(count, 1)
    return [(position, count, name)] if count > 1 else []


def _find_rank(environment: Mapping[str, str]) -> list[tuple[int, int, str]]:
    """Return rank and number of processes, if torchrun has started several."""
    if "TORCHELASTIC_RUN_ID" not in environment:
        return []
    rank, count = (_number(environment, key) for key in ("RANK", "WORLD_SIZE"))
    return [(rank, count, "RANK of torchrun")] if count > 1 else []


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "")
    if not re.fullmatch(r"\d{1,9}", text):
        raise ValueError(f"the environment variable {name} must be a whole number, not {text!r}")
    return int(text)


def require_shared_disk(path: Path) -> None:
    """Raise ValueError if the shards are on several nodes, and `path` is on a disk of one of them.

    In a job array each task has a node of its own or not, which no variable tells: there, a local
    disk is only reported.
    """
    kind = _file_system(path, _MOUNTS.read_text() if _MOUNTS.exists() else "")
    if kind not in _LOCAL_DISKS:
        return
    where = f"{path} lies on a disk of this machine ({kind})"
    if (nodes := _count_nodes(os.environ)) > 1:
        raise ValueError(
            f"{where}, which the other nodes of this job ({nodes} in all) cannot see: choose a "
            "folder that all of them share"
        )
    if "SLURM_ARRAY_TASK_ID" in os.environ:
        info(f"{where}: tasks of the array on other nodes cannot see it, and would do all work")


def _count_nodes(environment: Mapping[str, str]) -> int:
    """Return the number of machines on which the processes of this job run."""
    if "TORCHELASTIC_RUN_ID" in environment:
        count, here = (_number(environment, name) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
        return -(-count // max(here, 1))
    for name in ("SLURM_JOB_NUM_NODES", "SLURM_NNODES"):
        if name in environment:
            return _number(environment, name)
    return 1


def _file_system(path: Path, mounts: str) -> str:
    """Return the type of the file system that a path is on, or would be; "" if not known.

    `mounts` is the content of /proc/mounts: device, mount point, type, options.
    """
    place, found, kind = path.resolve(), Path(), ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        # Spaces in names are written as \040, and so on.
        point = Path(re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), fields[1]))
        # A later line of the same point covers the one before.
        if (point == place or point in place.parents) and len(point.parts) >= len(found.parts):
            found, kind = point, fields[2]
    return kind
