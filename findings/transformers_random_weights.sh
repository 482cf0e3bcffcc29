#!/usr/bin/env bash
# AutoModel returns a network of random weights for a folder none of whose tensors fits.
#
# Versions: transformers 5.24.0, safetensors 0.8.0, PyTorch 2.13.0, Python 3.11; a CPU.
# Input: a folder with the config.json of MorphEm (CaicedoLab/MorphEm on the hub) and 150 tensors under
# its names, those of DINO's ViT-S/16 for one channel: 384 wide. Its model_type is vit, and auto_map names
# a class of the repository.
# Expected: an exception, or the class that auto_map names, or a question about it; the documentation of
# trust_remote_code says that such models need it.
# Seen: without trust_remote_code, AutoModel returns the library's own ViTModel: 768 wide, for 3 channels,
# with all 200 tensors drawn at random, other ones at each load. No exception and no warning: a LOAD REPORT
# through logging, at level warning. Vectors of it look like vectors. A single missing tensor is drawn at
# random in the same way. output_loading_info=True says what is missing.
# In phenomae: every load checks that report and refuses all but a complete one; MorphEm is recognised, and
# its tensors are renamed for ViTModel.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 transformers==5.24.0 safetensors==0.8.0
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/env/bin/python" - <<'PROGRAM'
import json
import sys
import warnings
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoModel

warnings.simplefilter("error")
dim, layers = 384, {"patch_embed.proj": (384, 1, 16, 16), "norm": (384,)}
for block in range(12):
    inner = {"norm1": (dim,), "norm2": (dim,), "attn.qkv": (3 * dim, dim), "attn.proj": (dim, dim)}
    inner |= {"mlp.fc1": (4 * dim, dim), "mlp.fc2": (dim, 4 * dim)}
    layers |= {f"blocks.{block}.{name}": shape for name, shape in inner.items()}
tensors = {"cls_token": torch.zeros(1, 1, dim), "pos_embed": torch.zeros(1, 197, dim)}
for name, shape in layers.items():
    tensors |= {f"{name}.weight": torch.zeros(shape), f"{name}.bias": torch.zeros(shape[0])}
config = {
    "architectures": ["VisionTransformer"],
    "model_type": "vit",
    "auto_map": {
        "AutoConfig": "vision_transformer.VisionTransformerConfig",
        "AutoModel": "vision_transformer.VisionTransformer",
    },
    "img_size": 224, "patch_size": 16, "in_chans": 1, "num_classes": 0, "embed_dim": dim,
    "depth": 12, "num_heads": 6, "mlp_ratio": 4.0, "qkv_bias": True, "torch_dtype": "float32",
}
Path("morphem").mkdir()
Path("morphem/config.json").write_text(json.dumps(config))
save_file(tensors, "morphem/model.safetensors", {"format": "pt"})
print("transformers", transformers.__version__, "torch", torch.__version__)
try:
    model, report = AutoModel.from_pretrained("morphem", output_loading_info=True)
    again = AutoModel.from_pretrained("morphem")
except Exception as error:
    sys.exit(f"this has changed: {type(error).__name__}: {error}")
image = torch.rand(1, 3, 224, 224)
with torch.no_grad():
    vectors = [one.eval()(pixel_values=image).last_hidden_state[0, 0] for one in (model, again)]
counts = [len(report[f"{part}_keys"]) for part in ("missing", "unexpected")]
print(f"{type(model).__name__} of width {model.config.hidden_size}; missing, unexpected: {counts}")
print("largest difference of two loads:", float((vectors[0] - vectors[1]).abs().max()))
seen = model.config.hidden_size == 768 and counts == [200, 150]
seen = seen and not torch.allclose(*vectors, atol=0.1)
sys.exit(0 if seen else "this has changed")
PROGRAM
