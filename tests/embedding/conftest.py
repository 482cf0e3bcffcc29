"""A store, and two networks that were never trained on it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from phenomae.probes.commands import VitMaeSettings, pretrain_vit_mae

CHANNELS = ("DNA", "ER")
SETTINGS = VitMaeSettings(
    crop_size=16,
    patch_size=4,
    embed_dim=16,
    depth=2,
    num_heads=2,
    decoder_embed_dim=16,
    decoder_depth=1,
    decoder_num_heads=2,
    steps=0,
    device="cpu",
    precision="float32",
)


@pytest.fixture(scope="session")
def pixels() -> dict[tuple[str, str, int], np.ndarray]:
    """Two plates: P2 has one site a well, P1 two, of 40 x 53 pixels (2 x 3 crops and a rim)."""
    rng = np.random.default_rng(0)
    sites = {"P1": (1, 2), "P2": (1,)}
    return {
        (plate, well, site): rng.integers(0, 5000, (2, 40, 53), dtype=np.uint16)
        for plate in ("P2", "P1")
        for well in ("B01", "A01", "A02")
        for site in sites[plate]
    }


@pytest.fixture(scope="session")
def screen_path(tmp_path_factory: pytest.TempPathFactory, make_store, pixels) -> Path:
    """The store of `pixels`."""
    return make_store(tmp_path_factory.mktemp("screen") / "store", pixels, CHANNELS)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, screen_path: Path) -> Path:
    """An untrained run."""
    path = tmp_path_factory.mktemp("run") / "run"
    pretrain_vit_mae(screen_path, path, settings=SETTINGS)
    return path


@pytest.fixture(scope="session")
def other_run(tmp_path_factory: pytest.TempPathFactory, screen_path: Path) -> Path:
    """Another untrained run."""
    path = tmp_path_factory.mktemp("run") / "run"
    pretrain_vit_mae(screen_path, path, settings=replace(SETTINGS, seed=1))
    return path
