"""Gives every well the mean of its crops' vectors, from a pretrained network: `phenomae embed`."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import polars as pl
from cyclopts import Parameter

from phenomae.artefacts import SIGNATURE, Origin, artefact_folder, settings_dict
from phenomae.crops.source import Source
from phenomae.crops.tiles import Tiles, Tiling, tile_field
from phenomae.embed.channels import match_channels
from phenomae.embed.embedder import Embedder
from phenomae.embed.plates import Plate, read_plates
from phenomae.models import weights
from phenomae.models.convolutions import batch_norms
from phenomae.models.machine import Device, Precision, all_cores, open_machine
from phenomae.models.network import Network, Pool
from phenomae.progress import say, track
from phenomae.store.read import Store, open_store
from phenomae.wells import KIND, plate_path, write_plate


@Parameter(name="*")
@dataclass(frozen=True)
class EmbedSettings:
    """How fields are cut, what becomes their vector, and where the network runs."""

    tiling: Tiling = "grid"
    """How crops cover a field: grid lays them side by side, centred, and leaves a rim out;
    overlap adds crops at the edges so that nothing is left out."""
    pool: Pool = "mean"
    """What becomes a crop's vector: the mean over its tokens, the class token, or, of a
    channel-agnostic network, the means over each channel's tokens, side by side."""
    block: int | Literal["all"] | None = None
    """Block whose tokens are taken, counted from 1; the last (and what follows it) if not given.
    all takes every one in a single pass: WELLS/block-01, WELLS/block-02, ..."""
    channels: str = ""
    """Channels of the store to take, comma between, by their names in the network where these
    differ: `Hoechst=DNA,ConA=ER`. Empty takes all by their own names."""
    adabn: Literal["auto", "on", "off"] = "auto"
    """Whether batch norms go by every plate's own statistics; auto does for networks so trained."""
    adabn_crops: int = 512
    """Most crops of a plate that its statistics are taken from, spread evenly over it."""
    crops_at_once: int = 64
    """Crops the network takes together."""
    device: Device = "auto"
    """Where to run: auto takes the GPU where there is one."""
    precision: Precision = "auto"
    """Precision of matrix products: auto takes bf16 where the machine is good at it."""

    def __post_init__(self) -> None:
        for name, least in (("crops_at_once", 1), ("adabn_crops", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more, not {getattr(self, name)}")


def embed(
    store: Path,
    run: Path,
    wells: Path,
    /,
    *,
    settings: EmbedSettings = EmbedSettings(),
    overwrite: bool = False,
) -> None:
    """Give every well its vector: the mean over its crops of what the network makes of each.

    A stopped call goes on with the plates that are missing. Raises ValueError where the store's
    channels are not those the network was trained on, where a field is smaller than its crops, or
    where the network has no such block or pool.

    Parameters
    ----------
    store
        What `phenomae ingest` made.
    run
        What `phenomae pretrain` made, or a folder of weights.
    wells
        Folder of the vectors, one Parquet file a plate; with --block all, of one such folder a
        block.
    settings
        How fields are cut, what becomes their vector, and where the network runs.
    overwrite
        Replace wells that are there already.
    """
    screen = open_store(store)
    plates = read_plates(screen)
    model = weights.load(run)
    blocks = _choose_blocks(model, wells, settings)
    embedder = _build_embedder(screen, run, model, settings)
    sources = {"store": screen.identity, "run": weights.identify(run)}
    with ExitStack() as stack:
        folders: dict[int | None, Path] = {}
        for block in blocks:
            origin = Origin(KIND, settings_dict(replace(settings, block=block)), sources)
            place = _block_path(wells, block) if settings.block == "all" else wells
            folder = stack.enter_context(artefact_folder(place, origin, overwrite))
            if folder is not None:
                folders[block] = folder
        if folders:
            _report_left_out(screen, embedder.tiles)
            _embed_plates(embedder, plates, folders)


def _build_embedder(screen: Store, run: Path, model: Network, settings: EmbedSettings) -> Embedder:
    adapts = _adapts(model, run, settings)
    return Embedder(
        source=Source([screen], "fields", match_channels(screen, model, settings.channels)),
        tiles=_tile(screen, model.settings.crop_size, settings.tiling),
        model=model,
        machine=open_machine(settings.device, settings.precision),
        crops_at_once=settings.crops_at_once,
        pool=settings.pool,
        adabn_crops=settings.adabn_crops if adapts else 0,
    )


def _embed_plates(embedder: Embedder, plates: list[Plate], folders: dict[int | None, Path]) -> None:
    """Write the plates that are missing in any folder; `folders` says of which block each is."""
    embedder.model.to(embedder.machine.device)
    done = [plate for plate in plates if not _list_missing(folders, plate)]
    total, before = (sum(map(embedder.count, some)) for some in (plates, done))
    with all_cores(), track("embed", total, "crops", before) as advance:
        for plate in plates:
            if missing := _list_missing(folders, plate):
                vectors = embedder.embed(plate, missing, advance)
                for block, features in zip(missing, vectors, strict=True):
                    write_plate(folders[block], plate.table, features)


def _list_missing(folders: dict[int | None, Path], plate: Plate) -> list[int | None]:
    """Return the blocks whose folder lacks a plate."""
    return [
        block for block, folder in folders.items() if not plate_path(folder, plate.name).exists()
    ]


def _choose_blocks(model: Network, wells: Path, settings: EmbedSettings) -> list[int | None]:
    """Return the blocks to take; raises ValueError for one, or a pool, that is not there."""
    if settings.block == "all" and (wells / SIGNATURE).exists():
        raise ValueError(f"{wells} holds the wells of one block: choose another name for all")
    if settings.block != "all" and _block_path(wells, 1).exists():
        raise ValueError(f"{wells} holds a folder of wells a block: choose another name for one")
    blocks = range(1, model.encoder.depth + 1) if settings.block == "all" else [settings.block]
    model.encoder.check(settings.pool, [block for block in blocks if block is not None])
    return list(blocks)


def _block_path(wells: Path, block: int | None) -> Path:
    return wells / f"block-{block:02d}"


def _adapts(model: Network, run: Path, settings: EmbedSettings) -> bool:
    """Say whether batch norms go by every plate's own statistics.

    Raises ValueError where that is asked of a network without batch norms.
    """
    if settings.adabn == "on" and not batch_norms(model):
        raise ValueError(
            f"adabn: the {model.family} network of {run} has no batch norms; leave it at auto"
        )
    return settings.adabn == "on" or (
        settings.adabn == "auto" and bool(weights.read_config(run).get("adabn"))
    )


def _tile(screen: Store, size: int, tiling: Tiling) -> list[Tiles]:
    """Return where the crops of every field lie; fields of one size are worked out once."""
    by_size: dict[tuple[int, int], Tiles] = {}
    for row in screen.fields.select("height", "width", "path").iter_rows(named=True):
        sides = row["height"], row["width"]
        if min(sides) < size:
            raise ValueError(
                f"{screen.path}: {row['path']} has {sides[0]} x {sides[1]} pixels, but the network "
                f"takes crops of {size} x {size}: train one on smaller crops"
            )
        if sides not in by_size:
            by_size[sides] = tile_field(*sides, size, tiling)
    return [by_size[sides] for sides in screen.fields.select("height", "width").iter_rows()]


def _report_left_out(screen: Store, tiles: Sequence[Tiles]) -> None:
    left_out = sum(tile.left_out for tile in tiles)
    if left_out:
        pixels = int(screen.fields.select(pl.col("height") * pl.col("width")).sum().item())
        say(
            f"{left_out} of {pixels} pixels ({100 * left_out / pixels:.1f} %) lie in no crop, at "
            "the rims of fields (--tiling overlap takes them in)"
        )
