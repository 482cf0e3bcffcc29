"""The laptop wing works where no network package is installed.

The environment is a real one (`python -m venv`), so that a forgotten import fails here as it would
for a user; its packages are links to those of the environment that runs the tests, all but the
networks'. That takes a second and no network.
"""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from phenomae.wells import write_wells

NETWORKS = (
    "torch",
    "functorch",
    "lightning",
    "pytorch_optimizer",
    "einops",
    "safetensors",
    "huggingface_hub",
)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment without torch."""
    home = tmp_path_factory.mktemp("without_torch")
    venv.create(home, with_pip=False, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(home)}))
    for item in Path(sysconfig.get_path("purelib")).iterdir():
        if not item.name.lower().startswith(NETWORKS):
            (packages / item.name).symlink_to(item)
    return home / "bin" / "python"


def run(python: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [python, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def make_screen(folder: Path) -> None:
    rng = np.random.default_rng(0)
    table = pl.DataFrame(
        {
            "plate": ["P1"] * 24,
            "well": [f"{row}{column:02d}" for row in "AB" for column in range(1, 13)],
            "gene": [f"G{index % 8}" for index in range(16)] + ["NTC"] * 8,
            "control": [False] * 16 + [True] * 8,
            "x": rng.normal(size=24),
            "y": rng.normal(size=24),
        }
    )
    write_wells(folder / "wells", table, ["x", "y"])
    (folder / "pairs.csv").write_text("entity1,entity2\nG0,G1\nG2,G3\n")


def test_the_environment_has_no_torch(python, tmp_path):
    found = subprocess.run([python, "-c", "import torch"], capture_output=True, text=True)
    assert "No module named 'torch'" in found.stderr


def test_correct_map_benchmark_and_report_work_without_torch(python, tmp_path):
    make_screen(tmp_path)
    commands = (
        "correct wells corrected --method center-scale --batch plate",
        "map corrected map.h5ad --by gene --through wells",
        "benchmark map.h5ad results --annotations pairs.csv --shuffle 2",
        "report report --results results --map map.h5ad",
    )
    lines = [f"assert run({command.split()}) == 0" for command in commands]
    program = "\n".join(["from phenomae.cli import run", *lines])
    done = run(python, "-c", program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results" / "recall.csv").exists()
    assert (tmp_path / "report" / "report.html").exists()


@pytest.mark.parametrize(
    "command", ["pretrain vit-mae STORE RUN --steps 1", "weights import SOURCE OUT"]
)
def test_what_needs_networks_says_what_to_install(python, command, tmp_path):
    done = run(python, "-m", "phenomae", *command.split(), cwd=tmp_path)
    assert done.returncode == 1
    assert "pip install 'phenomae[train]'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_rooms_of_the_laptop_wing_load_no_torch():
    source = Path(__file__).parents[1] / "src" / "phenomae"
    lines = ["import sys"]
    for room in ("simulation", "images", "store", "correction", "maps", "evaluation", "reporting"):
        paths = [
            path.relative_to(source).with_suffix("") for path in source.glob(f"{room}/**/*.py")
        ]
        lines += [f"import {'.'.join(['phenomae', *path.parts])}" for path in paths]
        lines += [f"assert 'torch' not in sys.modules, {room!r}"]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
