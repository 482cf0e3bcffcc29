"""Reconstructions of single crops, beside the network's own forward pass."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from phenomae.probes.commands import (
    ClassifierSettings,
    VitMaeSettings,
    pretrain_classifier,
    pretrain_vit_mae,
)
from phenomae.probes.reconstruct import Reconstructor
from phenomae.store.read import open_store, read_crops

SIZES = {"crop_size": 16, "device": "cpu", "precision": "float32", "steps": 0}


@pytest.fixture(scope="module")
def store(tmp_path_factory, make_store):
    random = np.random.default_rng(0)
    pixels = {
        ("P1", f"A{well:02d}", 1): (
            4000 * gaussian_filter(random.random((2, 40, 40)), (0, 2, 2))
        ).astype(np.uint16)
        for well in range(1, 5)
    }
    return open_store(make_store(tmp_path_factory.mktemp("s") / "store", pixels, ("DNA", "ER")))


def test_a_crop_its_mask_and_its_reconstruction_are_drawn(store, tmp_path):
    sizes = {"patch_size": 4, "embed_dim": 16, "depth": 1, "num_heads": 2}
    decoder = {"decoder_embed_dim": 16, "decoder_depth": 1, "decoder_num_heads": 2}
    run = tmp_path / "run"
    pretrain_vit_mae(store, run, settings=VitMaeSettings(**SIZES, **sizes, **decoder))
    network = Reconstructor(run, store)
    assert network.side == 16
    picture = network.draw(2, 8, 4)
    assert picture == network.draw(2, 8, 4)  # the same mask
    shown = np.asarray(Image.open(io.BytesIO(picture)))
    # The first tile below the labels is the input: each pixel is a square of 9 x 9 pixels.
    tile = shown[24 : 24 + 144, 68 : 68 + 144, 0][::9, ::9]
    [[pixels, _]] = read_crops(store, [2], [8], [4], 16)
    low, high = np.percentile(pixels, [0.5, 99.5])
    expected = 255 * np.clip((pixels - low) / (high - low), 0, 1)
    assert np.abs(tile - expected).max() <= 3  # windows are applied in float32 first
    with pytest.raises(ValueError, match="has no crop of 16 at 30, 0"):
        network.draw(2, 30, 0)


def test_networks_without_pixels_are_refused(store, tmp_path):
    run = tmp_path / "run"
    settings = ClassifierSettings(**{**SIZES, "crop_size": 32})
    pretrain_classifier(store, run, settings=settings)
    with pytest.raises(ValueError, match="classifier, which reconstructs no pixels: leave out run"):
        Reconstructor(run, store)
