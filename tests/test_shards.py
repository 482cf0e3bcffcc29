"""Which shard a process is: as given, in job arrays of SLURM, under torchrun; and on which disk."""

import itertools
import math
import os
from pathlib import Path

import pytest

from phenomae import shards
from phenomae.shards import Shard, find_shard, require_shared_disk

VARIABLES = ("SLURM_", "TORCHELASTIC_", "RANK", "WORLD_SIZE", "LOCAL_")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove what a scheduler may have told the tests themselves."""
    for name in list(os.environ):
        if name.startswith(VARIABLES):
            monkeypatch.delenv(name)


def set_all(monkeypatch: pytest.MonkeyPatch, variables: dict[str, object]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))


def array(task: int, count: int, first: int, step: int) -> dict[str, object]:
    values = {"ID": task, "COUNT": count, "MIN": first, "STEP": step}
    return {f"SLURM_ARRAY_TASK_{name}": value for name, value in values.items()}


def torchrun(rank: int, count: int, here: int) -> dict[str, object]:
    known = {"TORCHELASTIC_RUN_ID": "none", "LOCAL_RANK": rank % here}
    return {**known, "RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": here}


def test_a_shard_is_given_as_one_of_so_many(capsys):
    assert find_shard("3/8") == Shard(3, 8, "shard")
    assert find_shard("1/1") is None
    assert find_shard(None) is None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("given", ["0/8", "9/8", "8", "", "a/b", "-1/3", "1/2/3", "1.5/3", " 1/2"])
def test_what_is_no_shard_is_refused(given):
    with pytest.raises(ValueError, match=r"shard must be I/N with I from 1 to N, like 3/8"):
        find_shard(given)


@pytest.mark.parametrize(
    ("line", "tasks"),
    [("0-7", range(8)), ("1-8", range(1, 9)), ("0-14:2", range(0, 15, 2)), ("5-26:7", [5, 12, 19])],
)
def test_each_task_of_a_job_array_is_a_shard(line, tasks, monkeypatch, capsys):
    step = tasks[1] - tasks[0]
    for at, task in enumerate(tasks):
        set_all(monkeypatch, array(task, len(tasks), tasks[0], step))
        shard = find_shard(None)
        assert (shard.number, shard.count) == (at + 1, len(tasks)), line
        said = capsys.readouterr().err
        assert said == f"shard {at + 1} of {len(tasks)} (SLURM_ARRAY_TASK_ID)\n"


def test_tasks_of_an_irregular_array_are_shards_too(monkeypatch):
    for task in (1, 5, 6):
        set_all(monkeypatch, array(task, 3, 1, 1))
        shard = find_shard(None)
        assert shard.count == 3
        assert 1 <= shard.number <= 3


def test_an_array_of_one_task_is_no_shard(monkeypatch):
    set_all(monkeypatch, array(4, 1, 4, 1))
    assert find_shard(None) is None


def test_processes_of_torchrun_are_shards(monkeypatch, capsys):
    for rank in range(4):
        set_all(monkeypatch, torchrun(rank, 4, 4))
        assert find_shard(None) == Shard(rank + 1, 4, "RANK of torchrun")
    assert capsys.readouterr().err.splitlines()[-1] == "shard 4 of 4 (RANK of torchrun)"


def test_without_torchrun_a_rank_says_nothing(monkeypatch):
    set_all(monkeypatch, {"RANK": 1, "WORLD_SIZE": 4})
    assert find_shard(None) is None


def test_torchrun_in_each_task_of_an_array_makes_a_shard_of_every_process(monkeypatch):
    found = []
    for task, rank in itertools.product(range(1, 4), range(2)):
        set_all(monkeypatch, {**array(task, 3, 1, 1), **torchrun(rank, 2, 2)})
        shard = find_shard(None)
        assert shard.count == 6
        found.append(shard.number)
    assert found == [1, 2, 3, 4, 5, 6]


def test_what_is_given_goes_before_the_environment(monkeypatch):
    set_all(monkeypatch, array(4, 8, 1, 1))
    assert find_shard("2/3") == Shard(2, 3, "shard")
    assert find_shard("1/1") is None


def test_a_variable_that_is_no_number_is_refused(monkeypatch):
    set_all(monkeypatch, {**array(4, 8, 1, 1), "SLURM_ARRAY_TASK_COUNT": "many"})
    with pytest.raises(ValueError, match=r"SLURM_ARRAY_TASK_COUNT must be a whole number, not 'm"):
        find_shard(None)


@pytest.mark.parametrize(("units", "count"), [(0, 3), (2, 3), (7, 3), (24, 8), (5, 1)])
def test_every_shard_has_all_units_and_its_own_first(units, count):
    names = [f"P{at}" for at in range(units)]
    first = []
    for number in range(1, count + 1):
        order = Shard(number, count, "").order(names)
        assert sorted(order) == sorted(names)
        first += order[: math.ceil((units - number + 1) / count)]
    assert sorted(first) == sorted(names)


MOUNTS = r"""
proc /proc proc rw 0 0
/dev/sda1 / ext4 rw 0 0
server:/data /data nfs4 rw 0 0
/dev/sdb1 /data/my\040scratch xfs rw 0 0
tmpfs /tmp tmpfs rw 0 0
lustre /tmp lustre rw 0 0
"""


@pytest.fixture(autouse=True)
def mounts(tmp_path, monkeypatch):
    """A table of mounts instead of this machine's."""
    path = tmp_path / "mounts"
    path.write_text(MOUNTS)
    monkeypatch.setattr(shards, "_MOUNTS", path)


ON_TWO_NODES = [torchrun(1, 8, 4), {"SLURM_JOB_NUM_NODES": 2}, {"SLURM_NNODES": 2}]


@pytest.mark.parametrize("variables", ON_TWO_NODES)
@pytest.mark.parametrize(
    ("path", "kind"), [("/home/wells", "ext4"), ("/data/my scratch/wells", "xfs")]
)
def test_a_disk_that_other_nodes_cannot_see_is_refused(path, kind, variables, monkeypatch):
    require_shared_disk(Path(path))
    set_all(monkeypatch, variables)
    with pytest.raises(ValueError, match=rf"{path} lies on a disk of this machine \({kind}\), wh"):
        require_shared_disk(Path(path))


@pytest.mark.parametrize("variables", [*ON_TWO_NODES, array(1, 8, 1, 1)])
@pytest.mark.parametrize("path", ["/data/wells", "/tmp/wells"])
def test_a_disk_of_all_nodes_is_taken(path, variables, monkeypatch, capsys):
    set_all(monkeypatch, variables)
    require_shared_disk(Path(path))
    assert capsys.readouterr().err == ""


def test_a_job_array_on_a_disk_of_one_machine_is_told(monkeypatch, capsys):
    set_all(monkeypatch, array(1, 8, 1, 1))
    require_shared_disk(Path("/home/wells"))
    said = capsys.readouterr().err
    assert "/home/wells lies on a disk of this machine (ext4): tasks of the array on other" in said
