#!/usr/bin/env bash
# numpy sorts, argsorts and partitions several times slower on an AMD Zen 4 with AVX-512 than without.
#
# Versions: numpy 2.4.6 (wheel for x86-64 Linux), Python 3.11; needs an AMD processor of family 25 with
# AVX-512 (EPYC 9004, Ryzen 7000).
# Expected: the code that numpy chooses for a processor is the fastest it has for it.
# Seen (262,144 random numbers, one thread): float64 sort 11.6 ms, with AVX-512 switched off
# (NPY_DISABLE_CPU_FEATURES) 2.1; argsort 15.9 and 5.7; partition 1.8 and .4; int64 sort 11.8 and 2.4. The
# instruction that stores selected lanes of a register to memory is microcode there (numpy/x86-simd-sort
# issue 6, open since 2023; AMD's optimization guide of Zen 4 advises against it). OpenJDK, which has the
# same code, leaves it out on Zen 4.
# In phenomae: what ranks known pairs among all pairs of a map looks cosines up in bins and sorts none
# (evaluation/recall/sorted_values.py). Switching AVX-512 off is no remedy to recommend: exp and log then
# have other last bits (numpy_avx512_bits.sh).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet numpy==2.4.6
python="$folder/env/bin/python"
has_avx512='from numpy._core._multiarray_umath import __cpu_features__ as has; raise SystemExit(not has["AVX512_SKX"])'
if ! grep -q AuthenticAMD /proc/cpuinfo || ! grep -qE '^cpu family\s*: 25$' /proc/cpuinfo ||
    ! "$python" -c "$has_avx512"; then
    echo "this is no AMD processor of family 25 with AVX-512, so the difference cannot be shown on it"
    exit 0
fi
cat > "$folder/program.py" <<'PROGRAM'
import json
import time

import numpy as np


def best_ms(work):
    times = []
    for _ in range(30):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return 1000 * min(times)


numbers = np.random.default_rng(0).normal(size=262_144)
whole = (1e6 * numbers).astype(np.int64)
print(json.dumps({
    "float64 sort": best_ms(lambda: np.sort(numbers)),
    "float64 argsort": best_ms(lambda: np.argsort(numbers)),
    "float64 partition": best_ms(lambda: np.partition(numbers, 1000)),
    "int64 sort": best_ms(lambda: np.sort(whole)),
}))
PROGRAM
"$python" "$folder/program.py" > "$folder/with.json"
NPY_DISABLE_CPU_FEATURES="X86_V4 AVX512_ICL AVX512_SPR" "$python" "$folder/program.py" > "$folder/without.json"
"$python" - "$folder" <<'PROGRAM'
import json
import sys

import numpy

with_it, without = (json.load(open(f"{sys.argv[1]}/{name}.json")) for name in ("with", "without"))
for name in with_it:
    print(f"numpy {numpy.__version__}, {name}: {with_it[name]:.1f} ms with AVX-512, {without[name]:.1f} without")
slower = [with_it[name] / without[name] for name in with_it]
raise SystemExit(0 if min(slower) > 1.5 else 1)
PROGRAM
