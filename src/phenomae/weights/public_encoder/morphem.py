"""MorphEm (CaicedoLab, CHAMMI-75), a ViT-S/16 of one channel, without the code of its repository.

Its config.json says model_type vit, and its tensors have the names of DINO. AutoModel returns a
ViT-Base of three channels with random weights for it, without an exception: none of the 150 tensors
fits. Here its tensors are renamed for transformers' ViTModel, which computes the same function.
"""

import re
from collections.abc import Mapping
from math import isqrt
from typing import Any

from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor

from phenomae.weights.public_encoder.find_encoder import EncoderFiles
from phenomae.weights.public_encoder.load_transformer import (
    import_transformers,
    load_complete,
    one_sentence,
)

EPS = 1e-7
"""Added to the variance of a channel before its square root (InstanceNorm2d of its code)."""
_NORM_EPS = 1e-6  # of the norms of DINO's ViT-S; config.json has none
_CLASS = "VisionTransformer"
_BLOCK = re.compile(r"blocks\.(\d+)\.")
_NAMES = {
    "cls_token": "embeddings.cls_token",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj": "embeddings.patch_embeddings.projection",
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
    "norm": "layernorm",
}
"""Names of DINO, and of the files of transformers; those of a block without their prefix."""


def is_morphem(config: Mapping[str, Any]) -> bool:
    """Return whether config.json is of MorphEm: a VisionTransformer of one channel, by own code."""
    listed, mapped = config.get("architectures"), config.get("auto_map")
    classes = [*listed] if isinstance(listed, list) else []
    classes += mapped.values() if isinstance(mapped, dict) else []
    # The file changed over time: at first it had num_channels, and another model_type.
    one_channel = config.get("in_chans", config.get("num_channels")) == 1
    return one_channel and any(str(name).rpartition(".")[2] == _CLASS for name in classes)


def load_morphem(
    files: EncoderFiles, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> Any:
    """Return MorphEm as a ViTModel in float32 and eval mode.

    Raises ValueError if a tensor is missing, unexpected or of another shape.
    """
    transformers = import_transformers()
    numbers = _read_sizes(files, config, shapes)
    tensors: dict[str, Tensor] = {}
    for path in files.tensors:
        tensors |= load_file(path)
    named = rename(tensors)
    options: dict[str, Any] = {"state_dict": named, "add_pooling_layer": False}
    with one_sentence(files.name):
        options["config"] = transformers.ViTConfig(**numbers)
    # Without a folder: transformers takes the tensors that it is given.
    return load_complete(transformers.ViTModel, files.name, None, **options)


def rename(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors with the names that files of transformers have; qkv is cut in thirds."""
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        block = _BLOCK.match(name)
        prefix = f"encoder.layer.{block[1]}." if block else ""
        inner = name.removeprefix(block[0]) if block else name
        stem, dot, kind = inner.rpartition(".")
        if stem == "attn.qkv":
            for part, third in zip(("query", "key", "value"), _thirds(tensor), strict=True):
                named[f"{prefix}attention.attention.{part}.{kind}"] = third
        elif inner in _NAMES:
            named[_NAMES[inner]] = tensor.float()
        else:
            named[f"{prefix}{_NAMES[stem]}{dot}{kind}"] = tensor.float()
    return named


def _thirds(tensor: Float[Tensor, "o *d"]) -> list[Float[Tensor, "p *d"]]:
    return [third.float().contiguous() for third in tensor.chunk(3)]


def _read_sizes(
    files: EncoderFiles, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Any]:
    """Return the settings of a ViTModel, from the shapes of the tensors.

    Raises ValueError unless the tensors are those of such a network.
    """
    depth = 1 + max((int(found[1]) for name in shapes if (found := _BLOCK.match(name))), default=0)
    dim = shapes.get("cls_token", (1, 1, 0))[-1]
    hidden = shapes.get("blocks.0.mlp.fc1.bias", (0,))[0]
    patch = shapes.get("patch_embed.proj.weight", (0,))[-1]
    grid = isqrt(max(shapes.get("pos_embed", (1, 1, 0))[1] - 1, 0)) if "pos_embed" in shapes else 0
    # A block has 12 tensors, so that a name like blocks.999999999 asks for no memory.
    expected = _expect(dim, min(depth, len(shapes)), hidden, patch, grid)
    if odd := sorted(name for name, _ in shapes.items() ^ expected.items()):
        raise ValueError(
            f"{files.name} has the config.json of MorphEm, but not its tensors: {odd[0]} is "
            f"{shapes.get(odd[0], 'missing')}, where MorphEm has {expected.get(odd[0], 'none')}"
        )
    heads = config.get("num_heads", config.get("num_attention_heads"))
    if type(heads) is not int or heads < 1 or dim % heads:
        raise ValueError(f"{files.name}: num_heads must divide {dim}, not {heads!r}")
    return {
        "hidden_size": dim,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "intermediate_size": hidden,
        "image_size": grid * patch,
        "patch_size": patch,
        "num_channels": 1,
        "layer_norm_eps": config.get("layer_norm_eps", _NORM_EPS),
    }


def _expect(dim: int, depth: int, hidden: int, patch: int, grid: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors of a network of one channel."""
    layers: dict[str, tuple[int, ...]] = {
        "patch_embed.proj": (dim, 1, patch, patch),
        "norm": (dim,),
    }
    for number in range(depth):
        block = f"blocks.{number}"
        layers |= {f"{block}.norm1": (dim,), f"{block}.norm2": (dim,)}
        layers |= {f"{block}.attn.qkv": (3 * dim, dim), f"{block}.attn.proj": (dim, dim)}
        layers |= {f"{block}.mlp.fc1": (hidden, dim), f"{block}.mlp.fc2": (dim, hidden)}
    shapes = {f"{name}.weight": shape for name, shape in layers.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in layers.items()}
    return {**shapes, "cls_token": (1, 1, dim), "pos_embed": (1, 1 + grid**2, dim)}
