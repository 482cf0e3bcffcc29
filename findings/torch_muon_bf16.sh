#!/usr/bin/env bash
# torch.optim.Muon rounds its updates to bf16, whatever the type of the weights.
#
# Versions: torch 2.13.0 (any build), Python 3.11.
# Expected: an optimiser computes in the type of its weights, as torch's others do: a step of
# float64 weights is exact to about 15 digits.
# Seen: the Newton-Schulz iteration runs in bfloat16. The first update of float64 weights is a
# matrix of bf16 numbers, and its relative error beside the same formula in float64 is above 1e-3
# (3e-16 if the type were kept). On a CPU without bf16 such products are also slow.
# In phenomae: pretrain --optimiser muon is documented to be slow on such a CPU.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.13.0 numpy
cat > "$folder/program.py" <<'PROGRAM'
import torch

torch.manual_seed(0)
weight = torch.nn.Parameter(torch.zeros(64, 64, dtype=torch.float64))
gradient = torch.randn(64, 64, dtype=torch.float64)
weight.grad = gradient.clone()
torch.optim.Muon([weight], lr=1.0, weight_decay=0.0).step()
update = -weight.detach()

# Momentum .95 with Nesterov only scales the first gradient, and the norm takes the scale out.
expected = gradient / gradient.norm()
for _ in range(5):
    square = expected @ expected.T
    expected = 3.4445 * expected + (-4.7750 * square + 2.0315 * square @ square) @ expected

error = ((update - expected).norm() / expected.norm()).item()
are_bf16 = torch.equal(update, update.bfloat16().double())
print(f"torch {torch.__version__}: float64 weights, updates are bf16 numbers: {are_bf16}, "
      f"relative error {error:.1e}")
raise SystemExit(0 if are_bf16 and error > 1e-3 else 1)
PROGRAM
"$folder/env/bin/python" "$folder/program.py"
