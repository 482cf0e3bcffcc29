"""Opens a public encoder as a network to embed with: `hf:...` of `embed`."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from phenomae.checks import require
from phenomae.paths import PathLike
from phenomae.progress import info
from phenomae.weights.licence import licence_text, read_licence
from phenomae.weights.public_encoder.encoder import PublicEncoder, PublicModel, PublicNetwork
from phenomae.weights.public_encoder.find_encoder import CONFIG, EncoderFiles, find_encoder
from phenomae.weights.public_encoder.json_file import read_json, read_side
from phenomae.weights.public_encoder.load_transformer import (
    KINDS,
    Kind,
    import_transformers,
    load_transformer,
    read_shapes,
)
from phenomae.weights.public_encoder.morphem import EPS, is_morphem, load_morphem
from phenomae.weights.public_encoder.preparation import (
    Preparation,
    ProcessorPreparation,
    ZScorePreparation,
)
from phenomae.weights.public_encoder.processor import read_processor
from phenomae.weights.public_encoder.settings import PublicEncoderSettings
from phenomae.weights.random_twin import OpenedNetwork
from phenomae.whole_files import hash_json, sha256_of


def open_encoder(
    run: PathLike,
    channels: Sequence[str],
    settings: PublicEncoderSettings = PublicEncoderSettings(),
) -> OpenedNetwork:
    """Return the public encoder `hf:...` for crops with these channels, on the CPU.

    Raises ValueError if there is no such encoder, if it is no vision transformer of a known kind,
    needs code of its own, does not load completely, or if the settings do not fit it.
    """
    version = import_transformers().__version__
    files = find_encoder(run)
    config = read_json(files.folder / CONFIG)
    if is_morphem(config):
        kind, model = KINDS["vit"], load_morphem(files, config, read_shapes(files))
        prepare: Preparation = _prepare_morphem(files, model, settings)
    else:
        kind = _find_kind(files, config)
        model = load_transformer(files, config, read_shapes(files))
        prepare = _prepare(files, kind, model, settings)
    if settings.channels_as == "rgb" and len(channels) != 3:
        raise ValueError(
            "channels_as rgb makes an image of 3 channels: name them with channels in the order "
            f"red, green, blue, not {','.join(channels)}"
        )
    size = int(prepare.record()["input_size"])
    encoder = _wrap(files, kind, model, prepare, size)
    network = PublicNetwork(PublicModel(settings.crop_size or size), channels, encoder).eval()
    licence = read_licence(files.folder)
    info(f"{files.name}: {licence_text(licence)}")
    sums = {path.name: sha256_of(path) for path in files.tensors}
    record = {
        "encoder": files.name,
        "revision": files.revision,
        "licence": licence,
        "weights_sha256": sums,
        "preprocessing": {"crop_size": network.settings.crop_size, **prepare.record()},
        "transformers": version,
    }
    if is_morphem(config):  # whose files do not say it
        record["layer_norm_eps"] = model.config.layer_norm_eps
    return OpenedNetwork(network, {}, hash_json([config, sums]), record)


def _find_kind(files: EncoderFiles, config: dict[str, Any]) -> Kind:
    """Return the kind of a model; raises ValueError if it is none that is known."""
    model_type, own_code = config.get("model_type"), bool(config.get("auto_map"))
    if isinstance(model_type, str) and model_type in KINDS:
        if own_code:
            info(f"{files.name} has code of its own (auto_map), which is not run")
        return KINDS[model_type]
    if model_type == "MAE":
        raise ValueError(
            f"{files.name} is in the layout of OpenPhenom: phenomae weights import reads it, and "
            "embed takes the imported folder, without hf:"
        )
    if own_code:
        raise ValueError(
            f"{files.name} needs code of its own (auto_map in {CONFIG}), which is not run: hf: "
            f"opens models of type {', '.join(KINDS)}"
        )
    raise ValueError(
        f"{files.name} is a model of type {model_type!r}: hf: opens vision transformers of type "
        f"{', '.join(KINDS)}"
    )


def _prepare(
    files: EncoderFiles, kind: Kind, model: Any, settings: PublicEncoderSettings
) -> Preparation:
    channels = model.config.num_channels
    if channels not in (1, 3):
        raise ValueError(
            f"{files.name} has images of {channels} channels: hf: opens models of grey or colour "
            "images, with 1 or 3 channels"
        )
    if settings.channels_as == "rgb" and channels != 3:
        raise ValueError(
            f"channels_as must be grey for {files.name}, whose images have {channels} channels"
        )
    native, built_for = _native(model), model.config.image_size
    require(native is not None, "image_size", f"the side of a square in {files.name}", built_for)
    processor = read_processor(files, native, channels, kind.processor, settings)
    return ProcessorPreparation(settings.channels_as, settings.intensities, processor, channels)


def _prepare_morphem(
    files: EncoderFiles, model: Any, settings: PublicEncoderSettings
) -> Preparation:
    name, native = files.name, model.config.image_size
    require(settings.channels_as == "grey", "channels_as", f"grey for {name}", "rgb")
    # Its code interpolates positions in another way than transformers.
    fits = settings.input_size in (None, native)
    require(fits, "input_size", f"{native} for {name}", settings.input_size)
    if settings.image_mean is not None:
        raise ValueError(f"image_mean and image_std must be left out for {name}, which has none")
    return ZScorePreparation(settings.intensities, native, EPS)


def _wrap(
    files: EncoderFiles, kind: Kind, model: Any, prepare: Preparation, size: int
) -> PublicEncoder:
    patch = read_side(_plain(model.config.patch_size))
    require(patch is not None, "patch_size", f"the side of a square in {files.name}", None)
    assert patch is not None
    # Some models ignore the last rows and columns of an image, without an exception.
    whole = size % patch == 0
    require(whole, "input_size", f"a multiple of {patch}, the patch size of {files.name}", size)
    fixed = {} if kind.free_size else {"interpolate_pos_encoding": size != _native(model)}
    patches = (size // patch) ** 2

    def options(images: Float[Tensor, "b k s s"]) -> dict[str, Any]:
        if not kind.masks:
            return fixed
        # Patches are shuffled by the order of these numbers, also if none is hidden: rising numbers
        # keep them where they are.
        order = torch.arange(patches, dtype=torch.float32, device=images.device)
        return {**fixed, "noise": order.expand(len(images), -1)}

    assert all(tensor.dtype == torch.float32 for tensor in model.parameters())
    leading = kind.leading + (model.config.num_register_tokens if kind.registers else 0)
    return PublicEncoder(model, prepare, model.config.num_hidden_layers, leading, options)


def _native(model: Any) -> int | None:
    return read_side(_plain(model.config.image_size))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
