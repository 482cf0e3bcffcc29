"""Wells of some fields, and at another scale than the store's."""

import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from phenomae import cli
from phenomae.embedding.embed import EmbedSettings, embed
from phenomae.weights import io as weights
from phenomae.wells import read_wells

ON_CPU = EmbedSettings(device="cpu", precision="float32")


@pytest.fixture
def focused(screen_path: Path, pixels: dict, tmp_path: Path, resign) -> Path:
    """The store with a focus for each field: plate P2 is blurred, and so is a site of P1 A01."""
    path = tmp_path / "focused"
    shutil.copytree(screen_path, path)
    table = pl.read_parquet(path / "fields.parquet")
    blurred = (pl.col("plate") == "P2") | ((pl.col("well") == "A01") & (pl.col("site") == 2))
    focus = pl.when(blurred).then(0.01).otherwise(0.5).alias("focus")
    table.with_columns(focus).write_parquet(path / "fields.parquet")
    resign(path)
    return path


def test_fields_that_are_left_out_are_told_and_wells_without_any_are_absent(
    focused: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    embed(focused, run, tmp_path / "all", settings=ON_CPU)
    assert "where leaves out" not in capsys.readouterr().err
    embed(focused, run, tmp_path / "some", settings=replace(ON_CPU, where="focus > 0.1"))
    assert "where leaves out 4 of 9 fields" in capsys.readouterr().err
    some, whole = (read_wells(tmp_path / name) for name in ("some", "all"))
    rows = some.table.select("plate", "well", "sites").rows()
    assert rows == [("P1", "A01", 1), ("P1", "A02", 2), ("P1", "B01", 2)]
    # The batch they go through the network in is another, so that last bits may differ.
    np.testing.assert_allclose(some.features[1:], whole.features[1:3], rtol=1e-5, atol=1e-6)
    embed(
        focused, run, tmp_path / "one", settings=replace(ON_CPU, where="well = 'A01' AND site = 1")
    )
    (one,) = read_wells(tmp_path / "one").features[
        read_wells(tmp_path / "one").table["plate"].to_numpy() == "P1"
    ]
    np.testing.assert_allclose(some.features[0], one, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"another setting: where = 'focus > 0\.1', now None"):
        embed(focused, run, tmp_path / "some", settings=ON_CPU)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"where": "focus > 9"}, "where 'focus > 9' matches no row of .*focused"),
        ({"where": "dose > 9"}, "focused has no column 'dose'; it has plate, well"),
        ({"pixel_size_um": -1.0}, "pixel_size_um must be above 0, not -1.0"),
        (
            {"pixel_size_um": 1.5},
            r"16 x 16 \(48 x 48 pixels of the store\): use a network trained on",
        ),
    ],
)
def test_what_does_not_do_is_told(
    focused: Path, run: Path, tmp_path: Path, change: dict, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        embed(focused, run, tmp_path / "wells", settings=replace(ON_CPU, **change))
    assert not list(tmp_path.glob("wells*"))


def test_crops_of_another_scale_are_resampled_as_pil_does(
    screen_path: Path, run: Path, pixels: dict, tmp_path: Path
) -> None:
    """The store's half a micrometre to three quarters: 24 of its pixels become a crop's 16."""
    embed(screen_path, run, tmp_path / "wells", settings=replace(ON_CPU, pixel_size_um=0.75))
    wells = read_wells(tmp_path / "wells")
    model = weights.load(run)
    for row, (plate, well) in enumerate(wells.table.select("plate", "well").iter_rows()):
        crops = [
            np.stack([shrink(plane[y : y + 24, x : x + 24]) for plane in image])
            for key, image in pixels.items()
            if key[:2] == (plate, well)
            for y, x in itertools.product([8], [2, 26])  # the grid of 40 x 53, centred
        ]
        inside = np.clip((np.round(np.stack(crops)) - 100) / 3900, 0, 1).astype(np.float32)
        with torch.no_grad():
            tokens = model.features(torch.from_numpy(inside))[:, 1:]
        expected = tokens.mean(1).mean(0)
        np.testing.assert_allclose(wells.features[row], expected, rtol=2e-3, atol=2e-4)


def shrink(plane: np.ndarray) -> np.ndarray:
    image = Image.fromarray(plane.astype(np.float32))
    return np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR))


@pytest.mark.parametrize(
    ("ours", "trained", "flags", "told"),
    [
        (0.5, 0.5, [], False),
        (0.5, 0.54, [], False),
        (0.5, 0.56, [], True),
        (0.56, 0.5, [], True),
        (0.56, 0.5, ["--pixel-size-um", "0.5"], False),
        (None, 0.5, [], False),
        (0.5, None, [], False),
        (0.5, "half a micron", [], False),
    ],
)
def test_another_scale_than_the_networks_is_told_with_the_flag_that_mends_it(
    screen_path: Path, run: Path, tmp_path: Path, resign, capsys, ours, trained, flags, told
) -> None:
    store = tmp_path / "store"
    shutil.copytree(screen_path, store)
    settings = json.loads((store / "artefact.json").read_text())["settings"]
    resign(store, settings={**settings, "pixel_size_um": ours})
    shutil.copytree(run / "weights", tmp_path / "weights")
    config = json.loads((run / "weights/config.json").read_text())
    config["pixel_size_um"] = trained
    del config["sha256"], config["checksum"]
    (tmp_path / "weights/config.json").write_text(json.dumps(config))
    paths = [str(store), str(tmp_path / "weights"), str(tmp_path / "wells")]
    assert cli.run(["embed", *paths, "--device", "cpu", *flags]) == 0
    sentence = (
        f"{store} has pixels of {ours} um, but the network was trained with pixels of "
        f"{trained} um: --pixel-size-um {trained} resamples the fields to that"
    )
    assert (sentence in capsys.readouterr().err) == told
