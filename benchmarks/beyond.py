"""Reckons what screens would take that were never run: JUMP-Lite, and 93 million images.

    python benchmarks/beyond.py
    python benchmarks/beyond.py --core-hour .03 --gpu-hour 2.5 --tb-month 15

Prints the tables of docs/scale.md. Nothing here is measured: sizes of the data sets are multiplied
with rates that were measured on other data, and each row names its rate. FLOPs are counted on the
networks, and steps and crops of a training are those of the recipe in the package.
"""

import argparse
import tomllib
from dataclasses import dataclass

from growth import markdown

from phenomae.models.build import find_network
from phenomae.models.cost.catalogue import Entry, describe
from phenomae.shipped_recipes import find_recipe

CROP = 256
BYTES_A_PIXEL, EIGHT_BITS = 0.57 * 2, 0.26
"""A store of a real Opera Phenix site takes .57 of its uint16 pixels; with --bits 8 it takes .26 of
that (docs/store.md)."""
JUMP_LITE_SITES_PER_S, PIXEL_MB_PER_S = 15.2, 158.0
"""Ingest on 2 cores: JUMP-Lite's zstd.zarr (log, 2026-11-30), and LZW TIFFs of 6 x 2048 x 2048
uint16 in MB of pixels (log, 2026-11-25)."""
CPU_CROPS_PER_S, GPU_CROPS_PER_S = 24.17, 7_576.0
"""ViT-S/16, 6 channels, bf16, eager: 2 cores (log, 2026-11-25), one H200 (log, 2026-11-28)."""
TRAINING_CROPS_PER_S = {"mae-s16": 3_018, "channel-mae-s16": 430, "mae-l16": 1_249, "mae-l8": 301}
"""On one H200, eager (log, 2026-11-28); that of mae-s16 is of the command `pretrain`."""
NETWORKS = {
    "mae-s16": ("vit-mae", "S/16"),
    "channel-mae-s16": ("channel-mae", "S/16"),
    "mae-l16": ("vit-mae", "L/16"),
    "mae-l8": ("vit-mae", "L/8"),
}
MEASURED_CORES, NODE_CORES = 2, 64


@dataclass(frozen=True)
class Screen:
    """A data set; its fields are taken as equal."""

    name: str
    fields: int
    channels: int
    height: int
    width: int
    ingest_per_s: float
    """Fields on 2 cores."""
    ingest_source: str

    @property
    def pixels(self) -> int:
        """Pixels of all channels of all fields."""
        return self.fields * self.channels * self.height * self.width

    @property
    def crops(self) -> int:
        """Crops that lie side by side in all fields."""
        return self.fields * (self.height // CROP) * (self.width // CROP)


@dataclass(frozen=True)
class Prices:
    """Assumed prices in US dollars, of no provider in particular."""

    core_hour: float = 0.05
    gpu_hour: float = 3.0
    tb_month: float = 20.0


JUMP_LITE = Screen(
    "JUMP-Lite", 855_519, 5, 1080, 1280, JUMP_LITE_SITES_PER_S, "15.2 sites/s of `zstd.zarr`"
)
RPI = Screen(
    "93 M images",
    93_000_000,
    6,
    2048,
    2048,
    PIXEL_MB_PER_S * 1e6 / (6 * 2048 * 2048 * 2),
    "158 MB/s of pixels from LZW TIFFs",
)


def main() -> None:
    """Print both tables as Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--core-hour", type=float, default=Prices.core_hour, help="US dollars")
    parser.add_argument("--gpu-hour", type=float, default=Prices.gpu_hour, help="US dollars")
    parser.add_argument("--tb-month", type=float, default=Prices.tb_month, help="US dollars")
    prices = Prices(**vars(parser.parse_args()))
    print("\n".join([*screen_table(prices), "", *training_table(prices)]))


def screen_table(prices: Prices) -> list[str]:
    """Return the table of store, ingest and embedding."""
    large = describe_network("mae-l8")
    columns = [reckon_screen(screen, prices, large) for screen in (JUMP_LITE, RPI)]
    ingest = "; ".join(f"{screen.name}: {screen.ingest_source}" for screen in (JUMP_LITE, RPI))
    cpu, gpu = f"{CPU_CROPS_PER_S:g} crops/s", f"{GPU_CROPS_PER_S:,.0f} crops/s"
    linear = f"linear in cores (assumed, not run beyond {MEASURED_CORES})"
    rests_on = {
        "fields": "the README of August 2026; third-party notes of Kraus et al. 2023",
        "pixels of a field": "the largest of JUMP-Lite; 93 M images: **assumed**, not known",
        "store, TB": f"{BYTES_A_PIXEL:.2f} bytes a pixel: a real Phenix site, uint16, lossless",
        "store with `--bits 8`, TB": f"{EIGHT_BITS:.2f} of that: the same site (simulated: .58)",
        "ingest, hours on 2 cores": ingest,
        "ingest, hours on 64 cores": linear,
        "crops of 256 x 256": "side by side in a field",
        "embed S/16, hours on 2 cores": f"{cpu}, bf16",
        "embed S/16, hours on 64 cores": linear,
        "embed S/16, hours on one H200": f"{gpu}, eager",
        "embed L/8, hours on one H200": "embedding not measured: the FLOP/s of its training",
        "ingest, $": "hours x 2 cores x price of a core hour",
        "embed S/16 on H200, $": "hours x price of a GPU hour",
        "store, $ a month": "TB x price of a TB month",
    }
    rows = [(name, *(column[name] for column in columns), why) for name, why in rests_on.items()]
    return markdown([("reckoned", JUMP_LITE.name, RPI.name, "rests on"), *rows])


def reckon_screen(screen: Screen, prices: Prices, large: Entry) -> dict[str, str]:
    """Return the cells of a data set by the name of their row."""
    ingest = screen.fields / screen.ingest_per_s / 3600
    embed = screen.crops / CPU_CROPS_PER_S / 3600
    on_gpu = screen.crops / GPU_CROPS_PER_S / 3600
    large_flops_per_s = TRAINING_CROPS_PER_S["mae-l8"] * large.training_gflops
    large_hours = screen.crops * large.embedding_gflops / large_flops_per_s / 3600
    terabytes = screen.pixels * BYTES_A_PIXEL / 1e12
    share = MEASURED_CORES / NODE_CORES
    return {
        "fields": f"{screen.fields:,}",
        "pixels of a field": f"{screen.channels} x {screen.height} x {screen.width}",
        "store, TB": two_digits(terabytes),
        "store with `--bits 8`, TB": two_digits(terabytes * EIGHT_BITS),
        "ingest, hours on 2 cores": two_digits(ingest),
        "ingest, hours on 64 cores": two_digits(ingest * share),
        "crops of 256 x 256": f"{screen.crops / 1e6:,.0f} M",
        "embed S/16, hours on 2 cores": two_digits(embed),
        "embed S/16, hours on 64 cores": two_digits(embed * share),
        "embed S/16, hours on one H200": two_digits(on_gpu),
        "embed L/8, hours on one H200": two_digits(large_hours),
        "ingest, $": two_digits(ingest * MEASURED_CORES * prices.core_hour),
        "embed S/16 on H200, $": two_digits(on_gpu * prices.gpu_hour),
        "store, $ a month": two_digits(terabytes * prices.tb_month),
    }


def training_table(prices: Prices) -> list[str]:
    """Return the table of the published trainings, 6 channels."""
    head = ("recipe", "steps x crops", "GFLOP a crop", "FLOPs", "crops/s", "H200 hours", "$")
    rows: list[tuple[str, ...]] = [head]
    for name, rate in TRAINING_CROPS_PER_S.items():
        family, _ = NETWORKS[name]
        settings = tomllib.loads(find_recipe(name).read_text())["pretrain"][family]
        steps, at_once = settings["steps"], settings["crops_per_step"]
        gflops = describe_network(name).training_gflops
        hours = steps * at_once / rate / 3600
        rows.append(
            (
                f"`{name}`",
                f"{steps:,} x {at_once:,}",
                f"{gflops:.1f}",
                f"{steps * at_once * gflops * 1e9:.2g}",
                f"{rate:,}",
                two_digits(hours),
                two_digits(hours * prices.gpu_hour),
            )
        )
    return markdown(rows)


def describe_network(recipe: str) -> Entry:
    """Return the FLOPs of a recipe's network, for 6 channels and crops of 256 pixels."""
    family, size = NETWORKS[recipe]
    return describe(family, size, find_network(family).SIZES[size], 6)


def two_digits(number: float) -> str:
    """Return a number rounded to two significant digits, with commas: 8,200, 16 or 0.63."""
    rounded = float(f"{number:.1e}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"


if __name__ == "__main__":
    main()
