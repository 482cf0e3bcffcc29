"""Random crops per second: our stream, whole LZW TIFFs and zarr-python, measured in one run.

    python benchmarks/crops.py                          draws 16 fields (2 GB of disk) and measures
    python benchmarks/crops.py --folder /data/screen    draws there once, and measures again later
    python benchmarks/crops.py --memory-steps 0         skips the 10,000 steps that measure memory

The pixels are a simulated screen's: 6 channels of 2048 x 2048 uint16 with shot and read noise, as
LZW TIFFs (one file per channel) and as the store that `phenomae ingest` makes of these files. Two
processes work on each side, and the sides take turns, so that other work on the machine slows all
of them. Everything has been read once before, so that the page cache is warm.

- ours: `CropStream.steps`, as in a training, of a store that does not fit into the cache.
- TIFF: decodes a whole field with tifffile and imagecodecs, and cuts one crop out.
- zarr: zarr-python reads `array[:, y : y + size, x : x + size]` of the same store.
- zarr kept: the same, but freed memory stays with the process, as in ours (`pretrain` and `embed`).
  Without it the system clears memory again for every chunk.

Bytes read are those that system calls returned to the process (`rchar` of /proc/self/io): the
compressed chunks that a crop touches, whole, and the shards' indices. They are given per byte of
the crop's own pixels.
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import astuple, dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import tifffile
import torch
import zarr

from phenomae.crops.reader import CropReader
from phenomae.crops.stream import CropStream
from phenomae.memory import kept_memory
from phenomae.progress import set_quiet
from phenomae.simulation.simulate import SimulateSettings, simulate
from phenomae.store.ingest import ingest
from phenomae.store.read import open_store
from phenomae.store.write import TILE

SIDES = ("ours", "TIFF", "zarr", "zarr kept")
TARGETS = {"TIFF": 100, "zarr": 6}
MAX_BYTES = 2.5
# So few that two crops of a step are seldom of the same field, where they would share reads.
CROPS_PER_STEP = 16
WORK = {"ours": 1024, "TIFF": 4, "zarr": 192, "zarr kept": 192}
"""Crops that each process makes in its turn, about a second's work."""


@dataclass(frozen=True)
class Turn:
    """What a process, or all of them together, did in a turn."""

    rate: float
    """Crops a second."""
    cpu_rate: float
    """Crops a second of processor time, of however many threads."""
    bytes_read: float
    """Per byte of the crops' own pixels."""


class Reader:
    """Makes random crops in each of the three ways."""

    def __init__(self, folder: Path, size: int, seed: int) -> None:
        self.size, self.rng = size, np.random.default_rng(seed)
        store = open_store(folder / "store")
        reader = CropReader([store], "crops")
        self.stream = CropStream(reader, [np.arange(len(store.fields))], size, CROPS_PER_STEP, seed)
        self.bytes_a_pixel = len(store.channels) * np.dtype(store.dtype).itemsize
        self.done = 0
        paths = [folder / "store" / path / "0" for path in store.fields["path"]]
        self.arrays = [zarr.open_array(path, mode="r") for path in paths]
        self.fields = list_fields(folder / "raw")
        self.work: dict[str, Callable[[int], None]] = {
            "ours": self.read_ours,
            "TIFF": self.read_tiff,
            "zarr": self.read_zarr,
            "zarr kept": self.read_zarr,
        }

    def read_ours(self, count: int) -> None:
        """Take steps of the stream."""
        end = self.done + count // CROPS_PER_STEP
        for _ in self.stream.steps(self.done, end):
            pass
        self.done = end

    def read_tiff(self, count: int) -> None:
        """Decode whole fields and cut one crop out of each."""
        for files in self.rng.choice(np.array(self.fields), count):
            field = np.stack([tifffile.imread(file) for file in files])
            top, left = self._draw_place(*field.shape[1:])
            field[:, top : top + self.size, left : left + self.size].copy()

    def read_zarr(self, count: int) -> None:
        """Read crops with zarr-python."""
        for at in self.rng.integers(0, len(self.arrays), count).tolist():
            array = self.arrays[at]
            top, left = self._draw_place(*array.shape[1:])
            array[:, top : top + self.size, left : left + self.size]

    def measure(self, side: str) -> Turn:
        """Take one turn."""
        before, begun, cpu = count_bytes(), time.perf_counter(), time.process_time()
        with kept_memory() if side in ("ours", "zarr kept") else nullcontext():
            self.work[side](WORK[side])
        seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - cpu
        own = WORK[side] * self.size**2 * self.bytes_a_pixel
        read = (count_bytes() - before) / own
        return Turn(WORK[side] / seconds, WORK[side] / cpu_seconds, read)

    def _draw_place(self, height: int, width: int) -> tuple[int, int]:
        top, left = self.rng.integers(0, (height - self.size + 1, width - self.size + 1)).tolist()
        return top, left


def list_fields(raw: Path) -> list[list[Path]]:
    """Return the files of every field, channel by channel."""
    found: dict[str, list[Path]] = {}
    for path in sorted(raw.rglob("*.tiff")):
        found.setdefault(str(path).rpartition("_")[0], []).append(path)
    return list(found.values())


def count_bytes() -> int:
    """Return how many bytes system calls have read for this process."""
    return int(Path("/proc/self/io").read_text().split()[1])


def serve(pipe: Connection, folder: Path, size: int, seed: int) -> None:
    """Measure one side after the other in this process, until the pipe sends an empty name."""
    torch.set_num_threads(1)
    reader = Reader(folder, size, seed)
    while side := pipe.recv():
        pipe.send(reader.measure(side))


def run_rounds(folder: Path, size: int, rounds: int, processes: int) -> dict[str, list[Turn]]:
    """Measure the sides in turn; return the results of all processes together."""
    context = get_context("spawn")
    pairs = [context.Pipe() for _ in range(processes)]
    workers = [
        context.Process(target=serve, args=(theirs, folder, size, seed), daemon=True)
        for seed, (_, theirs) in enumerate(pairs)
    ]
    for worker in workers:
        worker.start()
    pipes = [ours for ours, _ in pairs]
    turns: dict[str, list[Turn]] = {side: [] for side in SIDES}
    for number in range(rounds + 1):
        for side in SIDES:
            for pipe in pipes:
                pipe.send(side)
            done = [pipe.recv() for pipe in pipes]
            if number:  # the first opens files
                mean = (statistics.mean(values) for values in zip(*map(astuple, done), strict=True))
                rate, cpu_rate, read = mean
                turns[side].append(Turn(processes * rate, cpu_rate, read))
    for pipe, worker in zip(pipes, workers, strict=True):
        pipe.send("")
        worker.join()
    return turns


def watch_memory(folder: Path, size: int, steps: int) -> None:
    """Print the process's memory after a tenth of the steps, and after all."""
    pipe, theirs = get_context("spawn").Pipe()
    worker = get_context("spawn").Process(target=walk, args=(theirs, folder, size, steps))
    worker.start()
    for _ in range(2):
        print("memory after {:,} steps: {:.0f} MB".format(*pipe.recv()), flush=True)
    worker.join()


def walk(pipe: Connection, folder: Path, size: int, steps: int) -> None:
    """Take steps of our stream in this process, and send its memory twice."""
    torch.set_num_threads(1)
    with kept_memory():
        for step, _ in Reader(folder, size, 0).stream.steps(0, steps):
            if step + 1 in (steps // 10, steps):
                pages = int(Path("/proc/self/statm").read_text().split()[1])
                pipe.send((step + 1, pages * resource.getpagesize() / 1e6))


def count_chunks(folder: Path, size: int, crops: int = 10_000) -> float:
    """Return how many pixels of chunks are decoded per pixel of a crop."""
    fields = open_store(folder / "store").fields.select("height", "width").to_numpy()
    sides = np.random.default_rng(0).choice(fields, crops)
    firsts = (np.random.default_rng(1).random(sides.shape) * (sides - size + 1)).astype(int)
    touched = (firsts + size - 1) // TILE - firsts // TILE + 1
    return float((touched.prod(axis=1) * TILE**2).mean() / size**2)


def draw_screen(folder: Path, fields: int, side: int) -> None:
    """Draw a screen, keep it as LZW TIFFs, and ingest these; what is there already is kept."""
    sites = -(-fields // 8)
    settings = SimulateSettings(
        genes=4, complexes=2, guides=1, batches=1, controls=4, sites=sites, field_size=side
    )
    if not (folder / "raw").exists():
        simulate(folder / "drawn", settings=settings)
        for path in (folder / "drawn").rglob("*.tiff"):
            tifffile.imwrite(path, tifffile.imread(path), compression="lzw")
        (folder / "drawn").rename(folder / "raw")
    ingest(folder / "raw", folder / "store")
    for path in folder.rglob("*"):  # into the page cache
        if path.is_file():
            path.read_bytes()


def read_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where the screen is, or is to be, kept")
    parser.add_argument("--fields", type=int, default=16, help="at least; eight wells' at a time")
    parser.add_argument("--field-size", type=int, default=2048)
    parser.add_argument("--crop-size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--processes", type=int, default=2, help="on each side")
    parser.add_argument("--memory-steps", type=int, default=10_000, help="0 leaves memory out")
    return parser.parse_args()


def main() -> None:
    """Print the table."""
    arguments = read_arguments()
    set_quiet(True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        draw_screen(folder, arguments.fields, arguments.field_size)
        size, processes = arguments.crop_size, arguments.processes
        turns = run_rounds(folder, size, arguments.rounds, processes)
        print(f"crops of {size}, {processes} processes a side, median of {arguments.rounds} rounds")
        print(
            f"{'side':9} {'crops/s':>9} {'/s a core':>9} {'bytes':>6} {'ratio':>13} {'target':>7}"
        )
        for side in SIDES:
            print(describe(side, turns))
        print(f"chunk pixels a crop pixel: {count_chunks(folder, size):.2f}")
        print(f"bytes read a crop byte of ours may be at most {MAX_BYTES}", flush=True)
        if arguments.memory_steps:
            watch_memory(folder, size, arguments.memory_steps)


def describe(side: str, turns: dict[str, list[Turn]]) -> str:
    """Return a line of the table; the ratio is that of rounds, and that of processor time."""
    rate, cpu_rate, read = (
        statistics.median(values) for values in zip(*map(astuple, turns[side]), strict=True)
    )
    line = f"{side:9} {rate:9.1f} {cpu_rate:9.1f} {read:6.2f}"
    if side not in TARGETS:
        return line
    pairs = list(zip(turns["ours"], turns[side], strict=True))
    ratio = statistics.median(ours.rate / theirs.rate for ours, theirs in pairs)
    cpu_ratio = statistics.median(ours.cpu_rate / theirs.cpu_rate for ours, theirs in pairs)
    return f"{line} {ratio:6.1f}/{cpu_ratio:6.1f} {TARGETS[side]:7}"


if __name__ == "__main__":
    main()
