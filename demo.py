"""The whole pipeline on a simulated screen, as the commands one would type: `make demo`.

    python demo.py demo --seed 0                 # make demo
    python demo.py demo --seed 0 --families      # make demo-families: every network family

Each step reads and writes files in the folder, and a finished step is not repeated, so the script
can be stopped and run again. The planted pairs of the screen are known (`relationships.csv`), so
the last steps can measure how many of them the map recovers, and how many maps of the same wells
recover that needed no training.
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
LEVEL = "real"
# Controls estimate few axes well: with all axes of wide features recall is lower (docs/log.md).
CORRECTION = "pca-center-scale(components=64)"
CORRECTION_OF_FEW = "pca-center-scale"  # features that are not more than 64
SHUFFLES = 200
KINDS = ("random-layer", "spectra", "intensity", "count", "position")
BASELINES = ("random-network", "random-network-spread", *KINDS)
OTHER_FAMILIES = ("channel-mae", "unet-mae", "classifier", "vit-classifier")


def list_steps(folder: Path, seed: int, families: tuple[str, ...] = ()) -> list[str]:
    """Return the commands of the pipeline as shell words, without the word phenomae.

    `families` are trained in addition to the masked autoencoder of the demo.
    """
    at, recipe = shlex.quote(str(folder)), shlex.quote(str(RECIPES / "demo-vit-mae.toml"))
    steps = [
        f"simulate {at}/raw --level {LEVEL} --seed {seed}",
        f"ingest {at}/raw {at}/store",
        f"pretrain vit-mae {at}/store {at}/run --config {recipe} --seed {seed}",
        f"embed {at}/store {at}/run {at}/wells-trained --config {recipe}",
        # One pass for two baselines: the means, and the means with the standard deviations.
        f"embed {at}/store random:{at}/run {at}/wells-random --config {recipe} --seed {seed} "
        "--pool mean-std",
        *(f"features {at}/store {at}/wells-{kind} --kind {kind}" for kind in KINDS),
    ]
    for family in families:
        its = shlex.quote(str(RECIPES / f"demo-{family}.toml"))
        steps += [
            f"pretrain {family} {at}/store {at}/run-{family} --config {its} --seed {seed}",
            f"embed {at}/store {at}/run-{family} {at}/wells-trained-{family} --config {its}",
        ]
    others = (*BASELINES, *(f"trained-{family}" for family in families))
    for name in ("trained", *others):
        corrected = f"{at}/corrected-{name}"
        steps += [
            f"correct {at}/{wells_of(name)} {corrected} --method {correction_of(name)} "
            "--batch plate",
            f"map {corrected} {at}/map-{name}.h5ad --by gene",
        ]
    report = "report-families" if families else "report"
    results = "results-families" if families else "results"
    maps = " ".join(f"{name}={at}/map-{name}.h5ad" for name in others)
    steps += [
        f"benchmark {at}/map-trained.h5ad {at}/{results} --annotations {at}/raw/relationships.csv "
        f"--shuffle {SHUFFLES} --baseline {maps}",
        f"report {at}/{report} --run {at}/run --results {at}/{results} --map {at}/map-trained.h5ad",
    ]
    return steps


def wells_of(name: str) -> str:
    """Return the folder of the wells that a map is made from."""
    return "wells-random" if name.startswith("random-network") else f"wells-{name}"


def correction_of(name: str) -> str:
    """Return the words of `correct` after --method, the same for all maps as far as they go."""
    if name in ("count", "position"):
        return CORRECTION_OF_FEW
    means = " --features 0:128" if name == "random-network" else ""
    return f'"{CORRECTION}"{means}'


def summarise(results: Path) -> dict[str, Any]:
    """Return what `summary.json` has of the results: recall of every map, and what was learned."""
    with open(results / "baselines.csv", newline="") as file:
        rows = {row["map"]: row for row in csv.DictReader(file)}
    with open(results / "recall.csv", newline="") as file:
        shared = next(csv.DictReader(file))
    pairs = {"n_pairs": int(shared["n_pairs"]), "chance": float(shared["chance"])}
    recall = {}
    for name, row in rows.items():
        numbers = ("low", "high", "recall", "ci_low", "ci_high")
        key = "trained" if name == "these features" else name.replace("-", "_")
        recall[key] = {number: float(row[number]) for number in numbers} | pairs
    with open(results / "shuffled.csv", newline="") as file:
        null = next(csv.DictReader(file))
    recall["shuffled"] |= {"mean": float(null["mean"]), "sd": float(null["sd"])}
    recall["shuffled"]["n"] = int(null["n"])
    found = json.loads((results / "learned.json").read_text())["learned"][0]
    learned = {key: found[key] for key in ("difference", "ci_low", "ci_high")}
    return {"recall": recall, "learned": {**learned, "over": found["best"]}}


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
    suffix = "-families" if families else ""
    summary = {
        "seed": given.seed,
        "level": LEVEL,
        "wall_s": round(time.monotonic() - begun, 1),
        "correction": f"{CORRECTION} --batch plate",
        **summarise(folder / f"results{suffix}"),
    }
    _write_summary(folder / f"summary{suffix}.json", summary)
    with whole_file(folder / f"report{suffix}.html") as page:
        shutil.copyfile(folder / f"report{suffix}" / "report.html", page)
    print(f"\nThe report: {(folder / f'report{suffix}.html').resolve()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
