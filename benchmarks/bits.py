"""Compare embeddings of the same crops in stores of another bit depth or window.

    phenomae ingest RAW STORE
    phenomae ingest RAW STORE8 --bits 8
    python benchmarks/bits.py RUN STORE STORE8 ...

RUN was trained on STORE or on one of the others. Crops are those that `phenomae embed` takes, 2,048
of them at most. For each other store it prints, over all crops and over the third that varies
least and most:

- pixels: the correlation of a crop's pixels with those of STORE, the median over crops of the worst
  channel;
- cosine: of embeddings about the mean of STORE's, the median and what 95 % of crops exceed;
- change: the length of the difference over the root mean square distance of embeddings of STORE
  from their mean, the median.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64

from phenomae.crops.reader import CropReader
from phenomae.crops.tensors import network_input
from phenomae.embedding.channels import match_channels
from phenomae.embedding.covering import cover_fields
from phenomae.models.network import Network
from phenomae.store.read import Store, open_store
from phenomae.weights import io as weights

_AT_ONCE = 64

_Vectors = Float32[np.ndarray, "m d"]
_Pixels = Float32[np.ndarray, "m c h w"]


def _choose_places(store: Store, size: int, most: int) -> Int64[np.ndarray, "m 3"]:
    places = np.array(
        [
            (field, top, left)
            for field, tiles in enumerate(cover_fields(store, size, size, "grid"))
            for top, left in zip(tiles.tops, tiles.lefts, strict=True)
        ]
    )
    chosen = np.random.default_rng(0).choice(len(places), min(most, len(places)), replace=False)
    return places[np.sort(chosen)]


def _embed(
    store: Store, model: Network, places: Int64[np.ndarray, "m 3"]
) -> tuple[_Vectors, _Pixels]:
    reader = CropReader([store], "crops", match_channels(store, model, ""))
    vectors, pixels = [], []
    with torch.inference_mode():
        for start in range(0, len(places), _AT_ONCE):
            fields, tops, lefts = places[start : start + _AT_ONCE].T
            crops = reader.crops(fields, tops, lefts, model.settings.crop_size)
            seen = network_input(crops, "cpu")
            vectors.append(model.encoder.embed(seen).float().numpy())
            pixels.append(seen.float().numpy())
    return np.concatenate(vectors), np.concatenate(pixels)


def _correlate(one: _Pixels, other: _Pixels) -> Float64[np.ndarray, " m"]:
    """Return each crop's pixel correlation in its worst channel; 0 if one is constant."""
    first, second = (it - it.mean((2, 3), keepdims=True, dtype=np.float64) for it in (one, other))
    power = (first**2).mean((2, 3)) * (second**2).mean((2, 3))
    joint = (first * second).mean((2, 3))
    return np.divide(joint, np.sqrt(power), out=np.zeros_like(joint), where=power > 0).min(axis=1)


def _cosines(one: _Vectors, other: _Vectors) -> Float64[np.ndarray, " m"]:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(axis=1) / lengths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("others", type=Path, nargs="+")
    parser.add_argument("--crops", type=int, default=2048)
    given = parser.parse_args()
    model = weights.load(given.run).eval()
    store = open_store(given.store)
    places = _choose_places(store, model.settings.crop_size, given.crops)
    vectors, pixels = _embed(store, model, places)
    middle = vectors.mean(axis=0)
    spread = np.sqrt(((vectors - middle) ** 2).sum(axis=1).mean())
    order = np.argsort(pixels.std((2, 3)).mean(axis=1))
    third = len(order) // 3
    print(f"{'':28}{'crops':>7}{'pixels':>9}{'cosine':>9}{'95 %':>9}{'change':>9}")
    for path in given.others:
        changed, others = _embed(open_store(path), model, places)
        alike = _correlate(pixels, others)
        cosines = _cosines(vectors - middle, changed - middle)
        change = np.linalg.norm(changed - vectors, axis=1) / spread
        for name, part in {"all": order, "dull": order[:third], "varied": order[-third:]}.items():
            figures = (
                np.median(alike[part]),
                np.median(cosines[part]),
                np.percentile(cosines[part], 5),
                np.median(change[part]),
            )
            told = "".join(f"{figure:9.4f}" for figure in figures)
            print(f"{path.name + ', ' + name:28}{len(part):7}{told}")


if __name__ == "__main__":
    main()
