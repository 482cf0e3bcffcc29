"""Does a card compute what the CPU computes: networks, attention, Fourier transform and crops."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from operators import make_crops, make_learner
from rows import Site
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from phenomae.crops.philox import draw_on_device
from phenomae.crops.random_numbers import Purpose, draw
from phenomae.crops.tensors import Crops, compile_static, network_input
from phenomae.models.build import build
from phenomae.models.network import Network
from phenomae.models.settings import (
    ChannelMaeModel,
    ClassifierModel,
    EnergyMaeModel,
    UnetMaeModel,
    VitClassifierModel,
    VitMaeModel,
)

CHANNELS = ("DNA", "ER", "AGP", "Mito")
CLASSES = [f"gene {number}" for number in range(7)]
CROPS = 6
VIT = {"crop_size": 64, "patch_size": 8, "embed_dim": 96, "depth": 3, "num_heads": 3}
DECODER = {"decoder_embed_dim": 64, "decoder_depth": 2, "decoder_num_heads": 4}
CNN: dict[str, Any] = {"crop_size": 64, "growth_rate": 8, "first_width": 16}
NETWORKS: dict[str, Any] = {
    "vit-mae": VitMaeModel(**VIT, **DECODER, drop_path=0.0),
    "vit-mae with Fourier loss": VitMaeModel(**VIT, **DECODER, drop_path=0.0, fourier_weight=0.01),
    "channel-mae": ChannelMaeModel(**VIT, **DECODER, drop_path=0.0, cross_num_heads=4),
    "energy-mae": EnergyMaeModel(**VIT, **DECODER, drop_path=0.0),
    "unet-mae": UnetMaeModel(crop_size=64, patch_size=8, widths=(16, 32, 64), depths=(2, 2, 2)),
    "classifier": ClassifierModel(**CNN, block_depths=(2, 2, 2), neck_dim=32),
    "vit-classifier": VitClassifierModel(**VIT, drop_path=0.0),
}
LIMITS = {"float32": 1e-4, "bf16": 2e-2}
"""Largest relative distance (Euclidean norms) of gradients and embeddings from the CPU's."""
OF_ITS_OWN = 2.0
"""In bf16 a network may be as many times as far as the CPU's own bf16 is from its float32: rounding
alone changes the gradients of the DenseNet classifier by a quarter."""


def compare_networks(site: Site) -> Iterator[str]:
    """Yield a line per network and precision; raises ValueError at the end if one is too far."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    far = []
    for name in NETWORKS:
        reference = _run(name, "cpu", bf16=False)
        for precision, limit in LIMITS.items():
            bf16 = precision == "bf16"
            gaps = _distances(_run(name, site.device, bf16), reference)
            own = _distances(_run(name, "cpu", bf16), reference)
            yield f"{name}, {precision}: {_list(gaps)}" + (f" (CPU: {_list(own)})" if bf16 else "")
            if any(gap > max(limit, OF_ITS_OWN * own[part]) for part, gap in gaps.items()):
                far.append(f"{name} in {precision}")
    if far:
        raise ValueError(f"beyond {LIMITS}: {', '.join(far)}")


def _distances(found: dict[str, Tensor], reference: dict[str, Tensor]) -> dict[str, float]:
    return {part: distance(found[part], reference[part]) for part in reference}


def _list(gaps: dict[str, float]) -> str:
    return ", ".join(f"{part} {gap:.1e}" for part, gap in gaps.items())


def _run(name: str, device: str, bf16: bool) -> dict[str, Tensor]:
    """Return the loss, all gradients and the embeddings of a network on random crops."""
    torch.manual_seed(0)
    family = name.partition(" ")[0]
    network = build(family, NETWORKS[name], CHANNELS, CLASSES).to(device).train()
    generator = torch.Generator().manual_seed(1)
    size = NETWORKS[name].crop_size
    shape = (CROPS, len(CHANNELS), size, size)
    pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    answers = _answers(network, pixels, generator).to(device)
    how = {} if "classifier" in family else {"full": False}
    with torch.autocast(device, torch.bfloat16, enabled=bf16):
        loss = network(pixels.to(device), answers, **how).losses["loss"]
    loss.backward()
    gradients = [item.grad for item in network.parameters() if item.grad is not None]
    network.eval()
    with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=bf16):
        embedding = network.encoder.embed(pixels.to(device))
    return {
        "loss": loss.detach(),
        "gradients": torch.cat([gradient.flatten().float() for gradient in gradients]),
        "embedding": embedding,
    }


def _answers(network: Network, pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Return what a network is told beside the pixels: the noise of the masks, or the classes."""
    if hasattr(network, "count_patches"):
        patches = network.count_patches(pixels)  # pyright: ignore
        return torch.rand(CROPS, patches, generator=generator)
    return torch.arange(CROPS) % len(CLASSES)


def distance(found: Tensor, expected: Tensor) -> float:
    """Return the norm of the difference as a fraction of the norm of what was expected."""
    found, expected = found.detach().double().cpu(), expected.detach().double().cpu()
    return ((found - expected).norm() / expected.norm().clamp_min(1e-300)).item()


def compare_attention(site: Site) -> Iterator[str]:
    """Yield a line per backend of attention, in bf16 against float64 on the CPU, and the FFT."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(4, 6, 197, 64, generator=generator) for _ in range(3))
    expected = functional.scaled_dot_product_attention(q.double(), k.double(), v.double())
    for backend in (
        SDPBackend.FLASH_ATTENTION,
        SDPBackend.CUDNN_ATTENTION,
        SDPBackend.EFFICIENT_ATTENTION,
        SDPBackend.MATH,
    ):
        parts = [part.to(site.device, torch.bfloat16) for part in (q, k, v)]
        try:
            with sdpa_kernel(backend):
                found = functional.scaled_dot_product_attention(*parts)
        except RuntimeError as error:
            yield f"{backend.name}: not here ({str(error).splitlines()[0][:80]})"
            continue
        gap = distance(found, expected)
        yield f"{backend.name}: {gap:.1e}"
        if gap > LIMITS["bf16"]:
            raise ValueError(f"{backend.name} is beyond {LIMITS['bf16']}")
    images = torch.randn(8, 6, 96, 96, generator=generator)
    gap = distance(
        torch.view_as_real(torch.fft.rfft2(images.to(site.device))),
        torch.view_as_real(torch.fft.rfft2(images.double())),
    )
    yield f"FFT, float32: {gap:.1e}"
    if gap > LIMITS["float32"]:
        raise ValueError(f"the FFT is beyond {LIMITS['float32']}")


def compare_crops(site: Site) -> Iterator[str]:
    """Yield a line per dtype: the input of a network has the same bits on card and CPU."""
    rng = np.random.default_rng(0)
    for dtype in (np.uint8, np.uint16):
        drawn = rng.integers(0, np.iinfo(dtype).max, (64, 6, 96, 96), dtype=dtype)
        low = rng.uniform(0, 2000, (64, 6)).astype(np.float32)
        windows = np.stack([low, low + rng.uniform(0, 40000, (64, 6)).astype(np.float32)], axis=-1)
        crops = Crops(
            pixels=torch.from_numpy(drawn),
            windows=torch.from_numpy(windows),
            turns=torch.arange(64, dtype=torch.uint8) % 8,
            keys=torch.zeros(64, 3, dtype=torch.int64),
            channels=tuple("ABCDEF"),
        )
        sent = crops.pinned() if site.device == "cuda" else crops
        found, expected = network_input(sent, site.device).cpu(), network_input(crops, "cpu")
        if not torch.equal(found, expected):
            apart = (found != expected).float().mean().item()
            raise ValueError(f"{np.dtype(dtype)}: {apart:.1%} of the pixels differ")
        yield f"{np.dtype(dtype)}: the same bits, 64 crops in all eight turns"
        found = network_input(sent, site.device, compiled=True).cpu()
        apart = (found != expected).float().mean().item()
        yield f"{np.dtype(dtype)}, compiled: {apart:.1%} of the pixels differ in their last bits"
        if (found.float() - expected.float()).abs().max() > (0 if dtype == np.uint8 else 1e-6):
            raise ValueError(f"{np.dtype(dtype)}: compiled, pixels are others")
    place = torch.tensor([7, 11, Purpose.MASK, 32]).to(site.device)
    found = compile_static(draw_on_device)(place, 256, 196).cpu().numpy()
    expected = draw(7, 11, Purpose.MASK, range(32, 32 + 256), 196).astype(np.float32)
    if not np.array_equal(found, expected):
        raise ValueError(f"{(found != expected).mean():.1%} of the numbers for masks differ")
    yield "random numbers of 256 crops, drawn by a compiled kernel: the same bits"


def find_waits(site: Site) -> Iterator[str]:
    """Take steps that fail where the CPU waits for the card; yield a line per family."""
    for family in ("vit-mae", "channel-mae"):
        settings = {"depth": 2, "decoder_depth": 1} if site.tiny else {}
        learner = make_learner(
            family, site.device, "bf16" if site.device == "cuda" else "float32", **settings
        )
        crops = make_crops(2 if site.tiny else 32, learner.objective.model.settings.crop_size)
        sent = crops.pinned() if site.device == "cuda" else crops
        for step in range(8):
            # The first steps allocate memory and copy tables, for which the CPU waits.
            if step == 4 and site.device == "cuda":
                torch.cuda.set_sync_debug_mode("error")
            learner(sent, step)
        if site.device == "cuda":
            torch.cuda.set_sync_debug_mode("default")
        verdict = "the CPU did not wait for the card" if site.device == "cuda" else "rehearsed"
        yield f"{family}: four steps, {verdict}"
