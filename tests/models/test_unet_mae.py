"""The U-Net as masked autoencoder: its size, exact masks, losses, and maps."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from einops import rearrange
from hypothesis import given, settings
from hypothesis import strategies as st

from phenomae.models.build import build
from phenomae.models.conv.unet import Residual
from phenomae.models.conv.unet_mae import UnetMae
from phenomae.models.settings import UnetMaeModel
from phenomae.models.vit.patches import patchify, standardise
from phenomae.weights.io import load, save

SMALL = UnetMaeModel(crop_size=64, patch_size=8, widths=(8, 16, 32), depths=(2, 1, 3))


def random_case(count: int = 3, channels: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    shape = (count, channels, 64, 64)
    pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return pixels, torch.rand(count, 64, generator=generator)


def make(sizes: UnetMaeModel = SMALL, channels: int = 2) -> UnetMae:
    torch.manual_seed(0)
    model = UnetMae(sizes, channels)
    torch.nn.init.normal_(model.decoder.pred.weight)  # from zeros all predictions are alike
    return model


@pytest.fixture
def model() -> UnetMae:
    return make()


def count_by_hand(sizes: UnetMaeModel, channels: int) -> int:
    """Add up convolutions (weights, biases) and norms (two numbers a feature)."""

    def conv(before: int, after: int, side: int) -> int:
        return before * after * side**2 + after

    total, before = 0, channels
    scales = list(zip(sizes.widths, sizes.depths, strict=True))
    for number, (width, depth) in enumerate(scales):
        total += conv(before, width, 3) + (2 * before if number else 0)
        total += (depth - 1) * (conv(width, width, 3) + 2 * width)
        before = width
    for width, depth in reversed(scales[:-1]):
        total += conv(before, width, 2) + conv(2 * width, width, 3) + 4 * width
        total += (depth - 1) * (conv(width, width, 3) + 2 * width)
        before = width
    return total + conv(before, channels, 1) + 2 * before


@pytest.mark.parametrize(("size", "known"), [("M", 52e6), ("L", 135e6)])
def test_the_named_sizes_have_the_known_parameters(size: str, known: float):
    sizes = UnetMae.SIZES[size]
    with torch.device("meta"):
        model = build("unet-mae", sizes, list("abcdef"))
    found = sum(part.numel() for part in model.parameters())
    assert found == count_by_hand(sizes, channels=6)
    assert found == pytest.approx(known, rel=0.05)
    assert sizes.widths == (32, 64, 128, 256, 512, 1024)[: len(sizes.widths)]
    convolutions = sum(isinstance(part, Residual) for part in model.encoder.modules())
    assert convolutions == sum(sizes.depths) - len(sizes.depths)
    assert not any("BatchNorm" in type(part).__name__ for part in model.modules())


@settings(deadline=None, max_examples=20)
@given(percent=st.integers(2, 98), seed=st.integers(0, 99))
def test_exactly_the_patches_of_largest_noise_are_hidden(percent: int, seed: int):
    torch.manual_seed(seed)
    sizes = replace(SMALL, widths=(4, 8), depths=(1, 1), mask_ratio=percent / 100)
    model = UnetMae(sizes, channels=1)
    noise = torch.rand(2, 64)
    mask = model(torch.rand(2, 1, 64, 64), noise, full=False).mask
    kept = 64 * (100 - percent) // 100
    expected = np.argsort(np.argsort(noise.numpy(), axis=1), axis=1) >= kept
    np.testing.assert_array_equal(mask.numpy(), expected)


def test_a_quarter_is_hidden_by_default(model: UnetMae):
    assert (model(*random_case()).mask.sum(1) == 16).all()


def test_the_target_is_the_standardised_crop_and_patches_become_pictures(model: UnetMae):
    pixels, noise = random_case()
    out = model(pixels, noise)
    unit = pixels.numpy() / 255
    spread = np.sqrt(unit.var((2, 3), keepdims=True) + 1e-5)
    standardised = (unit - unit.mean((2, 3), keepdims=True)) / spread
    np.testing.assert_allclose(model.unpatch(out.target).numpy(), standardised, atol=1e-5)
    pictures = model.unpatch(out.reconstruction)
    assert pictures.shape == pixels.shape
    torch.testing.assert_close(patchify(pictures, 8), out.reconstruction, rtol=0, atol=0)


@torch.no_grad()
def test_the_network_sees_zeros_where_patches_are_hidden(model: UnetMae):
    pixels, noise = random_case()
    out = model(pixels, noise)
    mask = out.mask.numpy().reshape(3, 1, 8, 8).repeat(8, axis=2).repeat(8, axis=3)
    seen = torch.from_numpy(standardise(pixels).numpy() * (1 - mask)).float()
    maps = list(model.encoder.maps(seen))
    expected = rearrange(maps[-1], "b d y x -> b (y x) d")
    torch.testing.assert_close(out.latent, expected, atol=1e-4, rtol=1e-4)
    rebuilt = model.unpatch(out.reconstruction)
    torch.testing.assert_close(rebuilt, model.decoder(maps), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_hidden_pixels_reach_neither_latent_nor_reconstruction(model: UnetMae):
    pixels, noise = random_case()
    out = model(pixels, noise)
    patches, hidden = patchify(pixels.float(), 8), out.mask.bool()
    # mixing the pixels within every hidden patch keeps every channel's mean and variance
    order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    mixed = rearrange(patches, "b p (k c) -> b p k c", c=2)[:, :, order].flatten(2)
    patches[hidden] = mixed[hidden]
    again = model(model.unpatch(patches).to(torch.uint8), noise)
    torch.testing.assert_close(again.latent, out.latent, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(again.reconstruction, out.reconstruction, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(again.target, out.target, atol=0.1)


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("weight", [0.0, 0.25])
def test_the_losses_are_their_formulas(normalise: bool, weight: float):
    model = make(replace(SMALL, fourier_weight=weight, normalise_targets=normalise))
    pixels, noise = random_case()
    out = model(pixels, noise)
    target = patchify(standardise(pixels), 8).double().numpy()
    if normalise:
        variance = target.var(-1, keepdims=True, ddof=1)
        target = (target - target.mean(-1, keepdims=True)) / np.sqrt(variance + 1e-6)
    np.testing.assert_allclose(out.target.numpy(), target, atol=1e-4)
    rebuilt = out.reconstruction.detach().double().numpy()
    squared = ((rebuilt - target) ** 2)[out.mask.bool().numpy()].mean()
    found = {name: loss.item() for name, loss in out.losses.items()}
    assert found["masked_mse"] == pytest.approx(squared, rel=1e-5)
    if weight == 0:
        assert found == {"loss": found["masked_mse"], "masked_mse": found["masked_mse"]}
        return
    magnitudes = [
        np.abs(np.fft.fft2(as_pictures(patches, side=8))) for patches in (rebuilt, target)
    ]
    fourier = np.abs(magnitudes[0] - magnitudes[1]).mean()
    assert found["fourier"] == pytest.approx(fourier, rel=1e-4)
    assert found["loss"] == pytest.approx(0.75 * squared + 0.25 * fourier, rel=1e-4)


def as_pictures(patches: np.ndarray, side: int) -> np.ndarray:
    rows = int(len(patches[0]) ** 0.5)
    cut = patches.reshape(len(patches), rows, rows, side, side, -1)
    return cut.transpose(0, 5, 1, 3, 2, 4).reshape(len(patches), -1, rows * side, rows * side)


def test_a_pass_for_the_loss_alone_has_the_same_loss_and_gradients(model: UnetMae):
    gradients, losses = {}, {}
    for full in (True, False):
        model.zero_grad()
        out = model(*random_case(), full=full)
        out.losses["loss"].backward()
        losses[full] = out.losses["loss"].item()
        gradients[full] = {name: part.grad.clone() for name, part in model.named_parameters()}
        assert (out.reconstruction is None) == (out.target is None) == (not full)
    assert losses[True] == losses[False]
    for name, gradient in gradients[True].items():
        assert gradient.any(), name
        torch.testing.assert_close(gradients[False][name], gradient, atol=1e-6, rtol=1e-4)


@torch.no_grad()
def test_tokens_and_vectors_are_the_pixels_of_the_scales_maps(model: UnetMae):
    pixels, _ = random_case()
    x, maps = standardise(pixels), []
    for number, scale in enumerate(model.encoder.scales):
        x = scale(torch.nn.functional.max_pool2d(x, 2) if number else x)
        maps.append(x)
    assert [tuple(found.shape[1:]) for found in maps] == [(8, 64, 64), (16, 32, 32), (32, 16, 16)]
    tokens = list(model.encoder.walk(pixels))
    for found, expected in zip(tokens, maps, strict=True):
        torch.testing.assert_close(found, expected.flatten(2).transpose(1, 2), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(model.features(pixels), tokens[-1])
    torch.testing.assert_close(model.embed(pixels), maps[-1].mean((2, 3)))
    blocks = model.encoder.embed_blocks(pixels, [3, 1])
    torch.testing.assert_close(blocks, [maps[2].mean((2, 3)), maps[0].mean((2, 3))])
    torch.testing.assert_close(model.embed(pixels, block=2), maps[1].mean((2, 3)))


@torch.no_grad()
def test_gain_and_offset_change_nothing(model: UnetMae):
    crops = torch.rand(2, 2, 64, 64)
    torch.testing.assert_close(
        model.embed(crops * 0.6 + 0.3), model.embed(crops), atol=1e-3, rtol=1e-3
    )


@torch.no_grad()
def test_rectangular_crops_are_rebuilt_too(model: UnetMae):
    pixels = torch.rand(2, 2, 16, 64)
    out = model(pixels, torch.rand(2, 16))
    assert out.reconstruction.shape == out.target.shape == (2, 16, 128)
    assert model.unpatch(out.target, (2, 8)).shape == pixels.shape


def test_weights_come_back(tmp_path: Path, model: UnetMae):
    save(tmp_path, model, {})
    found = load(tmp_path)
    assert found.settings == SMALL
    pixels, _ = random_case()
    with torch.inference_mode():
        assert torch.equal(found.embed(pixels), model.eval().embed(pixels))


@pytest.mark.parametrize(
    ("shape", "noise", "sentence"),
    [
        ((2, 64, 66), 64, "crops of 64 x 66 pixels cannot be halved 2 times: .* multiples of 4"),
        ((2, 64, 68), 64, "crops of 64 x 68 pixels cannot be cut into patches of 8"),
        ((3, 64, 64), 64, "crops must have the 2 channels that .* trained on, not 3 channels"),
        ((2, 64, 64), 16, r"noise must have shape \(2, 64\), one number per patch, not \(2, 16\)"),
    ],
)
def test_crops_that_do_not_fit_are_refused(
    model: UnetMae, shape: tuple[int, ...], noise: int, sentence: str
):
    with pytest.raises(ValueError, match=sentence):
        model(torch.rand(2, *shape), torch.rand(2, noise))


def test_blocks_and_pools_that_are_not_there_are_refused(model: UnetMae):
    pixels, _ = random_case()
    with pytest.raises(ValueError, match="blocks are 1 to 3"):
        model.embed(pixels, block=4)
    with pytest.raises(ValueError, match="no pool 'class'"):
        model.embed(pixels, pool="class")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"crop_size": 0}, "crop_size must be at least 1"),
        ({"patch_size": 0}, "patch_size must be at least 1"),
        (
            {"crop_size": 34, "patch_size": 2},
            "crop_size must be a multiple of 4, because it is halved 2",
        ),
        ({"crop_size": 68}, "crop_size must be a multiple of patch_size 8, not 68"),
        ({"widths": (8, 0, 8)}, r"widths must be .* numbers that are at least 1, not \(8, 0, 8\)"),
        ({"depths": ()}, "depths must be one or more numbers that are at least 1"),
        ({"widths": (8,)}, r"widths must be two numbers or more, one per scale, not \(8,\)"),
        ({"depths": (1, 1)}, r"depths must be 3 numbers, as many as widths has, not \(1, 1\)"),
        ({"mask_ratio": 0.0}, "mask_ratio must be between 0 and 1"),
        (
            {"mask_ratio": 0.001, "patch_size": 64},
            "at least one of 1 patches is hidden",
        ),
        ({"fourier_weight": -0.1}, "fourier_weight must be from 0 to 1, not -0.1"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change: dict, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        replace(SMALL, **change)
