"""Makes exported weights loadable with transformers alone: `AutoModel.from_pretrained(FOLDER)`.

The encoders are not those of a class of transformers (attention and MLP in parallel, norms of
queries and keys, self-standardised input), so the class comes with the weights, in a file of code
that transformers runs only with `trust_remote_code=True`.
"""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from phenomae.weights.public_names import POSITIONS, public_name
from phenomae.weights.public_sizes import Blueprint

CODE = "modeling_phenomae.py"
AUTO_MAP = {
    "AutoConfig": "modeling_phenomae.PhenomaeConfig",
    "AutoModel": "modeling_phenomae.PhenomaeModel",
}
ENCODER = "encoder"
"""Key, in the table `phenomae` of a public configuration, of the sizes that the class needs."""


def has_own_class(config: Mapping[str, Any]) -> bool:
    """Return whether a public configuration names the class of `CODE`."""
    return config.get("auto_map") == AUTO_MAP


def read_code() -> bytes:
    """Return the content of `CODE`."""
    # Kept as text: as a module of the package it would need transformers where it is imported.
    return files("phenomae.weights").joinpath(f"{CODE}.txt").read_bytes()


def encoder_sizes(blueprint: Blueprint, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sizes of the encoder; `tensors` have public names."""
    settings, agnostic = blueprint.settings, blueprint.family == "channel-mae"
    return {
        "channel_agnostic": agnostic,
        "crop_size": settings.crop_size,
        "depth": settings.depth,
        "embed_dim": settings.embed_dim,
        "inputs": 1 if agnostic else len(blueprint.channels),
        "mlp_ratio": settings.mlp_ratio,
        "num_heads": settings.num_heads,
        "patch_size": settings.patch_size,
        "positions": tensors[public_name(POSITIONS[0])].shape[1],
    }
