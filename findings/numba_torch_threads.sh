#!/usr/bin/env bash
# A function that numba runs in parallel changes how many threads PyTorch uses, and so its numbers.
#
# Versions: numba 0.68.1 (threading layer omp), PyTorch 2.13.0, NumPy 2.4.6, Python 3.11, Linux.
# Expected: with OMP_NUM_THREADS=1, or after torch.set_num_threads(1), PyTorch stays at one thread
# whatever other libraries of the process do: numba documents NUMBA_NUM_THREADS and
# numba.set_num_threads as its own.
# Seen: the first parallel function of numba (umap-learn has some) sets the threads of the OpenMP
# runtime that both share to NUMBA_NUM_THREADS, as a rule all cores. torch.get_num_threads() is then 2
# instead of 1, and the gradient of a layer norm has other last bits, because it is summed in other
# parts. A training that runs after a UMAP in one process is not that of a process of its own.
# In phenomae: training and embedding set the number of threads themselves, also where
# OMP_NUM_THREADS is set; a test runs umap-learn first.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet numba==0.68.1 torch==2.13.0 numpy==2.4.6
OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=2 "$folder/env/bin/python" - <<'PROGRAM'
import sys

import numba
import numpy as np
import torch

torch.set_num_threads(1)
images = torch.randn(4096, 384, generator=torch.Generator().manual_seed(0))


def gradient():
    norm = torch.nn.LayerNorm(384)
    norm(images).square().sum().backward()
    return norm.weight.grad


@numba.njit(parallel=True)
def double(values):
    for index in numba.prange(len(values)):
        values[index] *= 2


before, first = torch.get_num_threads(), gradient()
double(np.ones(100))
after, second = torch.get_num_threads(), gradient()
torch.set_num_threads(1)
third = gradient()
print(
    f"threads of torch before and after: {before}, {after} (numba's layer: {numba.threading_layer()})"
)
print(f"same gradient: {torch.equal(first, second)}; with one thread again: {torch.equal(first, third)}")
seen = (before, after, torch.equal(first, second), torch.equal(first, third))
sys.exit(seen != (1, 2, False, True))
PROGRAM
