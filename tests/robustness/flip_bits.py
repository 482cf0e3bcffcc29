"""Flips bits of an artefact one at a time, and prints each that is read as another content.

    python tests/robustness/flip_bits.py KIND ARTEFACT COUNT SEED

A script, because HDF5 and others are libraries in C, which a changed file can end: what calls it
lives on.
"""

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from phenomae import signatures
from phenomae.maps.read import read_map
from phenomae.reporting.evidence.results import read_results
from phenomae.store import handles
from phenomae.store.read import open_store, read_field
from phenomae.wells import open_wells, read_wells


def last_checkpoint(run: Path) -> Path:
    return max((run / "checkpoints").glob("*.safetensors"))


def read_wells_twice(path: Path) -> Any:
    whole, files = read_wells(path), open_wells(path)
    plates = files.table["plate"].unique(maintain_order=True)
    features = np.concatenate([files.read(plate) for plate in plates])
    assert files.table.equals(whole.table)
    assert features.tobytes() == whole.features.tobytes()
    return whole.identity, whole.table.rows(), features.tobytes()


def read_store(path: Path) -> Any:
    handles._begin_opening.cache_clear()
    store = open_store(path)
    pixels = [read_field(store, row).tobytes() for row in range(len(store.fields))]
    known = store.channels, store.dtype, store.pixel_size_um, store.identity
    return known, store.fields.rows(), pixels


def read_the_map(path: Path) -> Any:
    found = read_map(path)
    points = None if found.layout is None else found.layout.tobytes()
    return found.names, found.features.tobytes(), found.obs.columns, found.obs.rows(), points


def read_weights(path: Path) -> Any:
    from phenomae.weights import io as weights  # torch takes seconds to import

    state = weights.load(path).state_dict()
    tensors = {name: tensor.numpy().tobytes() for name, tensor in state.items()}
    return weights.read_config(path), weights.identify(path), tensors


def read_checkpoint(path: Path) -> Any:
    from phenomae.pretraining.callbacks import checkpoints

    rest, tensors = checkpoints._read(last_checkpoint(path))
    return rest, {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


def read_the_results(path: Path) -> Any:
    found = read_results(path)
    return found.recall.rows(), found.curve.rows(), found.signature


READERS: dict[str, Callable[[Path], Any]] = {
    "wells": read_wells_twice,
    "map": read_the_map,
    "store": read_store,
    "weights": read_weights,
    "checkpoint": read_checkpoint,
    "results": read_the_results,
}


def files_of(kind: str, path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    files = sorted(file for file in path.rglob("*") if file.is_file())
    if kind == "checkpoint":
        return [last_checkpoint(path)]
    if kind == "weights":  # what `load` has no need of
        apart = ("checkpoints", "log.jsonl", "reconstructions.png", "environment.txt")
        return [file for file in files if not set(apart) & {file.name, file.parent.name}]
    return files


def flip(file: Path, rng: random.Random) -> tuple[bytes, str]:
    """Flip one bit of a file; return what it held and which bit it was."""
    content = file.read_bytes()
    place, bit = rng.randrange(len(content)), rng.randrange(8)
    changed = bytearray(content)
    changed[place] ^= 1 << bit
    file.write_bytes(changed)
    return content, f"bit {bit} of byte {place} of {file}"


def main(kind: str, path: Path, count: int, seed: int) -> None:
    """Print one line per bit whose flip is neither refused nor without consequence."""
    read, rng = READERS[kind], random.Random(seed)
    undisturbed, files = read(path), files_of(kind, path)
    sizes = [file.stat().st_size for file in files]
    for _ in range(count):
        # Half of them in any file, because few bits are in the small ones.
        file = rng.choice(files) if rng.random() < 0.5 else rng.choices(files, sizes)[0]
        content, where = flip(file, rng)
        signatures._verified.clear()  # file systems count time in ticks
        try:
            if read(path) != undisturbed:
                print(f"{where}: other content")
        except ValueError:
            pass
        except Exception as error:
            print(f"{where}: {error!r}")
        file.write_bytes(content)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
