"""Makes the references of a store in place from an inventory of OME-Zarr plates."""

from pathlib import Path

import polars as pl

from phenomae.images.fields import RawField
from phenomae.images.pixels.zarr_array import open_plane
from phenomae.images.threads import map_in_threads
from phenomae.progress import count_of, info
from phenomae.store.in_place import (
    Reference,
    make_reference,
    read_references,
    write_references,
)
from phenomae.store.inventory import Inventory
from phenomae.store.raw_files import require_unchanged
from phenomae.store.read import Store, open_store
from phenomae.store.write import TILE
from phenomae.urls import is_address


def refer(folder: Path | str, inventory: Inventory, table: pl.DataFrame) -> None:
    """Write the references of the fields in `table`, beside those that are there already."""
    made = _make_references(inventory, table)
    write_references(folder, {**read_references(folder, is_new=True), **made})
    unsure = sum(is_address(it.array) and not it.whole for it in made.values())
    if unsure:
        info(
            f"in place: at addresses, {count_of(unsure, 'field')} with black chunks that are not "
            "stored: chunks that are lost there later are read as black too, which only store "
            "check finds"
        )
    place = inventory.raw.fields[0].images[0].planes[0]
    height, width = open_plane(place).chunk_layout.read_chunk.shape or ("?", "?")
    if (height, width) != (TILE, TILE):
        info(
            f"in place: crops are read from chunks of {height} x {width} pixels, where a store of "
            f"its own has {TILE} x {TILE}, so reading them is slower"
        )


def reopen(path: Path | str, inventory: Inventory) -> Store:
    """Return a store that has the fields of an inventory; in place it refers to where they are now.

    Raises ValueError if their raw files have changed.
    """
    store = open_store(path)
    require_unchanged(store, inventory)
    in_place = inventory.settings.in_place and store.references is not None
    if not in_place or not _refer_anew(store, inventory):
        return store
    info(f"{path} refers to the plates in {inventory.path} now")
    return open_store(path)


def _refer_anew(store: Store, inventory: Inventory) -> bool:
    """Refer to the fields of an inventory where they are now; return whether any was elsewhere."""
    known = read_references(store.path)
    made = _make_references(inventory, store.fields)
    if all(known.get(path) == reference for path, reference in made.items()):
        return False
    write_references(store.path, {**known, **made})
    return True


def _make_references(inventory: Inventory, table: pl.DataFrame) -> dict[str, Reference]:
    paths = dict(zip(table.select("plate", "well", "site").rows(), table["path"], strict=True))
    named = {(field.plate, field.well, field.site): field for field in inventory.raw.fields}
    # In the order of the table: that of a set of texts is another one in each process.
    fields: dict[str, RawField] = {paths[key]: named[key] for key in paths if key in named}
    made = map_in_threads(make_reference, list(fields.values()), inventory.workers)
    return dict(zip(fields, made, strict=True))
