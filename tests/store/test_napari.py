"""Layers for napari: their arguments against the store's own files, without napari itself.

napari is not installed where these tests run; `docs/napari.md` says so.
"""

import ast
import json
import shlex
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tifffile

from phenomae import cli, napari, open_store
from phenomae.store.ingest import ingest
from phenomae.store.inventory import IngestSettings
from phenomae.store.napari_layers import describe_layers, find_fields, write_script

# The arguments of napari.layers.Image that are used, as napari's reference lists them.
KNOWN = {"name", "colormap", "contrast_limits", "translate", "blending", "scale", "units"}


@pytest.fixture
def store(write_screen, tmp_path) -> Path:
    raw = write_screen(wells=("A01", "B12"), sites=2, channels=("ER", "DNA", "mTagX"))
    ingest(raw, tmp_path / "store", settings=IngestSettings(pixel_size_um=0.65))
    return tmp_path / "store"


def metadata_of(store: Path, path: str) -> dict[str, Any]:
    return json.loads((store / path / "zarr.json").read_text())["attributes"]["ome"]


def test_layers_are_what_the_metadata_of_the_images_say(store):
    opened = open_store(store)
    layers = describe_layers(opened, find_fields(opened, ["P1/B12", "P1/A01/2"]))
    rows = opened.fields.with_row_index("field")
    wanted = [
        *rows.filter(well="B12").rows(named=True),
        *rows.filter(well="A01", site=2).rows(named=True),
    ]
    assert [layer.field for layer in layers] == [row["field"] for row in wanted for _ in range(3)]
    assert [layer.channel for layer in layers] == [0, 1, 2] * 3
    # Fields are 150 x 130; B12 has two, the second to the right of the first, and A01 is below.
    places = [(0, 0), (0, 130 + 20), (150 + 20, 0)]
    for number, row in enumerate(wanted):
        ome = metadata_of(store, row["path"])
        step = ome["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"]
        for layer, channel in zip(layers[3 * number :][:3], ome["omero"]["channels"], strict=False):
            shown = layer.shown
            assert shown.keys() == KNOWN
            where = f"P1/{row['well']}/{row['site']}"
            assert shown["name"] == f"{where} {channel['label']}"
            assert shown["colormap"] == f"#{channel['color']}"
            window = channel["window"]
            assert shown["contrast_limits"] == (window["start"], window["end"])
            assert list(shown["scale"]) == step[1:] == [0.65, 0.65]
            assert shown["units"] == ("um", "um")
            assert shown["translate"] == pytest.approx([0.65 * edge for edge in places[number]])
            assert shown["blending"] == "additive"


def test_colors_that_a_user_has_changed_are_kept(store):
    opened = open_store(store)
    path = store / opened.fields["path"][0] / "zarr.json"
    document = json.loads(path.read_text())
    document["attributes"]["ome"]["omero"]["channels"][1]["color"] = "12ABef"
    path.write_text(json.dumps(document))
    layers = describe_layers(opened, [[0]])
    assert [layer.shown["colormap"] for layer in layers] == ["#00FF00", "#12ABef", "#FFFF00"]
    document["attributes"]["ome"]["omero"]["channels"][1]["color"] = "blue"
    path.write_text(json.dumps(document))
    layers = describe_layers(opened, [[0]])
    assert [layer.shown["colormap"] for layer in layers] == ["#00FF00", "#0000FF", "#FFFF00"]


def test_a_store_without_pixel_size_has_no_scale(make_store, tmp_path):
    pixels = np.zeros((1, 40, 30), dtype=np.uint16)
    make_store(tmp_path / "store", {("P", "A01", 7): pixels, ("P", "A01", 9): pixels}, ["x"])
    opened = replace(open_store(tmp_path / "store"), pixel_size_um=None)
    bare = describe_layers(opened, find_fields(opened, ["P/A01"]))
    assert [layer.shown["translate"] for layer in bare] == [(0, 0), (0, 50)]
    assert all(layer.shown.keys() == KNOWN - {"scale", "units"} for layer in bare)


def test_a_store_in_place_has_the_usual_colors(write_zarr_plate, tmp_path):
    images = {"A/01/0": np.full((2, 50, 50), 7, dtype=np.uint16)}
    plate = write_zarr_plate(tmp_path / "P1.zarr", images, labels=["DNA", "ER"])
    ingest(plate, tmp_path / "store", settings=IngestSettings(in_place=True))
    opened = open_store(tmp_path / "store")
    layers = describe_layers(opened, [[0]])
    assert [layer.shown["colormap"] for layer in layers] == ["#0000FF", "#00FF00"]
    # All pixels are 7, so a window would be empty, which napari cannot show.
    low, high = layers[0].shown["contrast_limits"]
    assert high > low


def run_without_napari(script: str) -> dict[str, Any]:
    """Run what of a script needs no napari, and return its names."""
    kept = []
    for node in ast.parse(script).body:
        names = {item.id for item in ast.walk(node) if isinstance(item, ast.Name)}
        imported = isinstance(node, ast.Import) and node.names[0].name == "napari"
        if not (imported or {"napari", "viewer"} & names):
            kept.append(node)
    found: dict[str, Any] = {}
    exec(compile(ast.Module(kept, []), "script", "exec"), found)
    return found


def test_the_script_has_the_layers_and_the_pixels_of_the_raw_files(store, tmp_path, capsys):
    assert cli.run(["napari", str(store), "P1/A01", "--script"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    found = run_without_napari(printed.out)
    opened = open_store(store)
    expected = describe_layers(opened, find_fields(opened, ["P1/A01"]))
    assert found["layers"] == [(each.field, each.channel, each.shown) for each in expected]
    for field, channel, shown in found["layers"]:
        site = opened.fields["site"][field]
        name = ("ER", "DNA", "mTagX")[channel]
        raw = tifffile.imread(tmp_path / f"raw/images/P1/A01_s{site}_{name}.tiff")
        np.testing.assert_array_equal(found["pixels"][field][channel], raw)
        assert shown["name"] == f"P1/A01/{site} {name}"
    lines = printed.out.splitlines()
    assert lines[-4:] == [
        f"viewer = napari.Viewer(title={str(store)!r})",
        "for field, channel, shown in layers:",
        "    viewer.add_image(pixels[field][channel], **shown)",
        "napari.run()",
    ]
    assert "multiscales" in metadata_of(image_of(printed.out), "")


def image_of(script: str) -> Path:
    """Return the image of the command in the comment, as a shell reads it."""
    (comment,) = [line for line in script.splitlines() if line.startswith("# napari --plugin")]
    *words, image = shlex.split(comment.removeprefix("# "))
    assert words == ["napari", "--plugin", "napari-ome-zarr"]
    return Path(image)


@pytest.mark.parametrize("name", ["it's here", "a $HOME `b`", 'say "x"', "plain"])
def test_names_that_a_shell_reads_otherwise_are_quoted(store, tmp_path, name):
    moved = store.rename(tmp_path / name)
    opened = open_store(moved)
    script = write_script(opened, describe_layers(opened, [[0]]))
    assert image_of(script) == moved / opened.fields["path"][0]
    assert len(run_without_napari(script)["layers"]) == 3


@pytest.mark.parametrize("where", ["folder", "field"])
@pytest.mark.parametrize("end", ["\n", "\r", "\x1b", "\u2028"])
def test_a_path_does_not_become_a_line_of_the_script(store, tmp_path, where, end):
    text = f"x{end}reached = True #"
    if where == "folder":
        opened = open_store(store.rename(tmp_path / text))
    else:
        opened = open_store(store)
        path = pl.col("path") + text
        opened = replace(opened, fields=opened.fields.with_columns(path=path))
    layers = describe_layers(opened, [[0]])
    with pytest.raises(ValueError, match="has a control character, and stands in a script"):
        write_script(opened, layers)


@pytest.mark.skipif(find_spec("napari") is not None, reason="a window would open")
def test_without_napari_the_script_is_printed(store, capsys):
    napari(store, "P1/A01/1")
    printed = capsys.readouterr()
    assert "napari is not installed here: this script opens the fields where it is" in printed.err
    assert len(run_without_napari(printed.out)["layers"]) == 3


def test_a_plate_whose_name_looks_like_a_number_is_found(make_store, tmp_path):
    pixels = {("0042", "A01", site): np.ones((1, 8, 8), dtype=np.uint8) for site in (1, 3)}
    opened = open_store(make_store(tmp_path / "store", pixels, ["x"]))
    assert find_fields(opened, ["0042/A01/3", "0042/A01"]) == [[1], [0, 1]]


@pytest.mark.parametrize(
    ("wells", "sentence"),
    [
        ([], "give the wells to open, written PLATE/WELL or PLATE/WELL/SITE"),
        (["P1/A1"], r"has no well 'P1/A1': wells are written PLATE/WELL, like P1/A01"),
        (["A01"], r"has no well 'A01': wells are written PLATE/WELL, like P1/A01"),
        (["P1/A01/9"], "has no site '9' of well P1/A01: it has 1, 2"),
        (["P1/A01/"], "has no site '' of well P1/A01: it has 1, 2"),
    ],
)
def test_wells_that_are_not_there(store, wells, sentence):
    with pytest.raises(ValueError, match=sentence):
        napari(store, *wells)


def test_what_is_no_store_is_one_sentence(tmp_path, capsys):
    assert cli.run(["napari", str(tmp_path / "absent"), "P1/A01"]) == 1
    assert "absent holds no store: there is nothing of that name" in capsys.readouterr().err


def test_sites_are_in_the_order_of_the_table(store):
    opened = open_store(store)
    assert opened.fields.select("well", "site").rows() == [
        *(("A01", 1), ("A01", 2), ("B12", 1), ("B12", 2))
    ]
    assert find_fields(opened, ["P1/B12", "P1/A01"]) == [[2, 3], [0, 1]]
