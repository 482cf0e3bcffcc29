"""The classifiers: DenseNet's published size, what the vector is, what comes back."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from phenomae.models.build import build, find_network
from phenomae.models.classifier import Classifier, VitClassifier
from phenomae.models.conv.adabn import reestimate
from phenomae.models.settings import ClassifierModel, VitClassifierModel
from phenomae.weights.io import load, read_config, save

SMALL = ClassifierModel(
    crop_size=32, growth_rate=4, first_width=8, block_depths=(2, 1, 2), bottleneck=2, neck_dim=6
)
SMALL_VIT = VitClassifierModel(crop_size=32, patch_size=8, embed_dim=12, depth=2, num_heads=3)
CLASSES = ("untreated", "TP53", "taxol")
PIXELS = torch.randint(0, 256, (5, 2, 32, 32), dtype=torch.uint8)
LABELS = torch.tensor([0, 1, 2, 1, 0])


def make(sizes: ClassifierModel = SMALL, channels: int = 2) -> Classifier:
    """A network whose batch norms have seen something."""
    torch.manual_seed(0)
    model = Classifier(sizes, channels, CLASSES)
    reestimate(model, [torch.rand(6, channels, 64, 64) ** 2])
    return model


@pytest.fixture
def model() -> Classifier:
    return make()


@pytest.fixture
def vit() -> VitClassifier:
    torch.manual_seed(0)
    return VitClassifier(SMALL_VIT, ["DNA", "ER"], CLASSES).eval()


def test_densenet_161_has_the_published_parameters():
    with torch.device("meta"):
        model = build("classifier", Classifier.SIZES["DenseNet-161"], list("abcdef"), CLASSES)
    counts = {name: part.numel() for name, part in model.named_parameters()}
    neck = 2208 * 128 + 128
    head = 128 * 3 + 3
    # 26,472,000 with 3 channels: the 28,681,000 of the layout for ImageNet less its last layer
    backbone = 28_681_000 - (2208 * 1000 + 1000) + (6 - 3) * 96 * 7 * 7
    assert backbone == 26_486_112
    assert sum(counts.values()) == backbone + neck + head
    assert counts["encoder.neck.weight"] + counts["encoder.neck.bias"] == neck


def test_the_named_vision_transformers_are_those_of_the_papers():
    counts = {}
    for name, size in VitClassifier.SIZES.items():
        with torch.device("meta"):
            model = build("vit-classifier", size, list("abcdef"), CLASSES)
        positions = model.encoder.positions.numel()
        counts[name] = positions + sum(part.numel() for part in model.encoder.parameters())
    assert counts == {"S/16": 21_968_256, "B/16": 86_400_768, "L/16": 304_057_344}


def test_the_losses_are_their_formulas(model: Classifier, vit: VitClassifier):
    for network in (model, vit):
        out = network(PIXELS, LABELS)
        logits = out.logits.detach().double().numpy()
        chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        expected = -np.log(chances[np.arange(5), LABELS.numpy()]).mean()
        assert out.losses["loss"].item() == pytest.approx(expected, rel=1e-5)
        share = (logits.argmax(1) == LABELS.numpy()).mean()
        assert out.losses["accuracy"].item() == pytest.approx(share)
        assert not out.losses["accuracy"].requires_grad


def test_every_weight_gets_a_gradient(model: Classifier, vit: VitClassifier):
    for network in (model, vit):
        network.train()
        network(PIXELS, LABELS).losses["loss"].backward()
        for name, part in network.named_parameters():
            assert part.requires_grad, name
            assert part.grad.any(), name


@torch.no_grad()
def test_the_vector_is_the_neck_and_classes_are_linear_in_it(model: Classifier):
    encoder, pixels = model.encoder, PIXELS
    x, pooled = encoder.enter(pixels), []
    for block in encoder.blocks:
        x = block(x)
        pooled.append(x.mean((2, 3)))
    normed = torch.nn.functional.batch_norm(
        x, encoder.norm.running_mean, encoder.norm.running_var, encoder.norm.weight
    )
    expected = encoder.neck(normed.relu().mean((2, 3)))
    assert expected.shape == (5, 6)
    torch.testing.assert_close(model.embed(pixels), expected)
    torch.testing.assert_close(model(pixels, LABELS).logits, model.head(expected))
    torch.testing.assert_close(encoder.embed_blocks(pixels, [1, 2, 3]), pooled)
    torch.testing.assert_close(model.embed(pixels, block=2), pooled[1])
    # widths: 8 + 2 * 4, half of it + 4, half of it + 2 * 4
    assert [part.shape[1] for part in pooled] == [16, 12, 14]
    assert model.features(pixels).shape == (5, 4, 14)


@torch.no_grad()
def test_the_vision_transformers_vector_is_its_mean_patch(vit: VitClassifier):
    tokens = vit.features(PIXELS)
    mean = tokens[:, 1:].mean(1)
    torch.testing.assert_close(vit.embed(PIXELS), mean)
    spread = (mean.var(1, keepdim=True, correction=0) + 1e-6).sqrt()
    normed = (mean - mean.mean(1, keepdim=True)) / spread
    torch.testing.assert_close(vit(PIXELS, LABELS).logits, vit.head(normed))


@torch.no_grad()
def test_a_layer_keeps_what_came_before_it(model: Classifier):
    x = torch.rand(2, 8, 5, 5)
    layer = model.encoder.blocks[0][1]
    out = layer(x)
    assert out.shape == (2, 12, 5, 5)
    assert torch.equal(out[:, :8], x)


@torch.no_grad()
def test_self_standardisation_takes_out_every_crops_own_gain_and_offset(model: Classifier):
    crops = torch.rand(4, 2, 32, 32) / 2
    gains, offsets = torch.rand(2, 4, 2, 1, 1) + 0.5
    changed = crops * gains + offsets / 4
    embed = model.encoder.embed  # some changed pixels are above 1, which `Network.embed` refuses
    torch.testing.assert_close(embed(changed), embed(crops), atol=1e-3, rtol=1e-3)
    embed = make(replace(SMALL, standardise=False)).encoder.embed
    gap = (embed(changed) - embed(crops)).norm() / embed(crops).norm()
    assert gap > 0.1


@pytest.mark.parametrize("family", ["classifier", "vit-classifier"])
def test_weights_statistics_and_classes_come_back(
    family: str, tmp_path: Path, model: Classifier, vit: VitClassifier
):
    network = {"classifier": model, "vit-classifier": vit}[family]
    save(tmp_path, network, {"pixel_size_um": 0.5})
    assert read_config(tmp_path)["classes"] == list(CLASSES)
    found = load(tmp_path)
    assert type(found) is find_network(family)
    assert (found.settings, found.classes) == (network.settings, CLASSES)
    for name, tensor in network.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor), name
        assert "running" not in name or tensor.dtype == torch.float32
    with torch.inference_mode():
        assert torch.equal(found.embed(PIXELS), network.embed(PIXELS))
        assert torch.equal(found(PIXELS, LABELS).logits, network(PIXELS, LABELS).logits)
    if family == "classifier":
        assert found.encoder.input_norm.num_batches_tracked == 1


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        (None, "a classifier model needs the list classes"),
        ("TP53", "classes must be a list of different names, not 'TP53'"),
    ],
)
def test_a_config_without_the_list_of_classes_is_refused(
    classes: str | None, told: str, tmp_path: Path, model: Classifier
):
    save(tmp_path, model, {})
    config = {**json.loads((tmp_path / "config.json").read_text()), "classes": classes}
    del config["sha256"], config["checksum"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=f"config.json is damaged: {told}"):
        load(tmp_path)


@pytest.mark.parametrize("classes", [[], ["one"], ["same", "same"]])
def test_classes_that_cannot_be_told_apart_are_refused(classes: list[str]):
    with pytest.raises(ValueError, match="classes must be two or more different names, not"):
        Classifier(SMALL, 2, classes)


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((3, 32, 32), "crops must have the 2 channels that .* trained on, not 3 channels"),
        ((2, 32, 15), "sides of 16 pixels or more for 3 blocks, not 32 x 15"),
    ],
)
def test_crops_that_do_not_fit_are_refused(
    model: Classifier, shape: tuple[int, ...], sentence: str
):
    with pytest.raises(ValueError, match=sentence):
        model.embed(torch.rand(2, *shape))
    assert model.embed(torch.rand(2, 2, 16, 19)).shape == (2, 6)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"growth_rate": 0}, "growth_rate must be at least 1"),
        ({"neck_dim": 0}, "neck_dim must be at least 1"),
        (
            {"block_depths": (2, 0)},
            r"block_depths must be .* numbers that are at least 1, not \(2, 0\)",
        ),
        ({"block_depths": ()}, "block_depths must be one or more numbers that are at least 1"),
        (
            {"block_depths": (1, 1, 1, 1, 1)},
            "crop_size must be at least 64 with 5 blocks, .* not 32",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change: dict, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        replace(SMALL, **change)
