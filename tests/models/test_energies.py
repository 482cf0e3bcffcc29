"""Local energies against scipy's transform and the formulas, and the network that predicts them."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.fft import dctn

from phenomae.models.settings import EnergyMaeModel
from phenomae.models.vit.energies import LocalEnergies
from phenomae.models.vit.energy_mae import EnergyMae

SMALL = EnergyMaeModel(
    crop_size=32,
    patch_size=8,
    embed_dim=16,
    depth=2,
    num_heads=2,
    layer_scale=0.5,
    drop_path=0.0,
    decoder_embed_dim=16,
    decoder_depth=1,
    decoder_num_heads=2,
)
# The lower ends of the bands of frequency, by the side of a patch.
STARTS = {
    2: [0.5],
    4: [0.5, 1.5, 2.5],
    5: [0.5, 1.5, 2.5],
    8: [0.5, 1.5, 2.5, 4.5],
    16: [0.5, 1.5, 2.5, 4.5, 8.5],
}


def energies_of(patch: np.ndarray) -> np.ndarray:
    """Return the energies of one patch (side, side, channels), by the formulas of the docstring."""
    side, _, channels = patch.shape
    planes = [dctn(patch[..., channel].astype(float), norm="ortho") for channel in range(channels)]
    radius = np.hypot(*np.mgrid[:side, :side])
    found = [patch.mean(axis=(0, 1))]
    for low, high in zip(STARTS[side], [*STARTS[side][1:], np.inf], strict=True):
        waves = np.array([plane[(radius >= low) & (radius < high)] for plane in planes])
        power = (waves**2).mean(axis=1)
        found.append(np.log(power + 0.1))
        pairs = combinations(range(channels), 2)
        found.append(
            [
                (waves[i] * waves[j]).mean() / np.sqrt((power[i] + 0.1) * (power[j] + 0.1))
                for i, j in pairs
            ]
        )
    return np.concatenate(found)


@pytest.mark.parametrize("side", STARTS)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_energies_are_those_of_scipys_transform(side: int, channels: int):
    patches = np.random.default_rng(0).normal(size=(2, 3, side, side, channels)).astype(np.float32)
    found = LocalEnergies(channels, side).measure(torch.from_numpy(patches.reshape(2, 3, -1)))
    expected = [[energies_of(patch) for patch in crop] for crop in patches]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_energies_of_a_sample_have_mean_0_and_variance_1_and_a_constant_one_is_0():
    energies = LocalEnergies(2, 4)
    patches = torch.randn(5, 6, 4, 4, 2)
    patches[..., 1] = 0.5
    energies.fit(patches.reshape(5, 6, -1))
    found = energies(patches.reshape(5, 6, -1)).double()
    varies = found.std((0, 1)) > 1e-3
    # All means and powers of the first channel vary; nothing of the second, nor any coherence.
    assert varies.tolist() == [True, False, *[True, False, False] * 3]
    torch.testing.assert_close(found.mean((0, 1)), torch.zeros(11).double(), atol=1e-5, rtol=0)
    deviations = found.std((0, 1), correction=0)[varies]
    torch.testing.assert_close(deviations, torch.ones(4).double(), atol=1e-5, rtol=0)


def test_turns_of_a_patch_have_the_same_energies():
    energies = LocalEnergies(3, 8)
    patches = torch.randn(2, 5, 8, 8, 3)
    for turned in (patches.rot90(1, (2, 3)), patches.flip(2), patches.transpose(2, 3)):
        found, before = (energies.measure(part.reshape(2, 5, -1)) for part in (turned, patches))
        torch.testing.assert_close(found, before, atol=1e-5, rtol=1e-5)


def make(**changes) -> tuple[EnergyMae, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    model = EnergyMae(replace(SMALL, **changes), 3)
    for layer in (model.decoder.pred, model.decoder.visible):
        torch.nn.init.xavier_uniform_(layer.weight)
    pixels = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    model.decoder.energies.fit(model.encoder.cut(pixels))
    return model, pixels, torch.rand(4, 16)


@torch.no_grad()
@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
def test_the_loss_is_that_on_hidden_and_that_on_visible_patches(weight: float):
    model, pixels, noise = make(visible_weight=weight)
    out = model(pixels, noise)
    error = (out.reconstruction - out.target).numpy() ** 2
    hidden = out.mask.bool().numpy()
    assert hidden.sum(axis=1).tolist() == [12] * 4
    for losses in (out.losses, model(pixels, noise, full=False).losses):
        assert losses["masked_mse"].item() == pytest.approx(error[hidden].mean(), rel=1e-5)
        assert losses["visible_mse"].item() == pytest.approx(error[~hidden].mean(), rel=1e-5)
        total = error[hidden].mean() + weight * error[~hidden].mean()
        assert losses["loss"].item() == pytest.approx(total, rel=1e-5)


@torch.no_grad()
def test_hidden_pixels_reach_neither_tokens_nor_predictions():
    model, pixels, noise = make()
    out = model(pixels, noise)
    # Pixels swapped within a hidden patch: the mean and variance of every channel stay the same.
    patch = int(noise[0].argmax())
    top, left = 8 * (patch // 4), 8 * (patch % 4)
    swapped = pixels.clone()
    swapped[0, :, top : top + 8, left : left + 8] = pixels[
        0, :, top : top + 8, left : left + 8
    ].flip(1)[:, torch.randperm(8)]
    again = model(swapped, noise)
    torch.testing.assert_close(again.latent, out.latent)
    torch.testing.assert_close(again.reconstruction, out.reconstruction)
    assert not torch.allclose(again.target[0, patch], out.target[0, patch])


def test_every_weight_that_is_trained_has_a_gradient():
    model, pixels, noise = make()
    model(pixels, noise, full=False).losses["loss"].backward()
    for name, part in model.named_parameters():
        assert not part.requires_grad or part.grad.any(), name


def test_pictures_show_the_powers_of_the_lowest_band():
    model, pixels, noise = make()
    out = model(pixels, noise)
    images = model.unpatch(out.target)
    assert images.shape == (4, 3, 4, 4)
    # Of patch (row 1, column 2): energies 0 to 2 are means, 3 to 5 the log powers.
    torch.testing.assert_close(images[:, :, 1, 2], out.target[:, 6, 3:6])
