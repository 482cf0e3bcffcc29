"""The command `map`: wells in, one vector a gene, compound or perturbation out."""

from dataclasses import replace
from pathlib import Path

import polars as pl

from phenomae.artefacts import Origin, hash_json, settings_dict
from phenomae.maps.aggregate import aggregate
from phenomae.maps.phenotype import find_phenotypes, read_unexpressed
from phenomae.maps.read import KIND
from phenomae.maps.row_names import doses_of, in_large_rows, name_rows
from phenomae.maps.settings import MapSettings
from phenomae.maps.write import is_done, write_map
from phenomae.progress import info
from phenomae.row_filter import match_rows
from phenomae.wells import Profiles, read_wells, require_finite

__all__ = ["MapSettings", "map_wells", "name_rows"]


def map_wells(
    wells: Path,
    map_path: Path,
    /,
    *,
    settings: MapSettings = MapSettings(),  # noqa: B008 (frozen)
    overwrite: bool = False,
) -> None:
    """Average the wells to a map: one vector a gene, compound, dose or perturbation.

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
    guides are asked for and some wells have none, or a setting does not do.
    """
    if map_path.suffix != ".h5ad":
        raise ValueError(f"{map_path} cannot be the map: give it a name that ends with .h5ad")
    settings.check()
    unexpressed = read_unexpressed(settings.unexpressed)
    screen = _keep_wells(read_wells(wells), settings.where, wells)
    require_finite(screen, wells)
    named = _name_wells(screen.table, settings, wells)
    origin = _origin(settings, screen, unexpressed)
    if is_done(map_path, origin, overwrite):
        return
    named, consistency = _keep_phenotypes(screen, named, settings, unexpressed, wells)
    on_map = named["name"].is_not_null()
    named, features = named.filter(on_map), screen.features[on_map.to_numpy()]
    rows = aggregate(named, features, origin.settings["through"] == "guides", settings.statistic)
    doses = [doses_of(named)] if settings.by == "dose" else []
    obs = pl.concat([rows.counts, *doses, *consistency], how="horizontal")
    write_map(map_path, replace(rows, counts=obs), origin)


def _keep_wells(screen: Profiles, where: str | None, path: Path) -> Profiles:
    """Return the wells of which the SQL expression holds; raises ValueError as `match_rows`."""
    if where is None:
        return screen
    kept = match_rows(screen.table, where, str(path))
    info(f"{len(kept) - kept.sum()} of {len(kept)} wells are left out by --where")
    return replace(screen, table=screen.table.filter(kept), features=screen.features[kept])


def _name_wells(table: pl.DataFrame, settings: MapSettings, wells: Path) -> pl.DataFrame:
    """Return the wells with the column `name`, null where they are on no row; says which are not.

    Raises ValueError where that is all of them.
    """
    named = name_rows(table, settings)
    column = "compound" if settings.by == "dose" else settings.by
    if named["name"].null_count() == len(named):
        raise ValueError(
            f"{wells} has no well with a {column} for the map: fill the column in the plate "
            "map, or choose another --by (--controls keeps the control wells)"
        )
    if left_out := int((named["name"].is_null() & ~named["control"]).sum()):
        info(f"wells without a {column}, left out of the map: {left_out}")
    large = pl.Series(in_large_rows(named["name"], settings.least_wells))
    if not large.any():
        sizes = named["name"].drop_nulls().value_counts()["count"]
        raise ValueError(
            f"--least-wells {settings.least_wells} leaves nothing of {wells}: no {settings.by} has "
            f"more than {sizes.max()} wells"
        )
    if settings.least_wells > 1:
        all_rows, large_rows = (
            names.drop_nulls().n_unique() for names in (named["name"], named["name"].filter(large))
        )
        few = all_rows - large_rows
        info(f"rows of fewer than {settings.least_wells} wells, left out of the map: {few}")
    return named.with_columns(name=pl.when(large).then("name"))


def _keep_phenotypes(
    screen: Profiles,
    named: pl.DataFrame,
    settings: MapSettings,
    unexpressed: list[str],
    wells: Path,
) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    """Return the wells, named where their row has a phenotype, and what obs tells of those rows."""
    if settings.phenotype is None:
        return named, []
    found = find_phenotypes(screen, named, settings, unexpressed, wells)
    kept = pl.col("name").is_in(found.names.filter(found.kept).implode())
    return named.with_columns(name=pl.when(kept).then("name")), [found.table.filter(found.kept)]


def _origin(settings: MapSettings, screen: Profiles, unexpressed: list[str]) -> Origin:
    """Return what makes the map; of the unexpressed genes what they are, not where."""
    values = settings_dict(settings)
    del values["unexpressed"]
    values["through"] = settings.through or ("guides" if settings.by == "gene" else "wells")
    sources = {"wells": screen.identity}
    if unexpressed:
        sources["unexpressed"] = hash_json(unexpressed)
    return Origin(KIND, values, sources)
