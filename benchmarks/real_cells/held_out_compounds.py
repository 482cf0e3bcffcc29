"""What labels of treatments teach a network about compounds whose labels it has not seen.

    python benchmarks/real_cells/held_out_compounds.py OUT

OUT is that of `benchmarks/real_cells.sh bbbc021 FOLDER OUT random-network-turns trained-energies
trained-pairs`. Five networks learn from pairs of cells of one treatment, as in
`bbbc021-pairs`; each leaves a fifth of the compounds, whole, out of the pairs, so that
every compound is left out once. Prints the fraction of treatments whose nearest treatment of
another compound shares the mechanism: in the network that has not seen the labels of their
compound, in the others (their mean over four networks), and in the rows of OUT, with 95 % bootstrap
intervals over compounds. Everything in OUT is kept and not made again.
"""

import argparse
import re
import tomllib
from pathlib import Path

import numpy as np
import polars as pl
from table import balanced_score, find_hits, form, resample
from train_by_fold import phenomae

from phenomae.row_filter import match_rows

RECIPES = Path(__file__).parents[2] / "src/phenomae/recipes"
PAIRS, CORRECTION = RECIPES / "bbbc021-pairs.toml", RECIPES / "bbbc021.toml"
QUESTIONS = {"nearest other compound": "corrected nsc", "... of another week": "corrected nscb"}
ROWS = ("random-network-turns", "trained-energies", "trained-pairs")
LEFT_OUT, OTHERS = "pairs, compound left out", "pairs, the other compounds"


def split_compounds(mechanisms: pl.DataFrame, folds: int) -> dict[str, int]:
    """Return the fold of each compound; compounds of one mechanism are in different folds."""
    compounds = mechanisms.sort("mechanism", "compound")["compound"]
    return {compound: number % folds for number, compound in enumerate(compounds)}


def exclude(where: str, column: str, values: list[str]) -> str:
    """Return the filter `where` with rows that have one of these values left out."""
    listed = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
    return f"({where}) AND {column} NOT IN ({listed})" if values else where


def plates_of_one(cells: pl.DataFrame, where: str) -> list[str]:
    """Return the plates on which one treatment is left, so that a pair would teach the plate."""
    left = ~pl.col("control") & pl.lit(pl.Series(match_rows(cells, where, "plate_map.csv")))
    counts = cells.filter(left).group_by("plate").agg(pl.col("perturbation").n_unique())
    return sorted(counts.filter(pl.col("perturbation") == 1)["plate"])


def train_fold(out: Path, name: str, compounds: list[str], seed: int) -> None:
    """Train without the pairs of `compounds`; write the embeddings and their correction."""
    where = tomllib.loads(PAIRS.read_text())["pretrain"]["energy-mae"]["pair_where"]
    where = exclude(where, "compound", compounds)
    where = exclude(where, "plate", plates_of_one(pl.read_csv(out / "raw/plate_map.csv"), where))
    run, wells = out / "runs" / name, out / "wells" / name
    settings = ["--config", PAIRS, "--seed", seed, "--pair-where", where]
    phenomae("pretrain", "energy-mae", out / "store", run, *settings)
    phenomae("embed", out / "store", run, wells, "--config", PAIRS)
    phenomae("correct", wells, out / "corrected" / name, "--config", CORRECTION)


def average_seeds(out: Path, row: str, question: str) -> np.ndarray:
    """Return the mean over seeds of whether each treatment is right."""
    names = [path.name for path in sorted((out / "corrected").glob(f"{row}-*"))]
    names = [name for name in names if re.fullmatch(rf"{row}-\d+", name)]
    if not names:
        raise SystemExit(f"{out}/corrected has no {row}: run real_cells.sh with this row first")
    return np.mean([find_hits(out, name, question)[1] for name in names], axis=0)


def tabulate(out: Path, names: list[str], fold_of: dict[str, int], question: str) -> None:
    """Print the scores of one question, and what labels add to each row."""
    compounds, _ = find_hits(out, names[0], question)
    folds = np.array([fold_of[compound] for compound in compounds])
    hits = np.array([find_hits(out, name, question)[1] for name in names], dtype=float)
    seen = np.arange(len(names))[:, None] != folds
    rows = {
        LEFT_OUT: hits[folds, np.arange(len(folds))],
        OTHERS: (hits * seen).sum(axis=0) / seen.sum(axis=0),
        **{row: average_seeds(out, row, question) for row in ROWS},
    }
    drawn = resample([balanced_score(compounds, np.zeros(len(one)), one) for one in rows.values()])
    values = dict(zip(rows, drawn, strict=True))
    for row, its in values.items():
        print(f"| {row} | {form(its)} |")
    for row in ROWS:
        for kind in (LEFT_OUT, OTHERS):
            print(f"| {kind}, minus {row} | {form(values[kind] - values[row], signed=True)} |")


def main() -> None:
    """Train, and print a table for each question."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    fold_of = split_compounds(pl.read_csv(given.out / "raw" / "mechanisms.csv"), given.folds)
    names = [f"trained-left-out-{given.seed}-fold-{fold}" for fold in range(given.folds)]
    for fold, name in enumerate(names):
        train_fold(
            given.out, name, [one for one, its in fold_of.items() if its == fold], given.seed
        )
    for title, question in QUESTIONS.items():
        print(f"| {title} | |\n|---|---|")
        tabulate(given.out, names, fold_of, question)
        print()


if __name__ == "__main__":
    main()
