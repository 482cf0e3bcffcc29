#!/usr/bin/env bash
# zarr-python cannot list the names in a group if one array in it has a codec that is not registered.
#
# Versions: zarr 3.1.6, numcodecs 0.16.6, imagecodecs 2026.3.6, NumPy 2.4.6, Python 3.11.
# Expected: the names of a group's members are those of its folders; a codec is needed to read pixels.
# Seen: group.keys() opens every member and raises UnknownCodecError, also for the names of arrays that
# can be read, and "jpegxl" in group raises it, too. It reads the metadata of each array for a
# name: in a store of 655,101 arrays (JUMP-Lite) as many requests. Codecs are registered by process, and
# packages with codecs that have no entry point (imagecodecs) must be registered by hand in each worker.
# In phenomae: names come from the index of the data set, and chunks are decoded without zarr-python.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet zarr==3.1.6 numcodecs==0.16.6 imagecodecs==2026.3.6 numpy==2.4.6
cd "$folder"
cat > write.py <<'PROGRAM'
import numcodecs
import numpy as np
import zarr
from imagecodecs.numcodecs import Jpegxl

numcodecs.register_codec(Jpegxl)
group = zarr.open_group("store.zarr", mode="w", zarr_format=2)
pixels = np.arange(4096, dtype=np.uint16).reshape(64, 64)
for name, codec in (("plain", None), ("jpegxl", Jpegxl(lossless=True))):
    group.create_array(name, data=pixels, chunks=(64, 64), compressors=codec)
PROGRAM
cat > read.py <<'PROGRAM'
import sys

import numcodecs
import zarr

group = zarr.open_group("store.zarr", mode="r")
print("plain:", group["plain"].shape, group["plain"][0, :3])
failed = 0
for what, read in (("keys()", lambda: sorted(group.keys())), ("in", lambda: "jpegxl" in group)):
    try:
        print(f"{what}: {read()}")
    except numcodecs.errors.UnknownCodecError as error:
        failed += 1
        print(f"{what}: UnknownCodecError: {error}")
sys.exit(failed != 2)
PROGRAM
"$folder/env/bin/python" write.py
"$folder/env/bin/python" read.py
