"""The folders that `embed` fills in one pass over the crops: wells, and the tokens of each crop.

Each has one file per plate that is written last, so that a stopped call finds what is missing.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from phenomae.devices import all_cores
from phenomae.embedding.embedder import Embedder
from phenomae.embedding.plates import Plate
from phenomae.progress import Advance, track
from phenomae.shared_artefacts import SharedFolder, deal_units
from phenomae.signatures import SIGNATURE
from phenomae.tokens import CROP_COLUMNS, write_tokens
from phenomae.tokens import KIND as TOKENS
from phenomae.well_files import write_plate


@dataclass(frozen=True)
class Target:
    """A folder of the embeddings of one block, and what is written to it."""

    kind: str
    """`wells` or `tokens`."""
    shared: SharedFolder
    block: int | None
    """None is the last block, with the layers after it."""


def embed_plates(
    embedder: Embedder, plates: Sequence[Plate], targets: Sequence[Target], rows: pl.Series
) -> None:
    """Write each plate to the targets that lack it, unless another shard does.

    `rows` has, for each field of the embedder, its row in the store's table of fields.
    """
    # Only here, so that a call with nothing left to do takes no memory on the GPU.
    embedder.model.to(embedder.machine.device)
    folders = [target.shared for target in targets]
    by_name = {plate.name: plate for plate in plates}
    done = [it for it in plates if not any(folder.lacks(it.name) for folder in folders)]
    total, before = (sum(map(embedder.count, some)) for some in (plates, done))
    with (
        all_cores(),
        track("embed", total, "crops", before) as advance,
        closing(deal_units(folders)) as dealt,
    ):
        for name, lacking in dealt:
            plate = by_name[name]
            if not lacking:  # another shard has written it
                advance(embedder.count(plate))
                continue
            # A stop between the files of two targets leaves a plate that only some of them have.
            missing = [target for target in targets if target.shared in lacking]
            _embed_plate(embedder, plate, missing, rows, advance)


def _embed_plate(
    embedder: Embedder,
    plate: Plate,
    targets: Sequence[Target],
    rows: pl.Series,
    advance: Advance,
) -> None:
    blocks = list(dict.fromkeys(target.block for target in targets))
    found = dict(zip(blocks, embedder.embed_crops(plate, blocks, advance), strict=True))
    for target in targets:
        folder, vectors = target.shared.folder, found[target.block]
        if target.kind == TOKENS:
            write_tokens(folder, _tabulate(embedder, plate, rows), vectors)
        else:
            write_plate(folder, plate.table, embedder.average(plate, vectors))


def _tabulate(embedder: Embedder, plate: Plate, rows: pl.Series) -> pl.DataFrame:
    """Return the crops of a plate, in the order of their embeddings: `tokens.CROP_COLUMNS`."""
    (store,) = embedder.reader.stores
    fields, tops, lefts = embedder.list_crops(plate).T
    size = int(embedder.reader.sides(embedder.model.settings.crop_size)[0])
    return (
        store.fields.select("plate", "well", "site")[fields]
        .with_columns(field=rows[fields], top=tops, left=lefts, size=size)
        .select(*CROP_COLUMNS)
    )


def block_path(folder: Path, block: int | None) -> Path:
    """Return the folder of one of all blocks: `FOLDER/block-01`."""
    return folder / f"block-{block:02d}"


def refuse_other_layout(kind: str, folder: Path, block: int | str | None) -> None:
    """Raise ValueError if a folder is for one block and all blocks are requested, or the reverse.

    One folder must not hold both layouts, or readers could not tell which of them is meant.
    """
    if block == "all" and (folder / SIGNATURE).exists():
        raise ValueError(f"{folder} holds the {kind} of one block: choose another folder for all")
    if block != "all" and block_path(folder, 1).exists():
        raise ValueError(
            f"{folder} holds one {kind} folder per block: choose another folder for one block"
        )


def refuse_nested(wells: Path, tokens: Path) -> None:
    """Raise ValueError if one of the two folders is the other, or would lie inside it."""
    one, other = wells.resolve(), tokens.resolve()
    if one == other or one in other.parents or other in one.parents:
        raise ValueError(
            f"tokens must be a folder beside that of the wells, {wells}, not {tokens}: choose "
            "another place"
        )
