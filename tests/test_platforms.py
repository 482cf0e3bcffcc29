"""Nothing from import to report needs Linux: what other systems lack is taken away here.

A `sitecustomize.py` does it, so that worker processes lack it too. phenomae has not run on the real
systems (docs/install.md).
"""

import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import phenomae
from phenomae.signatures import LOCK

WITHOUT = """
import os, pathlib, select, signal, sys

for module in ("fcntl", "resource", "termios", "pwd"):
    sys.modules[module] = None  # importing it raises ImportError
for name in ("sched_getaffinity", "pread", "pwrite", "O_NOFOLLOW", "fork", "sysconf_names"):
    delattr(os, name)
del signal.SIGUSR1, select.poll

exists = pathlib.Path.exists

def has_no_proc(path, *args, **kwargs):
    return not str(path).startswith(("/proc", "/sys")) and exists(path, *args, **kwargs)

pathlib.Path.exists = has_no_proc
"""
PIPELINE = """
import os, sys
from phenomae.cli import run
from phenomae import memory

if __name__ == "__main__":
    os.name = "nt"  # what phenomae asks for; pathlib has made its choice before
    assert memory.keep_memory() is None
    os.name = "posix"
    for line in sys.argv[1].splitlines():
        assert run(line.split()) == 0, line
    assert run(["ingest", "raw", "store"]) == 0  # finds a finished store
"""
STEPS = """simulate raw --genes 8 --complexes 4 --guides 1 --controls 4 --sites 1 --field-size 64
ingest raw store --workers 1
features store wells --kind intensity
correct wells corrected --method center-scale --batch plate
map corrected map.h5ad --by gene
benchmark map.h5ad results --annotations raw/relationships.csv --shuffle 2
report report --results results --map map.h5ad
check report
info"""


@pytest.fixture
def elsewhere(tmp_path: Path) -> dict[str, str]:
    """The environment of processes that lack what only Linux has, and whose text is not UTF-8."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(WITHOUT)
    ours = str(Path(phenomae.__file__).parents[1])
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(site), ours]),
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "utf-8",
        "LC_ALL": "C",
    }


def test_the_pipeline_runs_without_what_only_linux_has(elsewhere, tmp_path):
    (tmp_path / "pipeline.py").write_text(PIPELINE)
    done = subprocess.run(
        [sys.executable, "pipeline.py", STEPS],
        cwd=tmp_path,
        env=elsewhere,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    recall = pl.read_csv(tmp_path / "results/recall.csv")
    assert recall["n_pairs"].to_list() == [4]
    assert "</html>" in (tmp_path / "report/report.html").read_text(encoding="utf-8")
    assert "free memory             not known" in done.stdout
    assert [*tmp_path.rglob("*.partial"), *tmp_path.rglob(LOCK)] == []


def test_the_environment_lacks_them(elsewhere):
    code = "import os; print(hasattr(os, 'fork'), open(os.devnull).encoding)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=elsewhere, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "ANSI_X3.4-1968"]
    refused = subprocess.run([sys.executable, "-c", "import fcntl"], env=elsewhere)
    assert refused.returncode == 1


def test_every_module_is_imported_without_them(fork_program):
    modules = [item.name for item in pkgutil.walk_packages(phenomae.__path__, "phenomae.")]
    names = [name for name in modules if not name.endswith("__main__")]
    program = f"""
{WITHOUT}
import importlib
for name in {names}:
    importlib.import_module(name)
from phenomae.pretraining.callbacks.stopping import _SIGNALS
from phenomae.pretraining.plan.timed_steps import resident_memory
assert _SIGNALS == [signal.SIGTERM]
assert resident_memory() is None
"""
    done = fork_program(program).wait()
    assert done.returncode == 0, done.stderr


def test_a_writer_holds_the_folder_and_lets_go_without_locks_of_the_system(elsewhere, tmp_path):
    code = """
from pathlib import Path
from phenomae.locks import BeingWrittenError, writer_lock
folder = Path("made.partial")
with writer_lock(folder, "made") as require_held:
    try:
        with writer_lock(folder, "made"):
            raise AssertionError
    except BeingWrittenError as error:
        print(error)
    (folder / "table").touch()
    require_held()
    folder.rename("made")
print(sorted(path.name for path in Path("made").iterdir()))
try:
    with writer_lock(folder, "other") as require_held:
        next(folder.iterdir()).write_text("of somebody else")
        require_held()
except BeingWrittenError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=elsewhere, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    refused, left, taken = done.stdout.splitlines()
    assert refused.startswith("made is being written by another call, process ")
    assert "if it has ended, delete made.partial" in refused
    assert left == "['table']"
    assert taken.startswith("made.partial was removed or taken over by another call")
