"""Public encoders: from raw TIFFs to vectors of wells, beside a plain loop, measured in one run.

    python benchmarks/public_encoder.py                        8 fields of 5 x 672 x 672 pixels
    python benchmarks/public_encoder.py --fields 64 --device cuda
    python benchmarks/public_encoder.py --fields 1 --field-size 224 --rounds 1      a first try

The encoder is a DINOv2 of the size of dinov2-small (ViT-S/14, images of 224 pixels) with random
weights, saved by the package transformers, which both sides open. Each channel is embedded by
itself, as a grey image. Fields are 16-bit LZW TIFFs, one file per channel. All files have been read
once before, the sides take turns, and each number is the median of the rounds.

- loop: decodes each TIFF whole with tifffile, and then one crop after the other is scaled,
  normalised and embedded; the mean over the crops of a well at the end.
- loop, bf16: the same in bf16, if ours is, by autocast. The default of `embed` is bf16 where the
  hardware has it; with --precision float32 all sides are in float32.
- ours: `phenomae ingest` and the crops, tiling and means of `phenomae embed`. The model is open on
  both sides before the clock starts.
- bare: the forward passes alone, of images in memory, in batches as large as ours and in the same
  precision. ours from a store: without `ingest`, with all that embed does for a crop.

The vectors of the sides are compared: they must agree to 1e-4 in float32.
"""

import argparse
import csv
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
import transformers
from scipy.ndimage import gaussian_filter

from phenomae.crops.reader import CropReader
from phenomae.crops.tiles import tile_field
from phenomae.devices import Machine, all_cores, open_machine
from phenomae.embedding.embedder import Embedder
from phenomae.embedding.plates import read_plates
from phenomae.progress import set_quiet
from phenomae.store.ingest import ingest
from phenomae.store.read import open_store, windows
from phenomae.weights.public_encoder.open_encoder import open_encoder

SIZE, PATCH = 224, 14
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TARGETS = {"raw to vectors, times the loop": 1.3, "store to vectors, times bare forward": 0.95}


def write_model(folder: Path) -> Path:
    """Save a DINOv2 of random weights, of the size of dinov2-small."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6}
    config = transformers.Dinov2Config(**sizes, image_size=518, patch_size=PATCH)
    transformers.Dinov2Model(config).save_pretrained(folder)
    numbers = {"size": {"shortest_edge": 256}, "resample": 3, "do_center_crop": True}
    numbers |= {"crop_size": {"height": SIZE, "width": SIZE}, "image_mean": MEAN, "image_std": STD}
    (folder / "preprocessor_config.json").write_text(json.dumps(numbers))
    return folder


def write_raw(raw: Path, fields: int, channels: int, side: int) -> Path:
    """Write a plate of smooth spots with shot noise, one field per well, as LZW TIFFs."""
    rng = np.random.default_rng(0)
    names = [f"C{number}" for number in range(1, channels + 1)]
    wells = [f"{chr(65 + index // 24)}{index % 24 + 1:02d}" for index in range(fields)]
    (raw / "images").mkdir(parents=True)
    rows = []
    for well in wells:
        files = [f"{well}_{name}.tiff" for name in names]
        for file in files:
            light = gaussian_filter(rng.random((side, side)), 6)
            light = (light - light.min()) / (light.max() - light.min())
            image = rng.poisson(100 + 3000 * light**3).astype(np.uint16)
            tifffile.imwrite(raw / "images" / file, image, compression="lzw")
        rows.append(["P1", well, 1, *files, *["images"] * channels])
    heads = [f"{part}_Orig{name}" for part in ("FileName", "PathName") for name in names]
    tables = {
        "load_data.csv": [["Metadata_Plate", "Metadata_Well", "Metadata_Site", *heads], *rows],
        "plate_map.csv": [["plate", "well", "gene"], *(["P1", well, "G"] for well in wells)],
    }
    for file, lines in tables.items():
        with open(raw / file, "w", newline="") as opened:
            csv.writer(opened).writerows(lines)
    return raw


class Loop:
    """The plain loop: one image at a time."""

    def __init__(self, folder: Path, machine: Machine, limits: np.ndarray, autocast: bool) -> None:
        """Open the model; `limits` are the intensities of each channel that become 0 and 1."""
        self.device, self.limits = machine.device, limits
        model = transformers.Dinov2Model.from_pretrained(folder, dtype=torch.float32)
        self.model = model.eval().to(self.device)
        self.cast: Callable[[], Any] = machine.fabric.autocast if autocast else nullcontext
        self.mean = torch.tensor(MEAN, device=self.device)[:, None, None]
        self.std = torch.tensor(STD, device=self.device)[:, None, None]

    @torch.inference_mode()
    def run(self, raw: Path) -> np.ndarray:
        """Return one row per field: the means over crops, channel after channel."""
        fields: dict[str, list[np.ndarray]] = {}
        for file in sorted((raw / "images").iterdir()):
            image, channel = tifffile.imread(file), int(file.stem.rpartition("C")[2]) - 1
            low, high = self.limits[channel]
            tiles = tile_field(*image.shape, SIZE)
            vectors = []
            for top, left in zip(tiles.tops, tiles.lefts, strict=True):
                crop = image[top : top + SIZE, left : left + SIZE].astype(np.float32)
                crop = np.clip((crop - low) / (high - low), 0, 1)
                pixels = torch.from_numpy(crop).to(self.device).expand(1, 3, -1, -1)
                with self.cast():
                    found = self.model(pixel_values=(pixels - self.mean) / self.std)
                vectors.append(found.last_hidden_state[0, 1:].float().mean(0).cpu().numpy())
            fields.setdefault(file.stem.partition("_")[0], []).append(np.mean(vectors, axis=0))
        return np.stack([np.concatenate(parts) for parts in fields.values()])


class Ours:
    """What `phenomae embed` does, with the model open and on its device."""

    def __init__(self, folder: Path, machine: Machine, channels: int, crops_at_once: int) -> None:
        self.machine, self.crops_at_once = machine, crops_at_once
        names = [f"C{number}" for number in range(1, channels + 1)]
        self.model = open_encoder(f"hf:{folder}", names).model.to(machine.device)

    def run(self, place: Path) -> np.ndarray:
        """Return one row per well."""
        store = open_store(place)
        tiles = [tile_field(*size, SIZE) for size in store.fields["height", "width"].iter_rows()]
        reader = CropReader([store], "fields")
        embedder = Embedder(reader, tiles, self.model, self.machine, self.crops_at_once)
        (plate,) = read_plates(store)
        with all_cores():
            (rows,) = embedder.embed(plate, [None], lambda count=1: None)
        return rows

    @torch.inference_mode()
    def run_bare(self, images: int) -> None:
        """Run the model on as many images in memory, in batches of the same size."""
        model: Any = self.model.encoder.model
        batch = torch.rand(self.crops_at_once, 3, SIZE, SIZE, device=self.machine.device)
        with all_cores(), self.machine.fabric.autocast():
            for start in range(0, images, self.crops_at_once):
                model(pixel_values=batch[: min(self.crops_at_once, images - start)])
        if self.machine.device.type == "cuda":
            torch.cuda.synchronize()


def measure(work: Callable[[], object]) -> float:
    """Return seconds."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def main() -> None:
    """Write model and fields, measure, and print the rates."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    for name, default in (("fields", 8), ("field-size", 672), ("channels", 5), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--crops-at-once", type=int, default=64)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bf16"])
    chosen = parser.parse_args()
    set_quiet(True)
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as name:
        compare(Path(name), chosen)


def compare(folder: Path, chosen: argparse.Namespace) -> None:
    """Measure all sides in turn and print the medians."""
    machine = open_machine(chosen.device, chosen.precision)
    model = write_model(folder / "model")
    raw = write_raw(folder / "raw", chosen.fields, chosen.channels, chosen.field_size)
    ingest(raw, folder / "store")
    store = open_store(folder / "store")
    limits = windows(store, [0])[0]
    ours = Ours(model, machine, chosen.channels, chosen.crops_at_once)
    loops = {"loop": Loop(model, machine, limits, autocast=False)}
    if machine.precision != "float32":
        loops["loop, bf16"] = Loop(model, machine, limits, autocast=True)
    images = len(tile_field(chosen.field_size, chosen.field_size, SIZE).tops)
    images *= chosen.fields * chosen.channels
    ours.run_bare(min(images, chosen.crops_at_once))  # so that the first turn is like the others

    def from_raw(number: int) -> None:
        ingest(raw, folder / f"store-{number}")
        ours.run(folder / f"store-{number}")

    seconds: dict[str, list[float]] = {}
    for number in range(chosen.rounds):
        sides: dict[str, Callable[[], object]] = {
            **{name: (lambda loop=loop: loop.run(raw)) for name, loop in loops.items()},
            "ours": lambda number=number: from_raw(number),
            "ours from a store": lambda: ours.run(folder / "store"),
            "bare": lambda: ours.run_bare(images),
        }
        for side, work in sides.items():
            seconds.setdefault(side, []).append(measure(work))
    found, expected = ours.run(folder / "store"), loops["loop"].run(raw)
    report(seconds, images, machine, float(np.abs(found - expected).max()))


def report(
    seconds: dict[str, list[float]], images: int, machine: Machine, difference: float
) -> None:
    """Print images per second, and whether the targets are met."""
    print(
        f"{images} images on {machine.device}, {machine.precision}, {torch.get_num_threads()} ",
        end="",
    )
    print(f"threads; largest difference of vectors {difference:.1e}")
    rates = {side: images / statistics.median(times) for side, times in seconds.items()}
    for side, rate in rates.items():
        print(f"{side:20s} {rate:9.1f} images/s")
    for (text, target), ratio in zip(
        TARGETS.items(),
        (rates["ours"] / rates["loop"], rates["ours from a store"] / rates["bare"]),
        strict=True,
    ):
        verdict = "met" if ratio >= target else "not met"
        print(f"{text}: {ratio:.2f} (target {target}: {verdict})")
    assert machine.precision != "float32" or difference < 1e-4, difference


if __name__ == "__main__":
    main()
