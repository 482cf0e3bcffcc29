"""The losses, each against its formula in numpy."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from phenomae.models.losses import fourier_distance, normalise_patches
from phenomae.models.masking import MaskedNetwork
from phenomae.models.settings import ChannelMaeModel, VitMaeModel
from phenomae.models.vit.channel_mae import ChannelMae
from phenomae.models.vit.vit_mae import VitMae

SIZES = {
    "crop_size": 16,
    "patch_size": 4,
    "embed_dim": 16,
    "depth": 1,
    "num_heads": 2,
    "decoder_embed_dim": 16,
    "decoder_depth": 1,
    "decoder_num_heads": 2,
}
NETWORKS = {
    "vit-mae": (VitMae, VitMaeModel(**SIZES)),
    "channel-mae": (ChannelMae, ChannelMaeModel(**SIZES)),
}


def build(family: str, **change) -> tuple[MaskedNetwork, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    network, settings = NETWORKS[family]
    model = network(replace(settings, **change), 2)
    torch.nn.init.xavier_uniform_(model.decoder.pred.weight)
    pixels = torch.rand(3, 2, 16, 16)
    return model.eval(), pixels, torch.rand(3, model.count_patches(pixels))


def test_the_fourier_term_is_that_of_numpy():
    first, second = torch.randn(2, 3, 16, 24), torch.randn(2, 3, 16, 24)
    magnitudes = [
        np.abs(np.fft.fft2(image.numpy().astype(np.float64))) for image in (first, second)
    ]
    expected = np.abs(magnitudes[0] - magnitudes[1]).mean()
    assert fourier_distance(first, second).item() == pytest.approx(expected, rel=1e-5)


def test_an_orthonormal_fourier_term_does_not_grow_with_the_crop():
    noise = [torch.randn(2, 1, side, side) for side in (32, 128)]
    for norm, ratio in (("backward", 4), ("ortho", 1)):
        small, large = (fourier_distance(image, 0 * image, norm).item() for image in noise)
        assert large / small == pytest.approx(ratio, rel=0.05)
    expected = np.abs(np.fft.fft2(noise[0].numpy(), norm="ortho")).mean()
    ortho = fourier_distance(noise[0], 0 * noise[0], "ortho").item()
    assert ortho == pytest.approx(expected, rel=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("family", NETWORKS)
@pytest.mark.parametrize("norm", ["backward", "ortho"])
def test_the_plus_loss_weighs_both_terms_over_whole_pictures(family: str, norm: str):
    model, pixels, noise = build(family, fourier_weight=0.01, fourier_norm=norm)
    out = model(pixels, noise)
    error = (out.reconstruction - out.target).numpy() ** 2
    mse = error[out.mask.bool().numpy()].mean()
    pictures = [model.unpatch(patches).numpy() for patches in (out.reconstruction, out.target)]
    spectra = [np.abs(np.fft.fft2(picture, norm=norm)) for picture in pictures]
    fourier = np.abs(spectra[0] - spectra[1]).mean()
    assert out.losses["masked_mse"].item() == pytest.approx(mse, rel=1e-5)
    assert out.losses["fourier"].item() == pytest.approx(fourier, rel=1e-5)
    assert out.losses["loss"].item() == pytest.approx(0.99 * mse + 0.01 * fourier, rel=1e-5)
    assert model(pixels, noise, full=False).losses["loss"].item() == pytest.approx(
        out.losses["loss"].item(), rel=1e-5
    )


@pytest.mark.parametrize("family", NETWORKS)
def test_the_plus_loss_has_gradients_for_every_weight(family: str):
    model, pixels, noise = build(family, fourier_weight=0.01)
    model(pixels, noise, full=False).losses["loss"].backward()
    for name, part in model.named_parameters():
        assert not part.requires_grad or part.grad.isfinite().all(), name


@torch.no_grad()
@pytest.mark.parametrize("family", NETWORKS)
def test_targets_can_be_normalised_patch_by_patch(family: str):
    model, pixels, noise = build(family, normalise_targets=True)
    plain, _, _ = build(family)
    patches = plain(pixels, noise).target.numpy().astype(np.float64)
    spread = np.sqrt(patches.var(axis=-1, ddof=1, keepdims=True) + 1e-6)
    expected = (patches - patches.mean(axis=-1, keepdims=True)) / spread
    out = model(pixels, noise)
    np.testing.assert_allclose(out.target, expected, atol=1e-4)
    error = (out.reconstruction.numpy() - expected) ** 2
    assert out.losses["loss"].item() == pytest.approx(
        error[out.mask.bool().numpy()].mean(), rel=1e-4
    )


def test_a_flat_patch_becomes_zero():
    assert not normalise_patches(torch.full((1, 2, 9), 3.0)).any()
