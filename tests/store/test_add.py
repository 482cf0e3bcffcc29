"""Adding plates: as if all had come at once, whatever stops it; and what cannot be added."""

import os
import shutil
from pathlib import Path

import polars as pl
import pytest

from phenomae.cli import run
from phenomae.store import add
from phenomae.store.ingest import IngestSettings, ingest
from phenomae.store.read import open_store

APART = {"artefact.json", "raw-files.json"}  # say what was added when


def contents(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    found = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    return {name: value for name, value in found.items() if name not in APART}


@pytest.fixture
def raws(write_screen, tmp_path) -> tuple[Path, Path, Path]:
    """A screen of three plates, and the same as one of two and one of one."""
    whole = write_screen("whole", plates=("P1", "P2", "P3"))
    parts = []
    for name, plates in (("first", ("P1", "P3")), ("second", ("P2",))):
        part = tmp_path / name
        shutil.copytree(whole, part)
        for table in ("load_data.csv", "plate_map.csv"):
            lines = (part / table).read_text().splitlines(keepends=True)
            (part / table).write_text(
                "".join([lines[0], *(line for line in lines[1:] if line.startswith(plates))])
            )
        parts.append(part)
    return whole, *parts


def test_plates_added_are_as_if_they_had_come_at_once(raws, tmp_path, capsys):
    whole, first, second = raws
    ingest(whole, tmp_path / "whole.store")
    ingest(first, tmp_path / "store")
    before = open_store(tmp_path / "store").identity
    command = ["ingest", str(second), str(tmp_path / "store"), "--add"]
    assert run(command) == 0
    assert contents(tmp_path / "store") == contents(tmp_path / "whole.store")
    store = open_store(tmp_path / "store")
    assert store.identity != before
    assert store.fields["plate"].unique(maintain_order=True).to_list() == ["P1", "P2", "P3"]
    assert sorted(path.name for path in tmp_path.glob("store*")) == ["store"]
    capsys.readouterr()
    assert run(command) == 0
    assert "has the plates of" in capsys.readouterr().err
    assert open_store(tmp_path / "store").identity == store.identity


@pytest.mark.parametrize("call", range(1, 6))
def test_stopped_at_any_call_the_store_is_the_old_one_and_goes_on(
    raws, tmp_path, monkeypatch, call
):
    """Each call that changes the disk in the last moments is the one that the stop comes at."""
    whole, first, second = raws
    ingest(whole, tmp_path / "whole.store")
    store = tmp_path / "store"
    ingest(first, store)
    old = open_store(store)
    counted = 0

    def stop(function):
        def called(*arguments, **settings):
            nonlocal counted
            counted += 1
            if counted == call:
                raise KeyboardInterrupt
            return function(*arguments, **settings)

        return called

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stop(os.replace))
        patch.setattr(add, "finish_store", stop(add.finish_store))
        patch.setattr(add, "_clear", stop(add._clear))
        patch.setattr(add, "write_plates", stop(add.write_plates))
        try:
            ingest(second, store, add=True)
        except KeyboardInterrupt:
            rows = pl.read_parquet(store / "fields.parquet")
            assert len(rows) in (len(old.fields), len(old.fields) * 3 // 2)
    ingest(second, store, add=True)
    assert contents(store) == contents(tmp_path / "whole.store")


def test_what_cannot_be_added(raws, write_screen, tmp_path, capsys):
    whole, first, _ = raws
    store = tmp_path / "store"

    def refused(raw: Path, *flags: str) -> str:
        capsys.readouterr()
        assert run(["ingest", str(raw), str(store), "--add", *flags]) == 1
        return capsys.readouterr().err.splitlines()[-1]

    assert "holds no store: there is nothing of that name" in refused(first)
    ingest(first, store, settings=IngestSettings(pixel_size_um=0.5))
    unchanged = contents(store)
    assert "has --pixel-size-um 0.5, but the plates to add have None" in refused(whole)
    said = refused(whole, "--pixel-size-um", "0.5")
    assert "already has a plate P1 made from other files" in said
    other = write_screen("other", plates=("P9",), channels=("DNA", "RNA"))
    assert "has channels = ['DNA', 'ER'], but" in refused(other, "--pixel-size-um", "0.5")
    assert "--add and --overwrite exclude each other: leave one out" in refused(
        whole, "--overwrite"
    )
    assert contents(store) == unchanged


@pytest.mark.parametrize("damage", ["changed", "removed"])
def test_the_report_of_the_store_is_verified(raws, tmp_path, damage):
    _, first, second = raws
    ingest(first, tmp_path / "store")
    report = tmp_path / "store" / "ingest-report.csv"
    if damage == "removed":
        report.unlink()
    else:
        report.write_text(report.read_text() + "P1,A01,1,it was blurred\n")
    before = contents(tmp_path / "store")
    sentence = "is missing" if damage == "removed" else "has changed since phenomae wrote it"
    with pytest.raises(ValueError, match=rf"ingest-report.csv {sentence}"):
        ingest(second, tmp_path / "store", add=True)
    assert contents(tmp_path / "store") == before
    assert not (tmp_path / "store.added").exists()
