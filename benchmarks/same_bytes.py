"""Shows that a restructuring changed no number: the same commands, run before and after it.

    python benchmarks/same_bytes.py OLD NEW FOLDER --only old    # may be done long before
    python benchmarks/same_bytes.py OLD NEW FOLDER
    python benchmarks/same_bytes.py OLD NEW FOLDER --small       # without the demo

OLD and NEW are two checkouts, each with its `.venv`; the Python that runs this needs the packages
of either. Each runs every command once, in FOLDER/old or FOLDER/new, with the same paths, seeds and
threads, on the CPU. What a side has finished is not run again: delete FOLDER/new when NEW has
changed since.

Then all files are compared: pixels and figures byte by byte, CSV line by line; Parquet, AnnData,
safetensors and npz by their names, types and values, bit for bit, and by what they tell of
themselves; JSON and TOML key by key. Only these may differ: names that the tables below list; the
version; identities, if each old one has one new one throughout; clocks and speeds; and the words
of pages, whose numbers may not. The exit code is 1 where anything else differs.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from artefact_readers import READERS
from tifffile import imwrite

RENAMED: dict[str, dict[str, str]] = {
    "map": {"least_wells": "min_wells"},
    "answer": {
        "least_genes": "min_genes",
        "least_inactive": "min_inactive",
        "least_wells": "min_wells",
        "most_controls": "max_controls",
        "most_names": "max_names",
        "most_wells": "max_wells",
    },
}
"""Old key -> new key, by what holds it: the `kind` of an artefact.json, or one of those in READERS;
those of `all` are renamed everywhere."""
RENAMED_FILES: dict[str, str] = {}
"""Old name of a file or folder -> new name, wherever it lies."""
RENAMED_OPTIONS: dict[str, dict[str, str]] = {
    "": {
        "--least-wells": "--min-wells",
        "--least-genes": "--min-genes",
        "--least-inactive": "--min-inactive",
        "--most-controls": "--max-controls",
        "--most-names": "--max-names",
    },
    "correct wells pca": {"pca-center-scale --components 8": "'pca-center-scale(components=8)'"},
    # All components were the default once.
    "correct wells-": {"pca-center-scale": "'pca-center-scale(components=all)'"},
    "correct wells tvn": {
        "tvn --batch": "'tvn(ridge=0.3, components=all)' --batch",
        "--ridge 0.3": "",
    },
    "correct wells arms": {"--batch batch": "--method 'tvn(components=all)' --batch batch"},
    "correct plates-wells chain": {"tvn:batch": "'tvn(components=all):batch'"},
    "correct wells sphering": {"sphering --epsilon 1e-3": "'sphering(epsilon=1e-3)'"},
}
"""Old words of a command line -> new ones, by what the old line begins with ("": any line)."""

LEFT_OUT = {"environment.txt": "clock and versions"}
ENVIRONMENT = {
    **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")},
    "POLARS_MAX_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "COLUMNS": "200",
}

DEMO = """
simulate raw --seed 0; ingest raw store
pretrain vit-mae store run {recipe} --seed 0
pretrain vit-mae store run-untrained {recipe} --seed 0 --steps 0
embed store run wells-trained {recipe}
embed store run-untrained wells-untrained {recipe}
intensity store wells-intensity
correct wells-{map} wells-{map}-corrected --method pca-center-scale --batch plate
map wells-{map}-corrected map-{map}.h5ad --by gene
benchmark map-{map}.h5ad results-{map} --annotations raw/relationships.csv --shuffle 200
report report --run run --results results-trained --map map-trained.h5ad
 --baseline untrained=results-untrained --baseline intensity=results-intensity
"""
"""As demo.py has it, in the folder demo. A line with {map} is one for each map."""

SMALL = """
models >> models.txt
simulate raw --seed 0 --genes 24 --complexes 6 --guides 2 --controls 24 --field-size 64
ingest raw store --pixel-size-um 0.65
ingest raw store8 --bits 8 --channels ER,DNA --window-fields 8 --pixel-size-um 1
store check store; ingest ../inputs/plates plates {pattern}; ingest ../inputs/later later {pattern}
ingest ../inputs/plates added {pattern} --plane 1 --pixel-size-um 1.3
ingest ../inputs/later added {pattern} --plane 1 --pixel-size-um 1.3 --add
pretrain vit-mae store run-vit-mae {train} {vit} {mae} --fourier-weight 0.01 --normalise-targets
 --balance perturbation --crops-per-field 2 --milestones 0.5 --recall-every 4 {pairs}
pretrain vit-mae store8 run-init {few} {vit} {mae} --init run-vit-mae --device cpu
 --precision bf16 --gradient-clip 1 --crops-at-once 8 --activation-checkpointing on
 --pixel-size-um 0.8 --where 'focus > 0.2'
pretrain channel-mae store run-channel-mae {train} {vit} {mae} --cross-num-heads 2
 --drop-channel 0.3
pretrain unet-mae store run-unet-mae {train} --patch-size 8 --widths 8 --widths 16 --depths 1
 --depths 2
pretrain classifier store run-classifier {train} --growth-rate 4 --first-width 8 --block-depths 2
 --block-depths 2 --neck-dim 16
pretrain vit-classifier store run-vit-classifier {train} {vit}
embed store run-vit-mae wells {f32}; embed store run-vit-mae blocks {f32} --block all --pool class
embed store run-channel-mae wells-channel-mae {f32} --pool channel
embed store run-unet-mae wells-unet-mae {f32} --tiling overlap --pixel-size-um 0.7
embed store run-classifier wells-classifier {f32} --adabn-crops 64
embed store run-classifier wells-frozen {f32} --adabn off
embed store run-vit-classifier wells-vit-classifier {f32} --where 'site = 1'
weights export run-vit-mae public; weights export run-channel-mae public-channel-mae
weights import public imported --channels DNA,RNA,ER,Actin,Golgi,Mito
embed store imported wells-imported {f32}
intensity plates plates-wells; intensity later later-wells
correct wells center-scale --method center-scale --batch plate --diagnose
correct wells pca --method pca-center-scale --components 8 --diagnose
correct wells tvn --method tvn --batch plate --ridge 0.3
correct wells sphering --method sphering --epsilon 1e-3; correct wells harmony --method harmony
 --batch plate
correct wells arms --batch batch --arms ../inputs/arms.csv --arm-genes 2
correct plates-wells chain --method center-scale --batch plate --then tvn:batch sphering:
 --save correction.npz --diagnose
correct later-wells later-chain --apply correction.npz
map center-scale genes.h5ad --phenotype 1 --draws 200
map pca genes-pca.h5ad --through wells --statistic median --controls
map tvn genes-weighted.h5ad --statistic weighted --where 'focus > 0.1'
map center-scale genes-alike.h5ad --phenotype 0.9 --unexpressed ../inputs/unexpressed.txt
map harmony guides.h5ad --by perturbation --least-wells 2
map chain plates-genes.h5ad --by gene; map chain doses.h5ad --by dose
map chain compounds.h5ad --by compound --phenotype 1 --draws 100 --seed 1
export chain wells.parquet; export doses.h5ad doses.csv --form efaar
benchmark genes.h5ad results {pairs} --low 0.05 0.1 --high 0.95 0.9 --resamples 200 --shuffle 50
 --aliases ../inputs/aliases.csv
benchmark genes-pca.h5ad results-degree {pairs} --resamples 0 --shuffle 20 --within degree --seed 3
ask signal center-scale signal --by gene --draws 200 --least-wells 3
ask signal chain signal-plates --least-wells 3 --most-controls 30 --draws 100
ask signal tvn signal-unexpressed --by gene --unexpressed ../inputs/unexpressed.txt --least-wells 3
ask replicates center-scale replicates --draws 200
ask replicates chain replicates-any --plates any --draws 200 --agree mechanism {acts}
ask complexes genes.h5ad complexes --complexes ../inputs/complexes.tsv --least-genes 3 --shuffle 5
ask compounds plates-genes.h5ad doses.h5ad potencies --potencies ../inputs/potencies.csv
 --least-inactive 4 --samples 20
ask mechanisms chain mechanisms {acts} --shuffle 50
ask probe blocks probe-blocks --by gene --folds 2 --most-names 10
ask probe plates-wells probe --by compound --penalty 0.5 --iterations 200
compare first=genes.h5ad pca=genes-pca.h5ad compared {pairs} --resamples 100 --run first=run-vit-mae
compare run-vit-mae run-unet-mae compared-runs; report report --run run-vit-mae
 --results results --map genes.h5ad
"""
"""Every family, correction, kind of map and question, in the folder small, with much that the demo
does not ask for. What follows >> takes what is printed."""

_WORDS = {
    "recipe": "--config demo-vit-mae",
    "pairs": "--annotations raw/relationships.csv",
    "acts": "--mechanisms ../inputs/mechanisms.csv",
    "pattern": r"--pattern '(?P<plate>[^/]+)/(?P<well>[A-P]\d\d)_s(?P<site>\d+)_z(?P<plane>\d)"
    r"_w(?P<channel>\d)\.tif' --channels 1=DNA,2=ER",
    "few": "--seed 0 --steps 8 --crops-per-step 16 --crop-size 32 --log-every 2 "
    "--checkpoint-every 4 --validation-every 4 --validation-crops 16",
    "f32": "--device cpu --precision float32",
    "vit": "--patch-size 8 --embed-dim 32 --depth 2 --num-heads 2",
    "mae": "--decoder-embed-dim 32 --decoder-depth 1 --decoder-num-heads 2",
}
_WORDS["train"] = "{few} {f32}".format(**_WORDS)
_MAPS = ("trained", "untrained", "intensity")
PARTS = {"small": SMALL, "demo": DEMO}


def list_commands(text: str) -> list[str]:
    """Return the commands of lines; one that begins with a blank goes on with that before it."""
    lines = re.split("\n|; ", re.sub("\n +", " ", text.strip()))
    every = [(line, name) for line in lines for name in (_MAPS if "{map}" in line else _MAPS[:1])]
    return [line.format(map=name, **_WORDS) for line, name in every]


def write_inputs(folder: Path) -> None:
    """Write plates in a layout of files named after a pattern, and lists of what is known."""
    rng = np.random.default_rng(0)
    wells = [f"{row}{column:02d}" for row in "ABCDEF" for column in range(1, 11)]
    done = [f"X0{i % 10},X0{i % 10}-{i // 10},,,false" for i in range(20)]
    done += [f",,drug{i % 10},{0.5 * 4 ** (i // 10)},false" for i in range(20)]
    done += [",,,,true"] * 20
    for part, plates in {"plates": ("P1", "P2", "P3"), "later": ("P4",)}.items():
        lines = ["plate,well,batch,gene,guide,compound,concentration_um,control\n"]
        for plate in plates:
            (folder / part / plate).mkdir(parents=True)
            for number, (well, what) in enumerate(zip(wells, done, strict=True)):
                lines.append(f"{plate},{well},B{plate[1]},{what}\n")
                for file in ("z1_w1", "z2_w1", "z1_w2"):
                    light = 400 + 30 * (number % 10) * int(file[-1]) + 50 * int(plate[1])
                    pixels = rng.poisson(rng.gamma(2.0, light, (32, 32))).astype(np.uint16)
                    imwrite(folder / part / plate / f"{well}_s1_{file}.tif", pixels, software="")
        (folder / part / "plate_map.csv").write_text("".join(lines))
    genes, drugs = [f"G{i:03d}" for i in range(1, 25)], range(10)
    potencies = [f"drug{i},X0{j},{0.3 * 4 ** abs(i - j)}" for i in drugs for j in drugs]
    lists = {
        "complexes.tsv": [f"third {i}\t{' '.join(genes[8 * i : 8 * i + 8])}" for i in range(3)],
        "arms.csv": ["gene,arm", *[f"{gene},{gene[-1]}p" for gene in genes]],
        "unexpressed.txt": genes[::4],
        "aliases.csv": ["alias,gene", "OLD1,G001", "G002,NEW2"],
        "mechanisms.csv": ["compound,mechanism", *[f"drug{i},acts {i // 4}" for i in drugs]],
        "potencies.csv": ["compound,gene,activity_um", *potencies],
    }
    for name, lines in lists.items():
        (folder / name).write_text("\n".join(lines) + "\n")


def spell_anew(line: str) -> str:
    """Return a command line as the new side spells it."""
    for start, table in RENAMED_OPTIONS.items():
        for word, new in table.items() if line.startswith(start) else ():
            line = f" {line} ".replace(f" {word} ", f" {new} ").strip()
    return line


def run_side(checkout: Path, side: Path, part: str, spell: Callable[[str], str]) -> None:
    """Run what a side has not yet done of a part; leaves by SystemExit where a command fails."""
    # They were in the folder of the checkout once, and are in the package now.
    places = (checkout / "recipes", checkout / "src/phenomae/recipes")
    recipes = next(place for place in places if place.exists())
    shutil.copytree(recipes, side / "recipes", dirs_exist_ok=True)
    if not (side / "inputs").exists():
        shutil.rmtree(side / "inputs.partial", ignore_errors=True)
        write_inputs(side / "inputs.partial")
        (side / "inputs.partial").rename(side / "inputs")
    (side / part).mkdir(exist_ok=True)
    record = side / f"{part}-done.txt"
    record.touch()
    done = {line.partition(" s: ")[2] for line in record.read_text().splitlines()}
    program = checkout.resolve() / ".venv" / "bin" / "phenomae"
    kept = {name: it for name, it in os.environ.items() if not name.startswith("PYTHON")}
    for line in list_commands(PARTS[part]):
        if line in done:
            continue
        print(f"{side / part}: phenomae {spell(line)}", flush=True)
        command, _, told = spell(line).partition(" >> ")
        words, begun = [program, *shlex.split(command)], time.monotonic()
        result = subprocess.run(words, cwd=side / part, env=kept | ENVIRONMENT, capture_output=True)
        if result.returncode:
            sys.exit(f"{result.stderr.decode()[-2000:]}\nexit code {result.returncode} of: {line}")
        if told:
            (side / part / told).write_bytes(result.stdout)
        with open(record, "a") as file:
            file.write(f"{time.monotonic() - begun:.0f} s: {line}\n")


def flatten(value: Any, kind: str, new: dict[str, str], place: str = "") -> Iterator[Any]:
    """Give every array and single value with its place, keys under their new names."""
    if isinstance(value, str) and value[:1] == "{" and kind in ("tensors", "correction", "map"):
        value = json.loads(value)
    if isinstance(value, dict):
        kept = [key for key in value if key != "version" or kind == "zarr"]  # there OME-Zarr's
        pairs = [(new.get(key, key), value[key]) for key in kept]
    elif isinstance(value, list):
        pairs = list(enumerate(value, start=1))
    else:
        yield place, value
        return
    yield f"{place}/", f"{type(value).__name__} of {len(pairs)}"
    for key, item in pairs:
        yield from flatten(item, kind, new, f"{place}/{key}")


class Comparison:
    """What has been compared of two sides, and all that differs."""

    def __init__(self) -> None:
        self.new_of: dict[str, str] = {}
        self.old_of: dict[str, str] = {}
        """Identities that stand for each other."""
        self.files, self.values, self.unlike = Counter[str](), Counter[str](), Counter[str]()
        self.differences: list[str] = []

    def compare(self, name: str, old: Path | None, new: Path | None) -> None:
        """Compare one file of both sides."""
        base = name.rpartition("/")[2]
        what, kind, read = next(it for key, it in READERS.items() if re.fullmatch(key, base))
        self.files[what] += 1
        if old is None or new is None:
            difference = f"is on the {'new' if old is None else 'old'} side alone"
        else:
            one, other = read(old), read(new)
            kind = kind or one["kind"]
            leaves = dict(flatten(one, kind, RENAMED.get("all", {}) | RENAMED.get(kind, {})))
            sizes = [it.size if isinstance(it, np.ndarray) else 1 for it in leaves.values()]
            self.values[what] += sum(sizes)
            difference = self.find_difference(leaves, dict(flatten(other, kind, {})))
        if difference is not None:
            self.unlike[what] += 1
            self.differences.append(f"{name}: {difference}")

    def find_difference(self, old: dict[str, Any], new: dict[str, Any]) -> str | None:
        """Return the first difference between two files in words, None where there is none."""
        for place in [*old, *new]:
            if place not in new or place not in old:
                return f"{place} is in the {'old' if place in old else 'new'} one alone"
            one, other = old[place], new[place]
            if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
                if (difference := find_in_arrays(one, other)) is not None:
                    return f"{place}{difference}"
            elif all(re.fullmatch("[0-9a-f]{32}", str(it)) for it in (one, other)):
                met = self.new_of.setdefault(one, other), self.old_of.setdefault(other, one)
                if met != (other, one):
                    return f"{place} is {one}, now {other}, but elsewhere {met[1]} is now {met[0]}"
            elif repr(one) != repr(other):
                return f"{place} is {one!r:.200}, now {other!r:.200}"
        return None

    def print(self) -> None:
        """Print one table, and below it what differs."""
        print(f"\n{'compared':30}{'files':>8}{'bytes or values':>18}  verdict")
        for what in (it for it, _, _ in READERS.values() if self.files[it]):
            verdict = f"{self.unlike[what]} DIFFER" if self.unlike[what] else "same"
            print(f"{what:30}{self.files[what]:8,}{self.values[what]:18,}  {verdict}")
        changed = sum(old != new for old, new in self.new_of.items())
        print(f"{changed} of {len(self.new_of)} identities are new, each the same throughout")
        print("not compared: " + ", ".join(f"{it} ({why})" for it, why in LEFT_OUT.items()))
        print("\n".join([f"{len(self.differences)} files differ", *self.differences[:100]]))


def find_in_arrays(old: np.ndarray, new: np.ndarray) -> str | None:
    """Return the first difference of type, shape or bits in words, None where there is none."""
    if (old.dtype, old.shape) != (new.dtype, new.shape):
        return f" is {old.dtype} {old.shape}, now {new.dtype} {new.shape}"
    bits = [np.frombuffer(it.tobytes(), f"V{it.itemsize}") for it in (old, new)]
    unlike = np.flatnonzero(bits[0] != bits[1])  # unlike numbers, NaN is itself, and -0 is not 0
    if not len(unlike):
        return None
    one, other = (it.flat[unlike[0]] for it in (old, new))
    return f"[{unlike[0]}] is {one!r}, now {other!r} ({len(unlike)} differ)"


def list_files(side: Path, folders: list[str], renamed: dict[str, str]) -> dict[str, Path]:
    """Return the files in some folders of a side, by their paths as the new side has them."""
    paths = [path for name in folders for path in (side / name).rglob("*") if path.is_file()]
    names = ["/".join(renamed.get(it, it) for it in path.relative_to(side).parts) for path in paths]
    return {name: it for name, it in zip(names, paths, strict=True) if it.name not in LEFT_OUT}


def main() -> int:
    """Run what is not done yet and compare; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("old", type=Path, help="checkout before the restructuring")
    parser.add_argument("new", type=Path, help="checkout after it")
    parser.add_argument("folder", type=Path, help="where both sides are written")
    parser.add_argument("--only", choices=("old", "new"), help="run this side, compare nothing")
    parser.add_argument("--small", action="store_true", help="leave out the demo")
    given = parser.parse_args()
    parts = ["small"] if given.small else list(PARTS)
    old, new = given.folder / "old", given.folder / "new"
    for checkout, side, spell in ((given.old, old, str), (given.new, new, spell_anew)):
        for part in parts if given.only in (None, side.name) else ():
            run_side(checkout, side, part, spell)
    if given.only:
        return 0
    olds = list_files(old, ["inputs", *parts], RENAMED_FILES)
    news = list_files(new, ["inputs", *parts], {})
    comparison = Comparison()
    for name in sorted({*olds, *news}):
        comparison.compare(name, olds.get(name), news.get(name))
    comparison.print()
    return 1 if comparison.differences else 0


if __name__ == "__main__":
    sys.exit(main())
