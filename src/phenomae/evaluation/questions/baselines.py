"""Answers of a question for baselines: the same question on other features of the same units.

`ask NAME ... --baseline NAME=PATH` runs the question on each baseline and joins its row of the
answer with a paired difference, so that no question has code of its own for baselines.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from phenomae.evaluation.baseline_inputs import Baseline
from phenomae.evaluation.baseline_maps import (
    in_order,
    kinds_of,
    name_baselines,
    report_assumed_kinds,
    without_learning,
)
from phenomae.evaluation.learned import (
    BASELINES_FILE,
    headline,
    print_learned,
    write_learned,
)
from phenomae.evaluation.questions.question import Question, Score, Tables
from phenomae.evaluation.questions.unit_scores import UnitScores, resample_scores
from phenomae.evaluation.recall.baselines import THESE, find_learned
from phenomae.evaluation.recall.bootstrap import interval
from phenomae.evaluation.recall.tables import read_results_table
from phenomae.progress import info

RESAMPLES = 1000


def open_baselines(
    question: Question, words: Sequence[str], values: Sequence[Any], paths: Sequence[Path]
) -> dict[str, Baseline]:
    """Open the baselines of the setting baseline (NAME=PATH), in the order of their kinds.

    `values` and `paths` are those of the question's inputs. Raises ValueError if a name is missing,
    repeated or reserved, or a baseline is not there or has other wells or genes.
    """
    if not words:
        return {}
    taken = question.takes[0].baseline
    assert taken is not None
    named = name_baselines(words, taken.form, reserved=(THESE,))
    found = {name: taken.open(name, named[name], values[0], paths[0]) for name in in_order(named)}
    report_assumed_kinds(kinds_of(found))
    return found


def check_baselines(
    question: Question, baselines: dict[str, Baseline], settings: Any, source: Path
) -> None:
    """Raise ValueError if the question cannot be asked of the features of a baseline.

    `source` is the input that has the wells; messages on its table name it.
    """
    for baseline in baselines.values():
        baseline.check(lambda table: question.averaged(table, settings, source))


def answer_baselines(
    folder: Path,
    question: Question,
    tables: Tables,
    baselines: dict[str, Baseline],
    settings: Any,
) -> Tables:
    """Ask a question of each baseline; write learned.json to `folder`, return baselines.csv.

    `tables` are the tables of these features. Columns of baselines.csv: the keys of the score,
    features, the score, ci_low, ci_high, difference (of these features minus the baseline),
    difference_ci_low, difference_ci_high, then the other columns of the printed table (but for
    `score.drop`).
    """
    score = question.score
    assert score is not None
    units: dict[str, dict[tuple[str, ...], UnitScores]] = {}
    printed: list[pl.DataFrame] = []
    # Only these are kept of each answer, because its other tables may be large.
    for name, answer in _answers(question, tables, baselines, settings):
        units[name] = score.units(answer, settings)
        printed.append(answer[question.printed].with_columns(features=pl.lit(name)))
    compared = pl.concat(
        _compare(score, key, {name: its[key] for name, its in units.items()}, settings.seed)
        for key in units[THESE]
    )
    without = without_learning(kinds_of(baselines))
    learned = find_learned(compared, without, score.keys, ("features", score.column))
    line = headline(learned, score.keys)
    # Questions have a null distribution or the value of chance of their own.
    write_learned(folder, learned, line, list(baselines), shuffled=True)
    keys = [*score.keys, "features"]
    # Keys may be numbers, such as the fractions of `ask enrichment`.
    names = pl.col(*keys).cast(pl.String)
    rest = pl.concat(printed).select(names, pl.exclude([*keys, *compared.columns, *score.drop]))
    return {BASELINES_FILE: compared.join(rest, on=keys, how="left", maintain_order="left")}


def _answers(
    question: Question, tables: Tables, baselines: dict[str, Baseline], settings: Any
) -> Iterator[tuple[str, Tables]]:
    """Yield the tables of these features, and then those of each baseline."""
    yield THESE, tables
    for name, baseline in baselines.items():
        info(f"baseline {name}")
        yield name, question.tables(baseline.read(), baseline.path, settings)


def _compare(
    score: Score, key: tuple[str, ...], of_features: dict[str, UnitScores], seed: int
) -> pl.DataFrame:
    """Return the rows of one key: scores and differences with CI from a paired bootstrap."""
    drawn = resample_scores(list(of_features.values()), RESAMPLES, seed)
    own, own_drawn = of_features[THESE].score, drawn[:, 0]
    rows = []
    for (name, its), column in zip(of_features.items(), drawn.T, strict=True):
        paired = (own - its.score, *interval(own_drawn - column)) if name != THESE else (None,) * 3
        rows.append((*key, name, its.score, *interval(column), *paired))
    return pl.DataFrame(rows, _columns(score), orient="row")


def _columns(score: Score) -> dict[str, pl.DataType]:
    """Return the first columns of baselines.csv: keys, name, score and difference with CI."""
    numbers = [score.column, "ci_low", "ci_high"]
    numbers += ["difference", "difference_ci_low", "difference_ci_high"]
    words: dict[str, pl.DataType] = dict.fromkeys([*score.keys, "features"], pl.String())
    return words | dict.fromkeys(numbers, pl.Float64())


def print_baselines(folder: Path, question: Question) -> None:
    """Print scores and differences of baselines.csv, missing baselines, and what was learned.

    Raises ValueError if a file is missing or damaged.
    """
    assert question.score is not None
    print_learned(folder, read_results_table(folder / BASELINES_FILE, _columns(question.score)))
