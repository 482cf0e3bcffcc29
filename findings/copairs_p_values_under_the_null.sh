#!/usr/bin/env bash
# P-values of mean average precision of copairs are not those of a test at the stated level.
#
# Version: copairs 0.5.5, NumPy 2.4.6, pandas 2.3.3, Python 3.11.
# Input: profiles of independent normal noise, so that no perturbation has an effect. Replicates of a
# perturbation are on one plate with its controls, and controls of this plate are the negatives.
# Expected: p-values of at most a for a fraction a of the perturbations, or fewer.
# Seen, of 2,000 perturbations:
# - Two replicates beside 8 controls: p <= .01 for 4 to 6 %. A perfect ranking of both replicates is
#   that frequent by chance, but has the smallest p-value there is, because null values that equal
#   the observed one are not counted.
# - Twelve replicates beside 32 controls: p <= .05 for none, and p <= .5 for about 70 %. The null
#   distribution draws the rankings of the replicates independently of each other, and the mean of
#   such rankings varies in another way than that of replicates that rank each other.
# In phenomae: `ask replicates` tests by exchanging profiles, and has the p-value of copairs beside it.
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


def p_values(replicates: int, controls: int, plates: int = 2000) -> np.ndarray:
    names = ["treated"] * replicates + ["control"] * controls
    meta = pd.DataFrame(
        {
            "plate": np.repeat(np.arange(plates), len(names)),
            "perturbation": [
                f"{name}-{plate}" if name == "treated" else name
                for plate in range(plates)
                for name in names
            ],
        }
    )
    meta["control"] = meta["perturbation"] == "control"
    features = np.random.default_rng(0).normal(size=(len(meta), 16))
    precisions = average_precision(
        meta, features, ["plate", "perturbation"], [], ["plate"], ["control"], progress_bar=False
    )
    precisions = precisions[~precisions["control"]]
    means = mean_average_precision(
        precisions, ["perturbation"], null_size=10000, threshold=0.05, seed=0, progress_bar=False
    )
    assert len(means) == plates
    return means["p_value"].to_numpy()


few, many = p_values(2, 8), p_values(12, 32)
print(f"copairs {version('copairs')}:")
for name, values in (("2 replicates, 8 controls", few), ("12 replicates, 32 controls", many)):
    shares = {level: float((values <= level).mean()) for level in (0.01, 0.05, 0.5)}
    print(f"  {name}: fraction of p-values at most {shares}")
as_described = 0.03 < (few <= 0.01).mean() < 0.07 and (many <= 0.05).mean() < 0.005
sys.exit(not (as_described and 0.6 < (many <= 0.5).mean() < 0.8))
PROGRAM
