#!/usr/bin/env bash
# Equal images in one batch come out of GroupNorm with different bits, by their place in the batch.
#
# Version: PyTorch 2.13.0, NumPy 2.4.6, Python 3.11; a CPU.
# Input: 16 copies of one image of 16 features and 64 x 64 pixels, in channels-last memory format.
# Expected: 16 equal results; each image is normalised by itself.
# Seen: equal with 1, 2, 4, 8 and 16 threads. With 3 threads there are 3 different results, with 6
# there are 6, with 12 there are 12. The threads share the pixels of the whole batch, and the sums of
# an image on a border between threads are added up in another order. Of small maps (16 x 16 pixels)
# and in contiguous memory format, where threads share images and groups, results are equal. So an
# embedding of a U-Net depends on the place of its crop in the batch on 6 or 12 cores, not on 8.
# In phenomae: U-Nets embed one crop at a time on such numbers of threads.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PROGRAM'
import sys

import torch

torch.manual_seed(0)


@torch.inference_mode()
def count_results(side: int, memory_format: torch.memory_format) -> dict[int, int]:
    """Return how many different results 16 equal images have, for each number of threads."""
    image = torch.randn(1, 16, side, side)
    batch = image.expand(16, -1, -1, -1).contiguous(memory_format=memory_format)
    norm, counts = torch.nn.GroupNorm(8, 16), {}
    for threads in (1, 2, 3, 4, 6, 8, 12, 16):
        torch.set_num_threads(threads)
        counts[threads] = len({one.contiguous().numpy().tobytes() for one in norm(batch)})
    return counts


print("torch", torch.__version__)
found = {}
for side in (16, 64):
    for memory_format in (torch.contiguous_format, torch.channels_last):
        found[side, memory_format] = count_results(side, memory_format)
        print(f"{side} x {side} pixels, {memory_format}:", found[side, memory_format])
odd = found.pop((64, torch.channels_last))
seen = all(count == (1 if threads in (1, 2, 4, 8, 16) else threads) for threads, count in odd.items())
equal = all(count == 1 for counts in found.values() for count in counts.values())
sys.exit("this has changed" if not (seen and equal) else 0)
PROGRAM
