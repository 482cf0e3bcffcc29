#!/usr/bin/env bash
# imagecodecs' JPEG XL codec for Zarr ignores distance and level, and writes lossless chunks, unless lossless=False is given.
#
# Versions: imagecodecs 2026.3.6, numcodecs 0.16.6, NumPy 2.4.6, Python 3.11.
# Expected: Jpegxl(distance=3.0) writes what jpegxl_encode(pixels, distance=3.0) writes: lossy, as a distance
# above 0 is in JPEG XL, or it is refused.
# Seen: its lossless is True where it is not given, and None too becomes True, which wins over distance and
# level without a word: chunks are ten times as large as jpegxl_encode's, the store's metadata say
# "distance": 3.0 and "lossless": true. With lossless=False both write the same bytes.
# In phenomae: only read. JUMP-Lite's stores were written with lossless=False.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet imagecodecs==2026.3.6 numcodecs==0.16.6 numpy==2.4.6
"$folder/env/bin/python" - <<'PROGRAM'
import sys

import imagecodecs
import numpy as np
from imagecodecs.numcodecs import Jpegxl

pixels = np.random.default_rng(0).integers(0, 4000, (5, 64, 64)).astype(np.uint16)
function = bytes(imagecodecs.jpegxl_encode(pixels, distance=3.0))
codecs = {
    "distance=3.0": Jpegxl(distance=3.0),
    "distance=3.0, lossless=None": Jpegxl(distance=3.0, lossless=None),
    "level=90": Jpegxl(level=90),
    "distance=3.0, lossless=False": Jpegxl(distance=3.0, lossless=False),
}
chunks = {name: bytes(codec.encode(pixels)) for name, codec in codecs.items()}
exact = {name: bool((codecs[name].decode(it) == pixels).all()) for name, it in chunks.items()}
print(f"jpegxl_encode(distance=3.0): {len(function)} bytes")
for name, chunk in chunks.items():
    print(f"Jpegxl({name}): {len(chunk)} bytes, {'lossless' if exact[name] else 'lossy'}")
*ignored, lossy = exact
seen = all(exact[name] for name in ignored) and not exact[lossy] and chunks[lossy] == function
sys.exit(not seen)
PROGRAM
