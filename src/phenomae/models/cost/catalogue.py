"""Lists the published networks with their parameters and FLOPs: `phenomae models`.

Everything is computed from networks on torch's meta device, so no weights are allocated.
"""

import json as json_format
import sys
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from phenomae.checks import at_least, whole_number
from phenomae.models.build import build, find_network
from phenomae.models.cost.flops import ShapesOnly
from phenomae.models.families import FAMILIES
from phenomae.models.network import Network, name_channels

_WIDTH = 96
_CLASSES = 1139  # the perturbations of the public screen RxRx1; heads grow with this number
_NOTE = (
    "For crops of {size} x {size} pixels with {channels} channels; classifiers with {classes} "
    "classes. Encoder parameters include the fixed position table; the decoder of a classifier is "
    "its last layer. Tokens are the vectors that the encoder computes from a whole crop. GF: 10^9 "
    "multiplications and additions per crop; hidden patches count only where they are computed, "
    "and training includes the backward pass."
)


@dataclass(frozen=True)
class Entry:
    """One network: its sizes and its cost per crop."""

    family: str
    size: str
    encoder_parameters: int
    """Number of encoder parameters, including the fixed position table."""
    decoder_parameters: int
    """Number of parameters outside the encoder, which embedding does not use."""
    embedding: int
    """Length of an embedding."""
    tokens: int
    """Number of vectors that the encoder computes from an unmasked crop."""
    training_gflops: float
    embedding_gflops: float


def list_models(*, channels: int = 6, json: bool = False) -> list[Entry]:
    """Print and return the published networks: parameters, embedding, tokens, GFLOPs per crop.

    Parameters
    ----------
    channels
        Channels of a crop.
    json
        Print JSON instead of a table: a list with one object per network.
    """
    channels = whole_number("channels", channels)
    at_least("channels", channels, 1)
    entries = _list_entries(channels)
    if json:
        sys.stdout.write(json_format.dumps([asdict(entry) for entry in entries], indent=2) + "\n")
    else:
        _print(entries, channels)
    return entries


def _list_entries(channels: int) -> list[Entry]:
    """Return every published network, for crops with `channels` channels."""
    return [
        describe(family, size, settings, channels)
        for family in FAMILIES
        for size, settings in find_network(family).SIZES.items()
    ]


@cache  # because a second list would take seconds again: every network is built and run
def describe(family: str, size: str, settings: Any, channels: int) -> Entry:
    """Return the sizes and cost of a network with any settings; `size` is a name to show."""
    # Only their number matters, for the size of the head.
    classes = [str(number) for number in range(_CLASSES)]
    # On the meta device a network of over 300 M parameters takes no memory.
    with torch.device("meta"), ShapesOnly():
        model = build(family, settings, name_channels(channels), classes).eval()
        tokens, width = model.encoder.token_shape(model.meta_crop())
        embedding = model.encoder.finish(torch.empty(1, tokens, width), "mean", channels)
    encoder = _count(model.encoder)
    return Entry(
        family=family,
        size=size,
        encoder_parameters=encoder + _count_positions(model),
        decoder_parameters=_count(model) - encoder,
        embedding=embedding.shape[1],
        tokens=tokens,
        training_gflops=round(model.training_flops() / 1e9, 3),
        embedding_gflops=round(model.embedding_flops() / 1e9, 3),
    )


def _count(module: torch.nn.Module) -> int:
    return sum(part.numel() for part in module.parameters())


def _count_positions(model: Network) -> int:
    """Return the number of entries in the encoder's fixed position table; 0 if it has none."""
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
    # In a narrow terminal rich would cut the numbers; a wrapped line can still be read.
    console.width = max(console.width, _WIDTH)
    console.print(table)
    console.print()
    tables = [find_network(family).SIZES for family in FAMILIES]
    sizes = {settings.crop_size for table in tables for settings in table.values()}
    named = " or ".join(str(size) for size in sorted(sizes))
    console.print(_NOTE.format(size=named, channels=channels, classes=_CLASSES))
