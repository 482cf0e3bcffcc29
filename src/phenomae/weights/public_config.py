"""Writes `config.json` in the public layout, so that public code can load exported weights."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor

from phenomae.models.vit.channel_decoder import NORM_EPS as CHANNEL_NORM_EPS
from phenomae.models.vit.decoder import NORM_EPS
from phenomae.weights.public_sizes import BESIDE, Blueprint, name_backbone, read_published

# Keys that have the same value for all networks in the public layout.
_SAME: dict[str, Any] = {
    "architectures": ["MAEModel"],
    "crop_size": -1,
    "input_norm": {
        "_target_": "torch.nn.Sequential",
        "_args_": [
            {"_target_": "normalizer.Normalizer"},
            {
                "_target_": "torch.nn.InstanceNorm2d",
                "affine": False,
                "track_running_stats": False,
            },
        ],
    },
    "loss": {"_target_": "torch.nn.MSELoss", "reduction": "none"},
    "mask_fourier_loss": True,
    "model_type": "MAE",
    "torch_dtype": "float32",
    "use_MAE_weight_init": False,
}


def write_config(blueprint: Blueprint) -> dict[str, Any]:
    """Return the public configuration of a network that phenomae trained."""
    settings, channels = blueprint.settings, len(blueprint.channels)
    return {
        **_SAME,
        "decoder": _decoder(blueprint),
        "encoder": _encoder(blueprint),
        "fourier_loss": {"_target_": "loss.FourierLoss", "num_multimodal_modalities": channels},
        "fourier_loss_weight": settings.fourier_weight,
        "mask_ratio": settings.mask_ratio,
        "norm_pix_loss": settings.normalise_targets,
    }


def complete(
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    blueprint: Blueprint,
    beside: Mapping[str, Any],
) -> dict[str, Any]:
    """Return a public configuration with the settings that it lacks under the key `phenomae`.

    `beside` are further values for that key. Without any addition the configuration is returned
    unchanged.
    """
    public = {key: value for key, value in config.items() if key != BESIDE}
    # Only settings that cannot be read from the public keys and the tensors are added.
    stated = read_published(public, tensors)
    known = asdict(stated.settings)
    rest = dict(beside)
    model = {key: value for key, value in asdict(blueprint.settings).items() if value != known[key]}
    if model:
        rest["model"] = model
    if blueprint.channels != stated.channels:
        rest["channels"] = list(blueprint.channels)
    return {**public, BESIDE: rest} if rest else public


def _decoder(blueprint: Blueprint) -> dict[str, Any]:
    settings, agnostic = blueprint.settings, blueprint.family == "channel-mae"
    norm = {
        "_partial_": True,
        "_target_": "torch.nn.LayerNorm",
        "eps": CHANNEL_NORM_EPS if agnostic else NORM_EPS,
    }
    of_channels = {
        "_target_": "mae_modules.CAMAEDecoder",
        "num_modalities": len(blueprint.channels),
        "tokens_per_modality": settings.patches,
    }
    return {
        "depth": settings.decoder_depth,
        "embed_dim": settings.decoder_embed_dim,
        "mlp_ratio": settings.decoder_mlp_ratio,
        "norm_layer": norm,
        "num_heads": settings.decoder_num_heads,
        "qkv_bias": True,
        **(of_channels if agnostic else {}),
    }


def _encoder(blueprint: Blueprint) -> dict[str, Any]:
    settings = blueprint.settings
    size = name_backbone(asdict(settings))
    target = f"vit.vit_{size}_patch{settings.patch_size}_{settings.crop_size}"
    # The public code has functions for three sizes only; other networks have no target.
    inner = {"_target_": target} if size else {}
    return {
        "_target_": "mae_modules.MAEEncoder",
        "channel_agnostic": blueprint.family == "channel-mae",
        "max_in_chans": blueprint.max_channels,
        "vit_backbone": {
            "_target_": "vit.sincos_positional_encoding_vit",
            "vit_backbone": {**inner, "global_pool": "avg"},
        },
    }
