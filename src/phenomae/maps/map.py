"""The command `map`: wells in, one vector a gene, compound or perturbation out."""

import io
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import polars as pl
from cyclopts import Parameter

from phenomae import __version__
from phenomae.artefacts import (
    FORMAT,
    Origin,
    require_same_work,
    settings_dict,
    write_bytes,
)
from phenomae.maps.aggregate import Aggregate, aggregate
from phenomae.maps.read import KIND, SIGNATURE, read_signature_of_map
from phenomae.progress import say
from phenomae.records import feature_names
from phenomae.wells import Wells, read_wells, require_finite
from phenomae.where import match_rows

CONTROL = "control"  # the name on the map of control wells that have no name of their own


@Parameter(name="*")
@dataclass(frozen=True)
class MapSettings:
    """How wells are averaged."""

    by: Literal["gene", "compound", "perturbation"] = "gene"
    """What the rows of the map are: the column of the wells that names them."""
    through: Literal["guides", "wells"] | None = None
    """guides: mean of the wells of each guide, then of the guides of each gene; wells: mean of all
    wells at once. Not given: guides for --by gene, wells otherwise."""
    controls: bool = False
    """Keep the control wells; as a rule they are left out of a map."""
    where: str | None = None
    """SQL that a well's row must fulfil: "plate != 'P3' AND sites > 1". Not given: all wells are
    taken."""


def map_wells(
    wells: Path,
    map_path: Path,
    /,
    *,
    settings: MapSettings = MapSettings(),
    overwrite: bool = False,
) -> None:
    """Average the wells to a map: one vector a gene, compound or perturbation.

    Writes an AnnData file: X perturbations x features, obs with the numbers of wells, guides and
    batches behind each row and whether it is a control. Wells without a name in the column --by
    are left out.

    Parameters
    ----------
    wells
        Folder of wells, as `embed`, `intensity` or `correct` wrote it.
    map_path
        File to write; its name ends with .h5ad.
    overwrite
        Replace `map_path` where it was made with other settings.

    Raises ValueError where a feature is NaN or infinite, no well has a name in the column --by,
    guides are asked for and some wells have none, or `where` does not do.
    """
    if map_path.suffix != ".h5ad":
        raise ValueError(f"{map_path} cannot be the map: give it a name that ends with .h5ad")
    screen = _keep_wells(read_wells(wells), settings.where, wells)
    require_finite(screen, wells)
    through = settings.through or ("guides" if settings.by == "gene" else "wells")
    origin = Origin(
        KIND, settings_dict(settings) | {"through": through}, {"wells": screen.identity}
    )
    table = name_rows(screen.table, settings)
    kept = table["name"].is_not_null().to_numpy()
    if not kept.any():
        raise ValueError(
            f"{wells} has no well with a {settings.by} for the map: fill the column in the plate "
            "map, or choose another --by (--controls keeps the control wells)"
        )
    if left_out := int((table["name"].is_null() & ~screen.table["control"]).sum()):
        say(f"wells without a {settings.by}, left out of the map: {left_out}")
    if _is_done(map_path, origin, overwrite):
        return
    rows = aggregate(table.filter(kept), screen.features[kept], through == "guides")
    map_path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(map_path, _encode(rows, origin))


def _keep_wells(screen: Wells, where: str | None, path: Path) -> Wells:
    """Return the wells of which the SQL expression holds; raises ValueError as `match_rows`."""
    if where is None:
        return screen
    kept = match_rows(screen.table, where, str(path))
    say(f"{len(kept) - kept.sum()} of {len(kept)} wells are left out by --where")
    return replace(screen, table=screen.table.filter(kept), features=screen.features[kept])


def name_rows(table: pl.DataFrame, settings: MapSettings) -> pl.DataFrame:
    """Return the wells with a column `name`: their row of the map, null where they have none."""
    control = pl.col("control").fill_null(False)
    name = pl.col(settings.by).replace("", None)
    if settings.controls:
        name = pl.when(control).then(name.fill_null(CONTROL)).otherwise(name)
    else:
        name = pl.when(~control).then(name)
    return table.with_columns(name=name, control=control)


def _is_done(map_path: Path, origin: Origin, overwrite: bool) -> bool:
    """Say whether the same map is there; raises ValueError where it is another one.

    What phenomae did not make is not replaced, `overwrite` or not.
    """
    if not map_path.exists():
        return False
    signature = read_signature_of_map(map_path)
    if signature is None:
        raise ValueError(f"{map_path} was not made by phenomae: choose another name")
    if overwrite:
        return False
    require_same_work(map_path, signature, origin)
    say(f"{map_path} is already there, made with the same settings (--overwrite makes it anew)")
    return True


def _encode(rows: Aggregate, origin: Origin) -> bytes:
    """Return the bytes of the .h5ad file."""
    import h5py
    from anndata import AnnData
    from anndata.io import write_elem

    signature = {"format": FORMAT, **asdict(origin), "identity": origin.identity}
    table = AnnData(
        rows.features,
        obs={"obs_names": rows.names, **rows.counts.to_dict(as_series=False)},
        var={"var_names": feature_names(rows.features.shape[1])},
        uns={SIGNATURE: json.dumps(signature | {"version": __version__})},
    )
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        write_elem(file, "/", table)
    return buffer.getvalue()
