"""Wells of any block, pool, channels and family; plates with statistics of their own."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from phenomae import cli
from phenomae.embedding.embed import EmbedSettings, embed
from phenomae.models.conv.adabn import reestimate
from phenomae.probes.commands import (
    ChannelMaeSettings,
    ClassifierSettings,
    pretrain_channel_mae,
    pretrain_classifier,
)
from phenomae.weights import io as weights
from phenomae.wells import read_wells

ON_CPU = EmbedSettings(device="cpu", precision="float32")
TRAINING = {"crop_size": 16, "steps": 0, "device": "cpu", "precision": "float32"}


@pytest.fixture(scope="module")
def channel_run(tmp_path_factory: pytest.TempPathFactory, screen_path: Path) -> Path:
    """An untrained channel-agnostic network."""
    path = tmp_path_factory.mktemp("channels") / "run"
    settings = ChannelMaeSettings(
        **TRAINING,  # pyright: ignore
        patch_size=4,
        embed_dim=16,
        depth=3,
        num_heads=2,
        layer_scale=0.5,
        decoder_embed_dim=16,
        decoder_depth=1,
        decoder_num_heads=2,
    )
    pretrain_channel_mae(screen_path, path, settings=settings)
    return path


@pytest.fixture(scope="module")
def adabn_run(tmp_path_factory: pytest.TempPathFactory, screen_path: Path) -> Path:
    """A DenseNet trained for a few steps with a plate's own statistics."""
    path = tmp_path_factory.mktemp("adabn") / "run"
    settings = ClassifierSettings(
        crop_size=32,
        steps=6,
        crops_per_step=8,
        growth_rate=4,
        first_width=8,
        block_depths=(2, 2),
        neck_dim=8,
        standardise=False,
        device="cpu",
        precision="float32",
    )
    pretrain_classifier(screen_path, path, settings=settings)
    return path


def crops_of(image: np.ndarray) -> torch.Tensor:
    """Cut the six crops of 16 of a field, as a network takes them."""
    inside = np.clip((image.astype(np.float32) - 100) / 3900, 0, 1)
    places = [(top, left) for top in (4, 20) for left in (2, 18, 34)]
    return torch.from_numpy(np.stack([inside[:, y : y + 16, x : x + 16] for y, x in places]))


@pytest.mark.parametrize("pool", ["mean", "class", "channel"])
def test_all_blocks_come_in_one_pass_and_each_by_itself(
    screen_path: Path, channel_run: Path, pixels: dict, tmp_path: Path, pool
):
    settings = replace(ON_CPU, pool=pool, block="all")
    embed(screen_path, channel_run, tmp_path / "all", settings=settings)
    names = [path.name for path in sorted((tmp_path / "all").iterdir())]
    assert names == ["block-01", "block-02", "block-03"]
    encoder = weights.load(channel_run).encoder
    for number, name in enumerate(names, start=1):
        embed(screen_path, channel_run, tmp_path / name, settings=replace(settings, block=number))
        alone, together = read_wells(tmp_path / name), read_wells(tmp_path / "all" / name)
        assert together.identity == alone.identity
        np.testing.assert_allclose(together.features, alone.features, atol=1e-6)
        # P2, A01 is one site: its tokens by a loop over the blocks, pooled by hand
        crops = crops_of(pixels["P2", "A01", 1])
        with torch.no_grad():
            x = encoder.enter(encoder.cut(crops), encoder.positions_for((4, 4), 2))
            for block in encoder.blocks[:number]:
                x = block(x)
        expected = {
            "mean": x[:, 1:].mean(1),
            "class": x[:, 0],
            "channel": torch.cat([x[:, 1:17].mean(1), x[:, 17:].mean(1)], dim=1),
        }[pool].mean(0)
        row = together.table.select(
            ((pl.col("plate") == "P2") & (pl.col("well") == "A01")).arg_max()
        ).item()
        np.testing.assert_allclose(together.features[row], expected, rtol=1e-4, atol=1e-5)


def test_the_last_block_is_the_embedding_of_a_transformer(
    screen_path: Path, channel_run: Path, tmp_path: Path
):
    embed(screen_path, channel_run, tmp_path / "whole", settings=ON_CPU)
    embed(screen_path, channel_run, tmp_path / "last", settings=replace(ON_CPU, block=3))
    whole, last = (read_wells(tmp_path / name).features for name in ("whole", "last"))
    np.testing.assert_array_equal(whole, last)


def test_blocks_that_were_stopped_go_on(
    screen_path: Path, channel_run: Path, tmp_path: Path, resign
):
    settings = replace(ON_CPU, block="all")
    embed(screen_path, channel_run, tmp_path / "all", settings=settings)
    done = tmp_path / "all/block-02"
    expected = (done / "P2.parquet").read_bytes()
    kept = (done / "P1.parquet").stat().st_mtime_ns
    (done / "P2.parquet").unlink()
    signature = (done / "artefact.json").read_text()
    begun = done.rename(tmp_path / "all/block-02.partial")
    identity = read_wells(tmp_path / "all/block-03").identity
    assert identity not in signature
    resign(begun, identity=None, files={})
    embed(screen_path, channel_run, tmp_path / "all", settings=settings)
    assert (done / "P2.parquet").read_bytes() == expected
    assert (done / "P1.parquet").stat().st_mtime_ns == kept


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"block": 3}, "this network has no block 3: its blocks are 1 to 2"),
        ({"block": 0}, "this network has no block 0"),
        ({"pool": "channel"}, "no pool 'channel': its pools are mean, mean-std, class"),
        ({"adabn": "on"}, "the vit-mae network of .* has no batch norms"),
        ({"adabn_crops": 1}, "adabn_crops must be at least 2, not 1"),
        ({"channels": "DNA,DNA"}, "channels repeats a name"),
        ({"channels": "DNA,AGP"}, "no channel 'AGP'"),
        ({"channels": "DNA"}, "has the channels DNA, ER, but the network was trained on DNA, ER"),
    ],
)
def test_what_the_network_has_not_is_refused(
    screen_path: Path, run: Path, tmp_path: Path, change: dict, sentence: str
):
    with pytest.raises(ValueError, match=sentence):  # of the settings, or of embed
        embed(screen_path, run, tmp_path / "wells", settings=replace(ON_CPU, **change))
    assert not list(tmp_path.glob("wells*"))


def test_all_blocks_do_not_go_into_wells_of_one(screen_path: Path, run: Path, tmp_path: Path):
    embed(screen_path, run, tmp_path / "wells", settings=ON_CPU)
    all_blocks = replace(ON_CPU, block="all")
    with pytest.raises(ValueError, match="holds the wells of one block"):
        embed(screen_path, run, tmp_path / "wells", settings=all_blocks)
    embed(screen_path, run, tmp_path / "all", settings=all_blocks)
    for overwrite in (False, True):
        with pytest.raises(ValueError, match="holds one wells folder per block"):
            embed(screen_path, run, tmp_path / "all", settings=ON_CPU, overwrite=overwrite)
    assert len(list((tmp_path / "all").iterdir())) == 2


@pytest.fixture
def renamed(tmp_path: Path, pixels: dict, make_store) -> Callable[..., Path]:
    """The screen with its channels the other way round, under any names."""

    def make(*names: str) -> Path:
        turned = {key: np.ascontiguousarray(image[::-1]) for key, image in pixels.items()}
        return make_store(tmp_path / "_".join(names), turned, names)

    return make


def test_channels_go_by_their_names(
    screen_path: Path, run: Path, tmp_path: Path, renamed: Callable[..., Path]
):
    """Whatever their order in the store, and under whatever names one says they have there."""
    embed(screen_path, run, tmp_path / "plain", settings=ON_CPU)
    embed(renamed("ER", "DNA"), run, tmp_path / "turned", settings=ON_CPU)
    mapped = replace(ON_CPU, channels="Hoechst=DNA,ConA=ER")
    embed(renamed("ConA", "Hoechst"), run, tmp_path / "mapped", settings=mapped)
    plain = read_wells(tmp_path / "plain").features
    for name in ("turned", "mapped"):
        np.testing.assert_array_equal(read_wells(tmp_path / name).features, plain)


def test_a_channel_agnostic_network_takes_any_channels(
    screen_path: Path, channel_run: Path, tmp_path: Path, renamed: Callable[..., Path]
):
    """Their order matters to the channels' own vectors alone."""
    for name, store in (("plain", screen_path), ("turned", renamed("x", "y"))):
        for pool in ("mean", "channel"):
            settings = replace(ON_CPU, pool=pool)
            embed(store, channel_run, tmp_path / f"{name}-{pool}", settings=settings)
    found = {path.name: read_wells(path).features for path in tmp_path.glob("*-*")}
    np.testing.assert_allclose(found["plain-mean"], found["turned-mean"], atol=1e-5)
    np.testing.assert_allclose(
        found["plain-channel"], np.roll(found["turned-channel"], 16, axis=1), atol=1e-5
    )
    one = replace(ON_CPU, channels="ER", pool="channel")
    embed(screen_path, channel_run, tmp_path / "one", settings=one)
    assert read_wells(tmp_path / "one").features.shape[1] == 16


def test_each_plate_is_embedded_with_its_own_statistics(
    screen_path: Path, adabn_run: Path, pixels: dict, tmp_path: Path
):
    embed(screen_path, adabn_run, tmp_path / "wells", settings=ON_CPU)
    wells = read_wells(tmp_path / "wells")
    model = weights.load(adabn_run)
    for plate in ("P1", "P2"):
        images = {key: image for key, image in sorted(pixels.items()) if key[0] == plate}
        crops = {
            key: torch.from_numpy(
                np.clip((image[:, 4:36, 10:42].astype(np.float32)[None] - 100) / 3900, 0, 1)
            )
            for key, image in images.items()
        }
        reestimate(model, [torch.cat(list(crops.values()))])
        rows = wells.table["plate"].to_numpy() == plate
        for well, vector in zip(
            wells.table["well"].filter(rows), wells.features[rows], strict=True
        ):
            mine = torch.cat([crop for key, crop in crops.items() if key[1] == well])
            with torch.no_grad():
                expected = model.embed(mine).mean(0)
            np.testing.assert_allclose(vector, expected, rtol=1e-4, atol=1e-5)
    embed(screen_path, adabn_run, tmp_path / "off", settings=replace(ON_CPU, adabn="off"))
    assert not np.allclose(read_wells(tmp_path / "off").features, wells.features, atol=1e-2)


def test_the_gain_of_a_whole_plate_does_not_reach_adapted_wells(
    adabn_run: Path, pixels: dict, tmp_path: Path, make_store
):
    """A gain of 0.6 and an offset on plate P2, through the command line."""
    bright = {key: (image // 2 + 900).astype(np.uint16) for key, image in pixels.items()}
    dim = {
        key: (image * 0.6 + 300).round().astype(np.uint16) if key[0] == "P2" else image
        for key, image in bright.items()
    }
    found = {}
    for name, screen in (("bright", bright), ("dim", dim)):
        store = make_store(tmp_path / name, screen, ("DNA", "ER"))
        for adabn in ("on", "off"):
            wells = tmp_path / f"{name}-{adabn}"
            command = ["embed", str(store), str(adabn_run), str(wells), "--adabn", adabn]
            assert cli.run([*command, "--device", "cpu", "--precision", "float32"]) == 0
            table = read_wells(wells)
            found[name, adabn] = table.features[table.table["plate"].to_numpy() == "P2"]
    moved = {
        adabn: np.linalg.norm(found["dim", adabn] - found["bright", adabn])
        / np.linalg.norm(found["bright", adabn])
        for adabn in ("on", "off")
    }
    assert moved["on"] < 1e-2
    assert moved["off"] > 1e-1


def test_a_plate_of_one_crop_has_no_statistics_of_its_own(
    adabn_run: Path, tmp_path: Path, make_store
):
    image = np.random.default_rng(0).integers(0, 4000, (2, 40, 40), dtype=np.uint16)
    store = make_store(tmp_path / "store", {("P1", "A01", 1): image}, ("DNA", "ER"))
    with pytest.raises(
        ValueError, match="needs two crops or more per plate, and a plate has a single crop"
    ):
        embed(store, adabn_run, tmp_path / "wells", settings=ON_CPU)
    embed(store, adabn_run, tmp_path / "off", settings=replace(ON_CPU, adabn="off"))
