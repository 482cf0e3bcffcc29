"""File names are never patterns: `plate_map[1].csv` is not `plate_map1.csv`."""

import ast
from pathlib import Path

import polars as pl
import pytest

from phenomae.evaluation.annotations import read_annotations
from phenomae.evaluation.csv_lists import read_csv_list
from phenomae.maps.export import Table
from phenomae.outputs import TablesOutput
from phenomae.print_table import read_written
from phenomae.signatures import Origin, sign_complete
from phenomae.text_tables import read_table
from phenomae.wells import open_wells, read_wells, write_wells

SOURCE = Path(__file__).parents[1] / "src"


def calls_of_polars(path: Path) -> list[ast.Call]:
    """Return the calls of functions of polars that read a file."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return [
        call
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "pl"
        and call.func.attr.startswith(("read_", "scan_"))
    ]


def test_every_reader_takes_names_literally():
    found = 0
    for path in SOURCE.rglob("*.py"):
        for call in calls_of_polars(path):
            words, literal = ast.unparse(call), {word.arg: word.value for word in call.keywords}
            given = ast.unparse(call.args[0])
            opened = given in ("file", "source") or given.endswith(".read_bytes()")
            opened |= given.startswith("io.BytesIO(")
            is_literal = "glob" in literal and ast.unparse(literal["glob"]) == "False"
            assert opened or is_literal, f"{path}: {words}"
            found += 1
    assert found > 10


def pair(folder: Path, name: str, decoy: str, right: str, wrong: str) -> Path:
    """Write a file whose name is a pattern, and one that this pattern would match."""
    (folder / name).write_text(right)
    (folder / decoy).write_text(wrong)
    return folder / name


@pytest.mark.parametrize(
    ("name", "decoy"),
    [("pairs[2].csv", "pairs2.csv"), ("pa*rs.csv", "pairs.csv"), ("p?.csv", "pa.csv")],
)
def test_lists_and_tables_with_names_like_patterns(tmp_path: Path, name: str, decoy: str):
    head = "entity1,entity2\n"
    path = pair(tmp_path, name, decoy, head + "A,B\n", head + "A,C\n")
    (found,) = read_annotations(path)
    assert found.genes.to_list() == ["A", "B"]
    assert read_csv_list(path, ("entity1", "entity2"), "pairs").rows() == [("A", "B")]
    assert read_table(path).rows() == [("A", "B")]
    assert read_written(path).rows() == [("A", "B")]
    assert Table(path).to_polars().rows() == [("A", "B")]
    sign_complete(tmp_path, Origin("results"))
    assert TablesOutput(tmp_path).to_polars(path.stem).rows() == [("A", "B")]
    for number, where in enumerate((path, tmp_path / decoy)):
        pl.DataFrame({"well": [f"A0{number}"]}).write_parquet(where.with_suffix(".parquet"))
    assert read_table(path.with_suffix(".parquet")).rows() == [("A00",)]
    assert Table(path.with_suffix(".parquet")).to_polars().rows() == [("A00",)]


def test_plates_and_folders_with_names_like_patterns(tmp_path: Path):
    folder = tmp_path / "[2023] screen"
    folder.mkdir()
    table = pl.DataFrame(
        {"plate": ["P[1]", "P1"], "well": "A01", "control": False, "f": [1.0, 2.0]}
    )
    write_wells(folder / "wells", table, ["f"])
    assert read_wells(folder / "wells").table["plate"].to_list() == ["P1", "P[1]"]
    wells = open_wells(folder / "wells")
    assert wells.read("P[1]").tolist() == [[1.0]]
    assert wells.read("P1").tolist() == [[2.0]]
