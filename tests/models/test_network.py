"""Embedding arrays that people have in memory: types, windows, batches, devices."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from phenomae.crops.tensors import Crops, network_input
from phenomae.models.classifier import Classifier
from phenomae.models.network import Network
from phenomae.models.settings import ClassifierModel, VitMaeModel
from phenomae.models.vit.vit_mae import VitMae
from phenomae.store.windows import WindowSettings, find_windows

SMALL = VitMaeModel(
    crop_size=16,
    patch_size=4,
    embed_dim=16,
    depth=2,
    num_heads=2,
    layer_scale=1.0,
    decoder_embed_dim=16,
    decoder_depth=1,
    decoder_num_heads=2,
)
rng = np.random.default_rng(0)
BYTES = rng.integers(0, 256, (5, 2, 16, 16), dtype=np.uint8)
WORDS = rng.integers(0, 5000, (5, 2, 16, 16), dtype=np.uint16)


@pytest.fixture
def model() -> VitMae:
    torch.manual_seed(0)
    return VitMae(SMALL, ["DNA", "ER"])


@torch.no_grad()
def by_encoder(model: Network, pixels: np.ndarray | torch.Tensor) -> np.ndarray:
    """Return the mean over the last block's patch tokens, of uint8 or of floats in 0..1."""
    model.eval()
    return model.encoder(torch.as_tensor(pixels))[:, 1:].mean(1).numpy()


def test_uint8_and_floats_are_taken_as_they_are_and_come_back_in_kind(model: VitMae) -> None:
    expected = by_encoder(model, BYTES)
    found = model.embed(BYTES)
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
    for dtype in (np.float32, np.float64, np.float16):
        whole = (BYTES / 255).astype(dtype)
        np.testing.assert_array_equal(
            model.embed(whole), by_encoder(model, whole.astype(np.float32))
        )
    tensor = model.embed(torch.from_numpy(BYTES))
    assert isinstance(tensor, torch.Tensor)
    assert torch.equal(tensor, torch.from_numpy(expected))


@pytest.mark.parametrize("window", [(100, 4000), [(100, 4000), (0, 900)]])
def test_a_window_does_what_it_does_to_the_crops_of_a_store(model: VitMae, window) -> None:
    pairs = np.broadcast_to(np.array(window, np.float32), (5, 2, 2)).copy()
    crops = Crops(
        pixels=torch.from_numpy(WORDS),
        windows=torch.from_numpy(pairs),
        turns=torch.zeros(5, dtype=torch.uint8),
        keys=torch.zeros(5, 3, dtype=torch.int64),
        channels=("DNA", "ER"),
    )
    expected = by_encoder(model, network_input(crops, "cpu"))
    for pixels in (WORDS, WORDS.astype(">u2"), WORDS.astype(np.float32), WORDS.astype(np.int32)):
        np.testing.assert_array_equal(model.embed(pixels, window=window), expected)
    found = model.embed(torch.from_numpy(WORDS), window=window)
    np.testing.assert_array_equal(found.numpy(), expected)


def test_an_automatic_window_is_that_of_ingest_and_is_reported(model: VitMae) -> None:
    levels = np.stack(
        [np.bincount(WORDS[:, channel].ravel(), minlength=65536) for channel in (0, 1)]
    )
    window = find_windows(levels, WindowSettings())
    sentence = ", ".join(f"({low:g}, {high:g})" for low, high in window)
    with pytest.warns(UserWarning, match=re.escape(f"used window=[{sentence}]")):
        found = model.embed(WORDS, window="auto")
    with warnings.catch_warnings(action="error"):
        np.testing.assert_array_equal(found, model.embed(WORDS, window=window.tolist()))
    flat = np.full((1, 2, 16, 16), 7, np.uint16)
    with pytest.warns(UserWarning, match=re.escape("window=[(7, 8), (7, 8)]")):
        model.embed(torch.from_numpy(flat), window="auto")


def test_batches_do_not_change_embeddings(model: VitMae) -> None:
    whole = model.embed(BYTES)
    for count in (1, 2, 5, 64):
        np.testing.assert_allclose(model.embed(BYTES, crops_at_once=count), whole, atol=1e-6)
    np.testing.assert_array_equal(model.embed(BYTES, crops_at_once=5), whole)


def test_one_crop_gives_one_vector(model: VitMae) -> None:
    one = model.embed(BYTES[3])
    assert one.shape == (16,)
    np.testing.assert_array_equal(one, model.embed(BYTES[3:4])[0])


def test_pool_and_block_are_those_of_the_encoder(model: VitMae) -> None:
    model.eval()
    with torch.no_grad():
        expected = model.encoder.embed(torch.from_numpy(BYTES), "class", 1).numpy()
    np.testing.assert_array_equal(model.embed(BYTES, "class", 1), expected)


def test_it_works_without_gradients_in_eval_mode_and_leaves_the_mode() -> None:
    settings = ClassifierModel(
        crop_size=16, growth_rate=4, first_width=8, block_depths=(2,), neck_dim=6
    )
    torch.manual_seed(0)
    model = Classifier(settings, 2, ["a", "b"])
    model.head.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = model.embed(torch.from_numpy(BYTES))
    assert not found.requires_grad
    assert model.training
    assert not model.head.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.eval()
    with torch.no_grad():
        assert torch.equal(found, model.encoder.embed(torch.from_numpy(BYTES)))


def test_read_only_memory_maps_are_taken_without_a_warning(model: VitMae, tmp_path: Path) -> None:
    np.save(tmp_path / "crops.npy", BYTES)
    mapped = np.load(tmp_path / "crops.npy", mmap_mode="r")
    with warnings.catch_warnings(action="error"):
        np.testing.assert_array_equal(model.embed(mapped), model.embed(BYTES))


@pytest.mark.parametrize("device", [None, "auto", "cpu", torch.device("cpu")])
def test_the_device_may_be_named(model: VitMae, device: str | torch.device | None) -> None:
    np.testing.assert_allclose(model.embed(BYTES, device=device), model.embed(BYTES), atol=1e-5)


@pytest.mark.parametrize(
    ("pixels", "change", "sentence"),
    [
        (BYTES[0, 0], {}, "pixels must be of shape (b, c, h, w) or (c, h, w), not (16, 16)"),
        (BYTES[:0], {}, "pixels must be one crop or more, not (0, 2, 16, 16)"),
        (WORDS, {}, "pixels must be uint8, or floats from 0 to 1, unless window is"),
        (WORDS.astype(np.float32), {}, "unless window is given, not float32 from 0 to 4"),
        (np.full((1, 2, 16, 16), np.nan), {}, "window is given, not float64 from nan to nan"),
        (WORDS, {"window": "ingest"}, "window must be (low, high), a pair per channel or 'auto'"),
        (WORDS, {"window": (9, 9)}, "window must be (low, high), or 2 such pairs, low below"),
        (WORDS, {"window": (0, np.inf)}, "or 2 such pairs, low below high, not (0, inf)"),
        (WORDS, {"window": [(0, 9)] * 3}, "or 2 such pairs, low below high, not [(0, 9)"),
        (WORDS, {"window": [(0, 9), 4]}, "or 2 such pairs, low below high, not [(0, 9), 4]"),
        (WORDS, {"window": ()}, "or 2 such pairs, low below high, not ()"),
        (BYTES, {"crops_at_once": 0}, "crops_at_once must be at least 1, not 0"),
        (BYTES, {"pool": "channel"}, "no pool 'channel'"),
        (BYTES, {"block": 3}, "blocks are 1 to 2"),
        (BYTES[:, :1], {}, "trained on, not 1 channels"),
        (BYTES[..., :15], {}, "cannot be cut into patches of 4"),
    ],
)  # fmt: skip
def test_what_cannot_be_embedded_is_named(
    model: VitMae, pixels: np.ndarray, change: dict, sentence: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        model.embed(pixels, **change)
