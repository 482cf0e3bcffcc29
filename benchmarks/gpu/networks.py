"""The networks whose speed is measured, ours and written plainly, and the timing of a step."""

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace

import torch
from plain import PlainMae
from rows import Row, Site
from torch import Tensor, nn

from phenomae.models.settings import ChannelMaeModel, VitMaeModel
from phenomae.models.sizes import VIT_SIZES
from phenomae.models.vit.channel_mae import ChannelMae
from phenomae.models.vit.vit_mae import VitMae
from phenomae.pretraining.optimiser import build_lion

CHANNELS = 6
TINY = {"crop_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}
TINY |= {"decoder_embed_dim": 16, "decoder_depth": 1, "decoder_num_heads": 2}


@dataclass(frozen=True)
class Case:
    """A network, and how many crops a step has; they are so many that the memory of a card fits."""

    family: str
    size: str
    train: int
    embed: int


# In order of worth: the small network of most users, the large one of the paper, the others.
CASES = (
    Case("vit-mae", "S/16", train=256, embed=1024),
    Case("vit-mae", "L/8", train=32, embed=64),
    Case("channel-mae", "S/16", train=64, embed=64),
    Case("vit-mae", "L/16", train=192, embed=256),
    Case("vit-mae", "B/8", train=96, embed=128),
)
MODES = ("compiled", "eager", "plain")
ROUNDS, ROUND_S = 3, 1.0


def speed_rows() -> Iterator[Row]:
    """Yield a row per network, job and mode."""
    for case in CASES:
        for job in ("train", "embed"):
            for mode in MODES:
                name = f"{job}-{case.family}-{case.size}-{mode}".replace("/", "")
                yield Row(name, lambda site, what=(case, job, mode): measure(site, *what))


def measure(site: Site, case: Case, job: str, mode: str) -> Iterator[str]:
    """Yield one line: crops/s, MFU, memory, and the ratio to the plain network if it has run."""
    torch.manual_seed(0)
    device = torch.device(site.device)
    crops = 2 if site.tiny else getattr(case, job)
    settings = _settings(case, site.tiny)
    network = _build(case, settings, mode).to(device).train(job == "train")
    flops = network_flops(case, settings, job)
    step = _make_step(network, job, mode, device, _inputs(network, crops, settings, device))
    began = time.perf_counter()
    step()  # compiles, and claims memory
    _wait(device)
    first_s = time.perf_counter() - began
    step_s = _time(step, device, site.tiny)
    rate = crops / step_s
    site.note(f"{job}-{case.family}-{case.size}-{mode}".replace("/", ""), rate)
    memory = torch.cuda.max_memory_allocated() / 1e9 if site.device == "cuda" else 0.0
    peak = site.noted("peak")
    plain = site.noted(f"{job}-{case.family}-{case.size}-plain".replace("/", ""))
    yield (
        f"{case.family} {case.size} {job} {mode}: {rate:,.1f} crops/s of {crops} a step, "
        + (f"MFU {flops * rate / peak:.2f}, " if peak else "")
        + (f"{memory:.1f} GB, " if memory else "")
        + f"first step {first_s:.1f} s"
        + (f", {rate / plain:.2f} times plain" if plain and mode != "plain" else "")
    )
    del step
    gc.collect()


def network_flops(case: Case, settings: VitMaeModel, job: str) -> int:
    """Return the FLOPs of one crop in a step."""
    with torch.device("meta"):
        network = _build(case, settings, "eager").eval()
    return network.training_flops() if job == "train" else network.embedding_flops()


def _settings(case: Case, tiny: bool) -> VitMaeModel:
    kind = ChannelMaeModel if case.family == "channel-mae" else VitMaeModel
    sized = kind(**asdict(VIT_SIZES[case.size]))
    if not tiny:
        return sized
    heads = {"cross_num_heads": 2} if case.family == "channel-mae" else {}
    return replace(sized, **TINY, **heads)


def _build(case: Case, settings: VitMaeModel, mode: str) -> nn.Module:
    apart = case.family == "channel-mae"
    if mode == "plain":
        return PlainMae(settings, CHANNELS, apart=apart)
    return (ChannelMae if apart else VitMae)(settings, CHANNELS)


def _inputs(
    network: nn.Module, crops: int, settings: VitMaeModel, device: torch.device
) -> tuple[Tensor, Tensor]:
    side = settings.crop_size
    patches = settings.patches * (CHANNELS if settings.__class__ is ChannelMaeModel else 1)
    pixels = torch.randint(0, 256, (crops, CHANNELS, side, side), dtype=torch.uint8, device=device)
    return pixels, torch.rand(crops, patches, device=device)


def _make_step(
    network: nn.Module, job: str, mode: str, device: torch.device, inputs: tuple[Tensor, Tensor]
) -> Callable[[], None]:
    """Return a function that takes one step of a job."""
    pixels, noise = inputs
    wrap = torch.compile if mode == "compiled" else (lambda function: function)
    # A CPU without bf16 instructions would take minutes; a rehearsal is about the script.
    autocast = device.type == "cuda"
    cast = (lambda: torch.autocast("cuda", torch.bfloat16)) if autocast else (lambda: nullcontext())
    if job == "embed":
        embed = wrap(network.embed if mode == "plain" else network.encoder.embed)

        def embed_step() -> None:
            with torch.inference_mode(), cast():
                embed(pixels)

        return embed_step
    run, optimiser = wrap(network), build_lion(network, 1e-4, (0.9, 0.95), 0.05)

    def train_step() -> None:
        with cast():
            if mode == "plain":
                loss = run(pixels, noise)[0]
            else:
                loss = run(pixels, noise, full=False).losses["loss"]
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    return train_step


def _time(step: Callable[[], None], device: torch.device, tiny: bool) -> float:
    """Return the seconds of a step, the median of the rounds."""
    steps, rounds = 1, []
    for _ in range(1 + ROUNDS):
        _wait(device)
        began = time.perf_counter()
        for _ in range(steps):
            step()
        _wait(device)
        rounds.append((time.perf_counter() - began) / steps)
        # So many that a round takes a second: the card must not wait for the CPU at each of them.
        steps = 1 if tiny else max(1, round(ROUND_S / rounds[0]))
    return statistics.median(rounds[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
