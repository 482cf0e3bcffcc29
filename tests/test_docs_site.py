"""The site: its contents, its pages of commands, what it says of other packages, and its build."""

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from phenomae import cli
from phenomae.commands import COMMANDS, GROUPS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


@pytest.fixture
def extensions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS / "extensions")


def load(name: str) -> ModuleType:
    return importlib.import_module(name)


@pytest.mark.usefixtures("extensions")
def test_the_index_lists_each_page_once_under_its_heading():
    contents = load("contents")
    index = "# Title\n\n[a](a.md)\n\n## One\n\n- [the b](b.md): x\n\n"
    index += "## Project\n\n[c](n/c.ipynb), [b](b.md)\n"
    sections = contents.read_sections(index)
    assert sections == {"One": {"b": "The b"}, "Project": {"n/c": "C", "b": "B"}}
    complete = contents.complete_sections(sections, ["a", "b", "index", "n/c"])
    assert complete == {
        "One": {"b": "The b"},
        "Project": {
            "_generated/changelog": "Changes",
            "_generated/contributing": "Contributing",
            "n/c": "C",
        },
        "More": {"a": ""},
    }
    assert contents.write_toctree("One", {"b": "The b", "c": ""}).splitlines()[3:] == [
        ":caption: One",
        "",
        "The b <b>",
        "c",
        "```",
    ]


@pytest.mark.usefixtures("extensions")
def test_the_index_of_the_docs_has_the_headings_that_generated_pages_belong_to():
    contents = load("contents")
    sections = contents.read_sections((DOCS / "index.md").read_text())
    assert contents.GENERATED.keys() <= sections.keys()


@pytest.mark.usefixtures("extensions")
@pytest.mark.parametrize(
    ("target", "moved"),
    [
        ("docs/maps.md#doses", "../maps.md#doses"),
        ("docs/demo.png", "../demo.png"),
        ("CHANGELOG.md", "changelog.md"),
        ("CONTRIBUTING.md#to-add-", "contributing.md#to-add-"),
        ("LICENSE", "../../LICENSE"),
    ],
)
def test_links_of_pages_at_the_root_are_moved(target, moved):
    assert load("root_pages").move_link(target) == moved


@pytest.mark.slow
@pytest.mark.usefixtures("extensions")
def test_the_pages_of_commands_have_the_flags_of_their_help(capsys, monkeypatch):
    """cyclopts can list others: findings/cyclopts_docs_default_parameter.sh."""
    monkeypatch.setenv("COLUMNS", "200")
    pages = load("command_pages").command_pages()
    words = [(name,) for name in COMMANDS]
    words += [(group, name) for group in GROUPS for name in GROUPS[group].table]
    assert pages.keys() == {"index", *("-".join(command) for command in words)}
    for command in words:
        assert cli.run([*command, "--help"]) == 0
        printed = capsys.readouterr().out
        listed = re.findall(r"^│ \*? {0,3}(--[a-z][\w-]*)", printed, re.MULTILINE)
        page = re.findall(r"^``(--[a-z][\w-]*)", pages["-".join(command)], re.MULTILINE)
        assert page == listed, command
        assert f"\n    phenomae {' '.join(command)} " in pages["-".join(command)]


def table_of(page: Path, heading: str) -> list[str]:
    """Return the first column of the table below a heading."""
    section = page.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [row.split("|")[1] for row in section.splitlines() if row.startswith("| `")]


@pytest.mark.parametrize(
    ("heading", "package", "rows"),
    [
        ("pycytominer", "pycytominer", 9),
        ("copairs", "copairs", 2),
        pytest.param("scanpy and AnnData", "scanpy", 10, marks=pytest.mark.slow),
    ],
)
def test_names_of_other_packages_are_theirs(heading, package, rows):
    cells = table_of(DOCS / "coming-from.md", heading)
    assert len(cells) == rows
    for name, arguments in (split_call(span) for cell in cells for span in spans(cell)):
        found = find(package, name)
        parameters = inspect.signature(found).parameters if arguments else {}
        assert {*arguments} <= {*parameters}, name


def spans(cell: str) -> list[str]:
    found = re.findall(r"`([^`]+)`", cell)
    return [span for span in found if not span.startswith(("AnnData", "."))]


def split_call(span: str) -> tuple[str, list[str]]:
    """Return the name of a function, and the names of the arguments that are given to it."""
    name, _, arguments = span.partition("(")
    return name, re.findall(r"(\w+)=", arguments)


def find(package: str, name: str) -> object:
    found = importlib.import_module(package)
    for part in name.split("."):
        if not hasattr(found, part):
            importlib.import_module(f"{found.__name__}.{part}")
        found = getattr(found, part)
    return found


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("myst_nb", reason="needs the packages of [docs], as `make docs` has them")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q"]
    done = subprocess.run(
        [*command, "-d", str(tmp_path / "trees"), str(DOCS), str(tmp_path / "html")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    pages = {
        path.relative_to(tmp_path / "html").with_suffix("") for path in tmp_path.rglob("*.html")
    }
    assert {Path(path.stem) for path in DOCS.glob("*.md")} <= pages
    assert Path("_generated/commands/pretrain-vit-mae") in pages
    assert (
        "Side of the square training crops"
        in (tmp_path / "html/_generated/api/probes.html").read_text()
    )
