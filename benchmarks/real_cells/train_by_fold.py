"""Trains a network per fold of plates and predicts the classes of nuclei on the plates left out.

    python benchmarks/real_cells/train_by_fold.py OUT REFERENCE NAME --config RECIPE

For labels that are what is to be predicted, as Mitocheck's: no network sees a plate on which it is
judged. The folds are those of OUT/answers/REFERENCE/plate/predictions.csv (`ask probe --leave-out
plate`), so that rows are compared on the same nuclei. OUT/answers/NAME/plate/predictions.csv is
written in the same form: logistic regression on standardised embeddings of the plates that the
network was trained on, as `ask probe` fits it by default. Runs and wells in OUT are kept and not
made again; the regressions are.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import polars as pl
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from phenomae.wells import read_wells
from phenomae.whole_files import write_bytes

KEYS = ["plate", "well"]


def phenomae(*words: object) -> None:
    """Run one command, or stop with its exit code."""
    command = [sys.executable, "-m", "phenomae", "--quiet", *map(str, words)]
    if code := subprocess.run(command, check=False).returncode:
        sys.exit(code)


def embed_fold(out: Path, name: str, plates: list[str], given: argparse.Namespace) -> Path:
    """Train on all plates but `plates` and return the embeddings of all wells."""
    run, wells = out / "runs" / name, out / "wells" / name
    listed = ", ".join(f"'{plate}'" for plate in plates)
    settings = ["--config", given.config, "--seed", given.seed, "--init", given.init]
    where = ["--where", f"plate NOT IN ({listed})"]
    phenomae("pretrain", "vit-classifier", out / "store", run, *settings, *where)
    phenomae("embed", out / "store", run, wells, "--config", given.config)
    return wells


def predict(wells: Path, known: pl.DataFrame, validation: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of `validation` with the names predicted by a regression on `known`."""
    profiles = read_wells(wells)
    row_of = profiles.table.select(KEYS).with_row_index("row")
    rows = [
        part.join(row_of, on=KEYS, maintain_order="left")["row"] for part in (known, validation)
    ]
    train, left_out = (profiles.features[part.to_numpy()].astype("float64") for part in rows)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    predicted = model.fit(train, known["name"].to_numpy()).predict(left_out)
    return validation.with_columns(predicted=pl.Series(predicted))


def main() -> None:
    """Write the predictions of all folds."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("reference", help="name of the answer whose folds are used")
    parser.add_argument("name", help="name of the answer to write, which ends in -SEED")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--init", type=Path, required=True, help="run that the networks begin with")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    answer = given.out / "answers" / given.name / "plate" / "predictions.csv"
    folds = pl.read_csv(given.out / "answers" / given.reference / "plate" / "predictions.csv")
    parts = []
    for fold in sorted(folds["fold"].unique()):
        inside = pl.col("fold") == fold
        validation = folds.filter(inside)
        plates = sorted(validation["plate"].unique())
        wells = embed_fold(given.out, f"{given.name}-fold-{fold}", plates, given)
        parts.append(predict(wells, folds.filter(~inside), validation))
    answer.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(answer, pl.concat(parts).write_csv().encode())


if __name__ == "__main__":
    main()
