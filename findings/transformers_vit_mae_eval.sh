#!/usr/bin/env bash
# ViTMAEModel hides three quarters of the patches, at random, in eval mode too.
#
# Versions: transformers 5.24.0, PyTorch 2.13.0, Python 3.11; a CPU.
# Input: a ViTMAEModel with random weights in eval mode, and the same image twice.
# Expected: equal outputs. Module.eval() turns off what is random in training, and the encoder of a masked
# autoencoder is used without masking: He et al. 2022 remove the mask after the pre-training.
# Seen: 49 of 196 patch tokens, others in each call, and the class token differs too. With mask_ratio=0.0
# all patches stay, in random order (ids_restore says which). With noise=arange their order is kept, and
# two calls agree to the bit.
# In phenomae: both are passed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 transformers==5.24.0
HF_HUB_OFFLINE=1 "$folder/env/bin/python" - <<'PROGRAM'
import sys

import torch
import transformers
from transformers import ViTMAEConfig, ViTMAEModel

torch.manual_seed(0)
sizes = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3}
model = ViTMAEModel(ViTMAEConfig(**sizes, intermediate_size=96)).eval()
image = torch.rand(1, 3, 224, 224)


@torch.no_grad()
def call_twice(**options: object) -> tuple[int, bool, bool]:
    """Return the number of tokens, and whether class tokens and all tokens of two calls agree."""
    first, second = (model(pixel_values=image, **options).last_hidden_state for _ in range(2))
    same = torch.allclose(first[:, 0], second[:, 0], atol=1e-5)
    return first.shape[1], same, torch.equal(first, second)


print("transformers", transformers.__version__, "torch", torch.__version__)
default = call_twice()
model.config.mask_ratio = 0.0
kept = call_twice()
ordered = call_twice(noise=torch.arange(196.0)[None])
for name, found in (("default", default), ("mask_ratio 0", kept), ("and noise", ordered)):
    print(f"{name}: {found[0]} tokens, equal class tokens {found[1]}, equal tokens {found[2]}")
seen = default == (50, False, False) and kept == (197, True, False) and ordered == (197, True, True)
sys.exit(0 if seen else "this has changed")
PROGRAM
