"""A channel's number never means a stain, and transmitted light is left out unless it is named."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from phenomae.images.gather import is_transmitted
from phenomae.store.read import open_store

NAMES = ["DNA", "Brightfield", "ER", "phase contrast", "BF_low", "Digital Phase Contrast", "AGP"]
LIGHTS = ["bright-field", "Phase", "Transmitted Light", "TL 20", "TL", "DIC", "DPC", "BF"]
STAINS = ["DNA", "mitotl", "Stain 2", "BFP", "Dickkopf", "Cy5", "TLR4", "RNA"]


def write(raw: Path, plate: str, levels: dict[str, int], sites: int = 1) -> None:
    """Write flat images of well A01, each of its channel's level."""
    (raw / plate).mkdir(parents=True)
    for site in range(1, sites + 1):
        for channel, level in levels.items():
            path = raw / plate / f"A01_s{site}_{channel}.tif"
            tifffile.imwrite(path, np.full((130, 140), level, np.uint16))


def levels(pixels: np.ndarray) -> list[int]:
    """The level of every channel of a flat field."""
    assert (pixels == pixels[:, :1, :1]).all()
    return pixels[:, 0, 0].tolist()


def test_a_number_stays_a_number_until_it_is_named(tmp_path, ingested):
    write(tmp_path / "raw", "P1", {"1": 100, "2": 200, "10": 1000})
    stored = ingested(tmp_path / "raw")
    assert open_store(tmp_path / "store").channels == ("1", "2", "10")
    assert levels(stored["P1", "A01", 1]) == [100, 200, 1000]
    stored = ingested(tmp_path / "raw", "--channels", "10=DNA,1=ER", "--overwrite")
    assert open_store(tmp_path / "store").channels == ("DNA", "ER")
    assert levels(stored["P1", "A01", 1]) == [1000, 100]


def test_indices_that_number_stains_differently_are_read_by_name(shared, tmp_path, ingested):
    """Two plates of a microscope on which somebody swapped the filters in between."""
    original = shared / "data/images/phenix_pe2loaddata/Version1/images"
    for plate in ("first", "second"):
        shutil.copytree(original, tmp_path / "raw" / plate)
    index = tmp_path / "raw/second/Index.idx.xml"
    text = index.read_text(encoding="utf-8-sig")
    for old, new in (("HOECHST 33342", "X"), ("Alexa 488", "HOECHST 33342"), ("X", "Alexa 488")):
        assert f"<ChannelName>{old}</ChannelName>" in text
        text = text.replace(f"<ChannelName>{old}</", f"<ChannelName>{new}</")
    index.write_text(text.replace("BR00121482", "SECOND"))
    named = "HOECHST 33342=DNA,Alexa 488=ER"
    stored = ingested(tmp_path / "raw", "--layout", "auto", "--channels", named)
    dna, er = (tifffile.imread(original / f"r01c01f01p01-ch{n}sk1fk1fl1.tiff") for n in (5, 4))
    np.testing.assert_array_equal(stored["BR00121482", "A01", 1], np.stack([dna, er]))
    np.testing.assert_array_equal(stored["SECOND", "A01", 1], np.stack([er, dna]))


def test_imagexpress_is_named_by_its_htd(shared, tmp_path, ingested):
    raw = tmp_path / "raw"
    shutil.copytree(shared / "data/images/imagexpress_faim/9987_Plate_3435", raw)
    first = ingested(raw, "--layout", "imagexpress")
    names = open_store(tmp_path / "store").channels
    for htd in raw.rglob("*.HTD"):
        text = htd.read_bytes()
        for number, name in enumerate(names, start=1):
            assert f'"WaveName{number}", "{name}"'.encode() in text
        swapped = text.replace(b'"WaveName1"', b'"WaveName9"')
        swapped = swapped.replace(b'"WaveName2"', b'"WaveName1"')
        htd.write_bytes(swapped.replace(b'"WaveName9"', b'"WaveName2"'))
    second = ingested(raw, "--layout", "imagexpress", "--channels", ",".join(names), "--overwrite")
    for field, pixels in first.items():
        np.testing.assert_array_equal(second[field], pixels[::-1])


def test_transmitted_light_is_left_out_and_told(tmp_path, ingested, capsys):
    write(tmp_path / "raw", "P1", {name: 10 * i for i, name in enumerate(NAMES, start=1)})
    stored = ingested(tmp_path / "raw")
    assert sorted(open_store(tmp_path / "store").channels) == ["AGP", "DNA", "ER"]
    assert sorted(levels(stored["P1", "A01", 1])) == [10, 30, 70]
    said = capsys.readouterr().err
    assert "left out, not a stain: BF_low, Brightfield, Digital Phase Contrast, phase" in said
    assert "(--channels chooses what to keep" in said


def test_transmitted_light_is_known_by_many_names():
    assert all(is_transmitted(name) for name in LIGHTS)
    assert not any(is_transmitted(name) for name in STAINS)


def test_transmitted_light_that_is_named_is_kept(tmp_path, ingested):
    write(tmp_path / "raw", "P1", {name: 10 * i for i, name in enumerate(NAMES, start=1)})
    stored = ingested(tmp_path / "raw", "--channels", "Brightfield,DNA,Digital Phase Contrast=DPC")
    assert open_store(tmp_path / "store").channels == ("Brightfield", "DNA", "DPC")
    assert levels(stored["P1", "A01", 1]) == [20, 10, 60]


def test_a_plate_of_transmitted_light_alone_is_kept(tmp_path, ingested):
    write(tmp_path / "raw", "P1", {"Brightfield": 20, "Phase": 30})
    assert levels(ingested(tmp_path / "raw")["P1", "A01", 1]) == [20, 30]


def test_the_real_phenix_site_leaves_its_brightfield_out_unless_named(shared, tmp_path, ingested):
    raw = shared / "data/images/phenix_pe2loaddata/Version1/images"
    ingested(raw, "--layout", "phenix")
    assert "Brightfield" not in open_store(tmp_path / "store").channels
    stored = ingested(raw, "--layout", "phenix", "--channels", "Brightfield", "--overwrite")
    expected = tifffile.imread(raw / "r01c01f01p01-ch6sk1fk1fl1.tiff")
    np.testing.assert_array_equal(stored["BR00121482", "A01", 1][0], expected)


@pytest.mark.parametrize("name", ["Phalloidin", "bfp", "GFP", "Alexa 568", "Phospho-H3", "EBF1"])
def test_names_of_stains_that_look_alike_are_kept(tmp_path, ingested, name):
    write(tmp_path / "raw", "P1", {"DNA": 1, name: 2})
    assert set(levels(ingested(tmp_path / "raw")["P1", "A01", 1])) == {1, 2}
