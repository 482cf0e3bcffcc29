"""OME-Zarr plates of others: fields, channels, planes and sizes; the oracle is what was written."""

import json

import numpy as np
import pytest

from phenomae import cli
from phenomae.images.fields import Place
from phenomae.images.read import list_fields, read_field, read_headers
from phenomae.images.settings import LayoutSettings
from phenomae.store.ingest import ingest


@pytest.fixture
def draw():
    """A function that draws an array of 16 bits, different in each call."""
    rng = np.random.default_rng(0)
    return lambda *shape, dtype="uint16": rng.integers(1, 255, shape).astype(dtype)


def edit(path, change):
    """Change the JSON of a file."""
    keys = json.loads(path.read_text())
    change(keys)
    path.write_text(json.dumps(keys))


def multiscale(keys):
    """The multiscale of an image of version 0.4."""
    return keys["multiscales"][0]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["tczyx", "czyx", "cyx", "zyx", "yx", "tcyx"])
def test_axes(write_zarr_plate, draw, tmp_path, version, axes):
    """Channels are an axis or one, z is projected, one time point is chosen."""
    lengths = {"t": 2, "c": 3, "z": 4, "y": 40, "x": 70}
    pixels = draw(*(lengths[axis] for axis in axes))
    plate = write_zarr_plate(tmp_path / "P1.zarr", {"B/03/0": pixels}, version=version, axes=axes)
    settings = LayoutSettings(time_point=2 if "t" in axes else None)
    plates = list_fields(plate, settings)
    full = pixels.reshape([lengths[axis] if axis in axes else 1 for axis in "tczyx"])
    expected = full[1 if "t" in axes else 0].max(axis=1)
    assert plates.channels == tuple("123"[: len(expected)])
    assert [(f.plate, f.well, f.site) for f in plates.fields] == [("P1", "B03", 0)]
    np.testing.assert_array_equal(read_field(plates.fields[0]), expected)
    assert plates.pixel_sizes_um == {"P1": 0.5}
    [header], _ = read_headers(plates.fields, 1)
    assert header is not None
    assert (header.height, header.width, header.dtype) == (40, 70, "uint16")


def test_a_plate_map_beside_the_plate(write_zarr_plate, draw, tmp_path, capsys):
    plate = write_zarr_plate(tmp_path / "P1.zarr", {"B/03/0": draw(32, 32)}, axes="yx")
    ingest(plate, tmp_path / "without")
    assert f"(plate_map.csv in {plate} or {tmp_path}; setting plate_map)" in capsys.readouterr().err
    (tmp_path / "plate_map.csv").write_text("plate,well,compound\nP1,B03,taxol\n")
    store = ingest(plate, tmp_path / "with")
    assert store.fields["compound"].to_list() == ["taxol"]


def test_one_plane_and_channels(write_zarr_plate, draw, tmp_path):
    pixels = draw(2, 3, 32, 32)
    plate = write_zarr_plate(
        tmp_path / "P1.zarr", {"B/03/0": pixels}, axes="czyx", labels=["DNA", "ER"]
    )
    plates = list_fields(plate, LayoutSettings(plane=2, channels="ER"))
    assert plates.channels == ("ER",)
    np.testing.assert_array_equal(read_field(plates.fields[0]), pixels[1:, 1])
    with pytest.raises(ValueError, match="time_point is '1', but nothing tells time points apart"):
        list_fields(plate, LayoutSettings(time_point=1))


@pytest.mark.parametrize(
    ("version", "settings"),
    [
        ("0.4", {"dtype": ">u2"}),
        ("0.4", {"chunks": (2, 32, 32)}),
        ("0.5", {"shards": (2, 64, 64), "chunks": (1, 32, 32)}),
        ("0.5", {"compressors": None}),
    ],
)
def test_encodings(write_zarr_plate, draw, tmp_path, version, settings):
    """Big-endian pixels as bioformats2raw writes them, chunks of several channels, shards."""
    pixels = draw(2, 64, 64, dtype=settings.pop("dtype", "uint16"))
    write_zarr_plate(tmp_path / "P1.zarr", {"B/03/0": pixels}, version=version, **settings)
    plates = list_fields(tmp_path)
    np.testing.assert_array_equal(read_field(plates.fields[0]), pixels)


def test_plates_sites_and_ignored(write_zarr_plate, draw, tmp_path, capsys):
    """Several plates in a folder; the number of an image is its site; labels are counted."""
    images = {f"{well}/{site}": draw(1, 32, 32) for well in ("A/1", "AA/12") for site in (1, 0)}
    write_zarr_plate(tmp_path / "raw/P1.ome.zarr", images)
    write_zarr_plate(tmp_path / "raw/more/P2.zarr", images, version="0.5")
    write_zarr_plate(tmp_path / "raw/fovs.zarr", {"A/1/fov1": draw(1, 32, 32)})
    for name in ("A/1/0/labels", "A/1/0/tables", "tables"):
        (tmp_path / "raw/P1.ome.zarr" / name).mkdir()
    plates = list_fields(tmp_path / "raw")
    keys = [(field.plate, field.well, field.site) for field in plates.fields]
    expected = [(p, w, s) for p in ("P1", "P2") for w in ("A01", "AA12") for s in (0, 1)]
    assert keys == [*expected, ("fovs", "A01", 1)]
    field = plates.fields[keys.index(("P2", "AA12", 1))]
    np.testing.assert_array_equal(read_field(field), images["AA/12/1"])
    told = capsys.readouterr().err
    assert "ignored: labels of OME-Zarr groups (1)" in told
    assert "ignored: tables of OME-Zarr groups (2)" in told
    with pytest.raises(ValueError, match=r"plate_name is 'X', but .* holds 3 plates"):
        list_fields(tmp_path / "raw", LayoutSettings(plate_name="X"))


def test_two_plates_of_one_name(write_zarr_plate, draw, tmp_path):
    """Without an image in common they are two plates, and else a plate that was imaged again."""
    write_zarr_plate(tmp_path / "b1/P.zarr", {"A/1/0": draw(1, 32, 32)})
    write_zarr_plate(tmp_path / "b2/P.zarr", {"A/2/0": draw(1, 32, 32)})
    sentence = r"b1/P\.zarr and .*b2/P\.zarr would both be the plate P, but have no channel of a"
    with pytest.raises(ValueError, match=sentence):
        list_fields(tmp_path)
    one = list_fields(tmp_path, LayoutSettings(plate_name="P"))
    assert [field.well for field in one.fields] == ["A01", "A02"]
    write_zarr_plate(tmp_path / "b2/P.zarr", {"A/1/0": draw(1, 32, 32), "A/2/0": draw(1, 32, 32)})
    plates = list_fields(tmp_path, LayoutSettings(duplicates="last"))
    assert [field.images[0].planes[0].url for field in plates.fields] == [
        f"{tmp_path}/b2/P.zarr/A/{column}/0/0" for column in (1, 2)
    ]


def test_acquisitions_are_duplicates(write_zarr_plate, draw, tmp_path):
    """The images of a second acquisition go on counting, but are of the same sites."""
    images = {f"A/1/{number}": draw(1, 32, 32) for number in range(4)}
    plate = write_zarr_plate(
        tmp_path / "P1.zarr", images, acquisitions={"0": 1, "1": 1, "2": 2, "3": 2}
    )
    assert "has two files" in str(list_fields(plate).skipped[0])
    last = list_fields(plate, LayoutSettings(duplicates="last"))
    assert [field.site for field in last.fields] == [0, 1]
    np.testing.assert_array_equal(read_field(last.fields[1]), images["A/1/3"])
    apart = list_fields(plate, LayoutSettings(duplicates="apart"))
    assert apart.plate_names == ["P1", "P1-2"]


def test_processed_versions_are_duplicates(write_zarr_plate, draw, tmp_path):
    """`0_registered`, as Fractal's tasks name what they make of `0`, is no second field."""
    images = {f"A/1/{name}": draw(1, 32, 32) for name in ("0", "0_registered")}
    plate = write_zarr_plate(tmp_path / "P1.zarr", images)
    assert "has two files" in str(list_fields(plate).skipped[0])
    [field] = list_fields(plate, LayoutSettings(duplicates="last")).fields
    np.testing.assert_array_equal(read_field(field), images["A/1/0_registered"])


def test_cycles_with_other_channels_are_joined(write_zarr_plate, draw, tmp_path):
    images = {"A/1/0": draw(1, 32, 32), "A/1/1": draw(1, 32, 32)}
    plate = write_zarr_plate(tmp_path / "P1.zarr", images, acquisitions={"0": 0, "1": 1})
    for name, label in (("0", "DNA"), ("1", "ER")):
        label_channels = {"omero": {"channels": [{"label": label}]}}
        edit(plate / "A/1" / name / ".zattrs", lambda keys, more=label_channels: keys.update(more))
    plates = list_fields(plate)
    assert plates.channels == ("DNA", "ER")
    np.testing.assert_array_equal(read_field(plates.fields[0]), np.concatenate([*images.values()]))


def write_cycles(write_zarr_plate, folder, numbers, second):
    """A plate whose images, by name, hold one number; those in `second` are of another stain."""
    images = {f"A/1/{name}": np.full((1, 32, 32), n, "uint16") for name, n in numbers.items()}
    images["A/2/0"] = np.full((1, 32, 32), 9, "uint16")
    acquisitions = {name: int(name in second) for name in [*numbers, "0"]}
    plate = write_zarr_plate(folder, images, labels=["DNA"], acquisitions=acquisitions)
    for name in second:
        change = {"omero": {"channels": [{"label": "ER"}]}}
        edit(plate / "A/1" / name / ".zattrs", lambda keys, more=change: keys.update(more))
    return plate


MATCHING = {
    "one after the other": (["0", "1", "2", "3"], ["2", "3"], [("0", "2"), ("1", "3")]),
    "interleaved": (["0", "1", "2", "3"], ["1", "3"], [("0", "1"), ("2", "3")]),
    "same numbers with a gap": (["0_a", "2_a", "0_b", "2_b"], ["0_b", "2_b"], "by number"),
    "names": (["fov1_c0", "fov2_c0", "fov1_c1", "fov2_c1"], ["fov1_c1", "fov2_c1"], "by number"),
    "names that count on": (["fov1", "fov2", "fov3", "fov4"], ["fov3", "fov4"], "by place"),
    "names without numbers": (["up", "low", "up_er", "low_er"], ["up_er", "low_er"], "by place"),
}


@pytest.mark.parametrize("name", MATCHING)
def test_cycles_whose_images_match(write_zarr_plate, tmp_path, name):
    names, second, pairs = MATCHING[name]
    if isinstance(pairs, str):
        pairs = [*zip([one for one in names if one not in second], second, strict=True)]
    numbers = {name: number for number, name in enumerate(names, start=1)}
    plate = write_cycles(write_zarr_plate, tmp_path / "P.zarr", numbers, second)
    [other, *problems] = list_fields(plate).skipped
    assert problems == []
    assert other.well == "A02"
    found = [read_field(field)[:, 0, 0].tolist() for field in list_fields(plate).fields]
    assert found == [[numbers[dna], numbers[er]] for dna, er in pairs]


NOT_MATCHING = {
    "first of the second": (["0", "1", "2", "3", "5", "6", "7"], ["5", "6", "7"]),
    "last of the first too": (["0", "1", "2", "5", "6", "7"], ["5", "6", "7"]),
    "middle": (["0", "1", "2", "3", "5"], ["3", "5"]),
    "other sites": (["0_a", "1_a", "1_b", "2_b"], ["1_b", "2_b"]),
    "interleaved": (["0", "4", "1", "5"], ["1", "5"]),
    "names": (["fov1_c0", "fov2_c0", "fov3_c0", "fov1_c1", "fov3_c1"], ["fov1_c1", "fov3_c1"]),
    "as many names": (["fov1_c0", "fov2_c0", "fov1_c1", "fov3_c1"], ["fov1_c1", "fov3_c1"]),
    "names in another order": (["a1_c0", "a2_c0", "a2_c1", "a1_c1"], ["a1_c1", "a2_c1"]),
}


@pytest.mark.parametrize("name", NOT_MATCHING)
def test_cycles_whose_images_do_not_match(write_zarr_plate, tmp_path, name):
    """Pixels of different sites are never joined: the well is left out, the other one stays."""
    names, second = NOT_MATCHING[name]
    numbers = {name: number for number, name in enumerate(names, start=1)}
    plate = write_cycles(write_zarr_plate, tmp_path / "P.zarr", numbers, second)
    plates = list_fields(plate, LayoutSettings(channels="DNA"))
    assert [(field.well, field.site) for field in plates.fields] == [("A02", 0)]
    [problem] = plates.skipped
    assert problem.well == "A01"
    sentence = str(problem)
    assert sentence.startswith(f"{plate}/A/1: its acquisitions do not have the same sites")
    first = ", ".join(name for name in names if name not in second)
    assert f"acquisition 0 has {first}; acquisition 1 has " in sentence


def test_pixel_size_is_a_product_in_its_unit(write_zarr_plate, draw, tmp_path):
    """Of the dataset's and the multiscale's scale, in nanometres here."""
    plate = write_zarr_plate(
        tmp_path / "P.zarr", {"A/1/0": draw(1, 32, 32)}, scale=162.5, unit="nanometer"
    )
    step = {"type": "scale", "scale": [1, 2, 2]}
    edit(
        plate / "A/1/0/.zattrs",
        lambda keys: multiscale(keys).update(coordinateTransformations=[step]),
    )
    assert list_fields(plate).pixel_sizes_um == {"P": 0.325}


def test_a_scale_without_unit_is_told(write_zarr_plate, draw, tmp_path, capsys):
    images = {"A/1/0": draw(1, 32, 32)}
    plate = write_zarr_plate(tmp_path / "P.zarr", images, scale=0.1625, unit=None)
    assert list_fields(plate).pixel_sizes_um == {}
    assert "plate P: the scale 0.1625 has no unit" in capsys.readouterr().err
    plate = write_zarr_plate(tmp_path / "Q.zarr", images, scale=1.0, unit=None)
    list_fields(plate)
    assert "no unit" not in capsys.readouterr().err


SCALE = {"type": "scale", "scale": [1, 0.325, 0.325]}


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([], None),
        (None, None),
        ([{"type": "identity"}, {"type": "translation", "translation": [0, 1, 1]}], None),
        ([SCALE, SCALE], "(scale, scale) are not understood"),
        (SCALE, "are no list of objects"),
        ([{"type": "sequence", "transformations": [SCALE]}], "(sequence) are not understood"),
        ([SCALE, {"type": "affine", "affine": []}], "(scale, affine) are not understood"),
    ],
)
def test_no_pixel_size_is_invented(write_zarr_plate, draw, tmp_path, capsys, steps, words):
    """Without a scale, or with one that is not understood, it is not 1 micrometre."""
    pixels = draw(1, 32, 32)
    plate = write_zarr_plate(tmp_path / "P.zarr", {"A/1/0": pixels})
    edit(
        plate / "A/1/0/.zattrs",
        lambda keys: multiscale(keys)["datasets"][0].update(coordinateTransformations=steps),
    )
    plates = list_fields(plate)
    assert plates.pixel_sizes_um == {}
    np.testing.assert_array_equal(read_field(plates.fields[0]), pixels)
    told = capsys.readouterr().err
    assert ("so the pixel size is not known" in told) == (words is not None)
    assert words is None or f"plate P: the coordinateTransformations {words}, so the" in told
    # The multiscale's own scale is enough.
    edit(
        plate / "A/1/0/.zattrs",
        lambda keys: multiscale(keys).update(coordinateTransformations=[SCALE]),
    )
    assert list_fields(plate).pixel_sizes_um == ({} if words else {"P": 0.325})


def test_several_pixel_sizes_are_told(write_zarr_plate, draw, tmp_path, capsys):
    images = {"A/1/0": draw(1, 32, 32), "A/1/1": draw(1, 32, 32)}
    plate = write_zarr_plate(tmp_path / "P.zarr", images)
    path = plate / "A/1/1/.zattrs"
    path.write_text(path.read_text().replace("0.5", "0.25"))
    assert list_fields(plate).pixel_sizes_um == {}
    assert "several pixel sizes" in capsys.readouterr().err


def test_channels_of_one_name_get_their_numbers(write_zarr_plate, draw, tmp_path):
    images = {"A/1/0": draw(3, 32, 32)}
    plate = write_zarr_plate(tmp_path / "P.zarr", images, labels=["DNA", "DNA", ""])
    assert list_fields(plate).channels == ("DNA (channel 1)", "DNA (channel 2)", "3")


def test_other_types_are_scaled(write_zarr_plate, draw, tmp_path):
    pixels = draw(1, 32, 32).astype("float32")
    plate = write_zarr_plate(tmp_path / "P.zarr", {"A/1/0": pixels})
    _, [problem] = read_headers(list_fields(plate).fields, 1)
    assert "has pixels of type float32: expected uint8 or uint16" in str(problem)
    [field] = list_fields(plate, LayoutSettings(value_range=(0, 255))).fields
    np.testing.assert_array_equal(read_field(field), np.rint(pixels / 255 * 65535))


@pytest.mark.parametrize(
    ("version", "shards"), [("0.4", None), ("0.5", None), ("0.5", (2, 64, 64))]
)
def test_missing_chunks(write_zarr_plate, draw, tmp_path, version, shards):
    """A chunk that is missing is of zeros, a plane without any chunk is a bad field."""
    pixels = draw(2, 64, 64)
    pixels[0, :32, :32] = 0
    absent = pixels.copy()
    absent[1] = 0
    more = {"shards": shards} if shards else {}
    images = {"A/1/0": pixels, "A/1/1": absent}
    plate = write_zarr_plate(tmp_path / "P.zarr", images, version=version, **more)
    whole, lacking = list_fields(plate).fields
    [first, second], [problem] = read_headers([whole, lacking], 1)
    np.testing.assert_array_equal(read_field(whole), pixels)
    assert first is not None
    assert second is None
    assert str(problem) == (
        f"{plate}/A/1/1/0, plane 1 has no chunk stored: it is missing, or its writer leaves out "
        "black images"
    )
    with pytest.raises(ValueError, match="plane 1 has no chunk stored"):
        read_field(lacking)


WRONG = {
    "axes": (
        lambda keys: multiscale(keys).update(axes=[{"name": n} for n in "cxy"]),
        "P.zarr/A/1/0: the axes c x y are not understood: expected y and x at the end, and before",
    ),
    "no axes": (lambda keys: multiscale(keys).pop("axes"), "the axes None are not understood"),
    "fewer axes": (
        lambda keys: multiscale(keys).update(axes=[{"name": n} for n in "yx"]),
        "its array has 3 dimensions, but 2 axes are listed",
    ),
    "channels": (
        lambda keys: keys.update(omero={"channels": [{}]}),
        "it has 2 channels, but omero describes 1",
    ),
    "squares": (
        lambda keys: multiscale(keys)["datasets"][0].update(
            coordinateTransformations=[{"type": "scale", "scale": [1, 0.5, 0.6]}]
        ),
        "its pixels are 0.5 micrometer by 0.6 micrometer (y by x): expected squares",
    ),
    "scale": (
        lambda keys: multiscale(keys)["datasets"][0].update(
            coordinateTransformations=[{"type": "scale", "scale": [1, 0, 0]}]
        ),
        "the scale [1, 0, 0] is not understood: expected 3 numbers above 0",
    ),
    "no dataset": (
        lambda keys: multiscale(keys).update(datasets=[]),
        "its multiscales name no dataset",
    ),
    "outside": (
        lambda keys: multiscale(keys)["datasets"][0].update(path="../1/0"),
        "its multiscales name no dataset",
    ),
    "array": (
        lambda keys: multiscale(keys)["datasets"][0].update(path="9"),
        "P.zarr/A/1/0/9 is missing: the image names an array of this name",
    ),
    "no image": (
        lambda keys: keys.pop("multiscales"),
        "P.zarr/A/1/0 is a Zarr group, not an image: it has no multiscales",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_images_that_are_not_understood(write_zarr_plate, draw, tmp_path, name):
    """One sentence each, and the other field is read."""
    change, sentence = WRONG[name]
    images = {"A/1/0": draw(2, 32, 32), "A/1/1": draw(2, 32, 32)}
    plate = write_zarr_plate(tmp_path / "P.zarr", images)
    edit(plate / "A/1/0/.zattrs", change)
    plates = list_fields(plate)
    assert [field.site for field in plates.fields] == [1]
    [problem] = plates.skipped
    assert sentence in str(problem)
    assert (problem.plate, problem.well, problem.site) == ("P", "A01", 0)


def test_arrays_without_pixels_or_shape(write_zarr_plate, draw, tmp_path):
    images = {f"A/1/{number}": draw(2, 32, 32) for number in range(3)}
    plate = write_zarr_plate(tmp_path / "P.zarr", images)
    edit(plate / "A/1/0/0/.zarray", lambda keys: keys.update(shape=[2, 0, 32]))
    (plate / "A/1/1/0/.zarray").write_text("{")
    zero, damaged = list_fields(plate).skipped
    assert str(zero).endswith("its array has the shape [2, 0, 32]: expected whole numbers above 0")
    assert str(damaged).endswith("A/1/1/0/.zarray is not JSON")


def test_missing_fields_and_wells(write_zarr_plate, draw, tmp_path):
    """What plate and well list and what is not there are bad fields."""
    images = {f"{well}/0": draw(1, 32, 32) for well in ("A/1", "A/2", "A/3", "A/4", "A/5", "A/6")}
    plate = write_zarr_plate(tmp_path / "P.zarr", images)
    (plate / "A/1/0").rename(tmp_path / "gone")
    (plate / "A/2").rename(tmp_path / "lost")
    edit(plate / "A/3/.zattrs", lambda keys: keys["well"].update(images=[]))
    edit(plate / "A/4/.zattrs", lambda keys: keys["well"].update(images=[{}]))
    edit(plate / ".zattrs", lambda keys: keys["plate"]["columns"][4].update(name="x"))
    edit(plate / ".zattrs", lambda keys: keys["plate"]["wells"].append({}))
    (plate / "A/6/.zattrs").write_text("[]")
    with pytest.raises(ValueError, match="holds no images"):
        list_fields(plate)
    write_zarr_plate(tmp_path / "Q.zarr", {"A/1/0": images["A/1/0"]})
    told = [str(problem) for problem in list_fields(tmp_path).skipped]
    for sentence in (
        "P.zarr/A/1/0 is missing: the well lists an image of this name",
        "P.zarr/A/2 is missing: the plate lists a well of this name",
        "P.zarr/A/3 is a well of an OME-Zarr plate that lists no images",
        "P.zarr/A/4 lists an image without a path",
        "P.zarr lists the well A/5: ",
        "P.zarr lists the well {}: no path",
        "P.zarr/A/6/.zattrs is not a JSON object: the group is damaged",
    ):
        assert sum(sentence in line for line in told) == 1, (sentence, told)
    assert len(told) == 7


def test_wells_by_path_and_by_indices(write_zarr_plate, draw, tmp_path):
    """Where both are there they agree; one is enough."""
    images = {"A/1/0": draw(1, 32, 32), "B/2/0": draw(1, 32, 32)}
    changes = {
        "neither lists": lambda keys: [keys["plate"].pop(name) for name in ("rows", "columns")],
        "no columns": lambda keys: keys["plate"].update(columns=None),
        "no indices": lambda keys: [well.pop("rowIndex") for well in keys["plate"]["wells"]],
    }
    for name, change in changes.items():
        plate = write_zarr_plate(tmp_path / f"{name}.zarr", images)
        edit(plate / ".zattrs", change)
        assert [field.well for field in list_fields(plate).fields] == ["A01", "B02"]
    # Counted from 0 in the path, as in version 0.1.
    plate = write_zarr_plate(tmp_path / "0.zarr", {"0/0/0": images["A/1/0"]})
    edit(plate / ".zattrs", lambda keys: keys["plate"].update(rows=[{"name": "A"}]))
    edit(plate / ".zattrs", lambda keys: keys["plate"].update(columns=[{"name": "1"}]))
    assert [field.well for field in list_fields(plate).fields] == ["A01"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"columnIndex": 1}, "its path is A/1, its indices name A02"),
        ({"rowIndex": 1}, "its path is A/1, its indices name B01"),
        ({"rowIndex": -1}, "its rowIndex is -1: expected a whole number from 0 to 1"),
        ({"columnIndex": 2}, "its columnIndex is 2: expected a whole number from 0 to 1"),
        ({"rowIndex": "0"}, "its rowIndex is '0': expected a whole number from 0 to 1"),
        ({"rowIndex": True}, "its rowIndex is True: expected a whole number from 0 to 1"),
    ],
)
def test_indices_that_contradict_the_path(write_zarr_plate, draw, tmp_path, change, sentence):
    images = {"A/1/0": draw(1, 32, 32), "B/2/0": draw(1, 32, 32)}
    plate = write_zarr_plate(tmp_path / "P.zarr", images)
    edit(plate / ".zattrs", lambda keys: keys["plate"]["wells"][0].update(change))
    plates = list_fields(plate)
    assert [field.well for field in plates.fields] == ["B02"]
    [problem] = plates.skipped
    assert str(problem) == f"{plate} lists the well A/1: {sentence}"


def test_channels_that_differ(write_zarr_plate, draw, tmp_path):
    images = {f"A/1/{number}": draw(2, 32, 32) for number in range(3)}
    plate = write_zarr_plate(tmp_path / "P.zarr", images, labels=["DNA", "ER"])
    edit(plate / "A/1/1/.zattrs", lambda keys: keys["omero"]["channels"][1].update(label="RNA"))
    plates = list_fields(plate)
    assert [field.site for field in plates.fields] == [0, 2]
    assert str(plates.skipped[0]) == (
        f"{plate}/A/1/1 has the channels DNA, RNA, but most images of the plate have DNA, ER"
    )


def test_what_is_no_plate(write_zarr_plate, draw, tmp_path):
    plate = write_zarr_plate(tmp_path / "raw/P.zarr", {"A/1/0": draw(1, 32, 32)})
    for folder, kind in (
        (plate / "A/1/0", "an OME-Zarr image, and no plate"),
        (plate / "A/1", "a well of an OME-Zarr plate: give the folder of the plate"),
        (plate / "A", "a Zarr group, and no plate"),
    ):
        for layout in ("auto", "ome-zarr"):
            with pytest.raises(ValueError, match=f"{folder} is {kind}"):
                list_fields(folder, LayoutSettings(layout=layout))
    edit(plate / ".zattrs", lambda keys: keys["plate"].update(wells=[]))
    with pytest.raises(ValueError, match="is an OME-Zarr plate that lists no wells"):
        list_fields(plate)
    (plate / ".zattrs").write_text("{")
    with pytest.raises(ValueError, match=r"\.zattrs is not a JSON object"):
        list_fields(plate)


def test_groups_beside_plates_are_counted(write_zarr_plate, draw, tmp_path, capsys):
    plate = write_zarr_plate(tmp_path / "raw/P.zarr", {"A/1/0": draw(1, 32, 32)})
    (plate / "A/1/0").rename(tmp_path / "raw/image.zarr")
    write_zarr_plate(tmp_path / "raw/P.zarr", {"A/1/0": draw(1, 32, 32)})
    assert len(list_fields(tmp_path / "raw").fields) == 1
    assert "ignored: Zarr groups that are no plates (1)" in capsys.readouterr().err


def test_no_microscope_index_is_sought_among_chunks(write_zarr_plate, draw, tmp_path, capsys):
    """A folder of a plate may hold anything: its groups are not searched for other layouts."""
    plate = write_zarr_plate(tmp_path / "P.zarr", {"A/1/0": draw(1, 32, 32)})
    (plate / "A/1/0/0/P.HTD").write_text("")
    list_fields(plate)
    told = capsys.readouterr().err
    assert f"layout ome-zarr, because of {plate}/.zattrs\n" in told


def test_bioformats2raw(write_zarr_plate, draw, tmp_path):
    """The layout that bioformats2raw documents: version 3, fields below row and column, OME-XML.

    Columns have no zeros, pixels are big-endian in chunks of one plane, axes are tczyx.
    """
    images = {
        f"{well}/{n}": draw(1, 2, 1, 48, 40, dtype=">u2")
        for well in ("A/1", "B/12")
        for n in (0, 1)
    }
    acquisitions = {"0": 0, "1": 0}
    plate = write_zarr_plate(
        tmp_path / "plate",
        images,
        axes="tczyx",
        labels=["DAPI", "FITC"],
        acquisitions=acquisitions,
        chunk_key_encoding={"name": "v2", "separator": "/"},
        order="C",
    )
    edit(plate / ".zattrs", lambda keys: keys.update({"bioformats2raw.layout": 3}))
    edit(plate / ".zattrs", lambda keys: keys["plate"].update(field_count=2, name="Plate 7"))
    (plate / "OME").mkdir()
    (plate / "OME/.zgroup").write_text('{"zarr_format": 2}')
    (plate / "OME/.zattrs").write_text(json.dumps({"series": list(images)}))
    (plate / "OME/METADATA.ome.xml").write_text("<OME/>")
    plates = list_fields(plate)
    assert plates.channels == ("DAPI", "FITC")
    assert [(f.plate, f.well, f.site) for f in plates.fields] == [
        ("plate", well, site) for well in ("A01", "B12") for site in (0, 1)
    ]
    np.testing.assert_array_equal(read_field(plates.fields[3]), images["B/12/1"][0, :, 0])


def test_bioformats2raw_without_plate(write_zarr_plate, draw, tmp_path):
    plate = write_zarr_plate(tmp_path / "series", {"0/0/0": draw(1, 32, 32)})
    (plate / ".zattrs").write_text('{"bioformats2raw.layout": 3}')
    with pytest.raises(ValueError, match="is an OME-Zarr folder of bioformats2raw without a plate"):
        list_fields(plate)


def test_planes_are_named_in_words():
    assert str(Place("P/0", index=(1, 2))) == "P/0, plane 1, 2"
    assert str(Place("P/0", index=())) == "P/0"


def test_colours_are_kept(write_zarr_plate, draw, tmp_path):
    """Those of the plate, and for a channel without one the customary colour of its stain."""
    images = {"A/1/0": draw(3, 32, 32)}
    plate = write_zarr_plate(tmp_path / "P.zarr", images, labels=["DNA", "ER", "tubulin"])
    edit(
        plate / "A/1/0/.zattrs",
        lambda keys: [
            channel.update(color=color)
            for channel, color in zip(keys["omero"]["channels"], ("00ffff", None, "x"), strict=True)
        ],
    )
    store = tmp_path / "store"
    command = ["ingest", str(plate), str(store), "--channels", "DNA=nuclei,ER=ER,tubulin=tubulin"]
    assert cli.run(command) == 0
    keys = json.loads((store / "P.zarr/A/01/0/zarr.json").read_text())["attributes"]["ome"]
    colors = {channel["label"]: channel["color"] for channel in keys["omero"]["channels"]}
    assert colors == {"nuclei": "00FFFF", "ER": "00FF00", "tubulin": "0000FF"}
    assert cli.run(["store", "check", str(store)]) == 0


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_server_that_denies_what_is_not_there(
    write_zarr_plate, draw, tmp_path, served_hiding, version
):
    """Each version has files that the other lacks; without any, access is what is missing."""
    pixels = draw(2, 32, 32)
    write_zarr_plate(tmp_path / "P.zarr", {"A/1/0": pixels}, version=version)
    [field] = list_fields(f"{served_hiding}/P.zarr").fields
    np.testing.assert_array_equal(read_field(field), pixels)
    with pytest.raises(OSError, match=r"none/zarr\.json cannot be read: the server denies access"):
        list_fields(f"{served_hiding}/none")
