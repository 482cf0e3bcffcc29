"""Inputs that do not belong together are refused; maps of other software are shown."""

import json
import shutil
import urllib.request
from pathlib import Path

import anndata
import numpy as np
import pandas
import polars as pl
import pytest

import phenomae
from phenomae.evaluation.known_pairs import MapPairs
from phenomae.explorer.inputs import Inputs
from phenomae.explorer.site_data import RESULTS, SiteData
from phenomae.explorer.static_site import export_site
from phenomae.maps.map import MapSettings, map_wells
from phenomae.signatures import Origin, hash_files, sign
from phenomae.simulation.simulate import SimulateSettings, simulate
from phenomae.store.ingest import ingest
from phenomae.store.read import open_store
from phenomae.tokens import CROP_COLUMNS, write_tokens


@pytest.fixture(scope="module")
def another(tmp_path_factory) -> Path:
    """A store with the plates and wells of the small screen, and other pixels."""
    folder = tmp_path_factory.mktemp("another")
    size = SimulateSettings(
        genes=12, complexes=4, guides=2, batches=2, controls=8, sites=1, field_size=64, seed=2
    )
    simulate(folder / "raw", settings=size)
    ingest(folder / "raw", folder / "store")
    return folder / "store"


def test_a_store_of_another_screen_is_refused_although_its_wells_have_the_same_names(
    explored, another
):
    assert Inputs.open(explored.map, store=another).on_map.cells is not None  # nothing to tell by
    with pytest.raises(ValueError, match=r"is not the store that the wells .* were computed from"):
        Inputs.open(explored.map, store=another, wells=explored.wells)


def test_tokens_of_another_store_are_refused(explored, another, tmp_path: Path):
    folder = tmp_path / "tokens"
    folder.mkdir()
    field = open_store(another).fields.row(0, named=True)
    crop = {**field, "field": 0, "top": 0, "left": 0, "size": 32}
    crops = pl.DataFrame([{name: crop[name] for name in CROP_COLUMNS}])
    write_tokens(folder, crops, np.ones((1, 4), np.float32))
    origin = Origin("tokens", {}, {"store": open_store(another).identity})
    sign(folder, origin, origin.identity, hash_files(folder))
    with pytest.raises(ValueError, match="has tokens of another store than"):
        Inputs.open(explored.map, store=explored.store, tokens=folder)


@pytest.mark.parametrize("control", [["no", "yes"] * 6, [True, None] * 6, [0, 1] * 6])
def test_a_column_control_of_other_software_may_be_anything(explored, tmp_path: Path, control):
    table = anndata.read_h5ad(explored.map)
    table.uns.clear()
    table.obs["control"] = pandas.array(control)
    table.write_h5ad(tmp_path / "map.h5ad")
    given = Inputs.open(tmp_path / "map.h5ad", annotations=explored.annotations)
    assert len(given.pairs.new) > 0


def test_wells_name_the_fields_of_a_map_of_other_software(explored, tmp_path: Path):
    table = anndata.read_h5ad(explored.map)
    table.uns.clear()
    table.write_h5ad(tmp_path / "map.h5ad")
    with pytest.raises(ValueError, match="does not record what its rows are"):
        Inputs.open(tmp_path / "map.h5ad", store=explored.store).prepare()
    given = Inputs.open(tmp_path / "map.h5ad", store=explored.store, wells=explored.wells)
    given.prepare()
    assert given.on_map.cells is not None


def test_the_page_shows_names_of_files_as_text(app, explored, tmp_path: Path):
    path = tmp_path / "<b>map & co.h5ad"
    shutil.copy(explored.map, path)
    with urllib.request.urlopen(app(Inputs.open(path))) as answer:
        page = answer.read().decode()
    assert "&lt;b&gt;map &amp; co.h5ad</h1>" in page
    assert "<b>" not in page


def test_results_of_a_site_stay_in_order_although_cosines_are_rounded(explored, monkeypatch):
    given = Inputs.open(explored.map, annotations=explored.annotations)
    names, source = given.names, given.finder.annotations[0].name
    cosines = [0.12345642, 0.12345648]  # equal as a site has them
    known = pl.DataFrame(
        {
            "source": [source] * 2,
            "entity1": names[:2],
            "entity2": names[2:4],
            "cosine": cosines,
            "percentile": [0.949, 0.951],
            "found": [False, True],
            "side": [None, "similar"],
        }
    )
    pairs = MapPairs(known, given.pairs.new, given.pairs.percentiles)
    monkeypatch.setitem(given.on_map.__dict__, "pairs", pairs)
    files = dict(SiteData(given, {}).files())
    listed = json.loads(files["data/pairs-00-0000.json"])["pairs"]
    assert [[cosine, RESULTS[result]] for *_, cosine, _, result in listed] == [
        [0.123456, "similar"],
        [0.123456, "missed"],
    ]


def test_too_few_controls_end_an_export_before_pictures(explored, tmp_path: Path):
    wells = phenomae.read_wells(explored.wells)
    names = [f"f{number}" for number in range(wells.features.shape[1])]
    vectors = pl.from_numpy(wells.features, schema=names)
    table = wells.table.with_columns(control=pl.lit(False))
    phenomae.write_wells(tmp_path / "wells", pl.concat([table, vectors], how="horizontal"), names)
    map_wells(tmp_path / "wells", tmp_path / "map.h5ad", settings=MapSettings(by="gene"))
    given = Inputs.open(tmp_path / "map.h5ad", wells=tmp_path / "wells", store=explored.store)
    with pytest.raises(ValueError, match="control"):
        export_site(given, tmp_path / "site")
    assert not (tmp_path / "site").exists()
    assert not (tmp_path / "site.partial").exists()
