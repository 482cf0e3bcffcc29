#!/usr/bin/env bash
# Command lines made by cyclopts round a fraction that is given for a whole number, without a word.
#
# Version: cyclopts 5.4.0, Python 3.11.
# Input: a command with a parameter `shuffles: int`.
# Expected: `--shuffles .5` is an error, as `--shuffles half` is, and as `int(".5")` is in Python.
# Seen: .5 becomes 0, 1.5 and 2.5 both become 2 (Python's rounding to even), and the command runs.
# `1e3` is refused. So a share that is given where a count is meant (half of the permutations) turns
# the permutation test off.
# In phenomae: settings that are whole numbers refuse fractions, and take 2.0.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet cyclopts==5.4.0
"$folder/env/bin/python" - <<'PROGRAM'
import sys
from importlib.metadata import version

from cyclopts import App, CoercionError

app = App(result_action="return_value")


@app.default
def run(*, shuffles: int) -> int:
    return shuffles


def parse(text: str) -> int | str:
    try:
        return app(["--shuffles", text], exit_on_error=False, print_error=False)
    except CoercionError:
        return "refused"


found = {text: parse(text) for text in (".5", "1.5", "2.5", "2.0", "1e3", "half")}
print("cyclopts", version("cyclopts"), found)
expected = {".5": 0, "1.5": 2, "2.5": 2, "2.0": 2, "1e3": "refused", "half": "refused"}
sys.exit("this has changed" if found != expected else 0)
PROGRAM
