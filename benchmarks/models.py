"""Compare our networks with a plain implementation of the published design: crops per second.

    python benchmarks/models.py                              S/16 of both families on this CPU
    python benchmarks/models.py --device cuda --sizes S/16 L/16 L/8 --compile
    python benchmarks/models.py --check shared/fixtures      is the peer the same function?

Plain and ours take turns, step by step, so that what else the machine does slows both; a number is
the median of the rounds. Training is forward, backward and a step of the same optimiser; embedding
is the pass without gradients. Plain stays eager and unfused, both run under bf16 autocast.
"""

import argparse
import gc
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from plain import PlainMae, load_golden
from safetensors.torch import load_file
from torch import Tensor, nn

from phenomae.memory import kept_memory
from phenomae.models.settings import ChannelMaeModel, VitMaeModel
from phenomae.models.sizes import VIT_SIZES
from phenomae.models.vit.channel_mae import ChannelMae
from phenomae.models.vit.vit_mae import VitMae
from phenomae.pretraining.optimiser import build_optimiser

FAMILIES = {"vit-mae": (VitMae, VitMaeModel), "channel-mae": (ChannelMae, ChannelMaeModel)}
TARGETS = {("vit-mae", "train"): 1.5, ("vit-mae", "embed"): 1.2}
TARGETS |= {("channel-mae", "train"): 2.0, ("channel-mae", "embed"): 1.2}
# Those of `embed`; for training, so many that a step takes several seconds on a CPU.
CROPS = {("vit-mae", "train"): 48, ("vit-mae", "embed"): 64}
CROPS |= {("channel-mae", "train"): 16, ("channel-mae", "embed"): 4}


@dataclass
class Contender:
    """A network and the calls that are timed."""

    network: nn.Module
    device: torch.device
    loss: Callable[[Tensor, Tensor], Tensor]
    embed: Callable[[Tensor], Tensor]
    memory: Callable[[], AbstractContextManager[None]] = nullcontext
    """Whether freed memory is kept on a CPU; for ours as its commands do."""

    def __post_init__(self) -> None:
        self.network.to(self.device)
        self.optimiser = build_optimiser("lion", self.network, 1e-4, (0.9, 0.95), 0.05)

    def step(self, job: str, pixels: Tensor, noise: Tensor) -> None:
        """Run one step of a job."""
        self.network.train(job == "train")
        if job == "train":
            with torch.autocast(self.device.type, torch.bfloat16):
                loss = self.loss(pixels, noise)
            loss.backward()
            self.optimiser.step()
            self.optimiser.zero_grad()
        else:
            with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16):
                self.embed(pixels)

    def measure(self, job: str, pixels: Tensor, noise: Tensor, steps: int) -> tuple[float, float]:
        """Return the seconds per step and the peak memory in GB (0 if unknown)."""
        cuda = self.device.type == "cuda"
        with self.memory():
            self.step(job, pixels, noise)  # as if others had gone before, after the other's turn
            if cuda:
                torch.cuda.reset_peak_memory_stats()
                torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(steps):
                self.step(job, pixels, noise)
            if cuda:
                torch.cuda.synchronize()
            seconds = (time.perf_counter() - start) / steps
        return seconds, torch.cuda.max_memory_allocated() / 1e9 if cuda else 0.0


def contender(
    family: str, settings: VitMaeModel, channels: int, device: torch.device, mode: str
) -> Contender:
    """Return the plain network, or ours: `mode` is plain, eager or compiled."""
    if mode == "plain":
        plain = PlainMae(settings, channels, apart=family == "channel-mae")
        return Contender(plain, device, lambda *step: plain(*step)[0], plain.embed)
    ours = FAMILIES[family][0](settings, channels)
    forward, embed = ours, ours.encoder.embed
    if mode == "compiled":
        forward, embed = torch.compile(forward), torch.compile(embed)
    return Contender(
        ours,
        device,
        lambda *step: forward(*step, full=False).losses["loss"],
        embed,
        kept_memory,
    )


def contenders(
    family: str, settings: VitMaeModel, arguments: argparse.Namespace
) -> dict[str, Contender]:
    """Return the plain network, ours and, with `--compile`, ours compiled."""
    modes = {"plain": "plain", "ours": "eager"}
    if arguments.compile:
        modes["compiled"] = "compiled"
    device = torch.device(arguments.device)
    return {
        name: contender(family, settings, arguments.channels, device, mode)
        for name, mode in modes.items()
    }


def compare(
    family: str, size: str, job: str, racers: dict[str, Contender], arguments: argparse.Namespace
) -> Iterator[str]:
    """Run a job on all networks in turn and yield the lines of the table."""
    settings = racers["plain"].network.settings
    device = racers["plain"].device
    crops = arguments.crops or CROPS[family, job]
    rng = np.random.default_rng(0)
    side = settings.crop_size
    drawn = rng.integers(0, 256, (crops, arguments.channels, side, side), dtype=np.uint8)
    pixels = torch.from_numpy(drawn).to(device)
    tokens = settings.patches * (arguments.channels if family == "channel-mae" else 1)
    noise = torch.from_numpy(rng.random((crops, tokens), dtype=np.float32)).to(device)
    seconds: dict[str, list[float]] = {name: [] for name in racers}
    peak = dict.fromkeys(racers, 0.0)
    for racer in racers.values():
        racer.step(job, pixels, noise)  # the first step compiles and claims memory
    for _ in range(arguments.rounds):
        for name, racer in racers.items():
            taken, memory = racer.measure(job, pixels, noise, arguments.steps)
            seconds[name].append(taken)
            peak[name] = max(peak[name], memory)
    median = {name: statistics.median(taken) for name, taken in seconds.items()}
    for name in list(racers)[1:]:
        # Round by round, so that other work on the machine slows all of them.
        pairs = zip(seconds["plain"], seconds[name], strict=True)
        ratio = statistics.median(plain / ours for plain, ours in pairs)
        line = (
            f"{family:12} {size:5} {job:6} {name:9} {crops:6} {crops / median['plain']:10.2f} "
            f"{crops / median[name]:10.2f} {ratio:7.2f} {TARGETS[family, job]:7.1f}"
        )
        if device.type == "cuda":
            network = racers["ours"].network
            flops = network.training_flops() if job == "train" else network.embedding_flops()
            rate = flops * crops / median[name]
            share = rate / matmul_rate(device)
            line += f" {peak['plain']:10.1f} {peak[name]:10.1f} {share:7.2f}"
        yield line


def matmul_rate(
    device: torch.device,
    side: int = 8192,
    repeats: int = 20,
    fill: Callable[..., Tensor] = torch.randn,
) -> float:
    """Return the FLOP/s of one large bf16 matrix product of numbers that `fill` makes."""
    a, b = (fill(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        a @ b
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        a @ b
    torch.cuda.synchronize()
    return 2 * side**3 * repeats / (time.perf_counter() - start)


def check(fixtures: Path) -> None:
    """Compare the plain networks with the golden cases in float32."""
    for name in ("mae", "camae"):
        config = json.loads((fixtures / name / "config.json").read_text())
        names = {"img": "crop_size", "patch": "patch_size", "dim": "embed_dim", "depth": "depth"}
        names |= {"heads": "num_heads", "ddim": "decoder_embed_dim", "ddepth": "decoder_depth"}
        names |= {"dheads": "decoder_num_heads", "mask_ratio": "mask_ratio"}
        settings = VitMaeModel(**{ours: config[public] for public, ours in names.items()})
        network = PlainMae(settings, config["chans"], config["ca"]).eval()
        load_golden(network, load_file(fixtures / name / "model.safetensors"))
        case = {
            key: torch.from_numpy(value)
            for key, value in np.load(fixtures / name / "case.npz").items()
        }
        with torch.no_grad():
            loss, predicted = network(case["pixels"], case["noise"])
            embedding = network.embed(case["pixels"])
        pairs = {"masked_mse": loss, "reconstruction": predicted, "embedding": embedding}
        worst = {key: (found - case[key]).abs().max().item() for key, found in pairs.items()}
        print(name, *(f"{key} {value:.1e}" for key, value in worst.items()))
        if max(worst.values()) > 1e-5:
            raise SystemExit(f"the plain network is not the golden case {name}")


def read_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument("--sizes", nargs="+", default=["S/16"], choices=list(VIT_SIZES))
    parser.add_argument("--jobs", nargs="+", default=["train", "embed"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--channels", type=int, default=6)
    parser.add_argument("--crops", type=int, help="crops per step; default: CROPS")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1, help="steps per round")
    parser.add_argument("--compile", action="store_true", help="also time our networks compiled")
    parser.add_argument("--check", type=Path, metavar="FIXTURES", help="folder of the golden cases")
    return parser.parse_args()


def main() -> None:
    """Print the table."""
    arguments = read_arguments()
    if arguments.check:
        check(arguments.check)
        return
    torch.manual_seed(0)
    if arguments.device == "cpu":
        where = f"CPU, {torch.get_num_threads()} threads of {os.cpu_count()}"
    else:
        where = torch.cuda.get_device_name()
    print(f"{where}, torch {torch.__version__}, bf16 autocast, {arguments.channels} channels")
    header = f"{'family':12} {'size':5} {'job':6} {'ours':9} {'crops':>6} {'plain /s':>10} "
    header += f"{'ours /s':>10} {'ratio':>7} {'target':>7}"
    print(header + (f" {'plain GB':>10} {'ours GB':>10} {'MFU':>7}" if where[:3] != "CPU" else ""))
    for family in arguments.families:
        for size in arguments.sizes:
            settings = FAMILIES[family][1](**asdict(VIT_SIZES[size]))
            racers = contenders(family, settings, arguments)
            for job in arguments.jobs:
                for line in compare(family, size, job, racers, arguments):
                    print(line, flush=True)
            del racers
            gc.collect()


if __name__ == "__main__":
    main()
