"""`phenomae embed`: one embedding per well, the mean over its crops, from a pretrained network.

A plate is the unit of work: its file is written when all its wells are done, and an interrupted
call resumes with the plates that are missing.
"""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from cyclopts import Parameter

from phenomae.artefacts import SIGNATURE, Origin, artefact_folder, settings_dict
from phenomae.checks import above, at_least, one_of
from phenomae.crops.fields import keep_fields
from phenomae.crops.reader import CropReader
from phenomae.crops.tiles import Tiling
from phenomae.devices import Device, Precision, all_cores, open_machine
from phenomae.embedding.channels import match_channels
from phenomae.embedding.covering import (
    cover_fields,
    report_left_out_fields,
    report_left_out_pixels,
)
from phenomae.embedding.embedder import Embedder
from phenomae.embedding.plates import Plate, read_plates
from phenomae.models.conv.convolutions import batch_norms
from phenomae.models.network import Network, Pool
from phenomae.outputs import Output
from phenomae.paths import PathLike
from phenomae.progress import info, track
from phenomae.store.read import Store, open_store
from phenomae.urls import Location, locate
from phenomae.weights import io as weights
from phenomae.wells import KIND, Wells, plate_path, write_plate

AdaBn = Literal["auto", "on", "off"]
# Networks bear some change of scale, and pixel sizes in metadata are rounded.
_SAME_SCALE = 1.1


@Parameter(name="*")
@dataclass(frozen=True)
class EmbedSettings:
    """How fields are cut into crops, how crops become embeddings, and where the network runs."""

    tiling: Tiling = "grid"
    """How crops cover a field: grid lays them side by side, centred, and leaves out the edges;
    overlap adds crops at the edges so that every pixel is in a crop."""
    pool: Pool = "mean"
    """How the tokens of a crop become its embedding: their mean, the class token, or, with a
    channel-agnostic network, the mean over each channel's tokens, concatenated."""
    block: int | Literal["all"] | None = None
    """Block whose tokens are taken, counted from 1; not given: the last, with the layers after it.
    all takes every block in one pass and writes WELLS/block-01, WELLS/block-02, ..."""
    channels: str = ""
    """Channels of the store to use, comma-separated, with their names in the network if these
    differ: `Hoechst=DNA,ConA=ER`. Empty: all, by their own names."""
    adabn: AdaBn = "auto"
    """Whether batch norms use the statistics of each plate (AdaBN) instead of those of the
    training; auto does for networks trained with AdaBN."""
    adabn_crops: int = 512
    """Maximum number of crops from which a plate's statistics are estimated, spread over it."""
    crops_at_once: int = 64
    """Crops in one forward pass."""
    device: Device = "auto"
    """Where to run: auto is the GPU if there is one."""
    precision: Precision = "auto"
    """Precision of matrix products: auto is bf16 if the device computes it in hardware."""
    where: str | None = None
    """SQL expression over fields.parquet: "focus > 0.1 AND plate != 'P3'". A well is the mean over
    the fields for which it is true; a well without any is left out. Not given: all fields."""
    pixel_size_um: float | None = None
    """Micrometres per pixel to which fields are resampled, usually that of the training. Not given:
    pixels are used as they are in the store."""

    def __post_init__(self) -> None:
        one_of("tiling", self.tiling, get_args(Tiling))
        one_of("pool", self.pool, get_args(Pool))
        one_of("adabn", self.adabn, get_args(AdaBn))
        one_of("device", self.device, get_args(Device))
        one_of("precision", self.precision, get_args(Precision))
        at_least("crops_at_once", self.crops_at_once, 1)
        at_least("adabn_crops", self.adabn_crops, 2)  # a variance needs two
        above("pixel_size_um", self.pixel_size_um, 0)


class BlockWells(Output):
    """A folder with one wells folder per block of a network, as `embed` writes for block `all`."""

    @property
    def blocks(self) -> dict[int, Wells]:
        """The wells of each block, counted from 1."""
        folders = sorted(self.path.glob("block-*"))
        return {int(folder.name.removeprefix("block-")): Wells(folder) for folder in folders}


def embed(
    store: Location,
    run: PathLike,
    wells: PathLike,
    /,
    *,
    settings: EmbedSettings = EmbedSettings(),
    overwrite: bool = False,
) -> Wells | BlockWells:
    """Compute one embedding per well: the mean over the embeddings of its crops.

    An interrupted call resumes with the plates that are missing.

    Parameters
    ----------
    store
        What `phenomae ingest` made: a folder, or an s3:// address.
    run
        What `phenomae pretrain` made, or a folder of weights.
    wells
        Folder to write, one Parquet file per plate; with block all, one such folder per block.
    settings
        How fields are cut, how crops become embeddings, and where the network runs.
    overwrite
        Replace wells made from another store or run or with other settings.

    Returns
    -------
        `Wells`; `BlockWells` with block all.

    Raises
    ------
    ValueError
        If the store's channels are not those the network was trained on, a field is smaller than a
        crop, or the network has no such block or pool.
    """
    run, target = Path(run), Path(wells)
    full = open_store(locate(store))
    kept = keep_fields(full, settings.where)
    plates = read_plates(kept)
    model = weights.load(run)
    blocks = _choose_blocks(model, target, settings)
    embedder = _build_embedder(kept, run, model, settings)
    sources = {"store": kept.identity, "run": weights.identify(run)}
    with ExitStack() as stack:
        folders: dict[int | None, Path] = {}
        for block in blocks:
            origin = Origin(KIND, settings_dict(replace(settings, block=block)), sources)
            place = _block_path(target, block) if settings.block == "all" else target
            folder = stack.enter_context(artefact_folder(place, origin, overwrite))
            if folder is not None:
                folders[block] = folder
        if folders:
            report_left_out_fields(full, kept)
            _report_pixel_size(kept, run, settings)
            report_left_out_pixels(kept, embedder.tiles)
            _embed_plates(embedder, plates, folders)
    return BlockWells(target) if settings.block == "all" else Wells(target)


def _build_embedder(store: Store, run: Path, model: Network, settings: EmbedSettings) -> Embedder:
    adapts = _adapts(model, run, settings)
    channels = match_channels(store, model, settings.channels)
    reader = CropReader([store], "fields", channels, settings.pixel_size_um)
    crop_size = model.settings.crop_size
    side = int(reader.sides(crop_size)[0])
    return Embedder(
        reader=reader,
        tiles=cover_fields(store, crop_size, side, settings.tiling),
        model=model,
        machine=open_machine(settings.device, settings.precision),
        crops_at_once=settings.crops_at_once,
        pool=settings.pool,
        adabn_crops=settings.adabn_crops if adapts else 0,
    )


def _embed_plates(embedder: Embedder, plates: list[Plate], folders: dict[int | None, Path]) -> None:
    """Write each plate to the folders that lack it; `folders` are by block."""
    embedder.model.to(embedder.machine.device)
    done = [plate for plate in plates if not _list_missing(folders, plate)]
    total, before = (sum(map(embedder.count, some)) for some in (plates, done))
    with all_cores(), track("embed", total, "crops", before) as advance:
        for plate in plates:
            # A stop between two blocks' files leaves a plate that only some folders lack.
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
    """Return the blocks to embed.

    Raises ValueError if the network lacks a block or the pool, or if `wells` holds the wells of one
    block and all are requested, or the reverse.
    """
    if settings.block == "all" and (wells / SIGNATURE).exists():
        raise ValueError(f"{wells} holds the wells of one block: choose another folder for all")
    if settings.block != "all" and _block_path(wells, 1).exists():
        raise ValueError(f"{wells} holds one wells folder per block: choose another for one block")
    blocks = range(1, model.encoder.depth + 1) if settings.block == "all" else [settings.block]
    model.encoder.check(settings.pool, [block for block in blocks if block is not None])
    return list(blocks)


def _block_path(wells: Path, block: int | None) -> Path:
    return wells / f"block-{block:02d}"


def _adapts(model: Network, run: Path, settings: EmbedSettings) -> bool:
    """Return whether batch norms use each plate's own statistics.

    Raises ValueError if AdaBN is on and the network has no batch norms.
    """
    if settings.adabn == "on" and not batch_norms(model):
        raise ValueError(
            f"adabn must be auto or off, not on: the {model.family} network of {run} has no batch "
            "norms"
        )
    trained_with = bool(weights.read_config(run).get("adabn"))
    return settings.adabn == "on" or (settings.adabn == "auto" and trained_with)


def _report_pixel_size(store: Store, run: Path, settings: EmbedSettings) -> None:
    """Print a line if the network was trained at a pixel size that differs by a tenth or more."""
    trained, ours = weights.read_config(run).get("pixel_size_um"), store.pixel_size_um
    if settings.pixel_size_um is not None or not ours or not isinstance(trained, int | float):
        return
    if max(trained, ours) > _SAME_SCALE * min(trained, ours):
        info(
            f"{store.path} has pixels of {ours} um, but the network was trained with pixels of "
            f"{trained} um: pixel_size_um {trained} resamples the fields to that"
        )
