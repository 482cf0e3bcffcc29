"""Crops per second of a whole training: ours against the published design on whole LZW TIFFs.

    python benchmarks/train.py                          simulates 64 fields (1.5 GB) and trains
    python benchmarks/train.py --folder /data/screen    keeps the fields for the next time
    python benchmarks/train.py --crop-size 256 --crops-per-step 8

Both train the network of the recipe demo-vit-mae on random crops of the same pixels: a simulated
screen of 6 x 1080 x 1080 uint16, as LZW TIFFs (one file per channel) and as the store that
`phenomae ingest` makes of these files. The sides take turns, each in its own process, so that other
work on the machine slows both. A number is the median over rounds, and a ratio the median of the
ratios per round. The page cache is warm.

- ours: `phenomae pretrain vit-mae` in a run folder, with log and checkpoints but not validation,
  whose crops are not counted. No field is kept in memory (`cache_gb` 0): every crop is read from
  the store.
- plain: network and loop written directly from the papers (plain.py: eager, nothing fused), with
  the same Lion, precision and one-cycle learning rate, and a torch DataLoader whose dataset decodes
  a whole field for every crop, cuts it out and flips it. With 1 or 2 workers, whichever was faster
  in a turn before the first round.
- data free: plain's loop on the crops of one step, kept in memory. That is the upper limit of plain
  with any reader; if ours is faster than that, the network and the loop are, and the rest of the
  ratio comes from reading.

The ratio depends on the cost of a crop: with larger crops or a larger network, reading matters
less. A reader that cuts k crops from each decoded field is up to k times as fast as plain's, up to
the limit of free data; its steps then contain fewer fields.

Start-up and the first steps of a turn are not counted. Data wait is the fraction of the time in
which the loop waits for its next crops; for ours it is read from the log.
"""

import argparse
import statistics
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
import tifffile
import torch
from crops import draw_screen, list_fields
from jaxtyping import Float32
from plain import PlainMae
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler

from phenomae.cores import available_cores
from phenomae.devices import bf16_is_fast
from phenomae.pretraining.optimiser import build_optimiser
from phenomae.probes.commands import VitMaeSettings, pretrain_vit_mae
from phenomae.progress import set_quiet
from phenomae.runs import read_log
from phenomae.store.read import open_store

RECIPE = Path(__file__).parents[1] / "src/phenomae/recipes/demo-vit-mae.toml"
SIDES = ("ours", "plain", "data free")
TARGET = 3.0
MAX_WAIT = 0.05
WORKERS = (1, 2)
FIRST_STEPS = 2  # of plain, not counted; as many as workers, whose first batches come together
FREE_TIMES = 5  # how many times as many steps if plain's data is free


@dataclass(frozen=True)
class Turn:
    """The result of one turn."""

    rate: float
    """Crops per second."""
    wait: float
    """Fraction of the time in which the loop waited for crops."""


class FieldDataset(Dataset[Float32[Tensor, "c s s"]]):
    """Random crops, each cut from a whole field that is decoded for it."""

    def __init__(self, fields: Sequence[Sequence[Path]], crop_size: int) -> None:
        self.fields, self.crop_size = fields, crop_size

    def __len__(self) -> int:
        return len(self.fields)

    def __getitem__(self, index: int) -> Float32[Tensor, "c s s"]:
        field = np.stack([tifffile.imread(path) for path in self.fields[index]])
        size = self.crop_size
        top = int(torch.randint(field.shape[1] - size + 1, ()))
        left = int(torch.randint(field.shape[2] - size + 1, ()))
        crop = torch.from_numpy(field[:, top : top + size, left : left + size].astype(np.float32))
        axes = [axis for axis in (1, 2) if torch.rand(()) < 0.5]
        return crop.flip(axes)


def train_ours(folder: Path, settings: VitMaeSettings) -> Turn:
    """Train as the command does; return the speed from its log, without the first line."""
    set_quiet(True)
    with tempfile.TemporaryDirectory(dir=folder) as runs:
        run = Path(runs) / "run"
        pretrain_vit_mae(folder / "store", run, settings=settings)
        lines = [line for line in read_log(run) if "loss" in line]
    steps, ends = [line["step"] for line in lines], [line["seconds"] for line in lines]
    seconds = ends[-1] - ends[0]
    waited = sum(
        line["data_wait"] * (end - started)
        for line, started, end in zip(lines[1:], ends, ends[1:], strict=False)
    )
    return Turn((steps[-1] - steps[0]) * settings.crops_per_step / seconds, waited / seconds)


def train_plain(folder: Path, settings: VitMaeSettings, steps: int, workers: int) -> Turn:
    """Train plainly with that many workers; with 0, the crops of one step are kept in memory."""
    device = torch.device(settings.device)
    torch.manual_seed(settings.seed)
    torch.set_num_threads(available_cores())
    batches = load(list_fields(folder / "raw"), settings, FIRST_STEPS + steps, workers)
    channels = len(open_store(folder / "store").channels)
    network = PlainMae(settings.model, channels, apart=False).to(device).train()
    optimiser = build_optimiser("lion", network, settings.lr, settings.betas, settings.weight_decay)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.lr, total_steps=FIRST_STEPS + steps, cycle_momentum=False
    )
    started = waited = 0.0
    for step in range(FIRST_STEPS + steps):
        if step == FIRST_STEPS:
            wait_for(device)
            started, waited = time.perf_counter(), 0.0
        requested = time.perf_counter()
        pixels = next(batches)
        waited += time.perf_counter() - requested
        pixels = pixels.to(device, non_blocking=True)
        noise = torch.rand(len(pixels), settings.model.patches, device=device)
        bf16 = settings.precision == "bf16"
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss, _ = network(pixels, noise)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        cycle.step()
    wait_for(device)
    seconds = time.perf_counter() - started
    return Turn(steps * settings.crops_per_step / seconds, waited / seconds)


def load(
    fields: Sequence[Sequence[Path]], settings: VitMaeSettings, steps: int, workers: int
) -> Iterator[Float32[Tensor, "b c s s"]]:
    """Return the crops of every step."""
    dataset, crops = FieldDataset(fields, settings.crop_size), settings.crops_per_step
    count = steps * crops if workers else crops
    loader = DataLoader(
        dataset,
        batch_size=crops,
        sampler=RandomSampler(dataset, replacement=True, num_samples=count),
        num_workers=workers,
        pin_memory=settings.device == "cuda",
    )
    return iter(loader) if workers else repeat(next(iter(loader)))


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def run_rounds(
    folder: Path, settings: VitMaeSettings, rounds: int, steps: int
) -> dict[str, list[Turn]]:
    """Let the sides take turns and print each; `steps` are those of plain."""
    context = get_context("spawn")
    turns: dict[str, list[Turn]] = {side: [] for side in SIDES}
    with ExitStack() as stack:
        pools = (ProcessPoolExecutor(1, mp_context=context) for _ in range(2))
        ours, plain = (stack.enter_context(pool) for pool in pools)
        tried = {
            count: plain.submit(train_plain, folder, settings, steps, count).result().rate
            for count in WORKERS
        }
        workers = max(tried, key=tried.__getitem__)
        rates = ", ".join(f"{rate:.1f} with {count}" for count, rate in tried.items())
        print(f"plain's crops/s by workers: {rates}", flush=True)
        for number in range(rounds + 1):
            free = (folder, settings, FREE_TIMES * steps, 0)
            done = {
                "ours": ours.submit(train_ours, folder, settings).result(),
                "plain": plain.submit(train_plain, folder, settings, steps, workers).result(),
                "data free": plain.submit(train_plain, *free).result(),
            }
            rates = ", ".join(f"{side} {turn.rate:.1f}" for side, turn in done.items())
            # The first round opens files and allocates memory.
            print(f"round {number or '0, not counted'}: {rates}", flush=True)
            if number:
                for side, turn in done.items():
                    turns[side].append(turn)
    return turns


def describe(side: str, turns: dict[str, list[Turn]]) -> str:
    """Return a line of the table."""
    rate = statistics.median(turn.rate for turn in turns[side])
    wait = statistics.median(turn.wait for turn in turns[side])
    line = f"{side:9} {rate:9.1f}"
    if side == "ours":
        return f"{line} {wait:10.1%} {'':13} wait under {MAX_WAIT:.0%}"
    pairs = zip(turns["ours"], turns[side], strict=True)
    ratio = statistics.median(ours.rate / theirs.rate for ours, theirs in pairs)
    if side == "plain":
        return f"{line} {wait:10.1%} {ratio:13.2f} ratio of {TARGET:g}"
    return f"{line} {'-':>10} {ratio:13.2f}"


def read_settings(arguments: argparse.Namespace) -> VitMaeSettings:
    """Return the settings of the recipe and the command line; both sides use them."""
    device: Literal["cpu", "cuda"] = arguments.device
    recipe = tomllib.loads(RECIPE.read_text())["pretrain"]["vit-mae"]
    return replace(
        VitMaeSettings(**recipe),
        crop_size=arguments.crop_size,
        patch_size=arguments.patch_size,
        crops_per_step=arguments.crops_per_step,
        steps=arguments.steps,
        log_every=max(1, arguments.steps // 10),
        cache_gb=0.0,
        validation=0.0,
        device=device,
        precision="bf16" if bf16_is_fast(device) else "float32",
    )


def read_arguments() -> argparse.Namespace:
    """Return the command line arguments."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where the screen is kept")
    parser.add_argument(
        "--fields", type=int, default=64, help="minimum; whole groups of eight wells are simulated"
    )
    parser.add_argument("--field-size", type=int, default=1080)
    parser.add_argument("--crop-size", type=int, default=64)
    parser.add_argument("--patch-size", type=int, default=8)
    parser.add_argument("--crops-per-step", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200, help="steps of ours per turn, at least 2")
    parser.add_argument(
        "--plain-steps", type=int, default=12, help="steps of plain per turn, an even number"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    return parser.parse_args()


def main() -> None:
    """Print the table."""
    arguments = read_arguments()
    settings = read_settings(arguments)
    set_quiet(True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        draw_screen(folder, arguments.fields, arguments.field_size)
        print_settings(folder, settings)
        turns = run_rounds(folder, settings, arguments.rounds, arguments.plain_steps)
    print(f"median of {arguments.rounds} rounds")
    print(f"{'side':9} {'crops/s':>9} {'data wait':>10} {'ours over it':>13} target")
    for side in SIDES:
        print(describe(side, turns))


def print_settings(folder: Path, settings: VitMaeSettings) -> None:
    """Print what is trained, on what, and where."""
    fields = open_store(folder / "store").fields
    on_gpu = settings.device == "cuda"
    where = torch.cuda.get_device_name() if on_gpu else f"CPU, {available_cores()} threads"
    print(f"{where}, torch {torch.__version__}, {settings.precision}")
    print(
        f"{len(fields)} fields of {fields['height'][0]} x {fields['width'][0]}, crops of "
        f"{settings.crop_size}, patches of {settings.patch_size}, {settings.crops_per_step} crops "
        "per step",
        flush=True,
    )


if __name__ == "__main__":
    main()
