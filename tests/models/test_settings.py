"""Every size that cannot be built is refused in one sentence that names the setting."""

from fractions import Fraction
from math import floor

import pytest

from phenomae.models.settings import ChannelMaeModel, VitMaeModel, kept_patches
from phenomae.models.vit.vit_mae import VitMae


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"crop_size": 0}, "crop_size must be at least 1"),
        ({"depth": 0}, "depth must be at least 1"),
        ({"decoder_depth": 0}, "decoder_depth must be at least 1"),
        ({"crop_size": 100}, "crop_size must be a multiple of patch_size 16, not 100"),
        ({"embed_dim": 30, "num_heads": 5}, "embed_dim must be a multiple of 4"),
        ({"num_heads": 7}, "embed_dim must be a multiple of num_heads 7"),
        ({"decoder_num_heads": 5}, "decoder_embed_dim must be a multiple of decoder_num_heads 5"),
        ({"mlp_ratio": 0.0}, "mlp_ratio must be large enough for a hidden layer of 1, not 0.0"),
        ({"drop_path": 1.0}, "drop_path must be at least 0 and below 1, not 1.0"),
        ({"mask_ratio": 1.5}, "mask_ratio must be between 0 and 1"),
        ({"mask_ratio": 0.999}, "mask_ratio must be such that at least one of 256 patches"),
        ({"crop_size": 16}, "mask_ratio must be such that at least one of 1 patches"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change: dict, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        VitMaeModel(**change)


def test_the_channel_agnostic_decoder_has_its_own_cross_attention():
    with pytest.raises(ValueError, match="decoder_attention must be self for channel-mae, not"):
        ChannelMaeModel(decoder_attention="cross")


def test_the_named_sizes_are_those_of_the_papers():
    assert list(VitMae.SIZES) == ["S/16", "B/16", "B/8", "L/16", "L/8"]
    assert {name: size.embed_dim for name, size in VitMae.SIZES.items()} == {
        "S/16": 384,
        "B/16": 768,
        "B/8": 768,
        "L/16": 1024,
        "L/8": 1024,
    }


@pytest.mark.parametrize(
    ("patches", "ratio", "kept"), [(256, 0.75, 64), (1024, 0.25, 768), (100, 0.8, 20)]
)
def test_the_share_kept_is_exact(patches: int, ratio: float, kept: int):
    assert kept_patches(patches, ratio) == kept


@pytest.mark.parametrize("patches", [1, 7, 64, 100, 256, 1000, 1024, 6 * 256, 11 * 1024])
def test_the_share_kept_is_that_of_the_ratio_as_it_is_written(patches: int):
    for thousandths in range(1, 1000):
        kept = patches * (1 - Fraction(thousandths, 1000))
        assert kept_patches(patches, float(f"0.{thousandths:03}")) == floor(kept)
    for parts in range(2, 100):
        assert kept_patches(patches * parts, 1 / parts) == patches * (parts - 1)
