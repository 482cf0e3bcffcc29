#!/usr/bin/env bash
# cp_measure returns rounding errors, or raises an error, where a channel has one value in an object.
#
# Versions: cp_measure 0.3.0, NumPy 2.4.6, Python 3.11.
# Expected: the correlation with a channel of one value is undefined, and so is the slope on it: NaN, as
# the code has it where it divides ("propagate NaN"). An empty channel is common: black, or clipped.
# Seen: which of NaN and a number comes depends on the value and the size of the object. For discs of
# radius 6, 12, 20 and 25 pixels and the value 0.0128, the slopes are -35.1, -2.9, -15.5 and 10.4, beside
# correlations of 1e-16; for the value 0.5 all are NaN. They are the covariance of rounding errors over
# their variance. For a channel of zeros get_correlation_overlap raises ZeroDivisionError, although it
# ignores NumPy's errors there: its sums are Python's floats. One such object fails the whole image.
# In phenomae: correlation and slope of a channel of one value are undefined, and left out of the median
# of a well; the overlap coefficient is not used.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet cp_measure==0.3.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PROGRAM'
import sys
import warnings

import numpy as np
from cp_measure.bulk import get_correlation_measurements
from cp_measure.core.measurecolocalization import get_correlation_overlap

warnings.simplefilter("ignore", RuntimeWarning)
rows, columns = np.mgrid[:64, :64]
noise = np.random.default_rng(0).random((64, 64))
pearson = get_correlation_measurements()["pearson"]


def slopes(value: float) -> list[float]:
    found = []
    for radius in (6, 12, 20, 25):
        disc = (np.hypot(rows - 32, columns - 32) <= radius).astype(np.int32)
        found.append(pearson(np.full((64, 64), value), noise, disc)["Correlation_Slope"][0])
    return found


rounding, undefined = slopes(0.0128), slopes(0.5)
disc = (np.hypot(rows - 32, columns - 32) <= 12).astype(np.int32)
try:
    overlap = str(get_correlation_overlap(noise, np.zeros((64, 64)), disc))
except ZeroDivisionError as error:
    overlap = f"ZeroDivisionError: {error}"
print(f"slopes on 0.0128 {np.round(rounding, 1)}, on 0.5 {undefined}; overlap with zeros: {overlap}")
as_described = np.isfinite(rounding).any() and np.nanmax(np.abs(rounding)) > 1
sys.exit(not (as_described and np.isnan(undefined).all() and overlap.startswith("ZeroDivision")))
PROGRAM
