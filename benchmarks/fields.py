"""Simulated fields for the benchmarks: cells on a camera's background, as TIFF.

Round cells of a few sizes on an even background, then shot and read noise: LZW leaves four fifths
of such images, as it does of real ones (a real Opera Phenix site: 70 to 85 % per channel).
"""

from pathlib import Path

import numpy as np
import tifffile
from jaxtyping import UInt16
from scipy.ndimage import gaussian_filter

CHANNELS = ("DNA", "ER", "RNA", "AGP", "Mito", "Actin")
_CELLS = 300


def draw_field(seed: int, side: int = 2048) -> UInt16[np.ndarray, "c h w"]:
    """Return a field of six channels."""
    rng = np.random.default_rng(seed)
    centres = np.zeros((side, side), np.float32)
    places = rng.integers(0, side, (_CELLS, 2))
    centres[places[:, 0], places[:, 1]] = 1
    channels = []
    for radius in (8, 14, 18, 12, 16, 20):
        cells = gaussian_filter(centres, radius, mode="constant")
        light = 120 + 900 * cells / cells.max()
        # numpy's Poisson would take most of the time, so its normal approximation is drawn.
        noise = rng.standard_normal(light.shape, dtype=np.float32) * np.sqrt(light + 25)
        channels.append((light + noise).clip(0, 65535).astype(np.uint16))
    return np.stack(channels)


def write_screen(folder: Path, fields: int, side: int = 2048, seed: int = 0) -> None:
    """Write fields as LZW TIFFs, one file per channel, and the LoadData CSV that lists them."""
    folder.mkdir(parents=True, exist_ok=True)
    head = ["Metadata_Plate", "Metadata_Well", "Metadata_Site"]
    head += [f"{part}_Orig{name}" for part in ("FileName", "PathName") for name in CHANNELS]
    lines = [",".join(head)]
    for number in range(fields):
        pixels = draw_field(seed + number, side)
        names = [f"{number:04d}_{name}.tiff" for name in CHANNELS]
        for name, channel in zip(names, pixels, strict=True):
            tifffile.imwrite(folder / name, channel, compression="lzw")
        well = f"{chr(65 + number // 24 % 16)}{number % 24 + 1:02d}"
        cells = ["P1", well, str(number // 384 + 1), *names, *["." for _ in CHANNELS]]
        lines.append(",".join(cells))
    (folder / "load_data.csv").write_text("\n".join(lines) + "\n")
