#!/usr/bin/env bash
# numpy.random.Philox rounds a key given as a list of integers if one of them is 2^63 or more.
#
# Version: NumPy 2.4.6, Python 3.11.
# Expected: the key may be an array-like of uint64, and both integers below are in its range, so that
# each key has a stream of its own, or there is an error.
# Seen: a list with an integer of 2^63 or more and a smaller one passes through float64. The key
# [2^63 + 5, 3] becomes [2^63, 3] without a word, so that a thousand neighbouring seeds share one stream;
# [2^64 - 1, 3] becomes [0, 3], with a RuntimeWarning of an invalid value in a cast.
# np.array(key, dtype=np.uint64) keeps all bits.
# In phenomae: random numbers are keyed by [seed, step], and seeds must be below 2^63.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet numpy==2.4.6
"$folder/env/bin/python" - <<'PROGRAM'
import sys
import warnings

import numpy as np


def key_of(key) -> tuple[list[int], int]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        state = np.random.Philox(key=key).state["state"]["key"]
    return state.tolist(), len(caught)


seen = [key_of([2**63 + 5, 3]), key_of([2**63, 3]), key_of([2**64 - 1, 3])]
whole = key_of(np.array([2**63 + 5, 3], dtype=np.uint64))
print(f"NumPy {np.__version__}: {seen}, as an array of uint64 {whole}")
as_described = seen == [([2**63, 3], 0), ([2**63, 3], 0), ([0, 3], 1)]
sys.exit(not (as_described and whole == ([2**63 + 5, 3], 0)))
PROGRAM
