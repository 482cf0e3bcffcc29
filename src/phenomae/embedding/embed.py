"""Gives every well the mean of its crops' vectors, from a pretrained network: `phenomae embed`."""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cyclopts import Parameter

from phenomae.artefacts import SIGNATURE, Origin, artefact_folder, settings_dict
from phenomae.crops.fields import keep_fields
from phenomae.crops.reader import CropReader, check_pixel_size
from phenomae.crops.tiles import Tiling
from phenomae.devices import Device, Precision, all_cores, open_machine
from phenomae.embedding.channels import match_channels
from phenomae.embedding.covering import cover_fields, tell_left_out
from phenomae.embedding.embedder import Embedder
from phenomae.embedding.plates import Plate, read_plates
from phenomae.models.conv.convolutions import batch_norms
from phenomae.models.network import Network, Pool
from phenomae.progress import info, track
from phenomae.store.read import Store, open_store
from phenomae.urls import Location
from phenomae.weights import io as weights
from phenomae.wells import KIND, plate_path, write_plate

_NEAR = 1.1  # pixel sizes as near as this are taken for one


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
    where: str | None = None
    """SQL that a field's row in fields.parquet must fulfil: "focus > 0.1 AND plate != 'P3'". A well
    is the mean over the fields that are left; one without any is left out. Not given: all fields
    are taken."""
    pixel_size_um: float | None = None
    """Micrometres a pixel to bring fields to, as a rule those the network was trained at. Not
    given: pixels stay those of the store."""

    def __post_init__(self) -> None:
        for name, least in (("crops_at_once", 1), ("adabn_crops", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more, not {getattr(self, name)}")
        check_pixel_size(self.pixel_size_um)


def embed(
    store: Location,
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
        What `phenomae ingest` made: a folder, or an s3:// address.
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
    whole = open_store(store)
    screen = keep_fields(whole, settings.where)
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
            if left_out := len(whole.fields) - len(screen.fields):
                info(f"{left_out} of {len(whole.fields)} fields are left out by --where")
            _tell_pixel_sizes(screen, run, settings)
            tell_left_out(screen, embedder.tiles)
            _embed_plates(embedder, plates, folders)


def _build_embedder(screen: Store, run: Path, model: Network, settings: EmbedSettings) -> Embedder:
    adapts = _adapts(model, run, settings)
    channels = match_channels(screen, model, settings.channels)
    reader = CropReader([screen], "fields", channels, settings.pixel_size_um)
    crop_size = model.settings.crop_size
    side = int(reader.sides(crop_size)[0])
    return Embedder(
        reader=reader,
        tiles=cover_fields(screen, crop_size, side, settings.tiling),
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


def _tell_pixel_sizes(screen: Store, run: Path, settings: EmbedSettings) -> None:
    """Say where the network was trained at a scale that is not the store's, by a tenth or more."""
    trained, ours = weights.read_config(run).get("pixel_size_um"), screen.pixel_size_um
    if settings.pixel_size_um is not None or not ours or not isinstance(trained, int | float):
        return
    if max(trained, ours) > _NEAR * min(trained, ours):
        info(
            f"a pixel of {screen.path} is {ours} um, but the network was trained at {trained} um: "
            f"--pixel-size-um {trained} brings the fields to that"
        )
