"""The networks whose speed is measured, ours and written plainly."""

import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import torch
from models import FAMILIES, contender
from rows import Row, Site
from torch import Tensor

from phenomae.models.settings import VitMaeModel
from phenomae.models.sizes import VIT_SIZES

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
                yield Row(
                    _name(case, job, mode),
                    lambda site, what=(case, job, mode): measure(site, *what),
                )


def measure(site: Site, case: Case, job: str, mode: str) -> Iterator[str]:
    """Yield one line: crops/s, MFU, memory, and the ratio to the plain network if it has run."""
    torch.manual_seed(0)
    device = torch.device(site.device)
    crops = 2 if site.tiny else getattr(case, job)
    settings = _settings(case, site.tiny)
    racer = contender(case.family, settings, CHANNELS, device, mode)
    inputs = _inputs(case, settings, crops, device)
    began = time.perf_counter()
    racer.step(job, *inputs)  # compiles, and claims memory
    _wait(device)
    first_s = time.perf_counter() - began
    step_s, memory = racer.measure(job, *inputs, 1)
    steps = 1 if site.tiny else max(1, round(ROUND_S / step_s))  # rounds of about a second
    step_s = statistics.median(racer.measure(job, *inputs, steps)[0] for _ in range(ROUNDS))
    rate = crops / step_s
    site.note(_name(case, job, mode), rate)
    peak, plain = site.noted("peak"), site.noted(_name(case, job, "plain"))
    yield (
        f"{case.family} {case.size} {job} {mode}: {rate:,.1f} crops/s of {crops} a step, "
        + (f"MFU {network_flops(case, settings, job) * rate / peak:.2f}, " if peak else "")
        + (f"{memory:.1f} GB, " if memory else "")
        + f"first step {first_s:.1f} s"
        + (f", {rate / plain:.2f} times plain" if plain and mode != "plain" else "")
    )


def _name(case: Case, job: str, mode: str) -> str:
    return f"{job}-{case.family}-{case.size}-{mode}".replace("/", "")


def network_flops(case: Case, settings: VitMaeModel, job: str) -> int:
    """Return the FLOPs of one crop in a step."""
    with torch.device("meta"):
        network = FAMILIES[case.family][0](settings, CHANNELS).eval()
    return network.training_flops() if job == "train" else network.embedding_flops()


def _settings(case: Case, tiny: bool) -> VitMaeModel:
    sized = FAMILIES[case.family][1](**asdict(VIT_SIZES[case.size]))
    if not tiny:
        return sized
    heads = {"cross_num_heads": 2} if case.family == "channel-mae" else {}
    return replace(sized, **TINY, **heads)


def _inputs(
    case: Case, settings: VitMaeModel, crops: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    side = settings.crop_size
    patches = settings.patches * (CHANNELS if case.family == "channel-mae" else 1)
    pixels = torch.randint(0, 256, (crops, CHANNELS, side, side), dtype=torch.uint8, device=device)
    return pixels, torch.rand(crops, patches, device=device)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
