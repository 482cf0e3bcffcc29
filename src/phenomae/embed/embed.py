"""Gives every well the mean of its crops' vectors, from a pretrained network: `phenomae embed`."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl
from cyclopts import Parameter

from phenomae.artefacts import Origin, artefact_folder, settings_dict
from phenomae.crops.source import Source
from phenomae.crops.tiles import Tiles, Tiling, tile_field
from phenomae.embed.embedder import Embedder
from phenomae.embed.plates import read_plates, write_missing_plates
from phenomae.models import weights
from phenomae.models.machine import Device, Precision, all_cores, open_machine
from phenomae.models.network import Network
from phenomae.progress import say, track
from phenomae.store.read import Store, open_store
from phenomae.wells import KIND, plate_path


@Parameter(name="*")
@dataclass(frozen=True)
class EmbedSettings:
    """How fields are cut, and where the network runs."""

    tiling: Tiling = "grid"
    """How crops cover a field: grid lays them side by side, centred, and leaves a rim out;
    overlap adds crops at the edges so that nothing is left out."""
    crops_at_once: int = 64
    """Crops the network takes together."""
    device: Device = "auto"
    """Where to run: auto takes the GPU where there is one."""
    precision: Precision = "auto"
    """Precision of matrix products: auto takes bf16 where the machine is good at it."""

    def __post_init__(self) -> None:
        if self.crops_at_once < 1:
            raise ValueError(f"crops_at_once must be 1 or more, not {self.crops_at_once}")


def embed(
    store: Path,
    run: Path,
    wells: Path,
    /,
    *,
    settings: EmbedSettings = EmbedSettings(),
    overwrite: bool = False,
) -> None:
    """Give every well its vector: the mean over its crops of the mean over a crop's patches.

    A stopped call goes on with the plates that are missing. Raises ValueError where the store's
    channels are not those the network was trained on, or a field is smaller than its crops.

    Parameters
    ----------
    store
        What `phenomae ingest` made.
    run
        What `phenomae pretrain` made, or a folder of weights.
    wells
        Folder of the vectors, one Parquet file a plate.
    settings
        How fields are cut, and where the network runs.
    overwrite
        Replace wells that are there already.
    """
    screen = open_store(store)
    plates = read_plates(screen)
    model = weights.load(run)
    _check_channels(screen, run, model)
    tiles = _tile(screen, model.settings.crop_size, settings.tiling)
    origin = Origin(
        KIND, settings_dict(settings), {"store": screen.identity, "run": weights.identify(run)}
    )
    machine = open_machine(settings.device, settings.precision)
    with artefact_folder(wells, origin, overwrite) as folder:
        if folder is None:
            return
        _report_left_out(screen, tiles)
        model.to(machine.device)
        source = Source([screen], "fields")
        embedder = Embedder(source, tiles, model, machine, settings.crops_at_once)
        done = [plate for plate in plates if plate_path(folder, plate.name).exists()]
        total, before = (sum(map(embedder.count, some)) for some in (plates, done))
        with all_cores(), track("embed", total, "crops", before) as advance:
            write_missing_plates(folder, plates, lambda plate: embedder.embed(plate, advance))


def _check_channels(screen: Store, run: Path, model: Network) -> None:
    """Raise ValueError where the weights of `run` do not fit the store's channels."""
    names = weights.read_config(run).get("channels", [])
    if len(screen.channels) != len(model.channels) or (names and tuple(names) != screen.channels):
        trained = ", ".join(names) or f"{len(model.channels)} channels"
        raise ValueError(
            f"{screen.path} has the channels {', '.join(screen.channels)}, but {run} was trained "
            f"on {trained}: names and order must be the same"
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


def _report_left_out(screen: Store, tiles: list[Tiles]) -> None:
    left_out = sum(tile.left_out for tile in tiles)
    if left_out:
        pixels = int(screen.fields.select(pl.col("height") * pl.col("width")).sum().item())
        say(
            f"{left_out} of {pixels} pixels ({100 * left_out / pixels:.1f} %) lie in no crop, at "
            "the rims of fields (--tiling overlap takes them in)"
        )
