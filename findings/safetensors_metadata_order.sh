#!/usr/bin/env bash
# The same tensors and metadata give other bytes in each process, where metadata has several keys.
#
# Version: safetensors 0.8.0, numpy 2.3.5, Python 3.11.
# Input: one tensor, and metadata of three keys, saved by eight processes one after the other.
# Expected: the same bytes, as tensors are written in a fixed order and the format has no time stamp.
# Seen: several different files, which differ in the order of the keys of `__metadata__` alone; with
# one key all are the same. A hash of a checkpoint or of weights therefore changes from run to run
# although nothing in them does.
# In phenomae: checkpoints have a single key, with JSON in it, and equal states give equal bytes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet safetensors==0.8.0 numpy==2.3.5
cat > "$folder/save.py" <<'PROGRAM'
import hashlib
import sys

import numpy as np
from safetensors.numpy import save

keys = {"step": "1", "rest": "{}", "sha256": "0"}
metadata = dict(list(keys.items())[: int(sys.argv[1])])
print(hashlib.sha256(save({"weight": np.zeros(3, np.float32)}, metadata=metadata)).hexdigest())
PROGRAM
count() {
    for _ in 1 2 3 4 5 6 7 8; do "$folder/env/bin/python" "$folder/save.py" "$1"; done | sort -u | wc -l
}
one=$(count 1) three=$(count 3)
echo "safetensors 0.8.0: different files of 8: $one with one key, $three with three keys"
if [ "$one" -ne 1 ] || [ "$three" -eq 1 ]; then echo "this has changed"; exit 1; fi
