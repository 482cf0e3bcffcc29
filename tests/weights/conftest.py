"""What tests of weights share."""

import pytest

from phenomae.models.settings import VitMaeModel


@pytest.fixture(scope="session")
def tiny_model() -> VitMaeModel:
    """The smallest network with all parts of a ViT-MAE."""
    return VitMaeModel(
        crop_size=16,
        patch_size=8,
        embed_dim=8,
        depth=1,
        num_heads=2,
        decoder_embed_dim=8,
        decoder_depth=1,
        decoder_num_heads=2,
        mask_ratio=0.5,
    )
