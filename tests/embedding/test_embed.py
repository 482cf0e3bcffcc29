"""Wells from a network: every number by hand, stopping, and what is refused."""

import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from phenomae.embedding.embed import BlockWells, EmbedSettings, embed
from phenomae.embedding.features import FeaturesSettings
from phenomae.records import WELL_COLUMNS
from phenomae.signatures import read_signature
from phenomae.weights import io as weights
from phenomae.wells import Wells, read_wells

ON_CPU = EmbedSettings(device="cpu", precision="float32")


def by_hand(run: Path, image: np.ndarray, tops: list[int], lefts: list[int]) -> np.ndarray:
    """Return the patch tokens of a field's crops, averaged over patches; one row a crop."""
    inside = np.clip((image.astype(np.float32) - 100) / 3900, 0, 1)
    crops = [inside[:, y : y + 16, x : x + 16] for y, x in itertools.product(tops, lefts)]
    with torch.no_grad():
        tokens = weights.load(run).features(torch.from_numpy(np.stack(crops)))
    return tokens[:, 1:].mean(1).numpy()


@pytest.mark.parametrize(
    ("tiling", "tops", "lefts"),
    [("grid", [4, 20], [2, 18, 34]), ("overlap", [0, 16, 24], [0, 16, 32, 37])],
)
def test_a_well_is_the_mean_of_its_crops(
    screen_path: Path, run: Path, pixels: dict, tmp_path: Path, tiling, tops, lefts
) -> None:
    embed(screen_path, run, tmp_path / "wells", settings=replace(ON_CPU, tiling=tiling))
    wells = read_wells(tmp_path / "wells")
    for row, (plate, well) in enumerate(wells.table.select("plate", "well").iter_rows()):
        sites = [image for key, image in pixels.items() if key[:2] == (plate, well)]
        expected = np.concatenate([by_hand(run, image, tops, lefts) for image in sites]).mean(0)
        np.testing.assert_allclose(wells.features[row], expected, rtol=1e-4, atol=1e-5)


def test_the_table_says_what_the_wells_are(screen_path: Path, run: Path, tmp_path: Path) -> None:
    embed(screen_path, run, tmp_path / "wells", settings=ON_CPU)
    table = read_wells(tmp_path / "wells").table
    assert table.schema == pl.Schema(WELL_COLUMNS)
    assert table.select("plate", "well", "sites", "control").rows() == [
        ("P1", "A01", 2, True),
        ("P1", "A02", 2, False),
        ("P1", "B01", 2, True),
        ("P2", "A01", 1, True),
        ("P2", "A02", 1, False),
        ("P2", "B01", 1, True),
    ]
    assert table["gene"].to_list()[1] == "gene A02"
    signature = read_signature(tmp_path / "wells", "wells")
    assert signature["sources"] == {
        "store": read_signature(screen_path, "store")["identity"],
        "run": read_signature(run, "run")["identity"],
    }


def test_crops_at_once_changes_no_more_than_rounding(
    screen_path: Path, run: Path, tmp_path: Path
) -> None:
    for count in (5, 64):
        settings = replace(ON_CPU, crops_at_once=count)
        embed(screen_path, run, tmp_path / str(count), settings=settings)
    few, many = (read_wells(tmp_path / str(count)).features for count in (5, 64))
    np.testing.assert_allclose(few, many, rtol=1e-5, atol=1e-6)


def test_what_lies_in_no_crop_is_said(
    screen_path: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    embed(screen_path, run, tmp_path / "grid", settings=ON_CPU)
    fields, field, covered = 9, 40 * 53, 32 * 48
    expected = f"{fields * (field - covered)} of {fields * field} pixels (27.5 %) are in no crop"
    assert expected in capsys.readouterr().err
    embed(screen_path, run, tmp_path / "overlap", settings=replace(ON_CPU, tiling="overlap"))
    assert "are in no crop" not in capsys.readouterr().err


def test_a_stopped_call_goes_on_with_the_plates_that_are_missing(
    screen_path: Path, run: Path, tmp_path: Path
) -> None:
    embed(screen_path, run, tmp_path / "undisturbed", settings=ON_CPU)
    lacking = tmp_path / "store"
    shutil.copytree(screen_path, lacking)
    shutil.rmtree(lacking / "P2.zarr/B/01/0")
    wells = tmp_path / "wells"
    with pytest.raises(ValueError, match="P2"):
        embed(lacking, run, wells, settings=ON_CPU)
    assert not wells.exists()
    made = (tmp_path / "wells.partial/P1.parquet").stat().st_mtime_ns
    embed(screen_path, run, wells, settings=ON_CPU)
    assert (wells / "P1.parquet").stat().st_mtime_ns == made
    for name in ("P1.parquet", "P2.parquet", "artefact.json"):
        assert (wells / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()


def test_wells_of_another_run_are_refused_unless_overwritten(
    screen_path: Path, run: Path, other_run: Path, tmp_path: Path
) -> None:
    wells = tmp_path / "wells"
    embed(screen_path, run, wells, settings=ON_CPU)
    before = read_wells(wells)
    with pytest.raises(ValueError, match="another source: run"):
        embed(screen_path, other_run, wells, settings=ON_CPU)
    embed(screen_path, other_run, wells, settings=ON_CPU, overwrite=True)
    assert not np.allclose(read_wells(wells).features, before.features, atol=1e-3)


def test_a_folder_of_weights_will_do(screen_path: Path, run: Path, tmp_path: Path) -> None:
    embed(screen_path, run, tmp_path / "run", settings=ON_CPU)
    embed(screen_path, run / "weights", tmp_path / "weights", settings=ON_CPU)
    assert read_wells(tmp_path / "run").identity == read_wells(tmp_path / "weights").identity


@pytest.mark.parametrize("channels", [("ER", "AGP"), ("DNA",), ("DNA", "ER", "AGP")])
def test_other_channels_are_refused(
    run: Path, tmp_path: Path, make_store, channels: tuple[str, ...]
) -> None:
    image = np.zeros((len(channels), 20, 20), dtype=np.uint16)
    screen = make_store(tmp_path / "store", {("P1", "A01", 1): image}, channels)
    with pytest.raises(ValueError, match=f"{', '.join(channels)}, but .* trained on DNA, ER"):
        embed(screen, run, tmp_path / "wells", settings=ON_CPU)
    assert not list(tmp_path.glob("wells*"))


def test_a_field_smaller_than_a_crop_is_named(run: Path, tmp_path: Path, make_store) -> None:
    image = np.zeros((2, 12, 20), dtype=np.uint16)
    screen = make_store(tmp_path / "store", {("P1", "A01", 1): image}, ("DNA", "ER"))
    with pytest.raises(ValueError, match=r"P1\.zarr/A/01/0 has 12 x 20 .* crops of 16 x 16"):
        embed(screen, run, tmp_path / "wells", settings=ON_CPU)
    assert not list(tmp_path.glob("wells*"))


def test_an_empty_store_is_refused(run: Path, tmp_path: Path, make_store) -> None:
    screen = make_store(tmp_path / "store", {}, ("DNA", "ER"))
    with pytest.raises(ValueError, match="has no field to embed"):
        embed(screen, run, tmp_path / "wells", settings=ON_CPU)


def test_an_unfinished_run_is_refused(screen_path: Path, run: Path, tmp_path: Path, resign) -> None:
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run/weights/model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"run is damaged: weights/model.safetensors is missing"):
        embed(screen_path, tmp_path / "run", tmp_path / "wells", settings=ON_CPU)
    resign(tmp_path / "run", identity=None, files={})
    with pytest.raises(ValueError, match="has no weights"):
        embed(screen_path, tmp_path / "run", tmp_path / "wells", settings=ON_CPU)


def test_no_crops_at_once_are_refused() -> None:
    with pytest.raises(ValueError, match="crops_at_once must be at least 1, not 0"):
        EmbedSettings(crops_at_once=0)


def test_uint8_stores_are_embedded_as_they_are(run: Path, tmp_path: Path, make_store) -> None:
    image = np.random.default_rng(3).integers(0, 256, (2, 16, 16), dtype=np.uint8)
    screen = make_store(tmp_path / "store", {("P1", "A01", 1): image}, ("DNA", "ER"))
    embed(screen, run, tmp_path / "wells", settings=ON_CPU)
    with torch.no_grad():
        pixels = torch.from_numpy(image[None].astype(np.float32) / 255)
        expected = weights.load(run).features(pixels)[0, 1:].mean(0)
    features = read_wells(tmp_path / "wells").features
    np.testing.assert_allclose(features[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "name", "value", "sentence"),
    [
        (EmbedSettings(), "tiling", "dense", "tiling must be one of grid, overlap, not dense"),
        (
            EmbedSettings(),
            "pool",
            "max",
            "pool must be one of mean, mean-std, class, channel, not max",
        ),
        (EmbedSettings(), "adabn", "yes", "adabn must be one of auto, on, off, not yes"),
        (EmbedSettings(), "device", "tpu", "device must be one of auto, cpu, cuda, mps, not tpu"),
        (EmbedSettings(), "precision", "fp8", "must be one of auto, float32, bf16, not fp8"),
        (FeaturesSettings(), "tiling", "dense", "tiling must be one of grid, overlap, not dense"),
    ],
)
def test_settings_outside_their_choices_are_refused(
    settings: EmbedSettings | FeaturesSettings, name: str, value: str, sentence: str
) -> None:
    object.__setattr__(settings, name, value)  # the tests' own type checker refuses it as argument
    with pytest.raises(ValueError, match=sentence):
        settings.__post_init__()


def test_wells_are_returned_and_paths_may_be_text(
    screen_path: Path, run: Path, tmp_path: Path
) -> None:
    for _ in ("made", "found"):
        found = embed(str(screen_path), str(run), str(tmp_path / "wells"), settings=ON_CPU)
        assert found == Wells(tmp_path / "wells")
    every = replace(ON_CPU, block="all")
    blocks = embed(screen_path, run, tmp_path / "all", settings=every)
    assert isinstance(blocks, BlockWells)
    assert blocks.blocks == {
        1: Wells(tmp_path / "all/block-01"),
        2: Wells(tmp_path / "all/block-02"),
    }


def test_any_number_of_cores_gives_the_bytes_of_one(
    screen_path: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two cores compute batches of 32 crops, which are also those of one core."""
    settings = EmbedSettings(crops_at_once=64, tiling="overlap", turns=4)
    for cores in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", cores)
        embed(screen_path, run, tmp_path / cores, settings=settings)
    names = sorted(path.name for path in (tmp_path / "1").iterdir())
    assert any(name.endswith(".parquet") for name in names)
    for name in names:
        if name.endswith(".parquet"):
            assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
