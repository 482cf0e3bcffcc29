"""Lists the networks of the papers with what they cost: `phenomae models`."""

import json as json_format
import sys
from dataclasses import asdict, dataclass
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from phenomae.models.cost.flops import count_embedding_flops, count_training_flops
from phenomae.models.families import build
from phenomae.models.network import Network, name_channels
from phenomae.models.sizes import SIZES
from phenomae.models.vit.channel_mae import ChannelMae
from phenomae.models.vit.vit import Vit

_WIDTH = 96
_CLASSES = 1139  # as many perturbations as the screen RxRx1 has; heads grow with them
_NOTE = (
    "For crops of {size} x {size} pixels in {channels} channels; classifiers with {classes} "
    "classes. Encoders are counted with their fixed position table; a classifier's decoder is its "
    "last layer. Tokens are what an encoder makes of a whole crop. GF: thousand million products "
    "and sums for one crop; hidden patches count only where they are computed, and training goes "
    "forwards and backwards."
)


@dataclass(frozen=True)
class Entry:
    """One network: sizes, and what a crop costs."""

    family: str
    size: str
    encoder_parameters: int
    """Fixed position table counted."""
    decoder_parameters: int
    """All that embedding does without."""
    embedding: int
    """Length of the vector."""
    tokens: int
    """Vectors an encoder makes of a whole crop."""
    training_gflops: float
    embedding_gflops: float


def models(*, channels: int = 6, json: bool = False) -> None:
    """Print one table of all networks: family, size, parameters, embedding, tokens, GFLOPs a crop.

    Parameters
    ----------
    channels
        Channels of a crop.
    json
        Print JSON, a list of one object a network, instead of a table.
    """
    if channels < 1:
        raise ValueError(f"channels must be 1 or more, not {channels}")
    entries = list_models(channels)
    if json:
        sys.stdout.write(json_format.dumps([asdict(entry) for entry in entries], indent=2) + "\n")
    else:
        _print(entries, channels)


def list_models(channels: int) -> list[Entry]:
    """Return every named network for crops of so many channels."""
    return [
        describe(family, size, settings, channels)
        for family, sizes in SIZES.items()
        for size, settings in sizes.items()
    ]


def describe(family: str, size: str, settings: Any, channels: int) -> Entry:
    """Return what a network of any settings costs."""
    classes = [str(number) for number in range(_CLASSES)] if "classifier" in family else None
    with torch.device("meta"):
        model = build(family, settings, name_channels(channels), classes)
    encoder = _count(model.encoder)
    embedding, tokens = _measure(model)
    return Entry(
        family=family,
        size=size,
        encoder_parameters=encoder + _count_positions(model),
        decoder_parameters=_count(model) - encoder,
        embedding=embedding,
        tokens=tokens,
        training_gflops=round(count_training_flops(model) / 1e9, 3),
        embedding_gflops=round(count_embedding_flops(model) / 1e9, 3),
    )


def _measure(model: Network) -> tuple[int, int]:
    """Return the length of an embedding, and how many tokens it is made of."""
    if isinstance(model.encoder, Vit):  # known without a pass, of which there are 24 blocks' worth
        rows = len(model.channels) if isinstance(model, ChannelMae) else 1
        return model.settings.embed_dim, 1 + rows * model.settings.patches
    size = model.settings.crop_size
    pixels = torch.empty(1, len(model.channels), size, size, device="meta")
    tokens = model.features(pixels)
    return model.encoder.finish(tokens, "mean", len(model.channels)).shape[1], tokens.shape[1]


def _count(module: torch.nn.Module) -> int:
    return sum(part.numel() for part in module.parameters())


def _count_positions(model: Network) -> int:
    """Return how many numbers the encoder's fixed position table holds; 0 where it has none."""
    return sum(part.numel() for name, part in model.encoder.named_buffers() if name == "positions")


def _print(entries: list[Entry], channels: int) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("family", no_wrap=True)
    table.add_column("size", no_wrap=True)
    for name in ("encoder", "decoder", "embedding", "tokens", "GF train", "GF embed"):
        table.add_column(name, justify="right", no_wrap=True)
    for entry in entries:
        table.add_row(
            entry.family,
            entry.size,
            f"{entry.encoder_parameters:,}",
            f"{entry.decoder_parameters:,}",
            str(entry.embedding),
            f"{entry.tokens:,}",
            f"{entry.training_gflops:,.1f}",
            f"{entry.embedding_gflops:,.1f}",
        )
    console = Console(highlight=False)
    console.width = max(console.width, _WIDTH)
    console.print(table)
    console.print()
    sizes = {settings.crop_size for sizes in SIZES.values() for settings in sizes.values()}
    console.print(_NOTE.format(size=sizes.pop(), channels=channels, classes=_CLASSES))
