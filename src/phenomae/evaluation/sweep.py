"""The command `sweep`: tries corrections on wells, and scores each by its diagnosis and recall.

The known pairs are split into two halves without common genes. One half chooses, the other half
reports: the highest of many recalls is too high just because it was chosen.
"""

import io
import json
import shlex
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import polars as pl

from phenomae.artefacts import artefact_folder
from phenomae.correction.correct import correct
from phenomae.correction.diagnose import BATCH, NEAREST, VERDICT
from phenomae.correction.diagnose import FILE as DIAGNOSIS
from phenomae.evaluation.annotations import (
    COLUMNS,
    Annotation,
    hash_annotations,
    pairs_on_map,
    read_annotations,
)
from phenomae.evaluation.benchmark import check_map, find_pairs
from phenomae.evaluation.recall.baselines import ALL_SOURCES, pool_pairs
from phenomae.evaluation.recall.cosines import Pairs
from phenomae.evaluation.recall.recall_tables import measure
from phenomae.evaluation.split_pairs import split_pairs
from phenomae.evaluation.sweep_settings import THEN, SweepSettings, Trial, list_trials
from phenomae.maps.map import map_wells
from phenomae.maps.read import read_map
from phenomae.maps.row_names import name_rows
from phenomae.outputs import TablesOutput
from phenomae.paths import PathLike
from phenomae.print_table import read_written, show
from phenomae.progress import silenced, track
from phenomae.signatures import Origin, settings_dict
from phenomae.wells import PlateFiles, open_wells
from phenomae.whole_files import write_bytes, write_json

__all__ = ["SweepSettings", "sweep"]

KIND, FILE = "sweep", "sweep.csv"
CHOOSING, REPORTING = "choosing", "reporting"
SCHEMA: dict[str, pl.DataType] = {
    "chosen": pl.Boolean(),
    "correction": pl.String(),
    "features": pl.Int64(),
    "verdict": pl.String(),
    "batch": pl.String(),
    "batch_accuracy": pl.Float64(),
    "controls_accuracy": pl.Float64(),
    "replicate_retrieval": pl.Float64(),
    "choosing_recall": pl.Float64(),
    "recall": pl.Float64(),
    "ci_low": pl.Float64(),
    "ci_high": pl.Float64(),
    "n_pairs": pl.Int64(),
    "chance": pl.Float64(),
    "warnings": pl.String(),
}
_DONE = "trials"  # rows of a sweep that is not finished
_FIGURES = {
    "batch_accuracy": (BATCH, "all"),
    "controls_accuracy": (BATCH, "controls"),
    "replicate_retrieval": (NEAREST, "perturbed"),
}


class Sweep(TablesOutput):
    """The folder that `sweep` wrote: the tables `sweep`, `choosing` and `reporting`."""

    @property
    def chosen(self) -> str:
        """The correction with the highest recall of the pairs that choose."""
        table = self.to_polars("sweep")
        return table.filter("chosen")["correction"].item()


def sweep(
    wells: PathLike, out: PathLike, /, *, settings: SweepSettings, overwrite: bool = False
) -> Sweep:
    """Try corrections on wells: methods, and numbers of components of those that have them.

    Each correction is diagnosed as in `correct`, and its map is scored by the recall of known
    pairs. The pairs are split by the seed into two halves that share no gene. The correction with
    the highest recall of the one half is the chosen one, and the recall that is reported, with its
    95 % interval, is that of the other half. Writes sweep.csv, one row per correction, and the two
    halves as choosing.csv and reporting.csv. A stopped sweep continues with the next correction.

    Parameters
    ----------
    wells
        Folder of wells, as `embed` or `features` wrote it.
    out
        Folder to write.
    overwrite
        Replace `out` if it was made with other settings.

    Raises ValueError if the wells or the annotations cannot be used, a correction does not exist or
    fails, or the pairs are too few to be split.
    """
    wells, out = Path(wells), Path(out)
    files, annotations = open_wells(wells), read_annotations(settings.annotations)
    names = name_rows(files.table, settings.map)["name"].drop_nulls().unique().sort().to_list()
    if not names:
        raise ValueError(f"{wells} has no well with a {settings.by}: choose another column for by")
    trials, halves = list_trials(settings, files.width), _split(names, annotations, settings)
    with artefact_folder(out, _origin(files, annotations, settings), overwrite) as folder:
        if folder is not None:
            rows = _try_all(wells, folder, trials, halves, settings)
            for half in halves:
                _write_table(folder / f"{half.name}.csv", half.pairs)
            _write_table(folder / FILE, _choose(rows))
            shutil.rmtree(folder / _DONE)
    _print(out, wells, settings)
    return Sweep(out)


def _split(
    names: list[str], annotations: list[Annotation], settings: SweepSettings
) -> list[Annotation]:
    """Return the pairs that choose and those that report; raises ValueError if they are few."""
    pairs = pool_pairs(find_pairs(annotations, names, settings.annotations))
    every = pairs.get(ALL_SOURCES, next(iter(pairs.values())))
    halves = zip((CHOOSING, REPORTING), split_pairs(every, settings.seed), strict=True)
    return [_annotation(half, own, names) for half, own in halves]


def _annotation(name: str, pairs: Pairs, names: list[str]) -> Annotation:
    ends = {end: [names[row] for row in rows] for end, rows in zip(COLUMNS, pairs.T, strict=True)}
    return Annotation(name, pl.DataFrame(ends), "")


def _origin(files: PlateFiles, annotations: list[Annotation], settings: SweepSettings) -> Origin:
    plain = settings_dict(settings)
    del plain["annotations"]  # identified by content
    sources = {"wells": files.identity, "annotations": hash_annotations(annotations)}
    return Origin(KIND, plain, sources)


def _try_all(
    wells: Path,
    folder: Path,
    trials: list[Trial],
    halves: list[Annotation],
    settings: SweepSettings,
) -> list[dict[str, Any]]:
    """Return one row per correction; rows of an earlier, stopped call are read."""
    (folder / _DONE).mkdir(exist_ok=True)
    paths = [folder / _DONE / f"{number:04d}.json" for number in range(len(trials))]
    done = sum(path.exists() for path in paths)
    with track("sweep", len(trials), "corrections", done) as advance:
        for trial, path in zip(trials, paths, strict=True):
            if not path.exists():
                write_json(path, _try(wells, trial, halves, settings))
                advance(note=trial.name)
    return _add_before([json.loads(path.read_text(encoding="utf-8")) for path in paths])


def _try(
    wells: Path, trial: Trial, halves: list[Annotation], settings: SweepSettings
) -> dict[str, Any]:
    """Correct the wells, make a map, and return the row of this correction."""
    # Outputs inside an unfinished artefact are refused, so they are made elsewhere.
    with tempfile.TemporaryDirectory(prefix="phenomae-sweep-") as name:
        corrected, map_path = Path(name) / "wells", Path(name) / "map.h5ad"
        source = wells if trial.settings is None else corrected
        row: dict[str, Any] = {"correction": trial.name}
        try:
            with silenced(), redirect_stdout(io.StringIO()):
                if trial.settings is not None:
                    correct(wells, corrected, settings=trial.settings)
                    row |= _read_diagnosis(corrected)
                map_wells(source, map_path, settings=settings.map)
            row["features"] = open_wells(source).width
            return row | _score(map_path, halves, settings)
        except ValueError as error:
            sentence = str(error).replace(f"{name}/", "")  # a folder that nobody will find
            raise ValueError(f"{trial.name}: {sentence}") from None


def _read_diagnosis(corrected: Path) -> dict[str, Any]:
    """Return the figures of a diagnosis after the correction, and `before`: the same before."""
    table = pl.read_csv(corrected / DIAGNOSIS, glob=False)
    found: dict[str, Any] = {"before": {}}
    for name, (measure_name, kind) in _FIGURES.items():
        own = table.filter((pl.col("measure") == measure_name) & (pl.col("wells") == kind))
        for when in own.head(1).iter_rows(named=True):
            found[name], found["before"][name] = when["after"], when["before"]
    verdict = json.loads((corrected / VERDICT).read_text(encoding="utf-8"))
    found["before"]["batch"] = found["batch"] = table["column"][0]
    found["verdict"] = verdict["line"].removeprefix("verdict: ").partition(" ")[0]
    return found | {"warnings": "; ".join(verdict["warnings"]) or None}


def _score(map_path: Path, halves: Sequence[Annotation], settings: SweepSettings) -> dict[str, Any]:
    """Return the recall of both halves, with the interval of the half that reports."""
    profiles, scoring = read_map(map_path), settings.scoring
    check_map(profiles, map_path, scoring.percentiles)
    pairs = {half.name: pairs_on_map(half, profiles.names) for half in halves}
    table = measure(profiles, pairs, scoring.percentiles, scoring)["recall.csv"]
    recalls = {row["source"]: row for row in table.iter_rows(named=True)}
    reported = recalls[REPORTING]
    columns = ("recall", "ci_low", "ci_high", "n_pairs", "chance")
    return {
        "choosing_recall": recalls[CHOOSING]["recall"],
        **{name: reported[name] for name in columns},
    }


def _add_before(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows, that of the wells as they are with the figures before a correction."""
    befores = [row.pop("before") for row in rows if "before" in row]
    if befores:
        return [row if "batch" in row else row | befores[0] for row in rows]
    return rows


def _choose(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Return sweep.csv; of equal recalls the first is chosen."""
    recalls = [row["choosing_recall"] for row in rows]
    best = recalls.index(max(recalls))
    marked = [{**row, "chosen": number == best} for number, row in enumerate(rows)]
    return pl.DataFrame([{name: row.get(name) for name in SCHEMA} for row in marked], SCHEMA)


def _write_table(path: Path, table: pl.DataFrame) -> None:
    write_bytes(path, table.write_csv().encode())


def _print(out: Path, wells: Path, settings: SweepSettings) -> None:
    table = read_written(out / FILE)
    show(table.drop("warnings", "batch", "n_pairs", "chance"))
    row = table.row(table["chosen"].arg_max() or 0, named=True)
    interval = f"{row['ci_low']:.3f} to {row['ci_high']:.3f}"
    print(
        f"chosen: {row['correction']}, by the recall of the pairs in {CHOOSING}.csv; its recall of "
        f"the other {row['n_pairs']} pairs is {row['recall']:.3f} ({interval})"
    )
    trial = next(each for each in list_trials(settings, None) if each.name == row["correction"])
    if trial.settings is not None:
        method, *then = row["correction"].split(THEN)
        words = ["--method", method, *(["--batch", settings.batch] if settings.batch else [])]
        words += ["--then", *then] if then else []
        words += ["--few-controls", settings.few_controls] * (settings.few_controls != "error")
        print(f"phenomae correct {shlex.join([str(wells), 'OUT', *words])}")
