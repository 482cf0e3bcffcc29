"""Pictures, doses and crops of the app, without a browser."""

import io
import urllib.request
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from bokeh.palettes import Viridis256
from PIL import Image

import phenomae
from phenomae.explorer.crops import Picked, crop_around, parse_crop, token_crop_at
from phenomae.explorer.doses import doses_of_row, median_by_dose
from phenomae.explorer.inputs import Inputs, principal_components
from phenomae.explorer.pictures import Cache, FieldPictures, write_svg
from phenomae.maps.map import MapSettings, map_wells
from phenomae.signatures import Origin, hash_files, sign
from phenomae.store.read import open_store
from phenomae.tokens import open_tokens, write_tokens
from phenomae.wells import read_wells


@pytest.fixture(scope="session")
def drawn(explored) -> FieldPictures:
    return FieldPictures.of(open_store(explored.store))


def test_smaller_pictures_are_averages_over_pixels(drawn: FieldPictures):
    whole = drawn.draw(0, (0, 1)).astype(np.float64)
    half = drawn.draw(0, (0, 1), size=32)
    expected = whole.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(half - expected).max() <= 1
    assert drawn.draw(0, (0, 1), size=500).shape == (64, 64, 3)  # never enlarged


def test_crops_are_parts_of_fields(drawn: FieldPictures):
    whole = drawn.draw(3, (0, 2))
    assert np.array_equal(drawn.draw_crop(3, 10, 20, 16, (0, 2)), whole[10:26, 20:36])
    with pytest.raises(ValueError, match="has no crop of 16 at 60, 0"):
        drawn.draw_crop(3, 60, 0, 16, (0,))


def test_a_cache_keeps_what_was_used_last_up_to_a_size():
    cache: Cache[bytes] = Cache(30, len)
    for key in "abc":
        cache.get(key, lambda: b"0123456789")
    assert cache.get("a", lambda: b"made anew") == b"0123456789"
    cache.get("d", lambda: b"0123456789")
    assert list(cache._kept) == ["c", "a", "d"]
    assert cache.get("large", lambda: bytes(99)) == bytes(99)  # answered, and not kept
    assert not cache._kept


def test_fields_are_read_once(drawn: FieldPictures):
    first = drawn.encode(5, (0, 1))
    assert drawn.encode(5, (0, 1)) is first
    assert drawn.fields.get(5, lambda: pytest.fail("read again")).shape[1:] == (64, 64)


def test_sentences_become_pictures_whatever_they_say():
    root = ElementTree.fromstring(write_svg('<script>"x" & ' + "y" * 100 + "\x1b\x00"))
    texts = [text.text or "" for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "".join(texts).replace(" ", "") == '<script>"x"&' + "y" * 100


def test_components_are_those_of_scikit_learn():
    from sklearn.decomposition import PCA

    unit = np.random.default_rng(0).normal(size=(60, 8)) * np.arange(8, 0, -1)
    found = principal_components(unit)
    expected = PCA(2).fit_transform(unit)
    signs = np.sign((found * expected).sum(axis=0))
    assert np.allclose(found, expected * signs, atol=1e-4)
    assert principal_components(unit[:, :1]).shape == (60, 2)


def test_a_point_of_the_address_is_a_crop_inside_its_field(inputs: Inputs):
    assert parse_crop(inputs, "2,10,20") == (2, 10, 20)
    for text in ("", "2,10", "a,1,2", "2,-1,0", "99999,0,0"):
        assert parse_crop(inputs, text) is None
    assert crop_around(inputs, (2, 30, 40), 16) == Picked(2, 22, 32, 16)
    assert crop_around(inputs, (2, 0, 63), 16) == Picked(2, 0, 48, 16)
    assert crop_around(inputs, (2, 0, 0), 65) is None


def test_the_nearest_crop_with_tokens_is_picked(explored, tmp_path: Path):
    store = open_store(explored.store)
    plate = store.fields["plate"][0]
    here = store.fields.with_row_index("field").filter(plate=plate).head(1)
    places = pl.DataFrame({"top": [0, 0, 32, 32], "left": [0, 32, 0, 32]})
    crops = here.select("plate", "well", "site", pl.col("field").cast(pl.Int32)).join(
        places, how="cross"
    )
    folder = tmp_path / "tokens"
    folder.mkdir()
    vectors = np.eye(4, dtype=np.float32)
    write_tokens(folder, crops.with_columns(size=32), vectors)
    origin = Origin("tokens", {}, {"store": store.identity})
    sign(folder, origin, origin.identity, hash_files(folder))
    given = Inputs.open(explored.map, store=explored.store, tokens=folder)
    assert open_tokens(folder).plates == (plate,)
    assert token_crop_at(given, (0, 40, 10)) == Picked(0, 32, 0, 32)
    assert token_crop_at(given, (1, 40, 10)) is None
    other = int(store.fields.with_row_index("field").filter(pl.col("plate") != plate)["field"][0])
    assert token_crop_at(given, (other, 0, 0)) is None


def test_doses_are_the_distances_of_the_wells_of_a_compound(explored, tmp_path: Path):
    """Distances by the formula: to the mean of the plate's controls, over their own median."""
    wells = read_wells(explored.wells)
    table = wells.table.with_columns(
        compound=pl.when(~pl.col("control")).then(pl.lit("aspirin")),
        concentration_um=pl.col("well").str.slice(1).cast(pl.Float64),
    )
    names = [f"f{number}" for number in range(wells.features.shape[1])]
    vectors = pl.from_numpy(wells.features, schema=names)
    table = pl.concat([table.drop("gene", "guide"), vectors], how="horizontal")
    folder = tmp_path / "dosed"
    phenomae.write_wells(folder, table, names)
    map_wells(folder, tmp_path / "map.h5ad", settings=MapSettings(by="dose"))
    inputs = Inputs.open(tmp_path / "map.h5ad", wells=folder)
    compounds, doses = doses_of_row(inputs, inputs.names[0])
    assert compounds == ["aspirin"]
    assert len(doses) == (~wells.table["control"]).sum()
    plate, well, found = doses.select("plate", "well", "distance").row(3)
    here = (wells.table["plate"] == plate).to_numpy()
    control = here & wells.table["control"].to_numpy()
    features = wells.features.astype(np.float64)
    own = features[control]
    others = (own.sum(axis=0) - own) / (len(own) - 1)
    unit = np.median(np.linalg.norm(own - others, axis=1))
    row = int(np.flatnonzero(here & (wells.table["well"] == well).to_numpy())[0])
    assert found == pytest.approx(np.linalg.norm(features[row] - own.mean(axis=0)) / unit)
    medians = median_by_dose(doses)
    first = doses["concentration_um"][0]
    expected = np.median(doses.filter(concentration_um=first)["distance"])
    assert medians.row(0)[::2] == (first, pytest.approx(expected))


def test_figures_are_saved_as_svg(app, inputs: Inputs):
    address = app(inputs)
    assert inputs.on_map.plates is not None
    for path in ("layout.svg?row=G005", f"plate.svg?plate={inputs.on_map.plates.plates[0]}"):
        with urllib.request.urlopen(f"{address}figures/{path}") as answer:
            assert answer.headers["Content-Type"] == "image/svg+xml"
            root = ElementTree.fromstring(answer.read())
        assert root.tag.endswith("svg")
        assert len(list(root.iter())) > 50


@pytest.mark.parametrize("value", ["foreground", "distance", ""])
def test_a_saved_plate_has_the_colors_of_the_page_and_a_readable_size(app, inputs: Inputs, value):
    """Those of Bokeh's mapper, from the lowest value of the plate to the highest."""
    assert inputs.on_map.plates is not None
    plate = inputs.on_map.plates.plates[0]
    path = f"plate.svg?plate={plate}&value={value}&row=G005"
    with urllib.request.urlopen(f"{app(inputs)}figures/{path}") as answer:
        root = ElementTree.fromstring(answer.read())
    assert float(root.attrib["width"].removesuffix("pt")) * 96 / 72 >= 800
    [mesh] = [each for each in root.iter() if each.get("id") == "QuadMesh_1"]
    styles = [each.attrib["style"] for each in mesh if each.tag.endswith("path")]
    shown = [style.split("fill: ")[1].split(";")[0] for style in styles]
    table = inputs.on_map.plates.wells.filter(plate=plate)
    values = table[value or "distance"].to_numpy()
    parts = (values - values.min()) / (values.max() - values.min())
    wells = {
        (well[0], int(well[1:])): Viridis256[min(int(256 * part), 255)]
        for well, part in zip(table["well"], parts, strict=True)
    }
    rows = sorted({row for row, _ in wells}, reverse=True)  # from the bottom up
    columns = sorted({column for _, column in wells})
    places = [(row, column) for row in rows for column in columns]
    for place, color in zip(places, shown, strict=True):
        expected = wells.get(place)
        if expected is None:
            assert color == "none"
            continue
        pair = (bytes.fromhex(each.removeprefix("#")) for each in (color, expected))
        # A step of the palette at most: matplotlib rounds its ends in another way.
        assert max(abs(a - b) for a, b in zip(*pair, strict=True)) <= 3


def test_pictures_of_the_server_are_those_drawn(app, inputs: Inputs, drawn: FieldPictures):
    with urllib.request.urlopen(f"{app(inputs)}fields/4.png?channels=1,3") as answer:
        shown = np.asarray(Image.open(io.BytesIO(answer.read())))
    assert np.array_equal(shown, drawn.draw(4, (1, 3)))
