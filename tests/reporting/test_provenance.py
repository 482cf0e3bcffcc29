"""Provenance: settings of what the inputs were made from, found by identity, and the data."""

import json
import re
import shutil
from pathlib import Path

import pytest

from phenomae.correction.correct import correct
from phenomae.correction.settings import CorrectSettings
from phenomae.embedding.features import FeaturesSettings, features
from phenomae.maps.map import MapSettings, map_wells
from phenomae.reporting.report import ReportSettings, report
from phenomae.store.ingest import ingest


@pytest.fixture(scope="module")
def chain(write_raw, tmp_path_factory) -> Path:
    """A folder with a store of two plates, wells, corrected wells, and a map."""
    folder = tmp_path_factory.mktemp("chain")
    wells = tuple(f"{row}{column:02d}" for row in "AB" for column in range(1, 4))
    raw = write_raw(folder / "raw", plates=("P1", "P2"), wells=wells, channels=("DNA", "Mito"))
    ingest(raw, folder / "store")
    kind = FeaturesSettings(kind="intensity", where="site = 1")
    features(folder / "store", folder / "wells", settings=kind)
    few = CorrectSettings(method="center-scale", batch="plate", few_controls="pool")
    correct(folder / "wells", folder / "corrected", settings=few)
    map_wells(folder / "corrected", folder / "map.h5ad", settings=MapSettings(by="gene"))
    return folder


def made_of(page) -> dict[str, str]:
    """Return the text of each entry of the provenance, by its name."""
    parts = page.source.partition('<dl class="making">')[2].partition("</dl>")[0]
    entries = re.findall(r"<dt>(.*?)</dt>(.*?)\n    </div>", parts, flags=re.DOTALL)
    return {name: re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", text)) for name, text in entries}


def test_the_page_has_all_that_the_map_was_made_from(chain, tmp_path, make_page):
    page = make_page(tmp_path / "out", map=chain / "map.h5ad")
    made = made_of(page)
    assert list(made) == ["map", "wells (correct)", "wells (features)", "store", "report"]
    for name, folder in (("wells (correct)", "corrected"), ("wells (features)", "wells")):
        record = json.loads((chain / folder / "artefact.json").read_text())
        assert record["identity"] in made[name]
        for key, value in record["settings"].items():
            listed = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            shown = "not given" if value in (None, "", []) else listed
            assert f"{key} = {shown}".replace("'", "&#39;") in made[name]
    assert "where = site = 1" in made["wells (features)"]
    store = made["store"]
    for words in ("plates: 2", "wells: 12", "fields: 24", "channels: DNA, Mito", "pixels: uint16"):
        assert words in store
    assert page.source.count("<details open>") == 4


def test_what_is_elsewhere_is_looked_for_among_other_folders(chain, tmp_path, make_page):
    place = tmp_path / "elsewhere"
    place.mkdir()
    shutil.copyfile(chain / "map.h5ad", place / "map.h5ad")
    page = make_page(tmp_path / "out", map=place / "map.h5ad")
    made = made_of(page)
    assert list(made) == ["map", "wells", "report"]
    identity = json.loads((chain / "corrected/artefact.json").read_text())["identity"]
    assert identity in made["wells"]
    assert "not found beside the inputs: name its folder with --among" in made["wells"]
    with pytest.raises(ValueError, match="another source: upstream = None, now"):
        make_page(tmp_path / "out", map=place / "map.h5ad", among=(chain,))
    page = make_page(tmp_path / "other", map=place / "map.h5ad", among=(str(chain),))
    assert list(made_of(page)) == [
        *("map", "wells (correct)", "wells (features)", "store", "report")
    ]


def test_other_files_beside_the_inputs_are_passed_over(chain, tmp_path, make_page):
    place = tmp_path / "place"
    place.mkdir()
    shutil.copyfile(chain / "map.h5ad", place / "map.h5ad")
    (place / "broken").mkdir()
    (place / "broken/artefact.json").write_text("{")
    (place / "broken.h5ad").write_bytes(b"no map")
    (place / "notes.txt").write_text("a note")
    page = make_page(tmp_path / "out", map=place / "map.h5ad")
    assert list(made_of(page)) == ["map", "wells", "report"]


def test_a_store_whose_table_has_changed_is_an_error(chain, tmp_path):
    place = shutil.copytree(chain, tmp_path / "copy")
    table = place / "store/fields.parquet"
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 1
    table.write_bytes(content)
    with pytest.raises(ValueError, match=r"fields\.parquet has changed since phenomae wrote it"):
        report(tmp_path / "out", settings=ReportSettings(map=place / "map.h5ad"))
    assert not (tmp_path / "out").exists()


def test_among_must_be_folders(chain, tmp_path):
    with pytest.raises(ValueError, match=r"among .*absent: there is no such folder"):
        report(
            tmp_path / "out",
            settings=ReportSettings(map=chain / "map.h5ad", among=(tmp_path / "absent",)),
        )
