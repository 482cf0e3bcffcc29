#!/usr/bin/env bash
# Average precision of copairs is 1 where all profiles are the same: ties are ranked in favor of replicates.
#
# Version: copairs 0.5.5, NumPy 2.4.6, pandas 2.3.3, Python 3.11.
# Input: profiles that all point in one direction, as a collapsed network gives: replicates cannot be told
# from controls.
# Expected: an average precision near the share of replicates among the neighbors, 3 of 7 here, as
# scikit-learn's average_precision_score has it for equal scores, and a high p-value.
# Seen: 1 for every profile, the best there is, with p-values of .001, the lowest of 1,000 draws.
# Replicates and controls are sorted by similarity in single precision with the replicates in front,
# and the order of equal similarities is kept.
# In phenomae: `ask replicates` has the same precisions as copairs, so that results can be compared,
# and says so (docs/questions.md); its p-values exchange profiles, and are 1 here.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet copairs==0.5.5 numpy==2.4.6 pandas==2.3.3
"$folder/env/bin/python" - <<'PROGRAM'
import sys
from importlib.metadata import version

import numpy as np
import pandas as pd
from copairs.map import average_precision, mean_average_precision

meta = pd.DataFrame({"treatment": np.repeat(["a", "b", "none"], 4), "control": [0] * 8 + [1] * 4})
features = np.outer(np.arange(1.0, 13), [3.0, 1, 2])
found = average_precision(
    meta, features, ["treatment"], [], [], ["control"], progress_bar=False
)
precisions = found.loc[found["control"] == 0, "average_precision"]
print(f"copairs {version('copairs')}, average precisions of equal profiles: {precisions.unique().tolist()}")
treated = found[found["control"] == 0]
means = mean_average_precision(
    treated, ["treatment"], null_size=1000, threshold=0.05, seed=0, progress_bar=False
)
print(f"p-values of their means: {means['p_value'].round(6).tolist()}")
sys.exit(0 if (precisions == 1).all() and (means["p_value"] < 0.01).all() else 1)
PROGRAM
