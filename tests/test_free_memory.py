"""The memory that a process can still get, by files of the kernel and by `ulimit -v`."""

import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import torch

from phenomae import free_memory as module
from phenomae.free_memory import free_memory, is_out_of_memory

LIMITED = """
import resource
from phenomae.free_memory import free_memory
before = free_memory()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000, used + 300_000_000))
print(before, free_memory())
"""


def test_it_is_that_of_the_machine_or_of_the_container(monkeypatch, tmp_path):
    lines = "MemTotal:       32000000 kB\nMemAvailable:   16000000 kB\n"
    (tmp_path / "meminfo").write_text(lines)
    monkeypatch.setattr(module, "_MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(module, "_CGROUP", tmp_path)
    assert free_memory() == 16_000_000 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000000000\n")
    assert free_memory() == 16_000_000 * 1024
    (tmp_path / "memory.max").write_text("3000000000\n")
    assert free_memory() == 2_000_000_000
    (tmp_path / "memory.stat").write_text("anon 1\nfile 900000000\ninactive_file 400000000\n")
    assert free_memory() == 2_400_000_000
    monkeypatch.setattr(module, "_MEMORY", tmp_path / "absent")
    monkeypatch.setattr(module, "_CGROUP", tmp_path / "absent")
    free = free_memory()
    assert free is not None
    assert 0 < free <= os.sysconf("SC_PHYS_PAGES") * resource.getpagesize()


def test_it_is_what_a_limit_of_the_shell_leaves():
    done = subprocess.run(
        [sys.executable, "-c", LIMITED], capture_output=True, text=True, check=True
    )
    before, after = map(int, done.stdout.split())
    assert before > 300_000_000 >= after > 200_000_000


def test_errors_of_numpy_and_torch_for_too_much_memory_are_known():
    with pytest.raises(MemoryError) as of_numpy:
        np.zeros(2**55, dtype=np.uint8)
    with pytest.raises(RuntimeError, match="can't allocate memory") as of_torch:
        torch.zeros(2**55, dtype=torch.uint8)
    assert is_out_of_memory(of_numpy.value)
    assert is_out_of_memory(of_torch.value)
    assert not is_out_of_memory(ValueError("memory"))
