"""`phenomae info`: what it says agrees with the machine, and it works where phenomae does not."""

import json
import os
import platform
import shutil
from importlib import metadata
from pathlib import Path

import pytest
import torch

from phenomae import cli
from phenomae.installation import info


def test_info_says_what_is_installed(capsys, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = info(json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed["phenomae"] == found.phenomae == metadata.version("phenomae")
    assert printed["python"].startswith(f"{platform.python_version()} (")
    assert printed["cores"] == len(os.sched_getaffinity(0)) or printed["cores"] >= 1
    assert printed["threads"]["OMP_NUM_THREADS"] == "1"
    assert printed["libraries"]["torch"] == metadata.version("torch")
    assert printed["libraries"]["numpy"] == metadata.version("numpy")
    assert printed["device"].startswith("cuda" if torch.cuda.is_available() else "cpu")
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    assert printed["free_disk_gb"] == pytest.approx(free, abs=5)
    assert {*printed["missing"]} == {*metadata.metadata("phenomae").get_all("Provides-Extra")}
    assert printed["missing"]["train"] == []


def test_the_table_has_a_line_for_each(capsys):
    assert cli.run(["info"]) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    table = dict(lines)
    assert table["phenomae"] == metadata.version("phenomae")
    assert table["scipy"] == metadata.version("scipy")
    assert table["phenomae[train]"] == "installed"


def test_packages_that_are_not_installed_are_named(capsys, monkeypatch):
    lines = ["numpy>=2", 'no-such-package>=1; extra == "more"', 'numpy>=2; extra == "more"']
    monkeypatch.setattr(metadata, "requires", lambda name: lines)
    found = info()
    assert found.libraries == {"numpy": metadata.version("numpy"), "no-such-package": None}
    assert found.missing == {"more": ["no-such-package"]}
    printed = capsys.readouterr().out
    assert "phenomae[more]" in printed
    assert "without no-such-package" in printed


def test_source_that_is_not_installed_has_no_list_of_packages(monkeypatch):
    def fail(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", fail)
    assert info().libraries == {}


@pytest.mark.parametrize(
    ("error", "device"),
    [
        (ImportError("none"), "none: torch is not installed"),
        (OSError("libcuda is\ndamaged"), "none: torch does not work: libcuda is damaged"),
    ],
)
def test_a_torch_that_cannot_be_used_is_told(error, device, monkeypatch):
    def fail() -> bool:
        raise error

    monkeypatch.setattr(torch.cuda, "is_available", fail)
    assert info().device == device


def test_an_apple_gpu_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert info().device == "cpu, and mps, which must be asked for (device = mps)"
