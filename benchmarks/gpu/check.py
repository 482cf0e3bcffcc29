"""Whether this machine can run gpu.sh: one sentence and exit code 1 if not.

A process of its own, because one that has used a card cannot fork the rows of the table.
"""

import importlib.util
import sys

from kit import TRAVEL

# What a machine for PyTorch usually has, by import name; the kit brings the rest.
AT_HOME = (
    *("einops", "h5py", "jaxtyping", "jinja2", "lightning_fabric", "matplotlib", "numpy"),
    *("pandas", "PIL", "pyarrow", "safetensors", "scipy", "sklearn", "tensorstore"),
    *("threadpoolctl", "tifffile", "torch"),
)
OLDEST_TORCH = (2, 11)
NEEDED_GB = 20  # rows that need more fail, and cost only themselves


def find_obstacle(device: str) -> str | None:
    """Return why the table cannot be printed with `device`, None if it can."""
    for name in (*AT_HOME, *TRAVEL.values()):
        if importlib.util.find_spec(name) is None:
            place = "the kit: make gpu-kit" if name in TRAVEL.values() else "this machine"
            return f"the package {name} is missing in {place}"

    import torch

    if tuple(map(int, torch.__version__.split(".")[:2])) < OLDEST_TORCH:
        return f"torch {torch.__version__} is too old: {'.'.join(map(str, OLDEST_TORCH))} is needed"
    return None if device == "cpu" else _find_obstacle_of_card(torch)


def _find_obstacle_of_card(torch) -> str | None:
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is a build without CUDA: --device cpu --tiny rehearses"
    if not torch.cuda.is_available():
        return "torch finds no GPU, or no driver for it (nvidia-smi tells)"
    card = torch.cuda.get_device_properties(0)
    if (card.major, card.minor) < (8, 0):
        return f"{card.name} cannot compute bf16: capability {card.major}.{card.minor}, not 8.0"
    free, _ = torch.cuda.mem_get_info()
    if free < NEEDED_GB * 1e9:
        return f"{card.name} has {free / 1e9:.0f} GB of free memory, and {NEEDED_GB} are needed"
    return None


if __name__ == "__main__":
    words = sys.argv[1:]
    without_card = {"cpu", "--device=cpu", "--list", "--help", "-h"} & set(words)
    if obstacle := find_obstacle("cpu" if without_card else "cuda"):
        sys.exit(f"gpu.sh: {obstacle}")
