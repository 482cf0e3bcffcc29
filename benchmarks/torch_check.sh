#!/usr/bin/env bash
# The networks, the trainer and a short demo under several versions of PyTorch: make torch-check.
#
#     benchmarks/torch_check.sh                  the oldest, ours and the newest
#     benchmarks/torch_check.sh 2.12.1           or those that are named
#
# Makes an environment of several GB for each version in .torch-check/, and keeps it for the next
# time. Prints one line per version at the end; the output of each is in .torch-check/VERSION.log.
set -u
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- 2.11.0 2.13.0 2.15.0
mkdir -p .torch-check
# All other packages in the versions of constraints.txt, which pins torch too.
grep -v '^torch==' constraints.txt > .torch-check/constraints.txt
rooms="tests/models tests/weights tests/crops tests/pretraining tests/embedding tests/probes"

check() {
    local home=.torch-check/$1
    if [ ! -e "$home/installed" ]; then
        python3 -m venv --clear "$home" &&
        "$home/bin/pip" install --quiet "torch==$1" &&
        "$home/bin/pip" install --quiet --constraint .torch-check/constraints.txt \
            --editable '.[train,dev]' "torch==$1" &&
        touch "$home/installed" || return 1
    fi
    "$home/bin/python" -c 'import torch; print("torch", torch.__version__)' &&
    # shellcheck disable=SC2086
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 "$home/bin/pytest" -n auto --maxprocesses 8 $rooms &&
    PYTHON="$home/bin/python" benchmarks/gpu.sh --device cpu --tiny --minutes 30 \
        --folder ".torch-check/table-$1" --from demo --to demo
}

failed=0
for version in "$@"; do
    echo "torch $version: its output goes to .torch-check/$version.log"
    began=$SECONDS
    if check "$version" > ".torch-check/$version.log" 2>&1; then ended=passed; else ended=FAILED; failed=1; fi
    result="torch $version: $ended after $((SECONDS - began)) s, $(grep -E ' passed| failed' ".torch-check/$version.log" | tail -1)"
    echo "$result"
done
exit $failed
