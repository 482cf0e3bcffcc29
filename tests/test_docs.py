"""README and docs do as they say: Python runs, commands parse, links lead somewhere, tables agree.

README's own pipeline runs unchanged, in a folder where `raw` is a small simulated screen and its
recipe has a small network; as commands and as Python, which must give the same bytes.
"""

import ast
import importlib
import inspect
import re
import shlex
import shutil
import tomllib
from pathlib import Path

import polars as pl
import pytest
import tomli_w
from markdown_it import MarkdownIt
from markdown_it.token import Token

import phenomae
from phenomae import cli, command_parser, progress
from phenomae.commands import COMMANDS, GROUPS
from phenomae.correction.methods import METHODS
from phenomae.embedding.hand_made.kinds import KINDS
from phenomae.evaluation.questions.table import QUESTIONS
from phenomae.images.layouts.table import LAYOUTS
from phenomae.models.families import FAMILIES
from phenomae.records import FIELD_COLUMNS, WELL_COLUMNS
from phenomae.reporting.sections.table import SECTIONS
from phenomae.shipped_recipes import find_recipe, recipe_names
from phenomae.simulation.phenotype import PARAMETERS
from phenomae.simulation.simulate import SimulateSettings, simulate
from phenomae.tokens import CROP_COLUMNS

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/*.md"))]
# The log tells what was run once; a command in it may be gone since.
MANUALS = [page for page in PAGES if page.name != "log.md"]
RECIPE = "demo-energy-mae"
EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
EACH_MANUAL = pytest.mark.parametrize("page", MANUALS, ids=lambda page: page.name)


def tokens_of(page: Path) -> list[Token]:
    """Return the page's blocks and what is written within lines, in one list."""
    blocks = MarkdownIt("commonmark").enable("table").parse(page.read_text())
    return [token for block in blocks for token in (block, *(block.children or ()))]


def python_of(page: Path) -> list[str]:
    return [
        item.content for item in tokens_of(page) if item.type == "fence" and item.info == "python"
    ]


def shell_of(page: Path) -> list[list[str]]:
    """Return the commands of each block that has any; a backslash ends no line."""
    blocks = [
        item.content.replace("\\\n", " ").splitlines()
        for item in tokens_of(page)
        if item.type == "code_block" or (item.type == "fence" and item.info != "python")
    ]
    found = [[line for line in block if line.startswith("phenomae ")] for block in blocks]
    return [commands for commands in found if commands]


def spans_of(page: Path) -> list[str]:
    """Return what stands between backticks within lines."""
    return [item.content for item in tokens_of(page) if item.type == "code_inline"]


def table_of(page: Path, head: str) -> list[list[str]]:
    """Return the rows of the table whose first column is headed `head`."""
    _, _, rest = page.read_text().partition(f"\n| {head} |")
    rows = rest.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip(" `") for cell in row.strip("|").split("|")] for row in rows]


@pytest.fixture
def loud(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what a `--quiet` in the docs does to this process."""
    monkeypatch.setattr(progress, "_quiet", False)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What README asks for: `raw`, `annotations` and the recipe, all of them small."""
    folder = tmp_path_factory.mktemp("desk")
    small = SimulateSettings(genes=8, complexes=4, guides=1, controls=4, sites=1, field_size=64)
    simulate(folder / "raw", settings=small)
    (folder / "annotations").mkdir()
    shutil.copy(folder / "raw/relationships.csv", folder / "annotations/planted.csv")
    recipe = tomllib.loads(find_recipe(RECIPE).read_text())
    network = {"embed_dim": 24, "depth": 1, "decoder_embed_dim": 16, "decoder_depth": 1}
    recipe["pretrain"]["energy-mae"] |= {**network, "steps": 2, "crops_per_step": 4}
    # A file of its name comes before the recipe in the package.
    (folder / RECIPE).write_text(tomli_w.dumps(recipe))
    return folder


def lay_out(desk: Path, folder: Path) -> None:
    for name in ("raw", "annotations", RECIPE):
        (folder / name).symlink_to(desk / name)


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Return all files that were made in a folder, but those that hold clocks."""
    # The signature of the run has hashes of the other two.
    clocks = ("run/log.jsonl", "run/environment.txt", "run/artefact.json")
    made = [path for path in folder.iterdir() if not path.is_symlink()]
    files = [file for path in made for file in (path, *path.rglob("*")) if file.is_file()]
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in files
        if str(file.relative_to(folder)) not in clocks
    }


@pytest.mark.usefixtures("loud")
def test_the_pipeline_of_the_readme_runs_as_commands_and_as_python_to_the_same_bytes(
    desk, tmp_path, monkeypatch
):
    pipeline = [command for block in shell_of(README) for command in block]
    (program,) = python_of(README)
    folders = tmp_path / "commands", tmp_path / "python"
    for folder in folders:
        folder.mkdir()
        lay_out(desk, folder)
    monkeypatch.chdir(folders[0])
    for command in pipeline:
        assert cli.run(shlex.split(command, comments=True)[1:]) == 0, command
    monkeypatch.chdir(folders[1])
    exec(compile(program, str(README), "exec"), {"__name__": "__main__"})

    commanded, called = (bytes_of(folder) for folder in folders)
    assert commanded.keys() == called.keys()
    assert [name for name in commanded if commanded[name] != called[name]] == []
    assert "report/report.html" in commanded
    recall = pl.read_csv(folders[0] / "results/recall.csv")
    assert recall.select("source", "n_pairs").row(0) == ("planted", 4)


@EACH_PAGE
def test_python_compiles_and_what_it_imports_and_names_is_there(page):
    known: dict[str, object] = {}
    for block in python_of(page):
        tree = ast.parse(block, filename=page.name)
        for node in ast.walk(tree):
            known |= imported_by(node)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                check_call(node, known)


def imported_by(node: ast.AST) -> dict[str, object]:
    """Import what an import statement names."""
    if isinstance(node, ast.Import):
        return {item.asname or item.name: importlib.import_module(item.name) for item in node.names}
    if isinstance(node, ast.ImportFrom):
        module = importlib.import_module(node.module or "")
        names = {item.asname or item.name: item.name for item in node.names}
        for name in names.values():
            if not hasattr(module, name):
                importlib.import_module(f"{node.module}.{name}")
        return {ours: getattr(module, name) for ours, name in names.items()}
    return {}


def check_call(call: ast.Call, known: dict[str, object]) -> None:
    """Check that a function of phenomae takes the arguments it is given."""
    function = call.func
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        found = getattr(known.get(function.value.id), function.attr, None)
    else:
        found = known.get(function.id) if isinstance(function, ast.Name) else None
    if not getattr(found, "__module__", "").startswith("phenomae"):
        return
    assert callable(found)
    named = {item.arg: None for item in call.keywords if item.arg}
    bind = inspect.signature(found)
    (bind.bind if len(named) == len(call.keywords) else bind.bind_partial)(*call.args, **named)


@EACH_MANUAL
@pytest.mark.usefixtures("loud")
def test_every_command_parses(page):
    mentioned = [span for span in spans_of(page) if span.startswith("phenomae ")]
    for command in [*mentioned, *(line for block in shell_of(page) for line in block)]:
        parse(command, is_name=command in mentioned)


def parse(command: str, is_name: bool) -> None:
    """Parse a command line; `phenomae ingest` within a line is the name of a command."""
    tokens, recipe, _ = cli.split_common_flags(shlex.split(command, comments=True)[1:])
    command_parser.check_command(tokens)
    words = 2 if tokens[0] in GROUPS else 1
    if tokens[-1] in command_parser.FLAGS or (is_name and len(tokens) <= words):
        return
    shipped = recipe is not None and str(recipe) in recipe_names()
    arguments = command_parser.parse(tokens, recipe if shipped else None)
    if tokens[0] == "plan":
        command_parser.parse(list(arguments["words"]))


@EACH_MANUAL
def test_every_flag_that_is_spoken_of_is_one(page):
    spoken = [word for span in spans_of(page) if span.startswith("--") for word in span.split()]
    flags = {word for word in spoken if word.startswith("--")}
    assert flags - every_flag() == set()


def every_flag() -> set[str]:
    app = command_parser.app
    apps = [app[name] for name in COMMANDS]
    apps += [app[group][name] for group, parts in GROUPS.items() for name in parts.table]
    arguments = [item for app in apps for item in app.assemble_argument_collection()]
    common = {"--config", "--quiet", "--threads", *command_parser.FLAGS}
    return common | {name for item in arguments for name in item.names}


@EACH_PAGE
def test_every_link_leads_somewhere(page):
    tokens = tokens_of(page)
    targets = [item.attrs[key] for item in tokens for key in ("href", "src") if key in item.attrs]
    for target in targets:
        path, _, heading = str(target).partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{page.name} links to {path}"
        assert not heading or heading in headings_of(there), f"{page.name} links to {target}"


def headings_of(page: Path) -> list[str]:
    """Return the anchors of a page's headings, as they are made of them on the web."""
    lines = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines]


def test_every_page_can_be_reached_from_the_readme():
    linked = {str(item.attrs["href"]) for item in tokens_of(README) if "href" in item.attrs}
    assert {f"docs/{page.name}" for page in ROOT.glob("docs/*.md")} - linked == set()


def test_the_tree_is_as_the_page_on_architecture_draws_it():
    page = tokens_of(ROOT / "docs/architecture.md")
    fences = [item.content for item in page if item.type == "fence"]
    (tree,) = [fence for fence in fences if fence.startswith("src/")]
    first, *lines = tree.splitlines()
    home, above, drawn = ROOT / first, [""], {}
    for line in lines:
        indent, name, caption = re.fullmatch(r"( +)(\S+) +(\S.*)", line).groups()
        above = [*above[: len(indent) // 2], name]
        drawn["".join(above)] = caption
    assert [name for name in drawn if not (home / name).exists()] == []
    rooms = {f"{path.parent.relative_to(home)}/" for path in home.rglob("*/__init__.py")}
    modules = {path.name for path in home.glob("*.py") if not path.name.startswith("__")}
    assert rooms | modules <= {*drawn}
    captions = {name: first_line_of(home / name) for name in rooms}
    assert {name: says for name, says in captions.items() if not says.startswith(drawn[name])} == {}


def first_line_of(path: Path) -> str:
    """Return the first line of the docstring of a module or package."""
    file = path / "__init__.py" if path.is_dir() else path
    return (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0]


REGISTRIES = {
    "LAYOUTS": LAYOUTS,
    "METHODS": METHODS,
    "KINDS": KINDS,
    "FAMILIES": {name: path for name, (path, _) in FAMILIES.items()},
    "QUESTIONS": {name: path for name, (path, _) in QUESTIONS.items()},
    "SECTIONS": {path: path for path in SECTIONS},
}


def test_what_is_added_stands_where_contributing_says():
    home = ROOT / "src/phenomae"
    told = {}
    for _, place, _, registry, example in table_of(ROOT / "CONTRIBUTING.md", "to add"):
        name, _, file = registry.partition("` in `")
        if not file:
            assert (home / name).exists()
            continue
        folder = place.removesuffix("NAME.py")
        assert (home / folder).is_dir(), place
        assert re.search(rf"^{name}\b.* = [\[{{]", (home / file).read_text(), re.MULTILINE), (
            registry
        )
        told[name] = folder.replace("/", "."), f"phenomae.{example[:-3].replace('/', '.')}"
    assert told.keys() == REGISTRIES.keys()
    for name, (folder, example) in told.items():
        modules = {path.partition(":")[0] for path in REGISTRIES[name].values()}
        assert example in modules, name
        assert all(module.startswith(f"phenomae.{folder}") for module in modules), name
        for path in REGISTRIES[name].values():
            module, _, attribute = path.partition(":")
            assert hasattr(importlib.import_module(module), attribute or "LAYOUT"), path


def test_the_parameters_of_simulate_are_those_of_its_page():
    rows = table_of(ROOT / "docs/simulate.md", "parameter")
    told = {name: tuple(map(float, numbers)) for name, *numbers, _ in rows}
    assert told == {
        name: (item.usual, item.step, item.lowest, item.highest)
        for name, item in PARAMETERS.items()
    }


@pytest.mark.parametrize(
    ("head", "columns", "rest"),
    [
        ("column of fields.parquet", FIELD_COLUMNS, []),
        ("column of wells", WELL_COLUMNS, [("feature_0000` ...", "float32")]),
        ("column of tokens", CROP_COLUMNS, []),
    ],
)
def test_the_columns_of_tables_are_those_of_the_page_on_formats(head, columns, rest):
    words = {pl.String: "text", pl.Boolean: "bool", pl.List: "list of float64"}
    told = [(name, kind) for name, kind, *_ in table_of(ROOT / "docs/formats.md", head)]
    assert told == [
        *((name, words.get(type(kind), str(kind).lower())) for name, kind in columns.items()),
        *rest,
    ]


def test_versions_agree():
    version = phenomae.__version__
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## [{version}] - " in (ROOT / "CHANGELOG.md").read_text()


def test_the_licence_is_the_one_that_is_named():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "Apache-2.0"
    assert "\nlicense: Apache-2.0\n" in (ROOT / "CITATION.cff").read_text()
    text = (ROOT / "LICENSE").read_text().split()
    assert text[:4] == ["Apache", "License", "Version", "2.0,"]
