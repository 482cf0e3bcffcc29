"""Bad input to every command: one clear sentence, exit code 1, nothing under the final name."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import polars as pl
import pytest

from phenomae import cli

CPU = ["--device", "cpu"]
ARTEFACTS = ("simulate", "ingest", "pretrain", "embed", "correct", "map")


@pytest.fixture
def copies(works, tmp_path) -> dict[str, Path]:
    """What every command made, copied so that it can be damaged."""
    made = {}
    for name in ARTEFACTS:
        whole = works[name].whole
        made[name] = tmp_path / whole.name
        if whole.is_dir():
            shutil.copytree(whole, made[name])
        else:
            shutil.copy(whole, made[name])
    return made


def refused(words: list[object], out: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must fail and leave nothing; return its sentence."""
    assert cli.run([*map(str, words), "--quiet"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("phenomae: ")
    assert captured.err.count("\n") == 1
    assert not out.exists()
    return captured.err


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def readers(made: dict[str, Path], out: Path) -> dict[str, list[list[object]]]:
    """Return the commands that read each artefact."""
    planted = made["simulate"] / "relationships.csv"
    return {
        "ingest": [
            ["pretrain", "vit-mae", made["ingest"], out, *CPU],
            ["embed", made["ingest"], made["pretrain"], out, *CPU],
            ["qc", made["ingest"], out],
            ["features", made["ingest"], out],
        ],
        "pretrain": [["embed", made["ingest"], made["pretrain"], out, *CPU]],
        "embed": [["correct", made["embed"], out], ["map", made["embed"], f"{out}.h5ad"]],
        "map": [["benchmark", made["map"], out, "--annotations", planted]],
    }


@pytest.mark.parametrize("name", ["ingest", "pretrain", "embed", "map"])
def test_an_artefact_of_another_format(name, copies, tmp_path, capsys):
    out = tmp_path / "out"
    if name == "map":
        table = anndata.read_h5ad(copies["map"])
        signature = json.loads(table.uns["phenomae"])
        table.uns["phenomae"] = json.dumps({**signature, "format": 99})
        table.write_h5ad(copies["map"])
    else:
        edit_json(copies[name] / "artefact.json", format=99)
    for words in readers(copies, out)[name]:
        said = refused(words, out, capsys)
        assert f"{copies[name]} has format 99, of phenomae 0.2.0, but phenomae 0.2.0 " in said
        assert "reads formats up to 2: install a newer phenomae" in said


@pytest.mark.parametrize("name", ["ingest", "embed"])
def test_an_artefact_that_is_unfinished_missing_or_of_another_kind(name, copies, tmp_path, capsys):
    out, whole = tmp_path / "out", copies[name]
    partial = whole.rename(f"{whole}.partial")
    for words in readers(copies, out)[name]:
        said = refused(words, out, capsys)
        assert f"{whole} " in said
        assert "it is unfinished; run the command that makes it again" in said
    partial.rename(tmp_path / "elsewhere")
    for words in readers(copies, out)[name]:
        assert "there is nothing of that name" in refused(words, out, capsys)
    shutil.copytree(copies["simulate"], whole)
    for words in readers(copies, out)[name]:
        said = refused(words, out, capsys)
        assert f"{whole} " in said
        assert "raw screen" in said
    (whole / "artefact.json").write_text('{"format": ')
    for words in readers(copies, out)[name]:
        assert f"{whole}/artefact.json is damaged" in refused(words, out, capsys)


def test_an_unfinished_run_cannot_be_embedded_with(copies, tmp_path, resign, capsys):
    shutil.rmtree(copies["pretrain"] / "weights")
    out = tmp_path / "out"
    said = refused(["embed", copies["ingest"], copies["pretrain"], out, *CPU], out, capsys)
    assert f"{copies['pretrain']} is damaged: weights/config.json is missing" in said
    resign(copies["pretrain"], identity=None, files={})
    said = refused(["embed", copies["ingest"], copies["pretrain"], out, *CPU], out, capsys)
    assert f"{copies['pretrain']} has no weights" in said


def write_map(path: Path, features: np.ndarray, names: list[str]) -> None:
    anndata.AnnData(features.astype(np.float32), obs={"obs_names": names}).write_h5ad(path)


@pytest.mark.parametrize(
    ("genes", "sentence"),
    [(2, "has 2 genes, too few"), (1, "has 1 gene, too few"), (0, "has 0 genes, too few")],
)
def test_a_map_of_few_genes(genes, sentence, copies, tmp_path, capsys):
    names = ["G001", "G005", "G009"][:genes]
    write_map(tmp_path / "few.h5ad", np.eye(3)[:genes], names)
    out = tmp_path / "out"
    planted = copies["simulate"] / "relationships.csv"
    said = refused(["benchmark", tmp_path / "few.h5ad", out, "--annotations", planted], out, capsys)
    assert sentence in said
    assert "few.h5ad" in said


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is not an annotation file"),
        ("left,right\nG001,G005\n", "is not an annotation file"),
        ("entity1,entity2\nA,B\n", "no annotated pair has both its genes on the map"),
    ],
)
def test_annotations_that_will_not_do(text, sentence, copies, tmp_path, capsys):
    (tmp_path / "pairs.csv").write_text(text)
    out, words = tmp_path / "out", ["benchmark", copies["map"], tmp_path / "out", "--annotations"]
    assert sentence in refused([*words, tmp_path / "pairs.csv"], out, capsys)
    assert "there is no such file or folder" in refused([*words, tmp_path / "gone"], out, capsys)


def test_an_empty_folder_for_every_command(copies, tmp_path, capsys):
    empty, out = tmp_path / "empty", tmp_path / "out"
    empty.mkdir()
    planted = copies["simulate"] / "relationships.csv"
    for words, sentence in (
        (["ingest", empty, out], "is empty: looked for jump_lite_site_index.parquet"),
        (["pretrain", "vit-mae", empty, out, *CPU], f"{empty} holds no store"),
        (["embed", empty, copies["pretrain"], out, *CPU], f"{empty} holds no store"),
        (["embed", copies["ingest"], empty, out, *CPU], "has no weights"),
        (["qc", empty, out], f"{empty} holds no store"),
        (["features", empty, out], f"{empty} holds no store"),
        (["correct", empty, out], f"{empty} holds no wells"),
        (["map", empty, f"{out}.h5ad"], f"{empty} holds no wells"),
        (["benchmark", empty, out, "--annotations", planted], "is not a map but a folder"),
        (
            ["benchmark", copies["map"], out, "--annotations", empty],
            "has no .txt, .csv, .tsv, .gmt file",
        ),
    ):
        said = refused(words, out, capsys)
        assert f"{empty} " in said
        assert sentence in said
    assert list(tmp_path.glob("out*")) == []


def test_a_store_without_controls_cannot_be_corrected(copies, tmp_path, resign, capsys):
    for path in copies["embed"].glob("*.parquet"):
        pl.read_parquet(path).with_columns(control=False).write_parquet(path)
    resign(copies["embed"])
    out = tmp_path / "out"
    said = refused(["correct", copies["embed"], out, "--batch", "plate"], out, capsys)
    assert "no well is a control" in said


def zeroed(content: bytes, share: float) -> bytes:
    start = int(share * len(content))
    return content[:start] + bytes(min(40, len(content) - start)) + content[start + 40 :]


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "missing": lambda content: None,
    "empty": lambda content: b"",
    "one byte short": lambda content: content[:-1],
    "cut in half": lambda content: content[: len(content) // 2],
    "text": lambda content: b"hello\n",
    "binary": lambda content: bytes(range(256)),
    **{
        f"zeros at {percent} %": lambda content, percent=percent: zeroed(content, percent / 100)
        for percent in (0, 30, 50, 75, 97)
    },
}


@pytest.mark.parametrize(
    ("name", "pattern", "command", "signed"),
    [
        ("simulate", "images/B1P1/*_s1_ER.tiff", "ingest simulate out", False),
        ("simulate", "load_data.csv", "ingest simulate out", False),
        ("simulate", "plate_map.csv", "ingest simulate out", False),
        ("ingest", "fields.parquet", "features ingest out", False),
        ("ingest", "fields.parquet", "features ingest out", True),
        ("ingest", "B1P1.zarr/*/*/0/0/c/0/0/0", "features ingest out", False),
        ("ingest", "B1P1.zarr/*/*/0/0/zarr.json", "features ingest out", False),
        ("embed", "artefact.json", "correct embed out", False),
        ("embed", "B1P1.parquet", "correct embed out", False),
        ("embed", "B1P1.parquet", "correct embed out", True),
        ("map", "", "benchmark map.h5ad out --annotations simulate/relationships.csv", False),
    ],
)
def test_damaged_files_end_in_one_sentence(
    name, pattern, command, signed, copies, tmp_path, resign, capsys, monkeypatch
):
    """Some damage cannot be seen, but none may end in a traceback or half an artefact.

    `signed` signs the damaged artefact, whose checksums would show the damage before it is read.
    """
    monkeypatch.chdir(tmp_path)
    path = sorted(copies[name].glob(pattern))[0] if pattern else copies[name]
    whole, refusals = path.read_bytes(), 0
    signature = (copies[name] / "artefact.json").read_bytes() if signed else b""
    for damage in DAMAGES.values():
        path.unlink(missing_ok=True)
        if (content := damage(whole)) is not None:
            path.write_bytes(content)
        if signed:
            (copies[name] / "artefact.json").write_bytes(signature)
            resign(copies[name])
        code = cli.run([*command.split(), "--quiet"])
        said = capsys.readouterr().err
        assert (code, said.count("\n")) in ((0, 0), (1, 1))
        assert (tmp_path / "out").exists() == (code == 0)
        refusals += code
        for left in tmp_path.glob("out*"):
            shutil.rmtree(left)
    assert refusals >= 3


def test_text_columns_of_wells_that_are_damaged_are_told(copies, tmp_path, resign, capsys):
    path, out = copies["embed"] / "B1P1.parquet", tmp_path / "out"
    content = path.read_bytes()
    start = content.index(b"ARROW:schema") + 40
    path.write_bytes(content[:start] + bytes(8) + content[start + 8 :])
    said = refused(["correct", copies["embed"], out], out, capsys)
    assert f"{copies['embed']} is damaged: {path.name} has changed since phenomae wrote it" in said
    resign(copies["embed"])
    said = refused(["correct", copies["embed"], out], out, capsys)
    assert f"{path} is not a Parquet file that can be read" in said
