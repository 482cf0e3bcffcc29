"""The channel-agnostic autoencoder: any channels, exact masks, a decoder that is many at once."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from phenomae.models.settings import ChannelMaeModel
from phenomae.models.vit.channel_mae import ChannelMae
from phenomae.models.vit.decoder import Block
from phenomae.models.vit.patches import patchify_channels, unpatch_channels

SMALL = ChannelMaeModel(
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
NAMES = ("DNA", "ER", "AGP")


@pytest.fixture
def model() -> ChannelMae:
    torch.manual_seed(0)
    model = ChannelMae(SMALL, NAMES)
    torch.nn.init.xavier_uniform_(model.decoder.pred.weight)  # from zeros all predictions are alike
    for name, part in model.decoder.named_parameters():
        if "norm" in name or "bias" in name or "token" in name:
            torch.nn.init.normal_(part, std=0.3)
    return model.eval()


def random_crops(channels: int, count: int = 2, height: int = 32, width: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(channels)
    shape = (count, channels, height, width)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


@torch.no_grad()
@pytest.mark.parametrize("channels", [1, 2, 5, 11])
def test_any_number_of_channels_gives_a_vector(model: ChannelMae, channels: int):
    crops = random_crops(channels)
    assert model.features(crops).shape == (2, 1 + 16 * channels, 48)
    assert model.embed(crops).shape == (2, 48)
    assert model.embed(crops, pool="channel").shape == (2, 48 * channels)


@torch.no_grad()
def test_permuting_channels_permutes_their_vectors_and_leaves_the_mean(model: ChannelMae):
    crops = random_crops(5)
    order = torch.tensor([3, 0, 4, 2, 1])
    plain, turned = (model.embed(x, pool="channel") for x in (crops, crops[:, order]))
    expected = plain.unflatten(1, (5, 48))[:, order].flatten(1)
    torch.testing.assert_close(turned, expected, atol=1e-5, rtol=1e-5)
    for pool in ("mean", "class"):
        there, here = model.embed(crops[:, order], pool), model.embed(crops, pool)
        torch.testing.assert_close(there, here, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_channels_vectors_are_the_means_over_their_own_tokens(model: ChannelMae):
    crops = random_crops(3)
    tokens = model.features(crops).numpy()[:, 1:]
    by_hand = [tokens[:, 16 * c : 16 * c + 16].mean(axis=1) for c in range(3)]
    np.testing.assert_allclose(
        model.embed(crops, pool="channel"), np.concatenate(by_hand, axis=1), atol=1e-5
    )


@torch.no_grad()
@pytest.mark.parametrize(("channels", "hidden"), [(1, 12), (2, 24), (3, 36)])
def test_the_share_is_hidden_of_all_channels_together(
    model: ChannelMae, channels: int, hidden: int
):
    noise = torch.rand(2, 16 * channels)
    out = model(random_crops(channels), noise, channels=NAMES[:channels])
    assert out.mask.sum(1).tolist() == [hidden, hidden]
    assert out.latent.shape == (2, 1 + 16 * channels - hidden, 48)
    last = np.argsort(np.argsort(noise.numpy(), axis=1), axis=1) >= 16 * channels - hidden
    np.testing.assert_array_equal(out.mask.numpy(), last)


@torch.no_grad()
def test_the_batched_blocks_are_an_ordinary_block_for_every_channel(model: ChannelMae):
    """Each channel's weights, put into the decoder block of the ViT autoencoder, give the same."""
    many = model.decoder.blocks[1]
    x = torch.randn(3, 2 * 16, 32)
    found = many(x, None, 2)
    picked = many(x[[2, 0]], torch.tensor([2, 0]), 2)
    for channel in range(3):
        one = Block(32, 4, 4.0)
        state = {
            name: part[channel].T if part.ndim == 3 else part[channel]
            for name, part in many.state_dict().items()
        }
        one.load_state_dict(state)
        for norm in (one.norm1, one.norm2):
            norm.eps = 1e-5
        expected = one(x[channel].unflatten(0, (2, 16))).flatten(0, 1)
        torch.testing.assert_close(found[channel], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(picked, found[[2, 0]], atol=1e-6, rtol=1e-6)


@torch.no_grad()
def test_channels_are_rebuilt_by_name_in_any_order(model: ChannelMae):
    crops, noise = random_crops(3), torch.rand(2, 48)
    out = model(crops, noise)
    order = [2, 0, 1]
    turned_noise = noise.unflatten(1, (3, 16))[:, order].flatten(1)
    turned = model(crops[:, order], turned_noise, channels=[NAMES[at] for at in order])
    expected = model.unpatch(out.reconstruction)[:, order]
    torch.testing.assert_close(model.unpatch(turned.reconstruction), expected, atol=1e-4, rtol=1e-4)
    assert turned.losses["loss"].item() == pytest.approx(out.losses["loss"].item(), rel=1e-5)


@torch.no_grad()
def test_a_missing_stain_is_predicted_from_the_others(model: ChannelMae):
    """As a masked pass does in which all of that stain, and nothing else, is hidden."""
    crops = random_crops(3)
    found = model.predict(crops[:, [1, 0]], channels=["ER", "DNA"], missing=["AGP"])
    settings = {**SMALL.__dict__, "mask_ratio": 1 / 3}
    same = ChannelMae(ChannelMaeModel(**settings), NAMES)
    same.load_state_dict(model.state_dict())
    noise = torch.arange(48.0).expand(2, -1)  # hides the last third: the channel named last
    out = same.eval()(crops[:, [1, 0, 2]], noise, channels=["ER", "DNA", "AGP"])
    assert out.mask[:, 32:].all()
    assert not out.mask[:, :32].any()
    expected = model.unpatch(out.reconstruction)[:, 2:]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_unknown_and_needless_channels_are_refused(model: ChannelMae):
    crops = random_crops(2)
    with pytest.raises(ValueError, match=r"the model was trained on, .*DNA, ER.*, not 'RNA'"):
        model(crops, torch.rand(2, 32), channels=["DNA", "RNA"])
    with pytest.raises(ValueError, match="missing must not name 'ER', which is among channels"):
        model.predict(crops, channels=["DNA", "ER"], missing=["ER"])
    with pytest.raises(ValueError, match=r"the model was trained on, .*DNA, ER.*, not 'RNA'"):
        model.predict(crops, channels=["DNA", "ER"], missing=["RNA"])


@pytest.mark.parametrize(
    ("names", "ending"),
    [
        (["DNA"], "not DNA$"),
        (NAMES, "not DNA, ER, AGP$"),
        (["DNA", "DNA"], "not DNA, DNA$"),
    ],
)
def test_channels_without_a_name_of_their_own_are_refused(
    model: ChannelMae, names: list[str], ending: str
):
    crops = random_crops(2)
    sentence = f"channels must be 2 different names, one per channel of the crops, {ending}"
    with pytest.raises(ValueError, match=sentence):
        model(crops, torch.rand(2, 32), channels=names)
    with pytest.raises(ValueError, match=sentence):
        model.predict(crops, channels=names, missing=["AGP"])
    with pytest.raises(
        ValueError, match=r"channels must be 2 different names, .*, not DNA, ER, AGP"
    ):
        model(crops, torch.rand(2, 32))


@pytest.mark.parametrize(("missing", "told"), [([], "''"), (["AGP", "AGP"], "'AGP, AGP'")])
def test_missing_stains_must_be_one_or_more_each_once(
    model: ChannelMae, missing: list[str], told: str
):
    sentence = f"missing must be one or more different channels, not {told}"
    with pytest.raises(ValueError, match=sentence):
        model.predict(random_crops(2), channels=["DNA", "ER"], missing=missing)


@pytest.mark.parametrize(("height", "width"), [(16, 48), (24, 8), (64, 64)])
def test_unpatch_undoes_patch_channel_by_channel(height: int, width: int):
    images = torch.randn(2, 3, height, width)
    patches = patchify_channels(images, 8)
    assert torch.equal(unpatch_channels(patches, (height // 8, width // 8), 8), images)
    second = images[1, 2, 0:8, width - 8 :].flatten()
    assert torch.equal(patches[1, 2 * (height // 8) * (width // 8) + width // 8 - 1], second)


@torch.no_grad()
def test_rectangular_crops_are_rebuilt_too(model: ChannelMae):
    crops = random_crops(3, height=16, width=40)
    out = model(crops, torch.rand(2, 30))
    assert model.unpatch(out.target, (2, 5)).shape == crops.shape
    assert out.reconstruction.shape == (2, 30, 64)


def test_every_weight_gets_a_gradient(model: ChannelMae):
    model(random_crops(3), torch.rand(2, 48), full=False).losses["loss"].backward()
    for name, part in model.named_parameters():
        if part.requires_grad:
            assert part.grad is not None, name
            assert part.grad.any(), name


@torch.no_grad()
def test_the_loss_is_the_mean_squared_error_on_hidden_patches(model: ChannelMae):
    out = model(random_crops(3), torch.rand(2, 48))
    error = functional.mse_loss(out.reconstruction, out.target, reduction="none").numpy()
    assert out.losses["loss"].item() == pytest.approx(error[out.mask.bool()].mean(), rel=1e-5)
