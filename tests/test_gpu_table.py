"""`benchmarks/gpu.sh`: rehearsed on a CPU, where only what a GPU node has is installed."""

import importlib
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = Path(sysconfig.get_path("purelib"))

# What the packages named in docs/gpu.md bring along, by the names of files and folders.
BROUGHT = (
    *(
        "_distutils_hack",
        "_yaml",
        "attr",
        "attrs",
        "contourpy",
        "cycler",
        "dateutil",
        "dotenv",
        "filelock",
        "fsspec",
    ),
    *("functorch", "joblib", "kiwisolver", "lightning_utilities", "markdown_it", "markupsafe"),
    *("mdurl", "ml_dtypes", "mpl_toolkits", "mpmath", "narwhals", "networkx", "packaging"),
    *("pygments", "pyparsing", "pytz", "setuptools", "six", "sympy", "torchgen", "torchmetrics"),
    *("typing_extensions", "tzdata", "wadler_lindig", "yaml"),
)

# A program that prints a table of four rows: done, failing, hanging with a child, not reached.
TABLE = """
import subprocess, sys, time
from pathlib import Path
from rows import Row, Site, print_table

def good(site):
    yield "a line"
    site.note("number", 3.5)

def bad(site):
    yield f"noted {site.noted('number')}, {site.noted('nothing')}"
    raise ValueError("it went wrong")

def hang(site):
    child = subprocess.Popen(["sleep", "77"])
    yield f"child {child.pid}"
    time.sleep(77)

rows = [Row("good", good), Row("bad", bad), Row("hang", hang, cap_s=1)]
rows.append(Row("last", good, needs="good"))
seconds, *first = sys.argv[2:]
site = Site(Path(sys.argv[1]), "cpu", False, time.monotonic() + float(seconds))
sys.exit(0 if print_table(rows, site, *first) else 3)
"""


def table(folder: Path, *words: str) -> tuple[int, list[str]]:
    """Run the table above; return its exit code and its lines."""
    done = subprocess.run(
        [sys.executable, "-c", TABLE, str(folder), *words],
        env={**os.environ, "PYTHONPATH": str(ROOT / "benchmarks/gpu")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, [*done.stdout.splitlines(), *done.stderr.splitlines()]


def test_a_row_that_fails_or_hangs_costs_only_itself(tmp_path: Path):
    code, lines = table(tmp_path, "30")
    assert code == 3
    headings = [line for line in lines if line.startswith("== ")]
    assert headings == ["== good", "== bad", "== hang", "== last"]
    assert "noted 3.5, None" in lines
    assert any(line.startswith("ValueError: it went wrong (<string>:") for line in lines)
    ends = [line.rpartition(" after ")[0] for line in lines if line.startswith("-- ")]
    assert ends == [
        "-- good: done",
        "-- bad: FAILED (1)",
        "-- hang: stopped at its cap",
        "-- last: done",
    ]
    (child,) = [line.split()[1] for line in lines if line.startswith("child ")]
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


def test_what_is_not_reached_is_said_and_can_be_gone_on_with(tmp_path: Path):
    code, lines = table(tmp_path, "0")
    assert code == 3
    assert lines == ["not reached: good bad hang last", "go on with --from good"]
    code, lines = table(tmp_path, "30", "last")
    assert code == 0
    headings = [line for line in lines if line.startswith("== ")]
    assert headings == ["== good", "== last"], "what a row needs runs before it"
    code, lines = table(tmp_path, "30", "last")
    assert lines[:2] == ["== last", "a line"], "but only once in a folder"
    code, lines = table(tmp_path, "30", "good", "good")
    assert code == 0
    assert [line for line in lines if line.startswith("== ")] == ["== good"]
    code, lines = table(tmp_path, "30", "lost")
    assert lines[-1] == "there is no row 'lost': rows are good, bad, hang, last"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the archive of `make gpu-kit` unpacks to, and an environment with what a node has."""
    sys.path.insert(0, str(ROOT / "benchmarks/gpu"))
    try:
        from check import AT_HOME
        from kit import TRAVEL
    finally:
        sys.path.pop(0)
    folder = tmp_path_factory.mktemp("node")
    home, project = folder / "environment", folder / "phenomae"
    venv.create(home, with_pip=False, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(home)}))
    project.mkdir()
    for name in ("src", "benchmarks"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    (project / "kit").mkdir()
    at_home = {name.lower() for name in (*AT_HOME, *BROUGHT)}
    travelling = {*TRAVEL, *TRAVEL.values()}
    for item in PACKAGES.iterdir():
        name = item.name.partition("-")[0].partition(".")[0]
        if {name, name.replace("_", "-"), name.lower()} & travelling:
            (project / "kit" / item.name).symlink_to(item)
        elif name.lower() in at_home:
            (packages / item.name).symlink_to(item)
    return folder


def gpu(node: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run gpu.sh on the node, where no package index and no network is."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    kept |= {"PYTHON": str(node / "environment/bin/python"), **environment}
    # A network of its own, with nothing but the loopback that processes meet on.
    within = 'ip link set lo up && exec "$@"'
    offline = ["unshare", "--net", "--map-root-user", "sh", "-c", within, "sh"]
    if subprocess.run([*offline, "true"], capture_output=True).returncode:
        offline = []
    script = node / "phenomae/benchmarks/gpu.sh"
    return subprocess.run(
        [*offline, script, *words], cwd=node, env=kept, capture_output=True, text=True
    )


@pytest.mark.slow
def test_the_rows_are_listed_in_their_order(node: Path):
    done = gpu(node, "--list")
    assert done.returncode == 0, done.stderr
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert names[:5] == ["card", "networks", "attention", "crops", "waits"]
    assert names[-2:] == ["demo", "long"]
    assert len(names) == len(set(names)) == 43


def test_without_a_card_one_sentence_says_so(node: Path):
    done = gpu(node, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("gpu.sh: torch ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("capability", "free_gb", "sentence"),
    [
        ((8, 0), 30, None),
        ((7, 5), 30, "a card cannot compute bf16: capability 7.5, not 8.0"),
        ((9, 0), 3, "a card has 3 GB of free memory, and 20 are needed"),
    ],
)
def test_a_card_that_is_too_old_or_too_small_is_refused(
    capability: tuple[int, int],
    free_gb: int,
    sentence: str | None,
    monkeypatch: pytest.MonkeyPatch,
):
    """With what torch would say of such a card, as tests have none."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks/gpu")
    check = importlib.import_module("check")
    major, minor = capability
    card = SimpleNamespace(name="a card", major=major, minor=minor)
    cuda = SimpleNamespace(
        is_available=lambda: True,
        get_device_properties=lambda number: card,
        mem_get_info=lambda: (free_gb * 10**9, 80 * 10**9),
    )
    torch = SimpleNamespace(__version__="2.13.0", version=SimpleNamespace(cuda="13.0"), cuda=cuda)
    assert check._find_obstacle_of_card(torch) == sentence


def test_a_package_that_the_kit_lacks_is_named(node: Path, tmp_path: Path):
    shutil.copytree(node, tmp_path / "node", symlinks=True)
    shutil.move(tmp_path / "node/phenomae/kit/zarr", tmp_path / "zarr")
    done = gpu(tmp_path / "node", "--device", "cpu", "--tiny")
    assert done.returncode == 1
    assert done.stderr == "gpu.sh: the package zarr is missing in the kit: make gpu-kit\n"


@pytest.mark.slow
def test_the_whole_table_is_rehearsed_on_a_cpu(node: Path):
    done = gpu(node, "--device", "cpu", "--tiny", "--minutes", "40")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    ends = [line for line in lines if line.startswith("-- ")]
    assert len(ends) == 43
    assert all(": done after " in line for line in ends)
