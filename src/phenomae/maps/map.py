"""The command `map`: averages wells to consensus profiles.

Wells are filtered before averages are computed. For each filter, the number of wells or rows that
are left out is logged.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import polars as pl

from phenomae.images.platemap.labels import Labels, read_labels, replace_labels
from phenomae.images.platemap.settings import LABELS, PlateMapSettings
from phenomae.maps.aggregate import aggregate
from phenomae.maps.phenotype import find_phenotypes, read_unexpressed
from phenomae.maps.read import KIND, Map
from phenomae.maps.row_names import doses_of, in_large_rows, name_rows
from phenomae.maps.settings import MapSettings
from phenomae.maps.write import is_done, write_map
from phenomae.paths import PathLike
from phenomae.progress import count_of, info
from phenomae.row_filter import match_rows
from phenomae.signatures import Origin, settings_dict
from phenomae.wells import Profiles, read_wells, require_finite
from phenomae.whole_files import hash_json

__all__ = ["MapSettings", "map_wells", "name_rows"]


def map_wells(
    wells: PathLike,
    map_path: PathLike,
    /,
    *,
    settings: MapSettings = MapSettings(),  # noqa: B008 (frozen)
    labels: Annotated[PlateMapSettings, LABELS] = PlateMapSettings(),
    overwrite: bool = False,
) -> Map:
    """Average wells to a map: one consensus profile per gene, compound, dose or perturbation.

    Writes an AnnData file and returns it as a `Map`. X has one row per name and one column per
    feature; obs has each row's numbers of wells, guides and batches and whether the row is a
    control. Wells without a name in the column --by are left out.

    Parameters
    ----------
    wells
        Folder of wells, as `embed`, `features` or `correct` wrote it.
    map_path
        File to write; its name ends with .h5ad.
    labels
        A plate map whose labels replace those of the wells.
    overwrite
        Replace `map_path` if it was made with other settings.

    Raises ValueError if a feature is NaN or infinite, no well has a name in the column --by, guides
    are needed and some wells have none, or the plate map is wrong.
    """
    wells, map_path = Path(wells), Path(map_path)
    if map_path.suffix != ".h5ad":
        raise ValueError(f"{map_path} cannot be the map: give it a name that ends with .h5ad")
    unexpressed = read_unexpressed(settings.unexpressed)
    profiles = read_wells(wells)
    new_labels = read_labels(labels, profiles.table["plate"].unique().to_list())
    if new_labels is not None:
        table, kept = replace_labels(profiles.table, new_labels, "features")
        profiles = replace(profiles, table=table.filter(kept), features=profiles.features[kept])
    # `where` is applied before the check for NaN, so that `where` can leave out wells with NaN.
    profiles = _keep_wells(profiles, settings.where, wells)
    require_finite(profiles, wells)
    named = _name_wells(profiles.table, settings, wells)
    origin = _origin(settings, profiles, unexpressed, new_labels)
    # Checked before the null distribution is drawn, which takes most of the run time.
    if is_done(map_path, origin, overwrite):
        return Map(map_path)
    named, consistency = _keep_phenotypes(profiles, named, settings, unexpressed, wells)
    on_map = named["name"].is_not_null()
    named, features = named.filter(on_map), profiles.features[on_map.to_numpy()]
    rows = aggregate(named, features, origin.settings["through"] == "guides", settings.statistic)
    doses = [doses_of(named)] if settings.by == "dose" else []
    obs = pl.concat([rows.counts, *doses, *consistency], how="horizontal")
    write_map(map_path, replace(rows, counts=obs), profiles.columns, origin, overwrite)
    return Map(map_path)


def _keep_wells(profiles: Profiles, where: str | None, path: Path) -> Profiles:
    """Return the wells for which the condition `where` is true; None keeps all wells.

    Raises ValueError if the condition is invalid or no well remains.
    """
    if where is None:
        return profiles
    kept = match_rows(profiles.table, where, str(path))
    info(f"{len(kept) - kept.sum()} of {len(kept)} wells are left out by where")
    return replace(profiles, table=profiles.table.filter(kept), features=profiles.features[kept])


_NAMES = ("gene", "compound", "guide", "perturbation")


def _name_wells(table: pl.DataFrame, settings: MapSettings, wells: Path) -> pl.DataFrame:
    """Return the wells with the column `name`, the row of the map; null for wells in no row.

    Logs how many wells and rows are left out. Raises ValueError if no well is in a row.
    """
    named = name_rows(table, settings)
    column = "compound" if settings.by == "dose" else settings.by
    if named["name"].null_count() == len(named):
        treated = table.filter(~named["control"])
        filled = [name for name in _NAMES if treated[name].null_count() < len(treated)]
        others = f"by {' or '.join(filled)} has some" if filled else "the wells have no labels"
        raise ValueError(
            f"{wells} has no well with a {column} for the map ({others}): choose another by, or "
            f"fill the column in the plate map, or name it with {column}_column when profile "
            "tables are imported (controls=true keeps the control wells)"
        )
    if left_out := int((named["name"].is_null() & ~named["control"]).sum()):
        info(f"wells without a {column}, left out of the map: {left_out}")
    large = pl.Series(in_large_rows(named["name"], settings.min_wells))
    if not large.any():
        largest = named["name"].drop_nulls().value_counts()["count"].to_numpy().max()
        raise ValueError(
            f"min_wells {settings.min_wells} leaves no row of {wells}: no {settings.by} has "
            f"more than {count_of(int(largest), 'well')}"
        )
    if settings.min_wells > 1:
        all_rows, large_rows = (
            names.drop_nulls().n_unique() for names in (named["name"], named["name"].filter(large))
        )
        few = all_rows - large_rows
        info(f"rows of fewer than {settings.min_wells} wells, left out of the map: {few}")
    return named.with_columns(name=pl.when(large).then("name"))


def _keep_phenotypes(
    profiles: Profiles,
    named: pl.DataFrame,
    settings: MapSettings,
    unexpressed: list[str],
    wells: Path,
) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    """Return the wells, with a null `name` if their row has no phenotype, and columns for obs.

    The columns are consistency and p-value of the rows that are kept. Without the setting
    `phenotype` all rows are kept and there are no columns.
    """
    if settings.phenotype is None:
        return named, []
    found = find_phenotypes(profiles, named, settings, unexpressed, wells)
    kept = pl.col("name").is_in(found.names.filter(found.kept).implode())
    return named.with_columns(name=pl.when(kept).then("name")), [found.table.filter(found.kept)]


def _origin(
    settings: MapSettings, profiles: Profiles, unexpressed: list[str], labels: Labels | None
) -> Origin:
    """Return the settings and sources that determine the map."""
    values = settings_dict(settings)
    del values["unexpressed"]  # the map depends on the names in the file, not on its path
    # The resolved value, so that the default and the same value given explicitly are the same work.
    values["through"] = settings.through or ("guides" if settings.by == "gene" else "wells")
    sources = {"wells": profiles.identity, **(labels.sources if labels else {})}
    if unexpressed:
        sources["unexpressed"] = hash_json(unexpressed)
    return Origin(KIND, values, sources)
