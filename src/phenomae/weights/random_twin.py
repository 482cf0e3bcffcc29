"""Networks with random weights: what the architecture of a network sees without training.

`random:RUN` is the network of a run or of a folder of weights, `random:FAMILY/SIZE` one of a
published size. LayerScale is 1: at the 1e-4 with which trainings begin, a block is close to the
identity and the network nearly linear, so that it would be too weak a baseline.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch

from phenomae.checks import at_least
from phenomae.models.build import build, find_network
from phenomae.models.create import create_model
from phenomae.models.families import FAMILIES
from phenomae.models.network import Network
from phenomae.paths import PathLike
from phenomae.weights import io
from phenomae.whole_files import hash_json

PREFIX = "random:"


@dataclass(frozen=True)
class OpenedNetwork:
    """A network to embed with."""

    model: Network
    """The network in eval mode."""
    config: dict[str, Any]
    """config.json of its weights; empty for a network by name."""
    identity: str
    """Hash of its weights, or of what its random weights are drawn from."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """What wells record of it beside the settings: of a public encoder, what it is."""


def open_network(run: PathLike, channels: Sequence[str], seed: int = 0) -> OpenedNetwork:
    """Return the trained network of a run, or one with random weights if `run` is `random:...`.

    `channels` are those of a network by name. Raises ValueError if there is no such run or size.
    """
    text = str(run)
    if not text.startswith(PREFIX):
        return OpenedNetwork(io.load(run), io.read_config(run), io.identify(run))
    at_least("seed", seed, 0)
    # Networks are built with weights from torch's generator: the caller's stays as it was.
    with torch.random.fork_rng(devices=[]):
        return _open_random(text.removeprefix(PREFIX), channels, seed)


def _open_random(name: str, channels: Sequence[str], seed: int) -> OpenedNetwork:
    family, slash, _ = name.partition("/")
    there = bool(name) and Path(name).exists()
    if family in FAMILIES and (slash or not there):
        config, known = {}, _build_by_name(name, channels)
    elif there:
        config, known = io.read_config(Path(name)), io.load(Path(name))
    else:
        raise ValueError(
            f"{PREFIX}{name} names no network: after {PREFIX} give a finished run, a folder of "
            f"weights, or FAMILY/SIZE with a family of {', '.join(FAMILIES)}"
        )
    classes = getattr(known, "classes", None)
    made_of = known.family, _in_full(known.settings), known.channels, classes
    torch.manual_seed(seed)
    model = build(*made_of).eval()
    drawn_from = [PREFIX, made_of[0], asdict(made_of[1]), list(known.channels), classes, seed]
    return OpenedNetwork(model, config, hash_json(drawn_from))


def _build_by_name(name: str, channels: Sequence[str]) -> Network:
    # On the meta device: only its settings are needed, and weights would take time to draw.
    family = name.partition("/")[0]
    try:
        with torch.device("meta"):
            return create_model(name, channels, classes=_classes(family))
    except ValueError as error:
        raise ValueError(f"{PREFIX}{name}: {error}") from None


def _classes(family: str) -> tuple[str, ...] | None:
    """Return two classes for a classifier by name: its head does not change its embeddings."""
    return ("class 1", "class 2") if find_network(family).has_classes else None


def _in_full(settings: Any) -> Any:
    """Return settings in which every block counts in full, if the network has LayerScale."""
    scaled = any(item.name == "layer_scale" for item in fields(settings))
    return replace(settings, layer_scale=1.0) if scaled else settings
