"""The tutorials and the notebook run as they stand, and print what their pages show."""

import ast
import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import polars as pl
import pytest
from markdown_it import MarkdownIt

from phenomae import cli

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
DOWNLOADS = "phenomae annotations fetch"  # tests/evaluation/test_fetch.py runs it on a mirror


def fences_of(page: Path, end: str = "") -> Iterator[tuple[str, str]]:
    """Yield the language and the text of each block of code before the heading `end`."""
    text = page.read_text()
    assert end in text
    for token in MarkdownIt("commonmark").parse(text.partition(end)[0] if end else text):
        if token.type == "fence":
            yield token.info, token.content


def run_page(page: Path, capsys: pytest.CaptureFixture[str], end: str = "") -> list[tuple]:
    """Run the commands and the Python of a page; return what was printed beside what it shows."""
    names: dict[str, object] = {}
    printed = []
    for language, text in fences_of(page, end):
        if language == "sh":
            run_commands(text)
        elif language == "python":
            exec(compile(text, page.name, "exec"), names)
        else:
            assert language == "text"
            printed.append((capsys.readouterr().out, text))
    assert capsys.readouterr().out == "", "the page does not show what was printed last"
    return printed


def run_commands(text: str) -> None:
    """Run the lines that are commands of phenomae; the others download the data."""
    for command in text.splitlines():
        if command.startswith("phenomae ") and not command.startswith(DOWNLOADS):
            assert cli.run(shlex.split(command)[1:]) == 0, command


def require_alike(found: str, shown: str) -> None:
    """Require the same words, and numbers that agree to 1 % or .002."""
    ours, theirs = found.split(), shown.split()
    assert len(ours) == len(theirs), found
    for one, other in zip(ours, theirs, strict=True):
        number = as_number(other)
        if number is None:
            assert one == other, found
        else:
            assert as_number(one) == pytest.approx(number, rel=0.01, abs=0.002), found


def as_number(word: str) -> float | None:
    try:
        return float(word.strip("(),").replace(",", ""))
    except ValueError:
        return None


def test_numbers_and_words_are_compared():
    require_alike("recall 0.4311  9,259", "recall 0.431 9,259")
    for found, shown in (("recall .5", "recall .4"), ("hurt (.1)", "helped (.1)"), ("a", "a b")):
        with pytest.raises(AssertionError):
            require_alike(found, shown)


AUTOMATIC = {
    "score_dynamic_changes": "dynamic changes",
    "score_mitotic_delay_arrest": "mitotic delay/arrest",
    "score_cell_death": "cell death",
}


def test_mitocheck(shared: Path, tmp_path: Path, monkeypatch, capsys):
    """The table at hand has other names of columns than the public one, and fewer of them."""
    folder = shared / "data/profiles/mitocheck_idr0013_screenB"
    table = pl.read_parquet(folder / "mitocheck_screenB_wells.parquet")
    scores = [name for name in table.columns if name.startswith("score_")]
    titles = {name: AUTOMATIC.get(name, name.removeprefix("score_")) for name in scores}
    public = table.select(
        pl.col("Metadata_Plate").alias("Plate"),
        pl.col("Metadata_Well").alias("Well"),
        pl.col("Metadata_siRNA").alias("siRNA Identifier"),
        pl.col("Metadata_GeneSymbol").alias("Gene Symbol"),
        pl.col("Metadata_ControlTypeAsFiled").alias("Control Type"),
        *(pl.col(name).alias(f"Score - {title} (automatic)") for name, title in titles.items()),
    )
    public.write_csv(tmp_path / "idr0013-screenB-processed.txt", separator="\t", null_value="NA")
    (tmp_path / "annotations").symlink_to(shared / "data/annotations")
    monkeypatch.chdir(tmp_path)
    printed = run_page(DOCS / "tutorial-mitocheck.md", capsys)
    assert len(printed) == 5
    for found, shown in printed:
        require_alike(found, shown)


@pytest.mark.slow
def test_bbbc013(shared: Path, tmp_path: Path, monkeypatch, capsys):
    """tests/test_real_images.py runs the part with a network."""
    (tmp_path / "raw").symlink_to(shared / "data/images/bbbc013_cellprofiler_sbs96")
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    monkeypatch.chdir(tmp_path)
    end = "\n## With a trained network\n"
    printed = run_page(DOCS / "tutorial-bbbc013.md", capsys, end)
    assert len(printed) == 6
    for found, shown in printed:
        # The images at hand are compressed; the public ones are not.
        require_alike(found.replace("27.9", "85.2"), shown)


def run_cell(source: str, names: dict[str, object]) -> None:
    """Run a cell, and print the value of its last line, if it has one, as a notebook does."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
        print("" if value is None else repr(value))


def outputs_of(cell: dict) -> str:
    """Return the text that a cell of the notebook shows, without figures."""
    texts = []
    for output in cell["outputs"]:
        if output["output_type"] == "stream":
            texts += output["text"]
        elif output["output_type"] == "execute_result":
            texts += output["data"]["text/plain"]
    return "".join(texts)


@pytest.mark.slow
def test_the_notebook_and_the_page_on_scanpy(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    notebook = json.loads((DOCS / "notebooks/wells_to_umap.ipynb").read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    names: dict[str, object] = {}
    for cell in cells:
        run_cell("".join(cell["source"]), names)
        require_alike(capsys.readouterr().out, outputs_of(cell))
    figures = [item for cell in cells for item in cell["outputs"] if "image/png" in str(item)]
    assert len(figures) == 1
    for language, text in fences_of(DOCS / "scanpy.md"):
        assert language == "python"
        exec(compile(text, "scanpy.md", "exec"), {})
