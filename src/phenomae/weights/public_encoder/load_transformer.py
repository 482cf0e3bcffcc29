"""Loads a vision transformer with the package transformers, and refuses all but a complete load.

`from_pretrained` draws tensors at random that a file lacks, without an exception, and opens pickle
files, code of the repository and the type of number of the file unless told otherwise. So
everything is passed explicitly, and what it reports of the load is checked.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from math import prod
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from phenomae.weights.public_encoder.find_encoder import CONFIG, EncoderFiles


@dataclass(frozen=True)
class Kind:
    """A kind of vision transformer in the package transformers."""

    name: str
    """How its classes are called: NAMEModel, NAMEConfig."""
    leading: int = 1
    """Tokens before those of patches and registers: the class token, if there is one."""
    pooler: bool = False
    """Whether the model is built with a pooler, which is not used here, unless told otherwise."""
    masks: bool = False
    """Whether it hides patches, at random, also in eval mode."""
    free_size: bool = True
    """Whether it takes images of any size without being told."""
    registers: bool = False
    """Whether num_register_tokens of its config.json counts tokens of it."""
    processor: str = "ViT"
    """The type of its image processor where preprocessor_config.json names none."""


KINDS: Mapping[str, Kind] = {
    "dinov2": Kind("Dinov2", processor="Bit"),
    "dinov2_with_registers": Kind("Dinov2WithRegisters", registers=True, processor="Bit"),
    "dinov3_vit": Kind("DINOv3ViT", registers=True, processor="DINOv3ViT"),
    "vit_mae": Kind("ViTMAE", masks=True, free_size=False),
    "vit": Kind("ViT", pooler=True, free_size=False),
    "vit_msn": Kind("ViTMSN", free_size=False),
    "ijepa": Kind("IJepa", leading=0, free_size=False),
    "deit": Kind("DeiT", leading=2, pooler=True, free_size=False, processor="DeiT"),
}
"""By the key model_type of config.json. Each is tested against the model of transformers."""
_PROBLEMS = {
    "missing_keys": "its files lack the tensors",
    "unexpected_keys": "its files have the unknown tensors",
    "mismatched_keys": "its files have other shapes of",
}
_TYPES = ("F64", "F32", "F16", "BF16")
_REFUSED = ("transformers_weights", "quantization_config")
"""Keys of config.json by which transformers would open other files, or other packages."""
_ATTENTION = "sdpa"
"""That of torch: by another name in config.json transformers fetches code and runs it."""
_ROOM = 2**26
"""Numbers that a network may have beyond those of its file, so that the load can tell which."""
_HINT = "pip install 'phenomae[public]'"


def import_transformers(module: str = "transformers") -> Any:
    """Return the package transformers or a module of it; raises ValueError if it is missing.

    It has no type here, because type checkers take minutes to analyse its 500 packages.
    """
    try:
        return import_module(module)
    except ImportError:
        raise ValueError(f"hf: needs the package transformers: {_HINT}") from None


def read_shapes(files: EncoderFiles) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors of a model by name, without reading the tensors.

    Raises ValueError if a file is damaged, or if numbers in it are not floating-point numbers.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for path in files.tensors:
        try:
            with safe_open(path, "pt") as opened:
                for name in opened.keys():  # noqa: SIM118 (it is no dictionary)
                    tensor = opened.get_slice(name)
                    shapes[name] = tuple(tensor.get_shape())
                    if (kind := tensor.get_dtype()) not in _TYPES:
                        raise ValueError(
                            f"{path}: {name} has numbers of type {kind}: weights must be "
                            f"{', '.join(_TYPES)}"
                        )
        except SafetensorError as error:
            raise ValueError(f"{path} is cut short or is not a safetensors file: {error}") from None
    return shapes


def load_transformer(
    files: EncoderFiles, config: dict[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> Any:
    """Return the encoder of a model in float32 and eval mode; raises ValueError unless complete.

    It is a model of transformers, whose attributes are its own.
    """
    transformers = import_transformers()
    kind = KINDS[config["model_type"]]
    if odd := [key for key in _REFUSED if key in config]:
        raise ValueError(f"{files.folder / CONFIG} has the key {odd[0]}, which is not supported")
    _refuse_depth(files, config, shapes)
    listed = config.get("architectures")
    name = str(listed[0]) if isinstance(listed, list) and listed else ""
    # A model with a head, such as ViTMAEForPreTraining, is loaded whole, so that no tensor is left.
    headed = name.startswith(f"{kind.name}For") and hasattr(transformers, name)
    encoder = getattr(transformers, f"{kind.name}Model")
    built = getattr(transformers, name) if headed else encoder
    options: dict[str, Any] = {}
    if kind.pooler and not headed:
        options["add_pooling_layer"] = any(key.startswith("pooler.") for key in shapes)
    with one_sentence(files.name):
        settings = getattr(transformers, f"{kind.name}Config").from_dict(config)
        # Not an argument of the call: some encoders look it up here.
        settings.return_dict = True
        if kind.masks:
            settings.mask_ratio = 0.0
        settings._attn_implementation = _ATTENTION
        with torch.device("meta"):
            sketch = built(settings, **options)
    _refuse_size(files, sketch, shapes)
    options |= {"config": settings, "local_files_only": True}
    model = load_complete(built, files.name, files.folder, **options)
    # Not `base_model`, which for DINOv3 is the encoder without its patch embedding.
    return next(part for part in model.modules() if isinstance(part, encoder))


def load_complete(built: Any, name: str, folder: Any, **options: Any) -> Any:
    """Return `built.from_pretrained(folder, ...)` in eval mode.

    Raises ValueError, naming the model, unless every tensor of the model is in its files and every
    tensor of its files is in the model.
    """
    with one_sentence(name):
        model, report = built.from_pretrained(
            folder,
            output_loading_info=True,
            trust_remote_code=False,
            use_safetensors=True,
            # So that the report names them, which are refused below.
            ignore_mismatched_sizes=True,
            dtype=torch.float32,
            attn_implementation=_ATTENTION,
            **options,
        )
    # Tensors that are missing would be random numbers, others each time.
    for part, problem in _PROBLEMS.items():
        # Mismatched keys come with both shapes.
        found = [key[0] if isinstance(key, tuple) else key for key in report[part]]
        if keys := sorted(map(str, found)):
            more = f" and {len(keys) - 1} more" * (len(keys) > 1)
            raise ValueError(
                f"{name} does not fit the {built.__name__} of transformers, which would be partly "
                f"random: {problem} {keys[0]}{more}"
            )
    if report["error_msgs"]:
        raise ValueError(f"{name} does not load: {report['error_msgs'][0]}")
    return model.eval()


def _refuse_depth(
    files: EncoderFiles, config: dict[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Raise ValueError if config.json describes more than the tensors of its files can be.

    These numbers take time and memory even on the meta device.
    """
    bounds = {
        "num_hidden_layers": len(shapes),
        "decoder_num_hidden_layers": len(shapes),
        "num_labels": _ROOM,
        "hidden_size": max((side for shape in shapes.values() for side in shape), default=0),
    }
    for key, bound in bounds.items():
        value = config.get(key, 1)
        if type(value) is not int or not 1 <= value <= bound:
            raise ValueError(
                f"{files.folder / CONFIG}: {key} is {value!r}, which does not fit the "
                f"{len(shapes)} tensors of {files.name}"
            )


def _refuse_size(files: EncoderFiles, sketch: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ValueError if a network on the meta device is much larger than the files.

    transformers would allocate its memory before it compares their shapes.
    """
    needed = sum(tensor.numel() for tensor in (*sketch.parameters(), *sketch.buffers()))
    found = sum(map(prod, shapes.values()))
    if needed > found + _ROOM:
        raise ValueError(
            f"{files.folder / CONFIG} describes a network of {needed:,} numbers, but the files of "
            f"{files.name} have {found:,}"
        )


@contextmanager
def one_sentence(name: str) -> Iterator[None]:
    """Raise ValueError with one sentence for the errors of transformers; its reports are silenced.

    Errors are of many types for files that do not fit their config.json.
    """
    try:
        with _quiet_library():
            yield
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        raise ValueError(f"{name}: transformers cannot load it: {reason}") from None


@contextmanager
def _quiet_library() -> Iterator[None]:
    """Silence reports and progress bars of transformers: what matters of them is checked."""
    library = import_transformers("transformers.utils.logging")
    level, bars = library.get_verbosity(), library.is_progress_bar_enabled()
    library.set_verbosity(logging.CRITICAL)
    library.disable_progress_bar()
    try:
        yield
    finally:
        library.set_verbosity(level)
        if bars:
            library.enable_progress_bar()
