"""AdaBN: a plate's gain and offset go, the trained statistics come back."""

import numpy as np
import pytest
import torch

from phenomae.models.classifier import Classifier
from phenomae.models.conv.adabn import kept_statistics, reestimate
from phenomae.models.conv.convolutions import batch_norms
from phenomae.models.settings import ClassifierModel, VitMaeModel
from phenomae.models.vit.vit_mae import VitMae

SMALL = ClassifierModel(
    crop_size=64, growth_rate=8, first_width=16, block_depths=(2, 2), neck_dim=8, standardise=False
)


def draw_crops(count: int, seed: int) -> torch.Tensor:
    """Bright blobs of two channels on a ground of 20, in 8 bits; a crop's label tells how wide."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64]
    crops = rng.normal(20, 4, (count, 2, 64, 64))
    for number, crop in enumerate(crops):
        for _ in range(24):
            (top, left), bright = rng.uniform(0, 64, 2), rng.uniform(60, 120, (2, 1, 1))
            wide = 3 + 6 * (number % 2)
            crop += bright * np.exp(-((y - top) ** 2 + (x - left) ** 2) / wide)
    return torch.from_numpy(crops.clip(0, 255).round().astype(np.uint8))


@pytest.fixture(scope="module")
def trained() -> Classifier:
    torch.manual_seed(0)
    model = Classifier(SMALL, 2, ["narrow", "wide"])
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for step in range(40):
        optimiser.zero_grad()
        loss = model(draw_crops(16, seed=step), torch.arange(16) % 2).losses["loss"]
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2
    return model.eval()


def change_float(crops: torch.Tensor) -> torch.Tensor:
    return crops / 255 * 0.6 + 0.2


def change_uint8(crops: torch.Tensor) -> torch.Tensor:
    return (crops * 0.6 + 51).round().to(torch.uint8)


def gap(found: torch.Tensor, expected: torch.Tensor) -> float:
    """How far vectors moved, in units of their length."""
    return ((found - expected).norm() / expected.norm()).item()


def gap_in_spread(found: torch.Tensor, expected: torch.Tensor) -> float:
    """How far vectors moved, in units of how far crops lie from their mean."""
    return ((found - expected).norm() / (expected - expected.mean(0)).norm()).item()


@torch.no_grad()
@pytest.mark.parametrize("change", [change_float, change_uint8])
def test_a_plates_gain_and_offset_go(trained: Classifier, change):
    plate = draw_crops(64, seed=100)
    changed = change(plate)
    assert gap(trained.embed(changed), trained.embed(plate)) > 0.1
    vectors = []
    for crops in (plate, changed):
        with kept_statistics(trained):
            reestimate(trained, crops.split(32))
            vectors.append(trained.embed(crops))
    assert gap(vectors[1], vectors[0]) < 1e-2
    assert gap_in_spread(vectors[1], vectors[0]) < 1e-2


@torch.no_grad()
def test_a_dim_plate_comes_out_as_a_bright_one(trained: Classifier):
    plate = draw_crops(32, seed=5) / 255
    vectors = []
    for crops in (plate, plate / 200):
        with kept_statistics(trained):
            reestimate(trained, [crops])
            vectors.append(trained.embed(crops))
    assert gap(vectors[1], vectors[0]) < 1e-2


@pytest.mark.parametrize("sizes", [[48], [16, 16, 16], [40, 8], [5, 30, 13]])
def test_the_first_statistics_are_those_of_all_crops_whatever_the_batches(
    trained: Classifier, sizes: list[int]
):
    plate = draw_crops(48, seed=7)
    with kept_statistics(trained):
        reestimate(trained, plate.split(sizes))
        norm = trained.encoder.input_norm
        pixels = plate.double().numpy() / 255
        assert norm.running_mean.dtype == norm.running_var.dtype == torch.float32
        np.testing.assert_allclose(norm.running_mean, pixels.mean((0, 2, 3)), rtol=1e-5)
        np.testing.assert_allclose(norm.running_var, pixels.var((0, 2, 3), ddof=1), rtol=1e-5)
        assert norm.num_batches_tracked == len(sizes)


@torch.no_grad()
def test_every_norm_gets_the_statistics_of_what_it_saw(trained: Classifier):
    batches = [draw_crops(count, seed=count) for count in (24, 8)]
    names = {norm: name for name, norm in trained.named_modules() if norm in batch_norms(trained)}
    seen: dict[str, list[np.ndarray]] = {name: [] for name in names.values()}
    handles = [
        norm.register_forward_pre_hook(
            lambda norm, args: seen[names[norm]].append(args[0].double().numpy())
        )
        for norm in names
    ]
    with kept_statistics(trained):
        reestimate(trained, batches)
        for norm, name in names.items():
            # every norm's features side by side, whatever the axes after them
            rows = np.concatenate(
                [np.moveaxis(x, 1, -1).reshape(-1, x.shape[1]) for x in seen[name]]
            )
            np.testing.assert_allclose(norm.running_mean, rows.mean(0), rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(norm.running_var, rows.var(0, ddof=1), rtol=1e-5)
    for handle in handles:
        handle.remove()
    assert len(seen) == 12


@torch.no_grad()
def test_the_trained_statistics_come_back(trained: Classifier):
    before = {name: part.clone() for name, part in trained.state_dict().items()}
    plate = draw_crops(16, seed=9)
    with kept_statistics(trained):
        reestimate(trained, [plate])
        assert not torch.equal(
            trained.encoder.input_norm.running_mean, before["encoder.input_norm.running_mean"]
        )
        weights = dict(trained.named_parameters())
        assert all(torch.equal(before[name], part) for name, part in weights.items())
    after = trained.state_dict()
    assert all(torch.equal(part, after[name]) for name, part in before.items())


def broken(plate: torch.Tensor):
    yield plate
    raise OSError("the disk is gone")


def test_a_plate_that_breaks_off_leaves_the_network_as_it_was(trained: Classifier):
    before = {name: part.clone() for name, part in trained.state_dict().items()}
    momenta = [norm.momentum for norm in batch_norms(trained)]
    with pytest.raises(OSError, match="the disk is gone"), kept_statistics(trained):
        reestimate(trained, broken(draw_crops(8, seed=1)))
    after = trained.state_dict()
    assert all(torch.equal(part, after[name]) for name, part in before.items())
    assert not any(part.training for part in trained.modules())
    assert [norm.momentum for norm in batch_norms(trained)] == momenta
    assert not any(norm._forward_hooks for norm in batch_norms(trained))


def test_the_same_crops_give_the_same_bits_and_eval_mode(trained: Classifier):
    plate, found = draw_crops(24, seed=2), []
    for _ in range(2):
        with kept_statistics(trained):
            trained.train()
            reestimate(trained, plate.split(12))
            assert not any(part.training for part in trained.modules())
            found.append([part.clone() for part in trained.buffers()])
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


def test_no_crops_and_no_batch_norm_are_refused(trained: Classifier):
    with (
        kept_statistics(trained),
        pytest.raises(ValueError, match="AdaBN needs crops of a plate, and there are none"),
    ):
        reestimate(trained, [])
    vit = VitMae(VitMaeModel(crop_size=32, embed_dim=8, depth=1, num_heads=2), channels=2)
    with pytest.raises(ValueError, match="a vit-mae network has no batch norms, which AdaBN needs"):
        reestimate(vit, [torch.rand(2, 2, 32, 32)])
