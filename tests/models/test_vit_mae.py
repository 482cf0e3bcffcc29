"""The masked autoencoder: exact masks, losses that mean what they say."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from phenomae.models.settings import VitMaeModel
from phenomae.models.vit.vit_mae import VitMae

SMALL = VitMaeModel(
    crop_size=32,
    patch_size=8,
    embed_dim=48,
    depth=2,
    num_heads=3,
    layer_scale=0.5,
    drop_path=0.0,
    decoder_embed_dim=32,
    decoder_depth=2,
    decoder_num_heads=4,
)


def random_case(model: VitMae, count: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    shape = (count, len(model.channels), 32, 32)
    pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return pixels, torch.rand(count, 16, generator=generator)


@pytest.fixture
def model() -> VitMae:
    torch.manual_seed(0)
    model = VitMae(SMALL, channels=3)
    torch.nn.init.xavier_uniform_(model.decoder.pred.weight)  # from zeros all predictions are alike
    return model


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.75])
def test_exactly_the_patches_of_largest_noise_are_hidden(ratio: float):
    model = VitMae(VitMaeModel(**{**SMALL.__dict__, "mask_ratio": ratio}), channels=3)
    pixels, noise = random_case(model)
    mask = model(pixels, noise, full=False).mask
    hidden = int(16 * ratio)
    expected = np.argsort(np.argsort(noise.numpy(), axis=1), axis=1) >= 16 - hidden
    np.testing.assert_array_equal(mask.numpy(), expected)


def test_the_loss_is_the_mean_squared_error_on_hidden_patches(model: VitMae):
    out = model(*random_case(model))
    mask = out.mask.bool().numpy()
    error = (out.reconstruction - out.target).detach().numpy() ** 2
    np.testing.assert_allclose(out.losses["loss"].item(), error[mask].mean(), rtol=1e-6)
    assert out.losses["masked_mse"] == out.losses["loss"]


def test_a_pass_for_the_loss_alone_has_the_same_loss_and_gradients(model: VitMae):
    gradients, losses = {}, {}
    for full in (True, False):
        model.zero_grad()
        out = model(*random_case(model), full=full)
        out.losses["loss"].backward()
        losses[full] = out.losses["loss"].item()
        gradients[full] = {
            name: part.grad.clone() for name, part in model.named_parameters() if part.requires_grad
        }
        assert (out.reconstruction is None) == (out.target is None) == (not full)
    assert losses[True] == pytest.approx(losses[False], rel=1e-6)
    for name, gradient in gradients[True].items():
        assert gradient.any(), name
        torch.testing.assert_close(gradients[False][name], gradient, atol=1e-6, rtol=1e-4)


@torch.no_grad()
def test_hidden_pixels_reach_neither_latent_nor_reconstruction(model: VitMae):
    crops, noise = random_case(model)
    patches = model.encoder.cut(crops)
    out = model(crops, noise)
    # swapping the pixels of hidden patches within a crop keeps every channel's mean and variance
    order = noise.argsort(dim=1)
    swapped = patches.clone()
    rows = torch.arange(len(patches))
    swapped[rows, order[:, -1]], swapped[rows, order[:, -2]] = (
        patches[rows, order[:, -2]],
        patches[rows, order[:, -1]],
    )
    lowest = swapped.amin()
    as_crops = (model.unpatch(swapped) - lowest) / (swapped.amax() - lowest)
    again = model(as_crops, noise)
    torch.testing.assert_close(again.latent, out.latent, atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(again.reconstruction, out.reconstruction, atol=2e-3, rtol=1e-3)
    assert not torch.allclose(again.target, out.target, atol=0.1)


@torch.no_grad()
def test_rectangular_crops_are_rebuilt_too(model: VitMae):
    pixels = torch.rand(2, 3, 16, 64)
    out = model(pixels, torch.rand(2, 16))
    assert out.reconstruction.shape == out.target.shape == (2, 16, 192)
    assert model.unpatch(out.target, (2, 8)).shape == pixels.shape


def test_noise_of_another_shape_is_refused(model: VitMae):
    pixels, noise = random_case(model)
    with pytest.raises(
        ValueError, match=r"noise must have shape \(4, 16\), one number per patch, not"
    ):
        model(pixels, noise[:, :9])


def test_it_learns_crops_by_heart(model: VitMae):
    ramp = torch.linspace(0, 3.14, 32)
    waves = [
        torch.sin(a * ramp)[:, None] * torch.cos(b * ramp) for a, b in ((1, 2), (3, 1), (2, 4))
    ]
    pixels = torch.stack([torch.stack(waves[i:] + waves[:i]) for i in range(3)]) / 2 + 0.5
    noise = torch.rand(3, 16, generator=torch.Generator().manual_seed(0))
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(150):
        optimiser.zero_grad()
        loss = model(pixels, noise, full=False).losses["loss"]
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3


@torch.no_grad()
def test_a_cross_attention_decoder_is_that_of_torch():
    torch.manual_seed(0)
    settings = replace(SMALL, decoder_attention="cross", decoder_depth=1)
    decoder = VitMae(settings, channels=3).decoder.eval()
    torch.nn.init.xavier_uniform_(decoder.pred.weight)
    (block,) = decoder.blocks
    latent, order = torch.randn(2, 5, 48), torch.stack([torch.randperm(16) for _ in range(2)])
    dim, positions = 32, decoder.positions[1:]
    oracle = torch.nn.MultiheadAttention(dim, 4, batch_first=True)
    oracle.in_proj_weight.copy_(torch.cat([block.q.weight, block.kv.weight]))
    oracle.in_proj_bias.copy_(torch.cat([block.q.bias, block.kv.bias]))
    oracle.out_proj.load_state_dict(block.proj.state_dict())
    context = decoder.embed(latent)
    context[:, 1:] += positions[order[:, :4]]
    for full, patches in ((False, order[:, 4:]), (True, order)):
        x = decoder.mask_token + positions[patches]
        keys = block.norm_context(context)
        x = x + oracle(block.norm1(x), keys, keys, need_weights=False)[0]
        x = x + block.fc2(torch.nn.functional.gelu(block.fc1(block.norm2(x))))
        expected = decoder.pred(decoder.norm(x))
        torch.testing.assert_close(decoder(latent, order, (4, 4), full), expected)


def test_a_network_with_a_cross_attention_decoder_trains_all_its_weights():
    torch.manual_seed(0)
    model = VitMae(replace(SMALL, decoder_attention="cross"), channels=3)
    torch.nn.init.xavier_uniform_(model.decoder.pred.weight)
    pixels, noise = random_case(model)
    out, other = model(pixels, noise), model(pixels, 1 - noise)
    assert out.losses["loss"].isfinite()
    assert not torch.equal(out.reconstruction, other.reconstruction)
    full = model(pixels, noise, full=False)
    torch.testing.assert_close(full.losses["loss"], out.losses["loss"])
    full.losses["loss"].backward()
    assert all(part.grad is not None for part in model.parameters() if part.requires_grad)
