"""`--plate-map` of `embed` and `features`: other labels, the same features."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from phenomae.cli import run as run_command
from phenomae.embedding.embed import EmbedSettings, embed
from phenomae.embedding.features import FeaturesSettings, features
from phenomae.images.platemap.settings import PlateMapSettings
from phenomae.signatures import read_signature
from phenomae.wells import Wells, read_wells

MAP = "plate,well,drug,control\n" + "".join(
    f"{plate},{well},{'' if well == 'A02' else f'drug {plate}{well}'},{well == 'A02'}\n"
    for plate in ("P1", "P2")
    for well in ("A01", "A02", "B01")
)


@pytest.fixture
def labels(tmp_path: Path) -> PlateMapSettings:
    (tmp_path / "new.csv").write_text(MAP)
    return PlateMapSettings(plate_map=tmp_path / "new.csv", compound_column="drug")


def test_wells_have_the_labels_of_the_map_and_the_features_of_the_store(
    screen_path, run, tmp_path, labels
):
    settings = EmbedSettings(device="cpu", precision="float32", where="control")
    embedded = embed(screen_path, run, tmp_path / "embedded", settings=settings, labels=labels)
    assert isinstance(embedded, Wells)
    table = read_wells(embedded).table
    # `where` is about the new labels: in the store the wells of the first column are controls.
    assert table.select("plate", "well", "gene").rows() == [
        ("P1", "A02", None),
        ("P2", "A02", None),
    ]
    intensity = FeaturesSettings(kind="intensity")
    plain = read_wells(features(screen_path, tmp_path / "plain", settings=intensity))
    made = read_wells(features(screen_path, tmp_path / "made", settings=intensity, labels=labels))
    np.testing.assert_array_equal(made.features, plain.features)
    assert made.table["compound"].to_list()[:3] == ["drug P1A01", None, "drug P1B01"]
    assert made.table["perturbation"].to_list() == made.table["compound"].to_list()
    assert made.table["control"].to_list() == [False, True, False] * 2
    assert made.table["gene"].is_null().all()
    assert made.table["batch"].is_null().all()
    assert made.table["sites"].equals(plain.table["sites"])
    assert made.identity != plain.identity


def test_the_hash_of_the_map_is_recorded_and_another_map_is_other_work(
    screen_path, run, tmp_path, labels
):
    intensity = FeaturesSettings(kind="intensity")
    features(screen_path, tmp_path / "wells", settings=intensity, labels=labels)
    sources = read_signature(tmp_path / "wells")["sources"]
    assert sources["plate_map"] == hashlib.sha256(MAP.encode()).hexdigest()
    assert set(sources) == {"store", "labels", "plate_map"}
    (tmp_path / "new.csv").write_text(MAP.replace("drug P1A01", "other"))
    for again in (labels, PlateMapSettings()):
        with pytest.raises(ValueError, match=r"was made with another source: labels = "):
            features(screen_path, tmp_path / "wells", settings=intensity, labels=again)


def test_wells_that_do_not_match(screen_path, run, tmp_path, capsys):
    (tmp_path / "new.csv").write_text(MAP.replace("P2,B01,drug P2B01,False\n", ""))
    words = ["features", screen_path, tmp_path / "wells", "--kind", "intensity"]
    words += ["--plate-map", tmp_path / "new.csv", "--compound-column", "drug"]
    words = list(map(str, words))
    assert run_command(words) == 1
    assert "plate P2, well B01 has images but is not in the plate map" in capsys.readouterr().err
    assert not (tmp_path / "wells").exists()
    assert run_command([*words, "--unmapped", "skip"]) == 0
    assert "new.csv: left out 1 well that it does not name" in capsys.readouterr().err
    table = read_wells(tmp_path / "wells").table
    assert table.select("plate", "well").rows()[3:] == [("P2", "A01"), ("P2", "A02")]
