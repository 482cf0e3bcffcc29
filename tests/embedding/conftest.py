"""A store, and two networks that were never trained on it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from phenomae.probes.commands import VitMaeSettings, pretrain_vit_mae

CHANNELS = ("DNA", "ER")
PROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "size": {"height": 28, "width": 28},
    "resample": 3,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}
REGISTERS = ("dinov2_with_registers", "dinov3_vit")
TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": 28,
    "patch_size": 7,
}
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


@pytest.fixture(scope="session")
def save_encoder() -> Callable[..., Path]:
    """Saves a tiny vision transformer with random weights, as the package transformers does."""
    transformers = pytest.importorskip("transformers", reason="needs transformers")

    def save(folder: Path, kind: str, built: str = "AutoModel", **config: object) -> Path:
        registers = {"num_register_tokens": 3} if kind in REGISTERS else {}
        settings = transformers.AutoConfig.for_model(kind, **{**TINY, **registers, **config})
        torch.manual_seed(0)
        chosen = getattr(transformers, built)
        model = chosen.from_config(settings) if built == "AutoModel" else chosen(settings)
        with torch.no_grad():  # norms and biases begin as ones and zeros, which hide mistakes
            for name, tensor in model.named_parameters():
                if "position" not in name:
                    tensor.add_(0.1 * torch.randn_like(tensor))
        model.save_pretrained(folder)
        (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
        return folder

    return save
