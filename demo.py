"""The whole pipeline on a simulated screen, as the commands one would type: `make demo`.

    python demo.py demo --seed 0                 # make demo
    python demo.py demo --seed 0 --rivals        # make demo-rivals: what else could have been done
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
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from phenomae import cli
from phenomae.whole_files import write_json

LEVEL = "real"
# Controls estimate few axes well: with all axes of wide features recall is lower (docs/log.md).
CORRECTION = "pca-center-scale(components=64)"
CORRECTION_OF_FEW = "pca-center-scale"  # features that are not more than 64
SHUFFLES = 200
# Wells with the means of a network's tokens, and their standard deviations.
BOTH = ("wells-trained", "wells-random", "wells-trained-turns", "wells-random-turns")
KINDS = ("random-layer", "spectra", "intensity", "count", "position")
BASELINES = ("random-network", "random-network-spread", *KINDS)
OTHER_FAMILIES = ("vit-mae", "channel-mae", "unet-mae", "classifier", "vit-classifier")
# As many crops as one turn of all 16 crops of a field.
TURNS = "--turns 8 --crops-per-field 2"
# The classifier then trains for as many seconds as the network of the demo (docs/log.md).
CLASSIFIER, CLASSIFIER_STEPS = "trained-classifier-as-long", 1200


class Rivals(NamedTuple):
    """Maps that are compared with one trained network, made from features of the same kind."""

    name: str
    trained: str
    baselines: tuple[str, ...]


RIVALS = (
    Rivals("spread", "trained-spread", ("random-network-spread", "spectra")),
    Rivals("turns", "trained-turns", ("random-network-turns", "random-layer-turns", "spectra")),
    Rivals("turns-spread", "trained-turns-spread", ("random-network-turns-spread", "spectra")),
    Rivals("classifier", "trained", (CLASSIFIER,)),
)


def list_steps(folder: Path, seed: int, families: tuple[str, ...] = ()) -> list[str]:
    """Return the commands of the pipeline as shell words, without the word phenomae.

    `families` are trained in addition to the masked autoencoder of the demo.
    """
    at, recipe = shlex.quote(str(folder)), recipe_of("energy-mae")
    steps = [
        f"simulate {at}/raw --level {LEVEL} --seed {seed}",
        f"ingest {at}/raw {at}/store",
        f"pretrain energy-mae {at}/store {at}/run --config {recipe} --seed {seed}",
        # One pass for two maps: the means, and the means with the standard deviations.
        f"embed {at}/store {at}/run {at}/wells-trained --config {recipe} --pool mean-std",
        f"embed {at}/store random:{at}/run {at}/wells-random --config {recipe} --seed {seed} "
        "--pool mean-std",
        *(f"features {at}/store {at}/wells-{kind} --kind {kind}" for kind in KINDS),
    ]
    for family in families:
        its = recipe_of(family)
        steps += [
            f"pretrain {family} {at}/store {at}/run-{family} --config {its} --seed {seed}",
            f"embed {at}/store {at}/run-{family} {at}/wells-trained-{family} --config {its}",
        ]
    others = (*BASELINES, *(f"trained-{family}" for family in families))
    for name in ("trained", *others):
        steps += map_steps(at, name)
    report = "report-families" if families else "report"
    results = "results-families" if families else "results"
    maps = " ".join(f"{name}={at}/map-{name}.h5ad" for name in others)
    steps += [
        f"benchmark {at}/map-trained.h5ad {at}/{results} --annotations {at}/raw/relationships.csv "
        f"--shuffle {SHUFFLES} --baseline {maps}",
        f"report {at}/{report} --run {at}/run --results {at}/{results} --map {at}/map-trained.h5ad "
        f"--wells {at}/corrected-trained --store {at}/store "
        f"--annotations {at}/raw/relationships.csv",
    ]
    return steps


def list_rivals(folder: Path, seed: int) -> list[str]:
    """Return the commands that follow those of the demo and compare the trained network further.

    With itself and with the network at random by mean and spread, by eight turns, by both; and with
    a classifier that was trained for the same seconds.
    """
    at, recipe, its = shlex.quote(str(folder)), recipe_of("energy-mae"), recipe_of("classifier")
    turned = f"--config {recipe} --pool mean-std {TURNS}"
    steps = [
        f"embed {at}/store {at}/run {at}/wells-trained-turns {turned}",
        f"embed {at}/store random:{at}/run {at}/wells-random-turns {turned} --seed {seed}",
        f"features {at}/store {at}/wells-random-layer-turns --kind random-layer {TURNS} "
        "--tiling grid --crop-size 64",
        f"pretrain classifier {at}/store {at}/run-classifier-as-long --config {its} --seed {seed} "
        f"--steps {CLASSIFIER_STEPS}",
        f"embed {at}/store {at}/run-classifier-as-long {at}/wells-{CLASSIFIER} --config {its}",
    ]
    made = {"trained", *BASELINES}
    for name in [name for rivals in RIVALS for name in (rivals.trained, *rivals.baselines)]:
        if name not in made:
            steps += map_steps(at, name)
            made.add(name)
    for rivals in RIVALS:
        maps = " ".join(f"{name}={at}/map-{name}.h5ad" for name in rivals.baselines)
        steps.append(
            f"benchmark {at}/map-{rivals.trained}.h5ad {at}/results-{rivals.name} "
            f"--annotations {at}/raw/relationships.csv --shuffle 0 --baseline {maps}"
        )
    return steps


def map_steps(at: str, name: str) -> list[str]:
    """Return the commands that make a map of genes from wells."""
    corrected = f"{at}/corrected-{name}"
    return [
        f"correct {at}/{wells_of(name)} {corrected} --method {correction_of(name)} --batch plate",
        f"map {corrected} {at}/map-{name}.h5ad --by gene",
    ]


def recipe_of(family: str) -> str:
    """Return the name of the recipe of a family."""
    return f"demo-{family}"


def wells_of(name: str) -> str:
    """Return the folder of the wells that a map is made from."""
    return f"wells-{name.replace('random-network', 'random').removesuffix('-spread')}"


def correction_of(name: str) -> str:
    """Return the words of `correct` after --method, the same for all maps as far as they go."""
    if name in ("count", "position"):
        return CORRECTION_OF_FEW
    both = wells_of(name) in BOTH and not name.endswith("spread")
    means = " --features 0:128" if both else ""
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


def summarise_rivals(folder: Path) -> dict[str, Any]:
    """Return the recall of the maps of each comparison, and the differences from the first map."""
    found = {}
    for rivals in RIVALS:
        with open(folder / f"results-{rivals.name}" / "baselines.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        numbers = (
            "recall",
            "ci_low",
            "ci_high",
            "difference",
            "difference_ci_low",
            "difference_ci_high",
        )
        found[rivals.name] = {
            rivals.trained if row["map"] == "these features" else row["map"]: {
                number: float(row[number]) for number in numbers if row[number]
            }
            for row in rows
            if row["map"] != "shuffled"
        }
    return found


def _write_summary(path: Path, summary: dict[str, Any]) -> None:
    """Write the summary, unless an existing one differs only in its seconds.

    Those are the seconds of the call that did the work, or the last part of it.
    """
    if path.exists() and {**json.loads(path.read_text()), "wall_s": summary["wall_s"]} == summary:
        return
    write_json(path, summary)


def main() -> int:
    """Run the steps that are not done; return the exit code of the first that fails, or 0."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("folder", type=Path, help="folder for all outputs")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of screen and training (default 0)"
    )
    more = parser.add_mutually_exclusive_group()
    more.add_argument(
        "--rivals", action="store_true", help="compare with turns, spread and a classifier, too"
    )
    more.add_argument(
        "--families", action="store_true", help="train all other families too, and compare them"
    )
    given = parser.parse_args()
    families = OTHER_FAMILIES if given.families else ()
    folder, begun = given.folder, time.monotonic()
    steps = list_steps(folder, given.seed, families)
    if given.rivals:
        steps += list_rivals(folder, given.seed)
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
    if given.rivals:
        write_json(folder / "summary-rivals.json", summarise_rivals(folder))
    print(f"\nThe report: {(folder / f'report{suffix}' / 'report.html').resolve()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
