"""How close an ingest comes to what its two unavoidable parts take: decoding and compressing.

    python benchmarks/ingest.py               48 fields of 6 x 2048 x 2048, LZW TIFFs, 2 processes

The bound is 1 / (1 / decode + 1 / compress), both rates measured in as many processes on the same
pixels, the page cache warm: decoding as tifffile does it, compressing as Blosc does it with the
store's own settings, chunk by chunk, in memory. Rates are those of the uncompressed pixels. The
three are measured in turn; a number is the median of the rounds.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from fields import CHANNELS, write_screen

from phenomae.progress import set_quiet
from phenomae.store.ingest import ingest
from phenomae.store.inventory import IngestSettings
from phenomae.store.write import TILE

TARGET = 0.6


def decode(path: Path) -> int:
    """Decode one file; returns its bytes in memory."""
    return tifffile.imread(path).nbytes


def compress(paths: Sequence[Path], repeats: int = 3) -> tuple[int, float]:
    """Compress a field as the store does; returns its bytes and the seconds, without decoding."""
    pixels = np.stack([tifffile.imread(path) for path in paths])
    _, height, width = pixels.shape
    start = time.perf_counter()
    for _ in range(repeats):
        for top in range(0, height, TILE):
            for left in range(0, width, TILE):
                chunk = np.ascontiguousarray(pixels[:, top : top + TILE, left : left + TILE])
                imagecodecs.blosc_encode(
                    chunk, level=5, compressor="lz4", shuffle="bitshuffle", typesize=2, numthreads=1
                )
    return pixels.nbytes, (time.perf_counter() - start) / repeats


def time_decoding(pool: ProcessPoolExecutor, files: Sequence[Path]) -> float:
    """Return the bytes per second of all processes together."""
    start = time.perf_counter()
    size = sum(pool.map(decode, files))
    return size / (time.perf_counter() - start)


def time_compressing(
    pool: ProcessPoolExecutor, fields: Sequence[Sequence[Path]], processes: int
) -> float:
    """Return the bytes per second of all processes together; decoding is not timed."""
    found = list(pool.map(compress, fields))
    return processes * sum(size for size, _ in found) / sum(seconds for _, seconds in found)


def time_ingest(raw: Path, store: Path, size: int, processes: int, bits: int) -> float:
    """Return the bytes per second of the whole command, listing and checking included."""
    shutil.rmtree(store, ignore_errors=True)
    settings = IngestSettings(workers=processes, bits=bits)  # pyright: ignore
    start = time.perf_counter()
    ingest(raw, store, settings=settings)
    return size / (time.perf_counter() - start)


def read_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", type=int, default=48)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bits", type=int, default=16, choices=(8, 16))
    parser.add_argument(
        "--folder", type=Path, help="where to put raw files and store, and keep them"
    )
    return parser.parse_args()


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    """Print the table."""
    raw, processes = folder / "raw", arguments.processes
    if not (raw / "load_data.csv").exists():
        write_screen(raw, arguments.fields, arguments.side)
    files = sorted(raw.glob("*.tiff"))
    fields = [files[start : start + len(CHANNELS)] for start in range(0, len(files), len(CHANNELS))]
    size = len(files) * arguments.side**2 * 2
    packed = sum(path.stat().st_size for path in files) / size
    rates: dict[str, list[float]] = {"decode": [], "compress": [], "ingest": []}
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        time_decoding(pool, files)  # warms the page cache
        jobs: dict[str, Callable[[], float]] = {
            "decode": lambda: time_decoding(pool, files),
            "compress": lambda: time_compressing(pool, fields[: 4 * processes], processes),
            "ingest": lambda: time_ingest(raw, folder / "store", size, processes, arguments.bits),
        }
        for _ in range(arguments.rounds):
            for name, job in jobs.items():
                rates[name].append(job())
    print(
        f"{len(fields)} fields of {len(CHANNELS)} x {arguments.side} x {arguments.side} uint16, "
        f"LZW to {packed:.0%}, {processes} processes, {arguments.bits} bits"
    )
    median = {name: statistics.median(found) for name, found in rates.items()}
    bound = 1 / (1 / median["decode"] + 1 / median["compress"])
    for name, rate in median.items():
        print(f"{name:10} {rate / 1e6:8.0f} MB/s")
    print(f"{'bound':10} {bound / 1e6:8.0f} MB/s")
    print(f"{'share':10} {median['ingest'] / bound:8.2f}       target: at least {TARGET}")


def main() -> None:
    """Measure in the folder given, or in a temporary one."""
    arguments = read_arguments()
    set_quiet(True)
    if arguments.folder:
        measure(arguments.folder, arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), arguments)


if __name__ == "__main__":
    main()
