"""`phenomae embed` computes one embedding per well with a pretrained network: the mean over crops.

A plate is the unit of work: the file of a plate is written when all its wells are done, and an
interrupted call resumes with the plates that are missing.
"""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import polars as pl
from cyclopts import Parameter

from phenomae.checks import above, at_least, one_of, whole_numbers
from phenomae.crops.fields import keep_fields
from phenomae.crops.reader import CropReader
from phenomae.crops.tiles import Tiling
from phenomae.crops.turns import TURNS, Turns
from phenomae.devices import Device, Precision, choose_gpu, open_machine
from phenomae.embedding.channels import match_channels
from phenomae.embedding.covering import (
    TRAIN_SMALLER,
    cover_fields,
    report_left_out_fields,
    report_left_out_pixels,
)
from phenomae.embedding.embedder import Embedder
from phenomae.embedding.plates import plate_units, read_plates
from phenomae.embedding.targets import (
    Target,
    block_path,
    embed_plates,
    refuse_nested,
    refuse_other_layout,
)
from phenomae.images.platemap.settings import LABELS, PlateMapSettings
from phenomae.models.conv.convolutions import batch_norms
from phenomae.models.network import Network, Pool
from phenomae.outputs import Output
from phenomae.paths import PathLike
from phenomae.progress import info
from phenomae.records import choose_channels
from phenomae.shards import find_shard
from phenomae.shared_artefacts import is_finished, shared_folder
from phenomae.signatures import Origin, settings_dict
from phenomae.store.read import Store, open_store
from phenomae.store.relabel import relabel_fields
from phenomae.tokens import KIND as TOKENS
from phenomae.urls import Location, locate
from phenomae.weights.public_encoder.settings import (
    ENCODER,
    PublicEncoderSettings,
    is_public_encoder,
)
from phenomae.weights.random_twin import PREFIX, OpenedNetwork, open_network
from phenomae.wells import KIND, Wells

AdaBn = Literal["auto", "on", "off"]
# Pixel sizes that differ by less than 10 % are not reported: sizes in metadata are rounded.
_SAME_SCALE = 1.1


@Parameter(name="*")
@dataclass(frozen=True)
class EmbedSettings:
    """Settings of crops, pooling and device for `embed`."""

    tiling: Tiling = "grid"
    """How crops cover a field: grid lays crops side by side, centred, and leaves out the edges;
    overlap adds crops at the edges so that every pixel is in a crop."""
    crops_per_field: int | None = None
    """Maximum number of crops of a field, spread over it. Default: all."""
    turns: Turns = 1
    """Turns of each crop whose embeddings are averaged: 4 quarter turns, or 8 with their mirror
    images. Cells lie in any direction, and averaging over it leaves less noise in a well's mean."""
    pool: Pool = "mean"
    """Pooling of a crop's tokens into an embedding: their mean; their mean and standard deviation;
    the class token; or, for a channel-agnostic network, the mean over each channel's tokens."""
    block: int | Literal["all"] | None = None
    """Block whose tokens are pooled, counted from 1; default: the last block, with the layers after
    it. all pools every block in one pass and writes WELLS/block-01, WELLS/block-02, ..."""
    channels: str = ""
    """Channels of the store to use, comma-separated, with their names in the network if these
    differ: `Hoechst=DNA,ConA=ER`. Empty: all channels, by their names in the store."""
    adabn: AdaBn = "auto"
    """Whether batch norms use the statistics of each plate (AdaBN) instead of those of the
    training; auto uses each plate's statistics if the network was trained with AdaBN."""
    adabn_crops: int = 512
    """Maximum number of crops, spread over a plate, from which its statistics are estimated."""
    crops_at_once: int = 64
    """Crops in one forward pass."""
    device: Device = "auto"
    """Device to run on: auto uses a GPU if there is one."""
    precision: Precision = "auto"
    """Precision of matrix products: auto uses bf16 if the device supports it in hardware."""
    where: str | None = None
    """Condition on the rows of fields.parquet: "focus > 0.1 AND plate != 'P3'". Only fields
    that meet it are embedded; a well without such a field is left out. Default: all fields."""
    pixel_size_um: float | None = None
    """Pixel size in micrometres to which fields are resampled, usually that of the training.
    Default: no resampling."""
    seed: int = 0
    """Seed of the weights of a network with random weights (random:RUN)."""

    def __post_init__(self) -> None:
        whole_numbers(self)
        one_of("tiling", self.tiling, get_args(Tiling))
        one_of("turns", self.turns, TURNS)
        one_of("pool", self.pool, get_args(Pool))
        one_of("adabn", self.adabn, get_args(AdaBn))
        one_of("device", self.device, get_args(Device))
        one_of("precision", self.precision, get_args(Precision))
        at_least("crops_at_once", self.crops_at_once, 1)
        at_least("crops_per_field", self.crops_per_field, 1)
        at_least("seed", self.seed, 0)
        at_least("adabn_crops", self.adabn_crops, 2)  # batch norm needs two crops for a variance
        above("pixel_size_um", self.pixel_size_um, 0)


class BlockWells(Output):
    """A folder with one wells folder per block of a network, written by `embed` for block all."""

    @property
    def blocks(self) -> dict[int, Wells]:
        """The wells folder of each block, keyed by the number of the block, counted from 1."""
        folders = sorted(self.path.glob("block-*"))
        return {int(folder.name.removeprefix("block-")): Wells(folder) for folder in folders}


def embed(
    store: Location,
    run: PathLike,
    wells: PathLike,
    /,
    *,
    tokens: PathLike | None = None,
    settings: EmbedSettings = EmbedSettings(),
    encoder: Annotated[PublicEncoderSettings, ENCODER] = PublicEncoderSettings(),
    labels: Annotated[PlateMapSettings, LABELS] = PlateMapSettings(),
    overwrite: bool = False,
    shard: str | None = None,
) -> Wells | BlockWells:
    """Compute one embedding per well, the mean over its crops; resumes with missing plates.

    Parameters
    ----------
    store
        Store written by `phenomae ingest`: a folder or an s3:// address.
    run
        Run of `phenomae pretrain`, or a folder of weights. With `random:` before it, the same
        network with random weights and LayerScale 1, an untrained baseline; `random:vit-mae/S16`
        is a network of a published size. `hf:OWNER/NAME` or `hf:FOLDER` is a public encoder that
        the package transformers opens; `hf:OWNER/NAME@REVISION` fixes its version.
    wells
        Folder to write, one Parquet file per plate; with block all, one such folder per block.
    tokens
        Folder to write with the embedding of every crop, its pooled tokens, as float16: their mean
        over a well is the well's row. With block all, one such folder per block.
    settings
        Settings of crops, pooling and device.
    encoder
        How crops become the images of a public encoder.
    labels
        A plate map whose labels replace those of the store.
    overwrite
        Replace wells and tokens that were made from another store or run, or with other settings.
    shard
        I/N: this call is the I-th of N that fill the same folders together, plate by plate. By
        default SLURM (job arrays) and torchrun tell; 1/1 is a call alone.

    Raises
    ------
    ValueError
        If channels do not match, a field is smaller than a crop, a block or pool does not exist, a
        seed is given for a network whose weights are not random, a public encoder cannot be opened
        completely, the plate map is wrong, the folders of wells and tokens are not beside each
        other, float16 cannot hold a token, or shards disagree on their number.
    """
    share = find_shard(shard)
    opened = open_store(locate(store))
    full = relabel_fields(opened, labels)
    kept = keep_fields(full, settings.where)
    plates = read_plates(kept)
    _refuse_seed(run, settings)
    network = _open_network(run, kept, settings, encoder)
    places = _list_places(wells, tokens, settings)
    blocks = _choose_blocks(network.model, settings)
    embedder = _build_embedder(kept, run, network, settings)
    sources = {**kept.sources, "run": network.identity}
    origins: dict[Path, Origin] = {}
    with ExitStack() as stack:  # one pass over the crops writes to all folders
        targets = []
        for (kind, place), block in product(places.items(), blocks):
            # As for a call with this block alone, so that either can continue the other.
            recorded = {**_record(replace(settings, block=block)), **network.record}
            path = block_path(place, block) if settings.block == "all" else place
            origin = origins[path] = Origin(kind, recorded, sources)
            folder = shared_folder(path, origin, plate_units(plates), share, overwrite)
            if shared := stack.enter_context(folder):
                targets.append(Target(kind, shared, block))
        if targets:
            report_left_out_fields(full, kept)
            _report_pixel_size(kept, network.config, settings)
            report_left_out_pixels(kept, embedder.tiles, settings.crops_per_field)
            embed_plates(embedder, plates, targets, _find_rows(opened, kept))
    done = share is None or all(is_finished(path, origin) for path, origin in origins.items())
    made = BlockWells if settings.block == "all" else Wells
    return made(Path(wells), done)


def _list_places(
    wells: PathLike, tokens: PathLike | None, settings: EmbedSettings
) -> dict[str, Path]:
    """Return the folders to write by their kind; raises ValueError if they hold something else."""
    places = {KIND: Path(wells)}
    if tokens is not None:
        refuse_nested(Path(wells), Path(tokens))
        places[TOKENS] = Path(tokens)
    for kind, place in places.items():
        refuse_other_layout(kind, place, settings.block)
    return places


def _find_rows(store: Store, kept: Store) -> pl.Series:
    """Return, for each field that is kept, its row in the table of fields of the store."""
    rows = store.fields.select("path").with_row_index("row")
    return kept.fields.select("path").join(rows, on="path", maintain_order="left")["row"]


def _refuse_seed(run: PathLike, settings: EmbedSettings) -> None:
    """Raise ValueError if a seed is given for a network that is not drawn at random."""
    if settings.seed and not str(run).startswith(PREFIX):
        twin = "RUN" if is_public_encoder(run) else run
        raise ValueError(
            f"seed is of networks with random weights (random:{twin}): leave it out for {run}"
        )


def _open_network(
    run: PathLike, store: Store, settings: EmbedSettings, encoder: PublicEncoderSettings
) -> OpenedNetwork:
    """Return the network to embed with, trained by phenomae or by others."""
    channels = _name_channels(store, settings)
    if not is_public_encoder(run):
        encoder.refuse_for(run)
        return open_network(run, channels, settings.seed)
    # Only here, because transformers is an extra and takes seconds to import.
    from phenomae.weights.public_encoder.open_encoder import open_encoder

    # The order of a store's channels is not that of colours.
    if encoder.channels_as == "rgb" and not settings.channels:
        raise ValueError(
            "channels_as rgb needs channels, three names in the order red, green and blue: "
            f"{store.path} has {', '.join(store.channels)}"
        )
    return open_encoder(run, channels, encoder)


def _name_channels(store: Store, settings: EmbedSettings) -> tuple[str, ...]:
    """Return the names that a network without training has for the channels."""
    return tuple(choose_channels(settings.channels, list(store.channels), str(store.path)).values())


def _record(settings: EmbedSettings) -> dict[str, Any]:
    """Return the settings that identify the embeddings."""
    recorded = settings_dict(settings)
    # The identity of the network holds the seed, and older versions did not record one.
    del recorded["seed"]
    for name in ("turns", "crops_per_field"):  # nor these
        if recorded[name] == getattr(EmbedSettings, name):
            del recorded[name]
    return recorded


def _build_embedder(
    store: Store, run: PathLike, network: OpenedNetwork, settings: EmbedSettings
) -> Embedder:
    model = network.model
    adapts = _adapts(network, run, settings)
    channels = match_channels(store, model, settings.channels)
    # Field by field: `embed` uses every crop of a field, so that no field is read twice.
    reader = CropReader([store], "fields", channels, settings.pixel_size_um)
    crop_size = model.settings.crop_size
    remedy = "choose a smaller crop_size" if is_public_encoder(run) else TRAIN_SMALLER
    # Of the only store: fields are read in the store's pixels and resampled afterwards.
    side = int(reader.sides(crop_size)[0])
    return Embedder(
        reader=reader,
        tiles=cover_fields(
            store, crop_size, side, settings.tiling, settings.crops_per_field, remedy
        ),
        model=model,
        machine=open_machine(settings.device, settings.precision, gpu=choose_gpu()),
        crops_at_once=settings.crops_at_once,
        pool=settings.pool,
        turns=settings.turns,
        adabn_crops=settings.adabn_crops if adapts else 0,
    )


def _choose_blocks(model: Network, settings: EmbedSettings) -> list[int | None]:
    """Return the blocks to embed; raises ValueError if the network lacks a block or the pool."""
    blocks = range(1, model.encoder.depth + 1) if settings.block == "all" else [settings.block]
    model.encoder.check(settings.pool, [block for block in blocks if block is not None])
    return list(blocks)


def _adapts(network: OpenedNetwork, run: PathLike, settings: EmbedSettings) -> bool:
    """Return whether batch norms use each plate's own statistics.

    Raises ValueError if `adabn` is on and the network has no batch norms.
    """
    if settings.adabn == "on" and not batch_norms(network.model):
        raise ValueError(
            f"adabn must be auto or off, not on: the {network.model.family} network of {run} has "
            "no batch norms"
        )
    trained_with = bool(network.config.get("adabn"))
    return settings.adabn == "on" or (settings.adabn == "auto" and trained_with)


def _report_pixel_size(store: Store, config: dict[str, Any], settings: EmbedSettings) -> None:
    """Print a line if the pixel size of the training differs from the store's by over 10 %."""
    trained, ours = config.get("pixel_size_um"), store.pixel_size_um
    if settings.pixel_size_um is not None or not ours or not isinstance(trained, int | float):
        return
    if max(trained, ours) > _SAME_SCALE * min(trained, ours):
        info(
            f"{store.path} has pixels of {ours} um, but the network was trained with pixels of "
            f"{trained} um: pixel_size_um {trained} resamples the fields to that pixel size"
        )
