"""Tables for Embedding Atlas (Ren et al. 2025, arXiv 2505.06386): points in the plane, neighbors.

Its program reads a Parquet file whose columns are named on its command line: `--x`, `--y`,
`--neighbors` (a struct of `ids`, row numbers from 0, and `distances`) and `--image` (a struct with
`bytes`). The columns of the points are named after the projection that computed them.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import polars as pl
from cyclopts import Parameter
from jaxtyping import Float, Float64

from phenomae import checks
from phenomae.maps.export_source import Rows
from phenomae.maps.nearest import compare_all
from phenomae.maps.thumbnails import draw_thumbnails
from phenomae.maps.unit_vectors import require_directions_of, unit_rows
from phenomae.progress import info
from phenomae.urls import Location

Projection = Literal["tsne", "pca", "umap"]
NEIGHBORS, IMAGE = "neighbors", "image"
_PERPLEXITY = 30.0  # of t-SNE; less for fewer than 91 rows
_MIN_ROWS = 3


@Parameter(name="*")
@dataclass(frozen=True)
class AtlasSettings:
    """What a table for Embedding Atlas has (--for embedding-atlas)."""

    projection: Projection = "tsne"
    """How the points in the plane are computed from the profiles: tsne (cosine distances, starting
    from the principal axes) or pca, both of scikit-learn, or umap (cosine distances) of the package
    umap-learn, which has to be installed. The columns are tsne_x and tsne_y, and so on."""
    neighbors: int = 15
    """Number of nearest neighbors of each row, by cosine distance over all rows."""
    seed: int = 0
    """Seed of umap, and of the principal axes of large tables, from which tsne starts."""
    store: Location | None = None
    """Store from which a picture of each row is drawn, the first field of its first well; None for
    no pictures."""
    thumbnail: int = 128
    """Longer side of the pictures in pixels."""

    def __post_init__(self) -> None:
        """Raise ValueError for settings that are out of range."""
        checks.whole_numbers(self)
        checks.one_of("projection", self.projection, get_args(Projection))
        checks.at_least("neighbors", self.neighbors, 1)
        checks.at_least("seed", self.seed, 0)
        checks.between("thumbnail", self.thumbnail, 16, 1024, ends=True)


def require_default(settings: AtlasSettings) -> None:
    """Raise ValueError, naming it, if a setting is given for a table of another form."""
    for item in fields(settings):
        if getattr(settings, item.name) != item.default:
            raise ValueError(f"{item.name} is a setting of the form embedding-atlas only")


def atlas_table(rows: Rows, settings: AtlasSettings) -> tuple[pl.DataFrame, dict[str, str]]:
    """Return the table for Embedding Atlas, and the identities of further sources.

    Raises ValueError if there are fewer than 3 rows, a profile is NaN, infinite or all 0, a column
    has a name that is needed, or umap is not installed.
    """
    table = rows.named_table()
    if len(table) < _MIN_ROWS:
        raise ValueError(
            f"{rows.path} has {len(table)} rows: points in a plane need {_MIN_ROWS} or more"
        )
    require_directions_of(rows.features, rows.names, rows.path)
    points = [f"{settings.projection}_{axis}" for axis in "xy"]
    if taken := {*points, NEIGHBORS, IMAGE} & {*table.columns}:
        raise ValueError(f"{rows.path} has a column {min(taken)!r}, which is needed: rename it")
    plane = _project(rows.features, settings)
    columns = {name: plane[:, axis] for axis, name in enumerate(points)}
    nearest = find_neighbors(rows.features, settings.neighbors)
    table = table.with_columns(**columns, **{NEIGHBORS: nearest})
    sources = {}
    if settings.store is not None:
        images, sources = draw_thumbnails(rows, settings.store, settings.thumbnail)
        table = table.with_columns(**{IMAGE: images})
    return table, sources


def print_command(out: Path, settings: AtlasSettings) -> None:
    """Print the command that opens the table."""
    name = settings.projection
    image = f" --image {IMAGE}" if settings.store is not None else ""
    info(
        f"open it with: embedding-atlas {out} --x {name}_x --y {name}_y --neighbors "
        f"{NEIGHBORS}{image}"
    )


def find_neighbors(features: Float[np.ndarray, "n d"], count: int) -> pl.Series:
    """Return the `count` nearest other rows of each row, nearest first, as structs.

    `ids` are row numbers from 0, `distances` are 1 - cosine. Exact: all pairs are compared. Rows
    with equal cosines are in their order.
    """
    count = min(count, len(features) - 1)
    [(ids, cosines)] = compare_all(unit_rows(features), count, (1.0,))
    # Rounding can leave a distance of -1e-16.
    columns = {"ids": ids.astype(np.int64), "distances": np.maximum(1 - cosines, 0)}
    lists = {
        name: pl.Series(values, dtype=pl.Array(_kind(values), count)).cast(pl.List(_kind(values)))
        for name, values in columns.items()
    }
    return pl.DataFrame(lists).to_struct(NEIGHBORS)


def _kind(values: np.ndarray) -> Any:
    return pl.Int64 if values.dtype == np.int64 else pl.Float64


def _project(features: Float[np.ndarray, "n d"], settings: AtlasSettings) -> Float64[Any, "n 2"]:
    """Return a point in the plane for each row."""
    count = len(features)
    if settings.projection == "pca":
        from sklearn.decomposition import PCA

        # Of directions, as the other projections compare cosines.
        return PCA(2, svd_solver="full").fit_transform(unit_rows(features)).astype(np.float64)
    if settings.projection == "umap":
        return _umap(features, settings)
    from sklearn.manifold import TSNE

    perplexity = min(_PERPLEXITY, (count - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, metric="cosine", random_state=settings.seed)
    # In float64: sklearn starts t-SNE from the principal axes of what it is given.
    return tsne.fit_transform(unit_rows(features)).astype(np.float64)


def _umap(features: Float[np.ndarray, "n d"], settings: AtlasSettings) -> Float64[Any, "n 2"]:
    try:
        from umap import UMAP
    except ImportError:
        raise ValueError(
            "projection umap needs the package umap-learn: install it, or choose tsne or pca"
        ) from None
    near = max(2, min(settings.neighbors, len(features) - 1))
    # With one thread UMAP gives the same points for the same seed.
    umap = UMAP(n_neighbors=near, metric="cosine", random_state=settings.seed, n_jobs=1)
    return np.asarray(umap.fit_transform(features), dtype=np.float64)
