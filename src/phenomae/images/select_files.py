"""Applies the setting `where`: leaves out the files of the fields that it does not select."""

from dataclasses import replace
from pathlib import Path

import polars as pl

from phenomae.images.fields import Listing
from phenomae.row_filter import match_rows

_KEY = {"plate": pl.String(), "well": pl.String(), "site": pl.Int64()}


def select_files(listing: Listing, where: str, source: Path | str) -> Listing:
    """Return the files, wells and problems of the fields that a condition selects.

    It may use plate, well, site, and the columns of the wells that the layout lists. A problem
    whose plate, well or site is not known is kept.

    Raises ValueError, naming `source`, as `row_filter.match_rows` does.
    """
    fields = [(file.plate, file.well, file.site) for file in listing.files]
    bad = [(its.plate, its.well, its.site) for its in listing.problems]
    table = pl.DataFrame([*fields, *bad], _KEY, orient="row").unique(maintain_order=True)
    if listing.wells is not None:
        on = ["plate", "well"]
        table = table.join(listing.wells, on=on, how="left", maintain_order="left")
    kept = {*table.filter(match_rows(table, where, str(source))).select(list(_KEY)).iter_rows()}
    wells = listing.wells
    if wells is not None:
        chosen = {(plate, well) for plate, well, _ in kept}
        wells = wells.filter([key in chosen for key in wells.select("plate", "well").iter_rows()])
    return replace(
        listing,
        files=[file for file, key in zip(listing.files, fields, strict=True) if key in kept],
        problems=[
            problem
            for problem, key in zip(listing.problems, bad, strict=True)
            if None in key or key in kept
        ],
        wells=wells,
    )
