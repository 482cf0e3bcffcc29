"""The whole pipeline on a simulated screen, as the commands one would type: `make demo`.

    python demo.py demo --seed 0                 # make demo
    python demo.py demo --seed 0 --families      # make demo-families: every network family

Each step reads and writes files in the folder, and a finished step is not repeated, so the script
can be stopped and run again. The planted pairs of the screen are known (`relationships.csv`), so
the last step can measure how many of them the map recovers.
"""

import argparse
import csv
import json
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from phenomae import cli
from phenomae.artefacts import whole_file, write_json

RECIPES = Path(__file__).parent / "recipes"
CORRECTION = "pca-center-scale --batch plate"
SHUFFLES = 200
EMBEDDINGS = ("trained", "untrained", "intensity")
OTHER_FAMILIES = ("channel-mae", "unet-mae", "classifier", "vit-classifier")


def list_steps(folder: Path, seed: int, families: tuple[str, ...] = ()) -> list[str]:
    """Return the commands of the pipeline as shell words, without the word phenomae.

    `families` are trained in addition to the masked autoencoder of the demo.
    """
    at, recipe = shlex.quote(str(folder)), shlex.quote(str(RECIPES / "demo-vit-mae.toml"))
    steps = [
        f"simulate {at}/raw --seed {seed}",
        f"ingest {at}/raw {at}/store",
        f"pretrain vit-mae {at}/store {at}/run --config {recipe} --seed {seed}",
        f"pretrain vit-mae {at}/store {at}/run-untrained --config {recipe} --seed {seed} --steps 0",
        f"embed {at}/store {at}/run {at}/wells-trained --config {recipe}",
        f"embed {at}/store {at}/run-untrained {at}/wells-untrained --config {recipe}",
        f"features {at}/store {at}/wells-intensity --kind intensity",
    ]
    for family in families:
        its = shlex.quote(str(RECIPES / f"demo-{family}.toml"))
        steps += [
            f"pretrain {family} {at}/store {at}/run-{family} --config {its} --seed {seed}",
            f"embed {at}/store {at}/run-{family} {at}/wells-{family} --config {its}",
        ]
    for name in (*EMBEDDINGS, *families):
        wells, gene_map = f"{at}/wells-{name}", f"{at}/map-{name}.h5ad"
        steps += [
            f"correct {wells} {wells}-corrected --method {CORRECTION}",
            f"map {wells}-corrected {gene_map} --by gene",
            f"benchmark {gene_map} {at}/results-{name} "
            f"--annotations {at}/raw/relationships.csv --shuffle {SHUFFLES}",
        ]
    others = (*EMBEDDINGS[1:], *families)
    baselines = " ".join(f"--baseline {name}={at}/results-{name}" for name in others)
    report = "report-families" if families else "report"
    steps.append(
        f"report {at}/{report} --run {at}/run --results {at}/results-trained "
        f"--map {at}/map-trained.h5ad {baselines}"
    )
    return steps


def read_recall(results: Path) -> dict[str, float]:
    """Return the recall of planted pairs, with its percentiles, number of pairs and chance."""
    with open(results / "recall.csv", newline="") as file:
        row = next(csv.DictReader(file))
    return {
        "low": float(row["low"]),
        "high": float(row["high"]),
        "recall": float(row["recall"]),
        "n_pairs": int(row["n_pairs"]),
        "chance": float(row["chance"]),
    }


def read_shuffled(results: Path) -> dict[str, float]:
    """Return the recall of the same map with shuffled gene names: the null distribution."""
    with open(results / "shuffled.csv", newline="") as file:
        row = next(csv.DictReader(file))
    mean, sd = float(row["mean"]), float(row["sd"])
    return {**read_recall(results), "recall": mean, "mean": mean, "sd": sd, "n": int(row["n"])}


def _write_summary(path: Path, summary: dict[str, Any]) -> None:
    """Write the summary, unless an existing one differs only in its seconds.

    Those are the seconds of the call that did the work, or the last part of it.
    """
    if path.exists() and {**json.loads(path.read_text()), "wall_s": summary["wall_s"]} == summary:
        return
    write_json(path, summary)


def main() -> int:
    """Run the steps that are not done; return the exit code of the first that fails, or 0."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="folder for all outputs")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of screen and training (default 0)"
    )
    parser.add_argument(
        "--families", action="store_true", help="train all other families too, and compare them"
    )
    given = parser.parse_args()
    families = OTHER_FAMILIES if given.families else ()
    folder, begun = given.folder, time.monotonic()
    steps = list_steps(folder, given.seed, families)
    for number, step in enumerate(steps, start=1):
        print(f"\n[{number}/{len(steps)}] phenomae {step}", file=sys.stderr, flush=True)
        if code := cli.run(shlex.split(step)):
            return code
    recall = {name: read_recall(folder / f"results-{name}") for name in (*EMBEDDINGS, *families)}
    summary = {
        "seed": given.seed,
        "wall_s": round(time.monotonic() - begun, 1),
        "correction": CORRECTION,
        "recall": {**recall, "shuffled": read_shuffled(folder / "results-trained")},
    }
    suffix = "-families" if families else ""
    _write_summary(folder / f"summary{suffix}.json", summary)
    with whole_file(folder / f"report{suffix}.html") as page:
        shutil.copyfile(folder / f"report{suffix}" / "report.html", page)
    print(f"\nThe report: {(folder / f'report{suffix}.html').resolve()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
