"""MorphEm: a folder with the published names, against the network written out from its description.

AutoModel returns random weights for such a folder, without an exception.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from phenomae.embedding.embed import EmbedSettings, embed
from phenomae.weights.public_encoder.open_encoder import open_encoder
from phenomae.weights.public_encoder.settings import PublicEncoderSettings
from phenomae.wells import read_wells

pytest.importorskip("transformers", reason="needs transformers")

DIM, HEADS, DEPTH, SIZE, PATCH = 24, 3, 2, 48, 16
CONFIG = {
    "architectures": ["VisionTransformer"],
    "model_type": "vit",
    "auto_map": {
        "AutoConfig": "vision_transformer.VisionTransformerConfig",
        "AutoModel": "vision_transformer.VisionTransformer",
    },
    "img_size": SIZE,
    "patch_size": PATCH,
    "in_chans": 1,
    "num_classes": 0,
    "embed_dim": DIM,
    "depth": DEPTH,
    "num_heads": HEADS,
    "mlp_ratio": 4.0,
    "qkv_bias": True,
    "qk_scale": None,
    "torch_dtype": "float32",
}


def draw_tensors() -> dict[str, Tensor]:
    """Return tensors with the names and relative sizes of the published file."""
    layers = {"patch_embed.proj": (DIM, 1, PATCH, PATCH), "norm": (DIM,)}
    for block in range(DEPTH):
        inner = {
            "norm1": (DIM,),
            "norm2": (DIM,),
            "attn.qkv": (3 * DIM, DIM),
            "attn.proj": (DIM, DIM),
            "mlp.fc1": (4 * DIM, DIM),
            "mlp.fc2": (DIM, 4 * DIM),
        }
        layers |= {f"blocks.{block}.{name}": shape for name, shape in inner.items()}
    rng = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return 0.2 * torch.randn(*shape, generator=rng)

    tensors = {"cls_token": draw(1, 1, DIM), "pos_embed": draw(1, 1 + (SIZE // PATCH) ** 2, DIM)}
    for name, shape in layers.items():
        tensors |= {f"{name}.weight": draw(*shape), f"{name}.bias": draw(shape[0])}
    return tensors


def forward(tensors: dict[str, Tensor], images: Tensor) -> Tensor:
    """Return the tokens of DINO's vision transformer, after each block and after the last norm."""

    def linear(x: Tensor, name: str) -> Tensor:
        return functional.linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    def norm(x: Tensor, name: str) -> Tensor:
        return functional.layer_norm(
            x, (DIM,), tensors[f"{name}.weight"], tensors[f"{name}.bias"], 1e-6
        )

    kernel, bias = tensors["patch_embed.proj.weight"], tensors["patch_embed.proj.bias"]
    x = functional.conv2d(images, kernel, bias, stride=PATCH).flatten(2).transpose(1, 2)
    x = torch.cat([tensors["cls_token"].expand(len(x), -1, -1), x], dim=1) + tensors["pos_embed"]
    for block in range(DEPTH):
        at = f"blocks.{block}"
        qkv = linear(norm(x, f"{at}.norm1"), f"{at}.attn.qkv")
        q, k, v = qkv.unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        weights = (q @ k.mT / (DIM // HEADS) ** 0.5).softmax(-1)
        x = x + linear((weights @ v).transpose(1, 2).flatten(2), f"{at}.attn.proj")
        hidden = functional.gelu(linear(norm(x, f"{at}.norm2"), f"{at}.mlp.fc1"))
        x = x + linear(hidden, f"{at}.mlp.fc2")
    return norm(x, "norm")


def describe(tensors: dict[str, Tensor], crops: np.ndarray) -> np.ndarray:
    """Return the class tokens of crops from 0 to 255: normalise, resize, concatenate channels."""
    vectors = []
    for channel in crops.swapaxes(0, 1):
        mean, variance = channel.mean((1, 2), keepdims=True), channel.var((1, 2), keepdims=True)
        images = torch.from_numpy((channel - mean) / np.sqrt(variance + 1e-7))[:, None].float()
        images = functional.interpolate(
            images, size=(SIZE, SIZE), mode="bilinear", antialias=True, align_corners=False
        )
        vectors.append(forward(tensors, images)[:, 0].numpy())
    return np.concatenate(vectors, axis=1)


@pytest.fixture
def save_morphem(tmp_path: Path) -> Callable[..., Path]:
    """Writes a folder like that of the hub; `changes` are of its config.json."""

    def save(tensors: dict[str, Tensor], **changes: object) -> Path:
        folder = tmp_path / "morphem"
        folder.mkdir()
        save_file(tensors, folder / "model.safetensors")
        kept = {key: value for key, value in {**CONFIG, **changes}.items() if value != "absent"}
        (folder / "config.json").write_text(json.dumps(kept))
        return folder

    return save


@pytest.mark.parametrize("side", [SIZE, 36])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_wells_are_those_of_the_description(
    side: int, dtype: str, save_morphem, make_store, tmp_path: Path
):
    tensors, folder = draw_tensors(), None
    folder = save_morphem(tensors)
    rng, most = np.random.default_rng(1), 256 if dtype == "uint8" else 4500
    images = {("P1", f"A0{n}", 1): rng.integers(0, most, (2, side, side)) for n in (1, 2)}
    images = {key: image.astype(dtype) for key, image in images.items()}
    store = make_store(tmp_path / "store", images, ("DNA", "ER"))
    settings = EmbedSettings(device="cpu", precision="float32", pool="class")
    encoder = PublicEncoderSettings(crop_size=side)
    embed(store, f"hf:{folder}", tmp_path / "wells", settings=settings, encoder=encoder)
    crops = np.stack(list(images.values())).astype(np.float64)
    if dtype == "uint16":  # 100 to 4000 is the window of the store
        crops = np.clip((crops - 100) / 3900, 0, 1) * 255
    found = read_wells(tmp_path / "wells").features
    np.testing.assert_allclose(found, describe(tensors, crops), atol=2e-5)


def test_the_first_form_of_its_configuration_is_recognised(save_morphem):
    other = {"model_type": "vision_transformer", "num_channels": 1, "in_chans": "absent"}
    opened = open_encoder(f"hf:{save_morphem(draw_tensors(), **other)}", ["DNA"])
    assert opened.record["preprocessing"]["eps"] == 1e-7
    assert opened.record["layer_norm_eps"] == 1e-6
    crops = np.random.default_rng(2).integers(0, 256, (2, 1, SIZE, SIZE), dtype=np.uint8)
    expected = describe(draw_tensors(), crops.astype(np.float64))
    np.testing.assert_allclose(opened.model.embed(crops, "class"), expected, atol=2e-5)


def test_a_constant_crop_has_the_vector_of_zeros(save_morphem):
    model = open_encoder(f"hf:{save_morphem(draw_tensors())}", ["DNA"]).model
    flat = np.full((1, 1, SIZE, SIZE), 7, dtype=np.uint8)
    expected = forward(draw_tensors(), torch.zeros(1, 1, SIZE, SIZE))[:, 0].numpy()
    np.testing.assert_allclose(model.embed(flat, "class"), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"norm.bias": None}, "not its tensors: norm.bias is missing, where MorphEm has (24,)"),
        ({"head.weight": torch.ones(2, 2)}, "head.weight is (2, 2), where MorphEm has none"),
        ({"cls_token": torch.ones(1, 1, 8)}, "not its tensors: "),
        ({"pos_embed": torch.ones(1, 9, DIM)}, "pos_embed is (1, 9, 24), where MorphEm has (1, 5"),
        ({"patch_embed.proj.weight": torch.ones(DIM, 3, PATCH, PATCH)}, "(24, 3, 16, 16), where"),
        ({f"blocks.{10**9}.norm1.bias": torch.ones(DIM)}, "blocks.10.attn.proj.bias is missing"),
        ({name: None for name in draw_tensors() if "blocks" in name}, "blocks.0.attn.proj.bias"),
    ],
)
def test_other_tensors_under_its_configuration_are_refused(change, sentence: str, save_morphem):
    tensors = {**draw_tensors(), **change}
    tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    with pytest.raises(ValueError, match=r"has the config\.json of MorphEm") as caught:
        open_encoder(f"hf:{save_morphem(tensors)}", ["DNA"])
    assert sentence in str(caught.value)


def test_what_it_cannot_do_is_one_sentence(save_morphem):
    run = f"hf:{save_morphem(draw_tensors())}"
    for settings, sentence in (
        ({"channels_as": "rgb"}, "channels_as must be grey for morphem, not rgb"),
        ({"input_size": 64}, "input_size must be 48 for morphem, not 64"),
        ({"image_mean": (0.5,), "image_std": (0.5,)}, "image_mean and image_std must be left out"),
    ):
        with pytest.raises(ValueError, match=sentence):
            open_encoder(run, ["DNA", "ER", "AGP"], PublicEncoderSettings(**settings))


def test_wrong_heads_are_refused(save_morphem):
    with pytest.raises(ValueError, match="num_heads must divide 24, not 5"):
        open_encoder(f"hf:{save_morphem(draw_tensors(), num_heads=5)}", ["DNA"])


def test_numbers_that_transformers_refuses_are_one_sentence(save_morphem):
    folder = save_morphem(draw_tensors(), layer_norm_eps="small")
    with pytest.raises(ValueError, match="morphem: transformers cannot load it: Validation error"):
        open_encoder(f"hf:{folder}", ["DNA"])


def test_its_tensors_without_its_configuration_are_never_random(save_morphem):
    folder = save_morphem(draw_tensors(), auto_map="absent", architectures=["ViTModel"])
    with pytest.raises(ValueError, match="describes a network of 85,798,656 numbers"):
        open_encoder(f"hf:{folder}", ["DNA"])
