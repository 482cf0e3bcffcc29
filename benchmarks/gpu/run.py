"""Everything that needs a graphics card, in one table: see gpu.sh."""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import commands
import networks
import parity
import torch
from models import matmul_rate
from rows import Row, Site, print_table

MINUTES = 8.0


def describe(site: Site) -> Iterator[str]:
    """Yield what the card is, and the FLOP/s of its matrix products."""
    yield f"Python {sys.version.split()[0]}, torch {torch.__version__}, CUDA {torch.version.cuda}"
    if site.device == "cpu":
        yield f"CPU, {len(os.sched_getaffinity(0))} cores: a rehearsal, not a measurement"
        return
    card = torch.cuda.get_device_properties(0)
    yield f"{card.name}, {card.total_memory / 1e9:.0f} GB, capability {card.major}.{card.minor}"
    for name, fill in (("ones", torch.ones), ("random numbers", torch.randn)):
        rate = matmul_rate(torch.device("cuda"), fill=fill)
        yield f"bf16 products of {name}: {rate / 1e12:.0f} TFLOP/s"
    site.note("peak", rate)


def list_rows() -> list[Row]:
    """Return all rows, in the order of their worth."""
    speed = list(networks.speed_rows())
    return [
        Row("card", describe),
        Row("networks", parity.compare_networks),
        Row("attention", parity.compare_attention),
        Row("crops", parity.compare_crops),
        Row("waits", parity.find_waits),
        *speed[:9],
        Row("screen", commands.make_screen, 90),
        Row("train", commands.train_by_command, 75, "screen"),
        Row("embed", commands.embed_from_store, 60, "screen"),
        Row("shards", commands.embed_by_shards, 60, "embed"),
        *speed[9:],
        Row("kill", commands.kill_and_go_on, 60, "screen"),
        Row("ways", commands.train_in_other_ways, 90, "screen"),
        Row("memory", commands.run_out_of_memory, 120, "screen"),
        Row("demo", commands.run_the_demo, 180, "screen"),
        Row("long", commands.train_for_the_rest, 600, "screen"),
    ]


def read_arguments() -> argparse.Namespace:
    """Return the command line arguments."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--from", dest="first", metavar="ROW", help="the row to begin with")
    parser.add_argument("--to", dest="last", metavar="ROW", help="the row to end with")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="time for all rows")
    parser.add_argument("--folder", type=Path, default=Path("gpu-table"), help="what rows write")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small sizes, to rehearse on a CPU")
    parser.add_argument("--list", action="store_true", help="print the names of the rows")
    return parser.parse_args()


def main() -> int:
    """Print the table and return the exit code."""
    arguments = read_arguments()
    rows = list_rows()
    if arguments.list:
        print("\n".join(f"{row.name:32} at most {row.cap_s:.0f} s" for row in rows))
        return 0
    arguments.folder.mkdir(parents=True, exist_ok=True)
    site = Site(
        arguments.folder.resolve(),
        arguments.device,
        arguments.tiny,
        time.monotonic() + 60 * arguments.minutes,
    )
    return 0 if print_table(rows, site, arguments.first, arguments.last) else 1


if __name__ == "__main__":
    sys.exit(main())
