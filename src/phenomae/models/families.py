"""The table of families: what a network's settings are, and how one is built."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from phenomae.models.channel_mae import ChannelMae
from phenomae.models.classifier import Classifier, ClassifyingNetwork, VitClassifier
from phenomae.models.network import Network
from phenomae.models.settings import (
    ChannelMaeModel,
    ClassifierModel,
    UnetMaeModel,
    VitClassifierModel,
    VitMaeModel,
)
from phenomae.models.unet_mae import UnetMae
from phenomae.models.vit_mae import VitMae

FAMILIES: dict[str, tuple[type[Any], type[Network]]] = {
    VitMae.family: (VitMaeModel, VitMae),
    ChannelMae.family: (ChannelMaeModel, ChannelMae),
    UnetMae.family: (UnetMaeModel, UnetMae),
    Classifier.family: (ClassifierModel, Classifier),
    VitClassifier.family: (VitClassifierModel, VitClassifier),
}
"""Family: its settings, its network."""


def read_settings(family: str, table: dict[str, Any]) -> Any:
    """Return the settings of a family that a table holds; those it lacks have their defaults.

    Raises ValueError for a key that is no setting, and for values that cannot be built.
    """
    kind, _ = FAMILIES[family]
    known = {field.name for field in fields(kind)}
    if unknown := sorted(table.keys() - known):
        raise ValueError(f"{unknown[0]!r} is no setting of a {family} model")
    values = {
        name: tuple(value) if isinstance(value, list) else value for name, value in table.items()
    }
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(f"a {family} model cannot be built: {error}") from None


def build(
    family: str, settings: Any, channels: Sequence[str], classes: Sequence[str] | None = None
) -> Network:
    """Return an untrained network; raises ValueError for a classifier without `classes`."""
    _, network = FAMILIES[family]
    if not issubclass(network, ClassifyingNetwork):
        return network(settings, channels)
    if not isinstance(classes, list | tuple):
        raise ValueError(
            f"a {family} model needs the list classes, the names of what it tells apart"
        )
    return network(settings, channels, classes)
