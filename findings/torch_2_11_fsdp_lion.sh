#!/usr/bin/env bash
# Lion of pytorch-optimizer cannot take a step on a module sharded by FSDP2 under torch 2.11.
#
# Versions: torch 2.11.0, pytorch-optimizer 4.1.0 (torch 2.13.0 does take the step), Python 3.11.
# Expected: fully_shard documents that an optimizer made after sharding works on the shards, and Lion
# chooses its foreach path by itself where all tensors allow it.
# Seen: the step raises NotImplementedError, "Operator aten._foreach_lerp.Scalar does not have a
# sharding strategy registered", by default and with foreach=True; with foreach=False it succeeds.
# The in-place _foreach_lerp_ is registered, the out-of-place one and _foreach_sign_ are not.
# In phenomae: build_optimiser uses Lion without foreach on shards before torch 2.13.
#
# One process, on a CPU. Downloads torch with its CUDA libraries, several GB.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.11.0 pytorch-optimizer==4.1.0 numpy
cat > "$folder/program.py" <<'PROGRAM'
import sys

import torch
from pytorch_optimizer import Lion
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

distributed.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=0, world_size=1)
seen = {}
for foreach in (None, True, False):
    layer = torch.nn.Linear(4, 3)
    fully_shard(layer, mesh=init_device_mesh("cpu", (1,)))
    optimizer = Lion(layer.parameters(), lr=1e-3, foreach=foreach)
    layer(torch.ones(2, 4)).sum().backward()
    try:
        optimizer.step()
        seen[foreach] = "a step"
    except NotImplementedError as error:
        seen[foreach] = str(error)
    print(f"torch {torch.__version__}, foreach={foreach}: {seen[foreach]}")
distributed.destroy_process_group()
missing = "Operator aten._foreach_lerp.Scalar does not have a sharding strategy registered."
sys.exit(seen != {None: missing, True: missing, False: "a step"})
PROGRAM
"$folder/env/bin/python" "$folder/program.py" "$folder/store"
