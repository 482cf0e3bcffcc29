"""A store small enough to train on in a second, with something in it to learn."""

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from phenomae.probes.commands import VitMaeSettings

CHANNELS = ("DNA", "ER")
TINY = VitMaeSettings(
    crop_size=16,
    patch_size=4,
    embed_dim=16,
    depth=2,
    num_heads=2,
    decoder_embed_dim=16,
    decoder_depth=1,
    decoder_num_heads=2,
    steps=12,
    crops_per_step=8,
    checkpoint_every=4,
    log_every=3,
    validation=0.2,
    validation_every=5,
    device="cpu",
    precision="float32",
)


@pytest.fixture(scope="session")
def tiny() -> VitMaeSettings:
    """Settings of a network that takes a step in milliseconds."""
    return TINY


def smooth_pixels(seed: int, wells: int = 10, size: int = 40) -> dict:
    """Return random but smooth fields, two sites a well, of two channels that belong together."""
    rng = np.random.default_rng(seed)
    pixels = {}
    for well in range(wells):
        for site in (1, 2):
            image = gaussian_filter(rng.standard_normal((size, size)), 2, mode="wrap")
            image = (image - image.min()) / np.ptp(image)
            pixels["P1", f"A{well + 1:02d}", site] = (
                np.stack([image, 1 - image]) * 3500 + 200
            ).astype(np.uint16)
    return pixels


@pytest.fixture(scope="session")
def screen_path(tmp_path_factory: pytest.TempPathFactory, make_store) -> Path:
    """Twenty fields of 2 x 40 x 40."""
    return make_store(tmp_path_factory.mktemp("screen") / "store", smooth_pixels(0), CHANNELS)


@pytest.fixture(scope="session")
def paired_path(tmp_path_factory: pytest.TempPathFactory, make_store) -> Path:
    """Two plates with a well of each of nine perturbations."""
    pixels = {
        (plate, well, site): image
        for seed, plate in enumerate(("P1", "P2"))
        for (_, well, site), image in smooth_pixels(seed).items()
    }
    return make_store(tmp_path_factory.mktemp("paired") / "store", pixels, CHANNELS)
