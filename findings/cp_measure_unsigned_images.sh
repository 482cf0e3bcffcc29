#!/usr/bin/env bash
# cp_measure sums uint8 and uint16 images in their own type, so that its features overflow silently.
#
# Versions: cp_measure 0.3.0, SciPy 1.17.1, NumPy 2.4.6, Python 3.11.
# Expected: README's example of the bulk API passes an image of integers, and asks for floats only "to
# match CellProfiler's input convention". In a flat disc every ring holds its share of the stain: the
# mean fraction of each of the four rings is 1, as it is for float64 and int64. An overlap coefficient
# is at most 1 (Cauchy-Schwarz).
# Seen: for a disc of the value 200 in uint8 the mean fractions are .522, .668, 2.241 and .278, for 4000
# in uint16 2.883, 1.856, 1.022 and .377: a sparse matrix of the image's type adds the pixels of a ring.
# The overlap coefficient of two uint8 images of noise is 1.21 (float64: .85), because squares of uint8
# wrap. There is no warning.
# In phenomae: `features --kind cellprofiler` converts images to float64 from 0 to 1 first.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet cp_measure==0.3.0 scipy==1.17.1 numpy==2.4.6
"$folder/env/bin/python" -W error::RuntimeWarning - <<'PROGRAM'
import sys

import numpy as np
from cp_measure.bulk import get_core_measurements
from cp_measure.core.measurecolocalization import get_correlation_overlap

rows, columns = np.mgrid[:64, :64]
disc = (np.hypot(rows - 32, columns - 32) <= 20).astype(np.int32)
measure = get_core_measurements()["radial_distribution"]


def mean_fractions(dtype: type, value: int) -> list[float]:
    found = measure(disc, np.full((64, 64), value, dtype=dtype))
    names = [f"RadialDistribution_MeanFrac_{ring}of4" for ring in range(1, 5)]
    return [round(float(found[name][0]), 3) for name in names]


rng = np.random.default_rng(0)
pair = rng.integers(0, 256, (2, 64, 64), dtype=np.uint8)
overlaps = [
    round(float(get_correlation_overlap(*images, disc)["Correlation_Overlap"][0]), 2)
    for images in (pair, pair / 255)
]
wrong = [mean_fractions(np.uint8, 200), mean_fractions(np.uint16, 4000)]
right = [mean_fractions(np.int64, 4000), mean_fractions(np.float64, 200)]
print(f"uint8, uint16 {wrong}; int64, float64 {right}; overlap uint8, float64 {overlaps}")
as_described = wrong == [[0.522, 0.668, 2.241, 0.278], [2.883, 1.856, 1.022, 0.377]]
sys.exit(not (as_described and right == [[1.0] * 4] * 2 and overlaps == [1.21, 0.85]))
PROGRAM
