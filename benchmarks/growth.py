"""Time and memory of commands over five sizes, each twice the last, with the fitted exponents.

    python benchmarks/growth.py FOLDER                              22 minutes beside other work
    python benchmarks/growth.py FOLDER --only correct map           some commands
    python benchmarks/growth.py FOLDER --only replicates            not among the others by default
    python benchmarks/growth.py FOLDER --figure growth.svg          also draws what was measured

Each command runs in a process of its own, as from a shell; start and imports count. CPU seconds
are those of the process and of its workers. Peak memory is that of the largest process, and the
sum over all processes at one time, sampled ten times a second, in which shared pages count once.
What was measured is kept in FOLDER/growth.jsonl: the same command goes on where it was stopped.

- ingest, embed: plates of 64 simulated wells, one field of 6 x 256 x 256 each. The network is that
  of the recipe demo-energy-mae after four steps.
- correct (TVN by plate with its diagnosis), map, replicates: the profiles of
  `benchmarks/questions.py`, 384 features; genes have 32 wells each.
- benchmark: a drawn map of 384 features with a gene for each six wells, 1,000 bootstrap resamples.
  Genes are in sets of 20, so that a gene has 19 known partners.

An exponent is the slope of a line through the five sizes on logarithmic axes: 1 is growth in
proportion to the wells. The start of a process takes about two seconds and 200 MB at any size, so
small sizes pull it down; that of the last doubling is less affected.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl
from questions import WIDTH, make_wells

Words = list[str]
SCREEN = "--genes 12 --complexes 3 --guides 4 --controls 16 --sites 1 --batches"
PLATE_WELLS = 64  # of SCREEN: one plate a batch
GENE_WELLS, SET_GENES = 6, 20
KIB = 1024 / 1e6  # in MB


@dataclass(frozen=True)
class Usage:
    """What a command took."""

    command: str
    wells: int
    seconds: float
    cpu_s: float
    peak_mb: float
    """Peak resident memory of the largest process."""
    sum_mb: float
    """Peak of the sum over processes, at the samples."""


@dataclass(frozen=True)
class Command:
    """A command that is measured at every size."""

    words: str
    make: Callable[[Path, int, Path], None]
    """Makes the inputs in a folder for a number of wells; the last argument is FOLDER."""
    sizes: tuple[int, ...]


def main() -> None:
    """Measure what is not measured yet, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="inputs, and what was measured")
    parser.add_argument("--only", choices=COMMANDS, nargs="+", default=DEFAULT)
    parser.add_argument("--sizes", type=int, nargs="+", help="numbers of wells")
    parser.add_argument("--figure", type=Path, help="SVG file to write")
    given = parser.parse_args()
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {name: tuple(given.sizes or COMMANDS[name].sizes) for name in given.only}
    measure_missing(folder, sizes)
    found = [use for use in read_usages(folder) if use.wells in sizes.get(use.command, ())]
    print(format_table(found))
    if given.figure:
        draw_growth(found, given.figure)


def measure_missing(folder: Path, sizes: dict[str, tuple[int, ...]]) -> None:
    """Run each command at each size that growth.jsonl does not have."""
    done = {(use.command, use.wells) for use in read_usages(folder)}
    left = [(wells, name) for name in sizes for wells in sizes[name] if (name, wells) not in done]
    for wells, name in sorted(left, key=lambda one: one[0]):
        command, at = COMMANDS[name], folder / str(wells)
        at.mkdir(exist_ok=True)
        command.make(at, wells, folder)
        words = [word.format(at=at, folder=folder) for word in command.words.split()]
        # A call that was stopped may have left what the command would go on with.
        remove_outputs(at)
        use = measure(name, wells, [sys.executable, "-m", "phenomae", *words])
        with (folder / "growth.jsonl").open("a") as lines:
            lines.write(json.dumps(asdict(use)) + "\n")
        line = f"{name} {wells:,}: {use.seconds:.1f} s, {use.cpu_s:.1f} CPU s, {use.peak_mb:.0f} MB"
        print(line, file=sys.stderr, flush=True)
        left.remove((wells, name))
        if all(wells != other for other, _ in left):
            shutil.rmtree(at)


def remove_outputs(at: Path) -> None:
    """Remove what the commands have written or begun to write."""
    for path in at.glob("out*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def measure(name: str, wells: int, words: Words) -> Usage:
    """Run a command to its end; SystemExit with its last lines if it fails."""
    os.sync()  # what made the inputs may still be writing
    begun, together = time.perf_counter(), 0.0
    with tempfile.TemporaryFile("w+") as said:
        # A session of its own tells its processes from all others.
        process = subprocess.Popen(words, stdout=said, stderr=said, start_new_session=True)
        while True:
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            together = max(together, sum(memory_of_session(process.pid)))
            time.sleep(0.1)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - begun
        said.seek(0)
        if status != 0:
            raise SystemExit(f"{' '.join(words)} failed: {said.read()[-2000:]}")
    # wait4 adds the workers that the command has waited for.
    cpu_s, peak_mb = used.ru_utime + used.ru_stime, used.ru_maxrss * KIB
    return Usage(name, wells, seconds, cpu_s, peak_mb, max(together, peak_mb))


def memory_of_session(session: int) -> Iterator[float]:
    """Yield the MB of each process of a session; a page that n share counts 1/n for each."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The name, in parentheses, may have spaces; the session is the fourth field after it.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                rollup = (folder / "smaps_rollup").read_text()
                yield int(rollup.partition("\nPss:")[2].split()[0]) * KIB
        except (OSError, ValueError, IndexError):
            continue  # it has ended meanwhile


def make_raw(at: Path, wells: int, folder: Path) -> None:
    """Simulate raw plates of 64 wells."""
    del folder
    if wells % PLATE_WELLS:
        raise SystemExit(f"sizes of ingest and embed must be multiples of {PLATE_WELLS}: {wells}")
    words = f"simulate {at}/raw {SCREEN} {wells // PLATE_WELLS}"
    run_once(at / "raw", words)


def make_store(at: Path, wells: int, folder: Path) -> None:
    """Make a store, and the network that embeds the stores of all sizes."""
    make_raw(at, wells, folder)
    run_once(at / "images", f"ingest {at}/raw {at}/images")
    words = f"pretrain energy-mae {at}/images {folder}/run --config demo-energy-mae --steps 4"
    run_once(folder / "run", words)


def run_once(made: Path, words: str) -> None:
    """Run a command unless what it makes is there."""
    if not made.exists():
        subprocess.run([sys.executable, "-m", "phenomae", *words.split(), "--quiet"], check=True)


def make_profiles(at: Path, wells: int, folder: Path) -> None:
    """Draw the profiles of `benchmarks/questions.py`."""
    del folder
    if not (at / "wells").exists():
        run_alone(make_wells, at / "wells", wells)


def make_map(at: Path, wells: int, folder: Path) -> None:
    """Draw a map, and sets of its genes."""
    del folder
    run_alone(write_map, at, wells // GENE_WELLS)


def run_alone(work: Callable[[Path, int], None], at: Path, count: int) -> None:
    """Call a function in a process of its own, because commands start with our memory."""
    maker = get_context("spawn").Process(target=work, args=(at, count))
    maker.start()
    maker.join()
    if maker.exitcode:
        raise SystemExit(f"{at}: the inputs could not be made")


def write_map(at: Path, genes: int) -> None:
    """Write a map in which genes of a set are alike, and the sets as annotations."""
    from anndata import AnnData
    from pandas import DataFrame

    rng = np.random.default_rng(0)
    sets = np.arange(genes) // SET_GENES
    names = np.char.add("gene-", np.arange(genes).astype(str))
    features = rng.standard_normal((genes, WIDTH), dtype=np.float32)
    features += 0.3 * rng.standard_normal((sets.max() + 1, WIDTH), dtype=np.float32)[sets]
    AnnData(features, obs=DataFrame(index=names)).write_h5ad(at / "drawn.h5ad")
    pl.DataFrame({"gene": names, "set": sets}).write_csv(at / "sets.csv")


def read_usages(folder: Path) -> list[Usage]:
    """Return what was measured in earlier calls and in this one."""
    path = folder / "growth.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [Usage(**json.loads(line)) for line in lines]


def fit_exponent(wells: list[int], amounts: list[float]) -> float:
    """Return the slope of log(amount) over log(wells), by least squares."""
    return float(np.polyfit(np.log(wells), np.log(amounts), 1)[0])


def format_table(found: list[Usage]) -> str:
    """Return all sizes of all commands as Markdown, then the exponents."""
    head = ("command", "wells", "seconds", "CPU seconds", "largest process, MB", "all, MB")
    rows = [
        (
            use.command,
            f"{use.wells:,}",
            f"{use.seconds:.1f}",
            f"{use.cpu_s:.1f}",
            f"{use.peak_mb:,.0f}",
            f"{use.sum_mb:,.0f}",
        )
        for use in found
    ]
    rows.sort(key=lambda row: (list(COMMANDS).index(row[0]), int(row[1].replace(",", ""))))
    fits = [fit_command(name, [use for use in found if use.command == name]) for name in COMMANDS]
    ends = ("command", "seconds", "CPU seconds", "memory", "CPU, last doubling", "memory, last")
    lines = ["exponents:", "", *markdown([ends, *(fit for fit in fits if fit)])]
    return "\n".join([*markdown([head, *rows]), "", *lines])


def markdown(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the lines of a table whose first row is the head."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]


def fit_command(name: str, uses: list[Usage]) -> tuple[str, ...]:
    """Return a command's name and exponents; nothing if there are not two sizes."""
    uses = sorted(uses, key=lambda use: use.wells)
    if len(uses) < 2:
        return ()
    fields = ("seconds", "cpu_s", "sum_mb")
    spans = [(field, uses) for field in fields] + [(field, uses[-2:]) for field in fields[1:]]
    values = [
        fit_exponent([use.wells for use in some], [getattr(use, field) for use in some])
        for field, some in spans
    ]
    return name, *(f"{value:.2f}" for value in values)


def draw_growth(found: list[Usage], path: Path) -> None:
    """Draw CPU seconds and memory over wells, a line per command."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    from phenomae.reporting.figures.style import (
        COLOURS,
        PAGE_INCHES,
        Drawing,
        house_style,
        legend_above,
        save,
    )

    with house_style():
        figure = Figure((PAGE_INCHES, 3.2), layout="constrained")
        panels = figure.subplots(1, 2)
        shown = [name for name in COMMANDS if any(use.command == name for use in found)]
        for name, colour in zip(shown, COLOURS, strict=False):
            uses = sorted(
                (use.wells, use.cpu_s, use.sum_mb) for use in found if use.command == name
            )
            wells, seconds, memory = zip(*uses, strict=True)
            for panel, amounts in zip(panels, (seconds, memory), strict=True):
                panel.loglog(wells, amounts, "o-", color=colour, label=name, markersize=3)
        for panel, title in zip(
            panels, ("CPU seconds", "memory of all processes, MB"), strict=True
        ):
            panel.set(title=title, xlabel="wells")
            for axis in (panel.xaxis, panel.yaxis):
                # matplotlib's own labels are formulas, which the style does not draw.
                axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
                axis.set_minor_formatter(NullFormatter())
            panel.grid(visible=True)
        panels[0].set(ylim=(0.5, None))
        panels[1].set(ylim=(90, None))
        legend_above(figure, panels[0], columns=6)
        save(Drawing(figure, "CPU seconds and memory over wells"), path.parent, path.stem)
    path.with_suffix(".png").unlink()


_IMAGES = tuple(PLATE_WELLS * 2**step for step in range(5))
_PROFILES = (6_250, 12_500, 25_000, 50_000, 100_000)
COMMANDS = {
    "ingest": Command("ingest {at}/raw {at}/out", make_raw, _IMAGES),
    "embed": Command("embed {at}/images {folder}/run {at}/out --device cpu", make_store, _IMAGES),
    "correct": Command(
        "correct {at}/wells {at}/out --batch plate --method tvn", make_profiles, _PROFILES
    ),
    "map": Command(
        "map {at}/wells {at}/out.h5ad --by gene --through wells", make_profiles, _PROFILES
    ),
    "benchmark": Command(
        "benchmark {at}/drawn.h5ad {at}/out --annotations {at}/sets.csv", make_map, _PROFILES
    ),
    "replicates": Command("ask replicates {at}/wells {at}/out", make_profiles, _PROFILES),
}
DEFAULT = [name for name in COMMANDS if name != "replicates"]

if __name__ == "__main__":
    main()
