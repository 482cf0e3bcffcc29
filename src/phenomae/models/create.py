"""`create_model` makes an untrained network by its name `FAMILY/SIZE`, as in timm."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from phenomae.checks import require, whole_number
from phenomae.models.build import build, find_network, read_settings
from phenomae.models.families import FAMILIES
from phenomae.models.network import Network, name_channels


def create_model(
    name: str,
    channels: Sequence[str] | int,
    *,
    classes: Sequence[str] | None = None,
    **settings: Any,
) -> Network:
    """Return an untrained network of a published size: `create_model("vit-mae/S16", ["DNA"])`.

    Initial weights are drawn from torch's global generator: call `torch.manual_seed` before. For
    trained weights see `phenomae.load_model`.

    Parameters
    ----------
    name
        Family and size, as `phenomae models` lists them; `vit-mae/S16` and `vit-mae/S/16` are the
        same.
    channels
        Names of the channels, in the order that crops have, or the number of channels.
    classes
        Names of the perturbations that a classifier predicts; None for the other families.
    settings
        Settings that differ from those of the published size: `crop_size=128`.

    Raises
    ------
    ValueError
        If there is no such family, size or setting, or if classes are missing or not expected.
    """
    family, _, size = name.partition("/")
    require(family in FAMILIES, "name", f"FAMILY/SIZE with a family of {_join(FAMILIES)}", name)
    network = find_network(family)
    # Slashes are left out, so that `S16` and `S/16` name the same size.
    sizes = {known.replace("/", ""): value for known, value in network.SIZES.items()}
    known = f"{family}/SIZE with a size of {_join(sizes)}"
    require(size.replace("/", "") in sizes, "name", known, name)
    if classes is not None and not network.has_classes:
        raise ValueError(f"classes must not be given: a {family} model predicts none")
    channels = whole_number("channels", channels)
    names = name_channels(channels) if isinstance(channels, int) else tuple(channels)
    table = {**asdict(sizes[size.replace("/", "")]), **settings}
    return build(family, read_settings(family, table), names, classes and tuple(classes))


def _join(names: Any) -> str:
    return ", ".join(names)
