#!/usr/bin/env bash
# Lightning Fabric on one device raises an error in a SLURM job of several tasks, although it joins none.
#
# Versions: lightning-fabric 2.6.6, torch 2.13.0 (any build), Python 3.11.
# Expected: Fabric(accelerator="cpu", devices=1) is one process, as independent tasks of a job are, whatever
# variables SLURM has set.
# Seen: with SLURM_NTASKS=4 and no --ntasks-per-node it raises RuntimeError, that --ntasks is not supported.
# With plugins=[LightningEnvironment()] it does not.
# In phenomae: `embed` and trainings of one process would fail in such jobs, shards of `embed` among them;
# `devices.open_machine` gives Fabric LightningEnvironment where there is one process.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.13.0 numpy lightning-fabric==2.6.6
cat > "$folder/program.py" <<'PROGRAM'
import os
import sys

import lightning_fabric
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment

os.environ.update(SLURM_NTASKS="4", SLURM_JOB_NAME="embed")
raised = None
try:
    Fabric(accelerator="cpu", devices=1)
except RuntimeError as error:
    raised = error
print(f"lightning-fabric {lightning_fabric.__version__}, one device in a job of 4 tasks: {raised}")
Fabric(accelerator="cpu", devices=1, plugins=[LightningEnvironment()])
sys.exit(0 if raised is not None and "ntasks" in str(raised) else 1)
PROGRAM
"$folder/env/bin/python" "$folder/program.py"
