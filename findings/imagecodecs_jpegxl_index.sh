#!/usr/bin/env bash
# imagecodecs decodes a frame that a JPEG XL stream does not have, without an error.
#
# Versions: imagecodecs 2026.3.6, NumPy 2.4.6, Python 3.11.
# Expected: `jpegxl_decode(data, index=4)` of a stream with four frames raises an error, as tifffile
# does for a page that a file lacks.
# Seen: it returns an image of the right shape and type, whatever the index. Its values are those that
# the memory of the new array had: two calls with other memory in between differ. A stack of channels
# that lost its last one, read channel by channel, is then a channel of chance.
# In phenomae: a chunk of JUMP-Lite's JPEG XL stores is decoded as a whole, and its shape is checked.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet imagecodecs==2026.3.6 numpy==2.4.6
"$folder/env/bin/python" - <<'PROGRAM'
import sys

import imagecodecs
import numpy as np

stack = np.random.default_rng(0).poisson(200, (4, 64, 64)).astype(np.uint16)
data = imagecodecs.jpegxl_encode(stack, lossless=True)
whole = imagecodecs.jpegxl_decode(data)
frames = [imagecodecs.jpegxl_decode(data, index=index) for index in range(4)]
right = np.array_equal(whole, stack) and np.array_equal(np.stack(frames), stack)
absent = []
for index in (4, 100):
    try:
        absent.append(imagecodecs.jpegxl_decode(data, index=index).shape)
    except Exception as error:
        absent.append(type(error).__name__)
print(f"frames 0 to 3 as encoded: {right}; frames 4 and 100 of 4: {absent}")
sys.exit(not (right and absent == [(64, 64)] * 2))
PROGRAM
