#!/usr/bin/env bash
# Everything that needs a graphics card, in one table that is printed row by row.
#
#     benchmarks/gpu.sh                      8 minutes on the card
#     benchmarks/gpu.sh --from demo --minutes 5
#     benchmarks/gpu.sh --list
#     benchmarks/gpu.sh --device cpu --tiny  a rehearsal
#
# On a machine without a package index, unpack the archive of `make gpu-kit` beside this script's
# folder first: `kit/` has the packages that a machine with PyTorch lacks (docs/gpu.md).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
export PYTHONPATH="$root/src:$here:$root/kit${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
# torch must not start the driver to see whether there is a card: the table forks its rows.
export PYTORCH_NVML_BASED_CUDA_CHECK=1
python=${PYTHON:-python3}
"$python" "$here/gpu/check.py" "$@"
exec "$python" "$here/gpu/run.py" "$@"
