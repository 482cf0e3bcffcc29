"""The golden cases: every array within 1e-5 of its largest value, eager and compiled.

What is compiled runs in a forked process (this file, as a program), where no hook checks shapes:
torch.compile does not see through one.
"""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from phenomae.models.network import Network
from phenomae.weights.io import load

Case = dict[str, np.ndarray]
POOLS = {"embedding": "mean", "cls": "class", "channelwise_embedding": "channel"}

needs_compiler = pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None,
    reason="needs a C++ compiler, as torch.compile does on a CPU",
)


def read_case(folder: Path) -> Case:
    return dict(np.load(folder / "case.npz"))


def masked_pass(model: Network, case: Case, wrap: Callable) -> dict[str, torch.Tensor]:
    """Return what the masked pass gives, under the golden case's names."""
    pixels, noise = (torch.from_numpy(case[name]) for name in ("pixels", "noise"))
    out = wrap(model)(pixels, noise)
    return {
        "mask": out.mask,
        "normalized": model.unpatch(out.target),
        "latent": out.latent,
        "reconstruction": out.reconstruction,
        "target": out.target,
        "masked_mse": out.losses["masked_mse"].reshape(1),
    }


def embed(model: Network, case: Case, wrap: Callable) -> dict[str, torch.Tensor]:
    """Return what whole crops give, under the golden case's names."""
    pixels = torch.from_numpy(case["pixels"])
    found = {
        name: wrap(model.encoder.embed)(pixels, pool=POOLS[name]) for name in POOLS if name in case
    }
    if "features" in case:
        found["features"] = wrap(model.features)(pixels)
    if "pixels_max_channels" in case:
        more = torch.from_numpy(case["pixels_max_channels"])
        found["embedding_max_channels"] = wrap(model.encoder.embed)(more)
    return found


@torch.no_grad()
def run_eager(part: Callable, weights: Path, case: Path) -> Case:
    found = part(load(weights), read_case(case), lambda function: function)
    return {name: tensor.numpy() for name, tensor in found.items()}


def run_compiled(
    fork_program: Callable, part: Callable, weights: Path, case: Path, out: Path
) -> Case:
    words = [__file__, part.__name__, str(weights), str(case), str(out)]
    program = (
        f"import runpy, sys; sys.argv = {words}; runpy.run_path({__file__!r}, run_name='__main__')"
    )
    done = fork_program(program).wait()
    assert done.returncode == 0, done.stderr
    return dict(np.load(out))


def compare(found: Case, case: Case) -> None:
    """Compare all arrays; the mask must be equal."""
    if "mask" in found:
        np.testing.assert_array_equal(found["mask"], case["mask"])
    for name, array in found.items():
        assert array.shape == case[name].shape, name
        assert array.dtype == np.float32, name
        gap = np.abs(array - case[name]).max() / np.abs(case[name]).max()
        assert gap < 1e-5, f"{name}: {gap}"


# Weights, case, part; what compiles in more than some seconds is slow.
CASES = [
    ("mae", "mae", masked_pass),
    ("mae", "mae", embed),
    ("camae", "camae", masked_pass),
    ("camae", "camae", embed),
    ("published/archive", "published", embed),
    ("published/safetensors", "published", embed),
]
IDS = [f"{weights}-{part.__name__}" for weights, _, part in CASES]
COMPILED = [
    pytest.param(*case, marks=() if case[1] == "published" else pytest.mark.slow)
    for case in CASES
    if case[0] != "published/archive"  # the same network as the other form
]


@pytest.mark.parametrize(("weights", "case", "part"), CASES, ids=IDS)
def test_a_golden_case_is_repeated(
    weights: str, case: str, part: Callable, golden_case: Callable[[str], Path]
):
    folder = golden_case(case)
    compare(run_eager(part, golden_case(weights), folder), read_case(folder))


@needs_compiler
@pytest.mark.parametrize(("weights", "case", "part"), COMPILED)
def test_a_golden_case_is_repeated_when_compiled(
    weights: str,
    case: str,
    part: Callable,
    golden_case: Callable[[str], Path],
    tmp_path: Path,
    fork_program: Callable,
):
    folder = golden_case(case)
    found = run_compiled(fork_program, part, golden_case(weights), folder, tmp_path / "found.npz")
    compare(found, read_case(folder))


@pytest.mark.parametrize("name", ["mae", "camae", "published"])
def test_every_array_of_a_golden_case_is_compared(name: str, golden_case: Callable[[str], Path]):
    folder = golden_case(name)
    runs = [(part, golden_case(weights)) for weights, case, part in CASES if case == name]
    found = {key for part, weights in runs for key in run_eager(part, weights, folder)}
    assert found | {"pixels", "noise", "pixels_max_channels"} >= read_case(folder).keys()


def test_pixels_in_unit_range_give_the_same_embedding(golden_case: Callable[[str], Path]):
    folder = golden_case("mae")
    case = read_case(folder)
    with torch.no_grad():
        found = load(folder).embed(torch.from_numpy(case["pixels"]) / 255).numpy()
    gap = np.abs(found - case["embedding"]).max() / np.abs(case["embedding"]).max()
    assert gap < 1e-4


if __name__ == "__main__":
    name, weights_folder, case_folder, target = sys.argv[1:]
    with torch.no_grad():
        arrays = globals()[name](load(weights_folder), read_case(Path(case_folder)), torch.compile)
    np.savez(target, **{key: tensor.numpy() for key, tensor in arrays.items()})
