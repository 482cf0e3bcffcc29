"""How many cores a process may use, against what the system is told to allow."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from phenomae import cli, cores
from phenomae.cores import available_cores, idle_cores, limited_threads, wait_passively_if_busy

CODE = "import os; os.sched_setaffinity(0, {%d}); from phenomae.cores import available_cores as a"


def test_a_process_bound_to_one_core_has_one():
    core = min(os.sched_getaffinity(0))
    code = CODE % core + "; print(a())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


@pytest.mark.parametrize(
    ("quota", "most"), [("max 100000", 10**6), ("100000 100000", 1), ("50000 100000", 1)]
)
def test_a_containers_quota_counts(tmp_path: Path, monkeypatch, quota: str, most: int):
    path = tmp_path / "cpu.max"
    path.write_text(quota + "\n")
    monkeypatch.setattr(cores, "_QUOTA", path)
    assert cores.available_cores() == min(len(os.sched_getaffinity(0)), most)


LIBRARIES = """
from phenomae.cores import available_cores, idle_cores, limited_threads, wait_passively_if_busy
with limited_threads(1):
    import numba, polars, torch
    from threadpoolctl import threadpool_info
    pools = [pool["num_threads"] for pool in threadpool_info()]
    print(available_cores(), polars.thread_pool_size(), torch.get_num_threads(), *pools)
    print(numba.get_num_threads())
"""


def test_a_limit_holds_for_the_threads_of_all_libraries():
    names = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"}
    environment = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [sys.executable, "-c", LIBRARIES],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(done.stdout.split()) > 5
    assert set(done.stdout.split()) == {"1"}


NUMBA = """
import numpy as np
from phenomae.cores import limited_threads

def add():
    import numba

    @numba.njit(parallel=True)
    def compiled(values):
        total = 0.0
        for index in numba.prange(len(values)):
            total += values[index]
        return total

    return compiled(np.ones(10))

with limited_threads(2):
    print(add())
print(add())
with limited_threads(1):
    print(add())
"""


def test_numba_keeps_the_number_of_threads_that_it_started_with():
    """It raises an error if its variable has another number later."""
    environment = {name: it for name, it in os.environ.items() if name != "NUMBA_NUM_THREADS"}
    command = [sys.executable, "-c", NUMBA]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.split() == ["10.0"] * 3


def test_a_limit_ends_with_its_block_and_leaves_other_variables_alone(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("POLARS_MAX_THREADS", raising=False)
    cores = available_cores()
    with limited_threads(None):
        assert os.environ["OMP_NUM_THREADS"] == "3"
        assert os.environ["POLARS_MAX_THREADS"] == str(cores)
        assert available_cores() == cores
    with limited_threads(1):
        assert os.environ["OMP_NUM_THREADS"] == "1"
        assert available_cores() == 1
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert "POLARS_MAX_THREADS" not in os.environ
    assert "PHENOMAE_THREADS" not in os.environ


@pytest.mark.parametrize("limit", ["0", "two", "-1", "1.5"])
def test_a_limit_that_is_no_number_is_refused(limit, monkeypatch, capsys):
    monkeypatch.setenv("PHENOMAE_THREADS", limit)
    with pytest.raises(ValueError, match="PHENOMAE_THREADS must be a whole number from 1, not"):
        available_cores()
    monkeypatch.delenv("PHENOMAE_THREADS")
    assert cli.run(["info", "--threads", limit]) == 1
    assert f"--threads must be a whole number from 1, not {limit}" in capsys.readouterr().err


def test_the_command_line_limits_cores(capsys):
    assert cli.run(["info", "--json", "--threads", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["cores"] == 1
    assert cli.run(["info", "--threads"]) == 2
    assert "--threads needs a number: --threads 2" in capsys.readouterr().err


BEFORE = (
    "cpu  1000 10 200 5000 50 0 5 0 0 0\ncpu0 500 5 100 2500 25 0 2 0\ncpu1 1 1 1 1 1 1 1 1\nintr 1"
)


@pytest.mark.parametrize(
    ("user", "idle", "waiting", "stolen", "expected"),
    [
        (0, 20, 0, 0, 2.0),
        (20, 0, 0, 0, 0.0),
        (10, 5, 5, 0, 1.0),
        (5, 10, 0, 5, 1.0),
        (0, 0, 0, 0, 0),
    ],
)
def test_idle_cores_are_those_that_wait(user, idle, waiting, stolen, expected):
    after = BEFORE.replace(
        "cpu  1000 10 200 5000 50 0 5 0",
        f"cpu  {1000 + user} 10 200 {5000 + idle} {50 + waiting} 0 5 {stolen}",
    )
    assert idle_cores(BEFORE, after) == pytest.approx(expected)


def test_threads_sleep_while_they_wait_if_the_cores_are_busy(monkeypatch):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    spin = [sys.executable, "-c", "while True: pass"]
    busy = [subprocess.Popen(spin) for _ in range(2 * len(os.sched_getaffinity(0)))]
    try:
        wait_passively_if_busy()
        assert os.environ.pop("OMP_WAIT_POLICY") == "PASSIVE"
        monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")  # the choice of the user
        wait_passively_if_busy()
        assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    finally:
        for process in busy:
            process.kill()
            process.wait()
