"""Exact neighbors of all rows of a map, beside scikit-learn's brute-force search with cosines.

    python benchmarks/neighbors.py                17,000 rows of 384 features, 20 neighbors

Both run in processes of their own, alternately, on all cores; the smallest of the times counts.
The product of matrices alone, in float32, is timed as well: no exact search can be faster. The
target: at least 6 times as fast as scikit-learn, in a quarter of its memory.
"""

import argparse
import json
import subprocess
import sys

TARGET, MEMORY = 6.0, 0.25
_DRAW = """
import json, resource, sys, time
import numpy as np
rows, width, k = map(int, sys.argv[1:])
features = np.random.default_rng(0).normal(size=(rows, width)).astype(np.float32)
def report(start, ids):
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps([seconds, peak, int(ids.sum())]))
"""
_OURS = """
from phenomae.maps.nearest import compare_all
from phenomae.maps.unit_vectors import unit_rows
start = time.perf_counter()
unit = unit_rows(features)
report(start, compare_all(unit, k, {signs})[0][0])
"""
_SKLEARN = """
from sklearn.neighbors import NearestNeighbors
start = time.perf_counter()
search = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(features)
report(start, search.kneighbors()[1])
"""
_PRODUCT = """
start = time.perf_counter()
for first in range(0, rows, 1000):
    features[first : first + 1000] @ features.T
report(start, np.zeros(1))
"""
PROGRAMS = {
    "neighbors": _OURS.format(signs=(1.0,)),
    "nearest and farthest": _OURS.format(signs=(1.0, -1.0)),
    "scikit-learn": _SKLEARN,
    "the product alone": _PRODUCT,
}


def main() -> None:
    """Print time and memory of each, and whether the target is met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=17_000)
    parser.add_argument("--features", type=int, default=384)
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    found: dict[str, list[list[float]]] = {name: [] for name in PROGRAMS}
    for _ in range(given.rounds):
        for name, program in PROGRAMS.items():
            words = [str(number) for number in (given.rows, given.features, given.k)]
            command = [sys.executable, "-c", _DRAW + program, *words]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
    for name, runs in found.items():
        seconds, peak, _ = min(runs)
        print(f"{name:20} {seconds:6.2f} s  {peak:5.2f} GB")
    ours, theirs = (min(found[name]) for name in ("neighbors", "scikit-learn"))
    ratio, memory = theirs[0] / ours[0], ours[1] / theirs[1]
    same = "the same" if ours[2] == theirs[2] else "not the same"
    print(f"{ratio:.1f} times as fast (target {TARGET:g}), {memory:.2f} of the memory; {same} rows")
    sys.exit(ratio < TARGET or memory > MEMORY)


if __name__ == "__main__":
    main()
