"""Networks by name."""

import re

import pytest
import torch

from phenomae.models.build import find_network
from phenomae.models.create import create_model
from phenomae.models.families import FAMILIES

SIZES = [(family, size) for family in FAMILIES for size in find_network(family).SIZES]


@pytest.mark.parametrize(("family", "size"), SIZES)
def test_every_published_size_has_a_name(family: str, size: str) -> None:
    network = find_network(family)
    classes = ["a", "b"] if network.has_classes else None
    with torch.device("meta"):
        for name in (f"{family}/{size}", f"{family}/{size.replace('/', '')}"):
            model = create_model(name, channels=["DNA", "ER"], classes=classes)
            assert type(model) is network
            assert model.settings == network.SIZES[size]
            assert model.channels == ("DNA", "ER")
            assert repr(model).startswith(f"{network.__name__}('{family}/{size}', channels=['DNA'")


def test_settings_may_differ_from_the_published_ones() -> None:
    torch.manual_seed(0)
    model = create_model("vit-mae/S16", channels=2, crop_size=32, depth=2, decoder_depth=1)
    assert (model.settings.crop_size, model.settings.depth) == (32, 2)
    assert model.settings.embed_dim == 384
    assert model.channels == ("channel 1", "channel 2")
    count = sum(weights.numel() for weights in model.parameters())
    assert repr(model) == (
        "VitMae('vit-mae', channels=['channel 1', 'channel 2'], crop_size=32, "
        f"parameters={count:,})"
    )
    assert model.embed(torch.zeros(3, 2, 32, 32)).shape == (3, 384)


def test_a_size_keeps_its_name_at_another_crop_size() -> None:
    with torch.device("meta"):
        assert "'vit-mae/B/8'" in repr(create_model("vit-mae/B8", 2, crop_size=64, mask_ratio=0.5))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"name": "resnet/50"}, "name must be FAMILY/SIZE with a family of vit-mae, channel-mae,"),
        (
            {"name": "vit-mae"},
            "name must be vit-mae/SIZE with a size of S16, B16, B8, L16, L8, not",
        ),
        ({"name": "vit-mae/H14"}, "with a size of S16, B16, B8, L16, L8, not vit-mae/H14"),
        ({"crop": 128}, "'crop' is not a setting of a vit-mae model"),
        ({"crop_size": "128"}, "crop_size must be a whole number below 2^31, not '128'"),
        ({"crop_size": 100}, "crop_size must be a multiple of patch_size 16, not 100"),
        ({"classes": ["a", "b"]}, "classes must not be given: a vit-mae model predicts none"),
        ({"name": "classifier/DenseNet-161"}, "a classifier model needs the list classes"),
    ],
)
def test_what_cannot_be_created_is_named(arguments: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        create_model(**{"name": "vit-mae/S16", "channels": ["DNA"], **arguments})
