"""Raw files that were replaced are noticed, also by files of the same size."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from phenomae.store import finish
from phenomae.store.ingest import IngestSettings, ingest
from phenomae.store.read import open_store, read_field

IMAGE = "images/P1/A01_s1_DNA.tiff"


def replace_pixels(raw: Path, name: str = IMAGE) -> np.ndarray:
    """Write other pixels of the same type and size; return them."""
    old = tifffile.imread(raw / name)
    size = (raw / name).stat().st_size
    tifffile.imwrite(raw / name, old[::-1, ::-1].copy())
    assert (raw / name).stat().st_size == size
    return old[::-1, ::-1]


def touch_all(raw: Path) -> None:
    for path in raw.rglob("*.tiff"):
        os.utime(path, ns=(1, 1))


def test_replaced_pixels_are_noticed(write_screen, tmp_path):
    raw, store = write_screen(plates=("P1", "P2")), tmp_path / "store"
    identity = ingest(raw, store).identity
    replace_pixels(raw)
    with pytest.raises(ValueError, match=r"raw files of plate P1 have changed since .*store"):
        ingest(raw, store)
    with pytest.raises(
        ValueError, match=r"the pixels of plate P1, well A01, site 1 have changed since .*overwrite"
    ):
        ingest(raw, store, settings=IngestSettings(check_raw=True))
    assert ingest(raw, store, overwrite=True).identity != identity


def test_a_copy_with_other_times_is_the_same(write_screen, tmp_path):
    raw, store = write_screen(plates=("P1", "P2")), tmp_path / "store"
    identity = ingest(raw, store).identity
    touch_all(raw)
    with pytest.raises(ValueError, match="check_raw compares their pixels"):
        ingest(raw, store)
    assert ingest(raw, store, settings=IngestSettings(check_raw=True)).identity == identity
    assert ingest(raw, store).identity == identity  # the times were recorded anew
    # The times are no part of the store: a copy gives the same one.
    copy = shutil.copytree(raw, tmp_path / "copy")
    touch_all(copy)
    assert ingest(copy, tmp_path / "other").identity == identity
    signature = (store / "artefact.json").read_text()
    assert (tmp_path / "other/artefact.json").read_text() == signature


def test_a_stopped_ingest_reads_replaced_files_again(write_screen, tmp_path, monkeypatch, capsys):
    raw, store = write_screen(plates=("P1", "P2")), tmp_path / "store"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(finish, "finish_store", stop)
        patch.setattr("phenomae.store.ingest.finish_store", stop)
        with pytest.raises(KeyboardInterrupt):
            ingest(raw, store)
    pixels = replace_pixels(raw)
    capsys.readouterr()
    made = ingest(raw, store)
    said = capsys.readouterr().err
    assert "plate P1: its raw files have changed since an earlier call read them" in said
    assert "plate P2" not in said
    assert made is not None
    row = made.fields["well"].to_list().index("A01")
    np.testing.assert_array_equal(read_field(open_store(store), row)[0], pixels)


def test_check_raw_needs_unchanged_pixels(write_screen, tmp_path):
    raw, store = write_screen(), tmp_path / "store"
    ingest(raw, store, settings=IngestSettings(bits=8))
    with pytest.raises(ValueError, match="check_raw needs a store of unchanged pixels"):
        ingest(raw, store, settings=IngestSettings(bits=8, check_raw=True))


@pytest.mark.parametrize("text", ["", "[]", '{"P1": 1}', '{"P1": ' + "[" * 5000, "\x00"])
def test_damaged_times_are_an_error(text, write_screen, tmp_path):
    raw, store = write_screen(), tmp_path / "store"
    ingest(raw, store)
    (store / "raw-files.json").write_text(text)
    with pytest.raises(ValueError, match=r"raw-files\.json is damaged: remove it"):
        ingest(raw, store)
