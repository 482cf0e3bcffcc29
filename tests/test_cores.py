"""How many cores a process may use, against what the system is told to allow."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from phenomae import cores

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
