"""Embeddings of convolutional encoders have the same bits whatever the other crops are."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch

from phenomae.models.conv.convolutions import ConvolutionalEncoder
from phenomae.models.conv.densenet import DenseNet
from phenomae.models.conv.unet import Unet
from phenomae.models.cost.flops import count_pass
from phenomae.models.settings import ClassifierModel, UnetMaeModel

UNET = UnetMaeModel(crop_size=64, patch_size=8, widths=(16, 32, 64, 128), depths=(2, 2, 2, 2))
DENSENET = ClassifierModel(growth_rate=12, first_width=24, block_depths=(2, 3, 2), neck_dim=16)
NETWORKS = [lambda: Unet(UNET, 3), lambda: DenseNet(DENSENET, 3)]
Make = Callable[[], ConvolutionalEncoder]


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Return the function that sets the number of threads, which is put back after the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@torch.inference_mode()
def embed(make: Make, crops: torch.Tensor, at_once: int) -> torch.Tensor:
    """Return embeddings of crops, `at_once` of them in a pass; every call has the same weights."""
    torch.manual_seed(0)
    network = make().eval()
    return torch.cat([network.embed(part) for part in crops.split(at_once)])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("side", [32, 64, 96])
@pytest.mark.parametrize("make", NETWORKS)
def test_bits_do_not_depend_on_the_other_crops(make: Make, side: int, count: int, threads):
    threads(count)
    crops = torch.rand(19, 3, side, side, generator=torch.Generator().manual_seed(0))
    together = embed(make, crops, 19)
    assert torch.equal(embed(make, crops, 5), together)
    assert torch.equal(embed(make, crops, 1), together)
    assert torch.equal(embed(make, crops.flip(0), 19).flip(0), together)


@pytest.mark.parametrize("make", NETWORKS)
def test_parts_give_what_all_crops_at_once_give(make: Make):
    torch.manual_seed(0)
    network = make().eval()
    crops = torch.rand(19, 3, 64, 64)
    with torch.inference_mode():
        *_, at_once = network.maps(network.enter(crops))
        *_, in_parts = network.walk(crops)
    torch.testing.assert_close(in_parts, at_once.flatten(2).mT, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("make", NETWORKS)
def test_only_the_crops_that_are_there_are_counted(make: Make):
    with torch.device("meta"):
        network = make().eval()
        crops = torch.empty(3, 3, 64, 64)
    three, one = (count_pass(network, partial(network.embed, part)) for part in (crops, crops[:1]))
    assert three == 3 * one


@pytest.mark.parametrize(
    ("side", "crops"), [(16, 16), (64, 16), (80, 8), (96, 4), (128, 4), (256, 1), (300, 1)]
)
def test_parts_have_the_pixels_of_sixteen_crops_of_64(side: int, crops: int, threads):
    unet, densenet = (make() for make in NETWORKS)
    for count in (1, 2, 8, 16):
        threads(count)
        assert unet.crops_per_part(side, side) == crops
    for count in (3, 12):
        threads(count)
        assert unet.crops_per_part(side, side) == 1
        assert densenet.crops_per_part(side, side) == crops
