"""Summaries of flagged fields: by plate, and perturbations whose flags may be their phenotype."""

from collections.abc import Iterator

import polars as pl

from phenomae.quality.settings import FLAGS

_FIELD = ["plate", "well", "site"]
_MIN_WELLS = 2
_BLURRED = 0.5  # a Gaussian blur that adds its own variance to that of the optics halves the focus


def summarize_plates(fields: pl.DataFrame, edges: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of plates.csv from those of fields.csv and edges.csv.

    Columns: plate, fields, the numbers of fields with each flag in some channel, left_out (number
    of fields), relative_focus (median focus of the plate over the median of the plates, minimum
    over channels: a plate that is blurred everywhere has no outlier), edge_effects (number of tests
    in edges.csv that find one).
    """
    of_fields = fields.group_by(_FIELD, maintain_order=True).agg(pl.col(*FLAGS, "left_out").any())
    counts = of_fields.group_by("plate", maintain_order=True).agg(
        fields=pl.len().cast(pl.Int64), **{name: _count(name) for name in (*FLAGS, "left_out")}
    )
    found = edges.group_by("plate").agg(edge_effects=_count("edge_effect"))
    return (
        counts.join(_relative_focus(fields), on="plate", how="left", maintain_order="left")
        .join(found, on="plate", how="left", maintain_order="left")
        .with_columns(pl.col("edge_effects").fill_null(0))
    )


def _count(name: str) -> pl.Expr:
    return pl.col(name).sum().cast(pl.Int64)


def _relative_focus(fields: pl.DataFrame) -> pl.DataFrame:
    seen = fields.filter(~pl.col("empty") & (pl.col("focus") > 0))
    medians = seen.group_by("plate", "channel").agg(pl.col("focus").median())
    ratios = medians.with_columns(pl.col("focus") / pl.col("focus").median().over("channel"))
    return ratios.group_by("plate").agg(relative_focus=pl.col("focus").min())


def list_blurred_plates(plates: pl.DataFrame) -> Iterator[str]:
    """Yield a line if plates are less than half as sharp as the others; `plates` is plates.csv."""
    names = plates.filter(pl.col("relative_focus") < _BLURRED)["plate"].to_list()
    if names:
        yield (
            "plates less than half as sharp as the median plate in some channel, whose fields are "
            f"compared with each other only: {len(names)} ({_shorten(names)})"
        )


def list_dark_channels(fields: pl.DataFrame, min_foreground: float) -> Iterator[str]:
    """Yield a line for each plate and channel without foreground in any field that is not empty.

    `fields` is fields.csv. A field is not left out for one dark channel: a reporter may be silent.
    """
    seen = fields.filter(~pl.col("empty"))
    highest = seen.group_by("plate", "channel", maintain_order=True).agg(pl.col("foreground").max())
    for plate, channel, _ in highest.filter(pl.col("foreground") < min_foreground).iter_rows():
        yield f"plate {plate}, channel {channel}: no field has foreground"


def list_suspicious(bad: pl.DataFrame, fields: pl.DataFrame) -> Iterator[str]:
    """Yield a line if perturbations lose most of their fields in most of their wells.

    What every replicate of a treatment shows is more likely its phenotype than bad images. `bad`
    has plate, well and site of the fields that are left out, `fields` is the store's table.
    """
    if bad.is_empty():
        return
    marked = fields.join(bad.with_columns(bad=True), on=_FIELD, how="left")
    treated = marked.filter(~pl.col("control").fill_null(False)).drop_nulls("perturbation")
    wells = treated.group_by("perturbation", "plate", "well").agg(
        lost=pl.col("bad").is_not_null().mean() > 0.5
    )
    counts = wells.group_by("perturbation").agg(pl.len(), pl.col("lost").sum())
    enough = (pl.col("lost") >= _MIN_WELLS) & (pl.col("lost") > pl.col("len") / 2)
    names = counts.filter(enough)["perturbation"].sort().to_list()
    if names:
        yield (
            "perturbations that lose most of their wells, perhaps by their phenotype: "
            f"{len(names)} ({_shorten(names)}); look at them before they are left out"
        )


def _shorten(names: list[str]) -> str:
    return ", ".join(names[:3]) + ("" if len(names) <= 3 else ", ...")
