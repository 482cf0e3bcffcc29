"""How long an ingest of JUMP-Lite takes: its stores with Zstd and with JPEG XL, and decoding alone.

    python benchmarks/jump_lite.py               96 sites of 5 x 1080 x 1280, 2 processes

Sites are written as the authors' program writes them, by zarr-python and imagecodecs. Decoding a
site of JPEG XL, all five channels as `ingest` does it, is timed alone as well. All files are on
this machine, so what a download takes is not in the numbers; the page cache is warm.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import imagecodecs
import numcodecs
import numpy as np
import polars as pl
import zarr
from fields import draw_field
from imagecodecs.numcodecs import Jpegxl
from jaxtyping import UInt16
from zarr.codecs import BloscCodec

from phenomae.progress import set_quiet
from phenomae.store.ingest import ingest
from phenomae.store.inventory import IngestSettings

SHAPE = (5, 1080, 1280)
STORES = {
    "zstd.zarr": (3, BloscCodec(cname="zstd", clevel=9, shuffle="bitshuffle")),
    "jpegxl_lossy_hq.zarr": (2, Jpegxl(lossless=False, distance=1.0)),
    "jpegxl_lossy_mq.zarr": (2, Jpegxl(lossless=False, distance=3.0)),
}


def draw_site(seed: int) -> UInt16[np.ndarray, "c h w"]:
    """Return a site of five channels."""
    channels, height, width = SHAPE
    return np.ascontiguousarray(draw_field(seed, max(SHAPE))[:channels, :height, :width])


def write_stores(folder: Path, sites: int, different: int) -> list[str]:
    """Write all stores and the index, and return the keys.

    Only `different` sites are encoded and the others are copies, because encoding takes longer than
    what is measured.
    """
    numcodecs.register_codec(Jpegxl)
    pixels = [draw_site(seed) for seed in range(different)]
    wells = [f"{row}{column:02d}" for row in "ABCDEFGHIJKLMNOP" for column in range(1, 25)]
    keys = [f"source_13__Run1__P1__{wells[n // 4]}__{n % 4}" for n in range(sites)]
    for name, (version, codec) in STORES.items():
        group = zarr.open_group(folder / name, mode="w", zarr_format=version)
        for key, site in zip(keys, pixels, strict=False):
            group.create_array(key, data=site, chunks=SHAPE, compressors=codec)
        for number, key in enumerate(keys[different:]):
            shutil.copytree(folder / name / keys[number % different], folder / name / key)
    pl.DataFrame({"Metadata_Site_Key": keys}).write_parquet(folder / "jump_lite_site_index.parquet")
    return keys


def seconds(work: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def time_decoding(chunk: bytes, rounds: int) -> float:
    """Return the median seconds to decode a site of JPEG XL."""
    decode = partial(imagecodecs.jpegxl_decode, chunk)
    return statistics.median(seconds(decode) for _ in range(rounds))


def main() -> None:
    """Write the stores, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=96)
    parser.add_argument("--different", type=int, default=6)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    set_quiet(True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keys = write_stores(folder, chosen.sites, chosen.different)
        for store, (version, _) in STORES.items():
            settings = IngestSettings(images=folder / store, workers=chosen.processes)
            took = []
            for number in range(chosen.rounds):
                out = folder / f"{store}-{number}"
                took.append(
                    seconds(lambda out=out, its=settings: ingest(folder, out, settings=its))
                )
            line = f"{store}: {chosen.sites / statistics.median(took):.1f} sites/s"
            if version == 2:
                chunk = (folder / store / keys[0] / "0.0.0").read_bytes()
                line += (
                    f", decoding alone {time_decoding(chunk, chosen.rounds):.3f} s a site and core"
                )
            print(line, flush=True)


if __name__ == "__main__":
    main()
