"""The encoder: sizes as published, one block against its formula, crops of any shape."""

import numpy as np
import pytest
import torch
from scipy.special import erf, softmax

from phenomae.models.settings import VitMaeModel
from phenomae.models.sizes import VIT_SIZES
from phenomae.models.vit.vit import ParallelBlock, Vit
from phenomae.models.vit.vit_mae import VitMae

SMALL = VitMaeModel(crop_size=32, patch_size=8, embed_dim=48, depth=2, num_heads=3, layer_scale=0.5)

# ../shared/facts.md, counted on the authors' code: 6 channels, 256 pixels, position table included.
COUNTED = {
    "S/16": 21_968_256,
    "B/16": 86_400_768,
    "B/8": 86_105_856,
    "L/16": 304_057_344,
    "L/8": 303_664_128,
}


def random_crops(count: int = 3, height: int = 32, width: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (count, 6, height, width), generator=generator, dtype=torch.uint8)


@pytest.fixture(scope="module")
def vit() -> Vit:
    torch.manual_seed(0)
    return Vit(SMALL, channels=6).eval()


@pytest.mark.parametrize("size", COUNTED)
def test_parameters_are_those_that_were_counted(size: str):
    with torch.device("meta"):
        model = VitMae(VitMae.SIZES[size], channels=6)
    encoder = sum(part.numel() for part in model.encoder.parameters())
    assert encoder + model.encoder.positions.numel() == COUNTED[size]
    blocks = sum(part.numel() for part in model.decoder.blocks.parameters())
    norm = sum(part.numel() for part in model.decoder.norm.parameters())
    assert blocks == 25_219_072
    assert blocks + norm + model.decoder.mask_token.numel() == 25_220_608


def layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    spread = np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    return (x - x.mean(-1, keepdims=True)) / spread * weight + bias


def test_a_block_is_its_formula():
    torch.manual_seed(1)
    block = ParallelBlock(24, num_heads=2, mlp_ratio=4.0, layer_scale=0.3, drop_path=0.0)
    with torch.no_grad():
        for part in block.parameters():
            part.copy_(torch.randn_like(part) * 0.3)
    w = {name: part.detach().double().numpy() for name, part in block.named_parameters()}
    x = torch.randn(2, 5, 24)
    z = x.double().numpy()
    normed = layer_norm(z, w["in_norm.weight"], w["in_norm.bias"])
    fused = normed @ w["in_proj.weight"].T + np.concatenate([np.zeros(72), w["mlp_bias"]])
    hidden, q, k, v = np.split(fused, [96, 120, 144], axis=-1)
    update = 0.5 * hidden * (1 + erf(hidden / np.sqrt(2))) @ w["mlp_out_proj.weight"].T
    heads = []
    for one in (slice(0, 12), slice(12, 24)):
        a = layer_norm(q[..., one], w["q_norm.weight"], w["q_norm.bias"])
        b = layer_norm(k[..., one], w["k_norm.weight"], w["k_norm.bias"])
        heads.append(softmax(a @ b.transpose(0, 2, 1) / np.sqrt(12), axis=-1) @ v[..., one])
    update += np.concatenate(heads, -1) @ w["attn_out_proj.weight"].T
    update += w["mlp_out_proj.bias"] + w["attn_out_proj.bias"]
    found = block(x).detach().numpy()
    np.testing.assert_allclose(found, z + w["layer_scale"] * update, atol=1e-5)


def test_drop_path_skips_whole_crops_and_strengthens_the_others():
    torch.manual_seed(2)
    block = ParallelBlock(24, num_heads=2, mlp_ratio=4.0, layer_scale=1.0, drop_path=0.5)
    x = torch.randn(64, 5, 24)
    update = block.eval()(x) - x
    change = block.train()(x) - x
    skipped = change.flatten(1).abs().amax(1) == 0
    assert 16 < skipped.sum() < 48
    torch.testing.assert_close(change[~skipped], 2 * update[~skipped], atol=1e-5, rtol=1e-5)


def test_drop_path_grows_evenly_to_the_last_block():
    rates = [block.drop_path for block in Vit(VIT_SIZES["S/16"], channels=1).blocks]
    np.testing.assert_allclose(rates, np.linspace(0, 0.1, 12))


@torch.no_grad()
def test_crops_of_any_shape_get_a_token_a_patch(vit: Vit):
    assert vit(random_crops(2, 24, 64)).shape == (2, 1 + 3 * 8, 48)
    assert vit.embed(random_crops(2, 8, 8)).shape == (2, 48)


@torch.no_grad()
def test_pooling_takes_the_mean_of_patches_or_the_class_token(vit: Vit):
    tokens = vit(random_crops())
    assert torch.equal(vit.embed(random_crops()), tokens[:, 1:].mean(1))
    assert torch.equal(vit.embed(random_crops(), "class"), tokens[:, 0])


@torch.no_grad()
def test_a_stain_gain_does_not_reach_the_embedding(vit: Vit):
    crops = random_crops().float() / 255
    dimmed = crops * torch.tensor([1, 0.5, 1, 0.8, 1, 1]).reshape(1, 6, 1, 1) + 0.05
    torch.testing.assert_close(vit.embed(crops), vit.embed(dimmed), atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_mates_hardly_change_an_embedding_of_small_crops(vit: Vit):
    """At 256 pixels they change no bit: test_mates.py."""
    crops = random_crops(32)
    together = vit.embed(crops)
    for index in (0, 17, 31):
        alone = vit.embed(crops[index : index + 1])
        torch.testing.assert_close(alone, together[index : index + 1], atol=1e-5, rtol=1e-5)


def test_crops_that_do_not_fit_are_refused(vit: Vit):
    with pytest.raises(
        ValueError, match=r"crops must have the 6 channels that .* trained on, not 5 channels"
    ):
        vit(random_crops()[:, :5])
    with pytest.raises(ValueError, match="30 x 32 pixels cannot be cut into patches of 8"):
        vit(random_crops(height=30))
