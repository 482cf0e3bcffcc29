"""A network family is one module and one line: everything else works from the command line."""

import json
from pathlib import Path

from safetensors.numpy import load_file

from phenomae.runs import read_log

TOY = '''
from dataclasses import dataclass
from typing import ClassVar

from cyclopts import Parameter
from torch import nn
from torch.nn import functional

from phenomae.models.losses import FourierNorm
from phenomae.models.masking import MaeOutput, MaskedNetwork, hide, take
from phenomae.models.named_axes import NamedAxis
from phenomae.models.network import Encoder
from phenomae.models.vit.patches import patchify, standardise, unpatch


@Parameter(name="*")
@dataclass(frozen=True)
class ToyModel:
    """A linear map of patches."""

    crop_size: int = 32
    """Side of a crop."""
    patch_size: int = 8
    """Side of a patch."""
    width: int = 4
    """Length of an embedding."""
    mask_ratio: float = 0.5
    """Fraction of patches that is hidden."""
    fourier_weight: float = 0.0
    """Weight of the Fourier loss."""
    fourier_norm: FourierNorm = "backward"
    """Normalisation of the Fourier transform."""
    normalise_targets: bool = False
    """Whether targets are normalised."""

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width must be at least 1, not {self.width}")


class ToyEncoder(Encoder):
    depth = 1

    def __init__(self, settings, channels):
        super().__init__()
        self.patch_size = settings.patch_size
        self.embed_patches = nn.Linear(channels * settings.patch_size**2, settings.width)

    def cut(self, pixels):
        return patchify(standardise(pixels), self.patch_size)

    def walk(self, pixels):
        yield self.embed_patches(self.cut(pixels))


class Toy(MaskedNetwork[ToyEncoder]):
    """Reconstructs patches linearly."""

    family = "toy"
    Settings = ToyModel
    SIZES: ClassVar = {"T": ToyModel()}
    encoder_type = ToyEncoder
    named_axes = (
        NamedAxis("encoder.embed_patches.weight", "d (k n) -> n d k", summed=True),
        NamedAxis("predict.*", "(k n) ... -> n k ..."),
    )

    def __init__(self, settings, channels):
        super().__init__(settings, channels)
        self.encoder = ToyEncoder(settings, len(self.channels))
        self.predict = nn.Linear(settings.width, len(self.channels) * settings.patch_size**2)

    def forward(self, pixels, noise, full=True):
        patches = self.encoder.cut(pixels)
        masking = hide(noise, patches, self.settings.mask_ratio)
        latent = self.encoder.embed_patches(take(patches, masking.seen))
        mean = self.predict(latent.mean(1, keepdim=True))
        rebuilt = mean.expand_as(patches)
        hidden = take(rebuilt, masking.hidden)
        return MaeOutput(
            latent=latent,
            mask=masking.mask(),
            reconstruction=rebuilt if full else None,
            target=patches if full else None,
            losses={"loss": functional.mse_loss(hidden, take(patches, masking.hidden))},
        )

    def unpatch(self, patches, grid=None):
        side = self.settings.crop_size // self.settings.patch_size
        return unpatch(patches, grid or (side, side), self.settings.patch_size)
'''
RUN_ALL = """
import contextlib, io, json, sys
sys.path.insert(0, {folder!r})
from phenomae.models.families import FAMILIES
FAMILIES["toy"] = ("toy_network:Toy", "A toy network.")
from phenomae import cli

printed = []
for words in {lines!r}:
    screen = io.StringIO()
    with contextlib.redirect_stdout(screen), contextlib.redirect_stderr(screen):
        code = cli.run(words)
    assert code == 0, screen.getvalue()
    printed.append(screen.getvalue())
print(json.dumps(printed))
"""
FLAGS = [
    *("--crops-per-step", 4, "--crop-size", 16, "--patch-size", 4, "--width", 6),
    *("--device", "cpu", "--precision", "float32"),
]


def test_a_family_of_one_module_and_one_line(
    screen_path: Path, tmp_path: Path, fork_program
) -> None:
    (tmp_path / "toy_network.py").write_text(TOY)
    run, warm = tmp_path / "run", tmp_path / "warm"
    lines = [
        ["pretrain", "--help"],
        ["pretrain", "toy", "--help"],
        ["pretrain", "toy", screen_path, run, *FLAGS, "--steps", 2],
        ["plan", "pretrain", "toy", screen_path, "x", *FLAGS, "--burst-s", 1, "--json"],
        ["models", "--json"],
        ["embed", screen_path, run, tmp_path / "wells", "--device", "cpu"],
        ["pretrain", "toy", screen_path, warm, *FLAGS, "--steps", 0, "--init", run],
    ]
    words = [[str(word) for word in line] for line in lines]
    done = fork_program(RUN_ALL.format(folder=str(tmp_path), lines=words)).wait()
    assert done.returncode == 0, done.stderr
    families, settings, _, planned, listed, _, started = json.loads(done.stdout)
    assert "A toy network." in families
    assert "--width" in settings

    assert read_log(run)[-1]["step"] == 2
    assert (run / "reconstructions.png").exists()
    network = json.loads(planned[planned.index("{") : planned.rindex("}") + 1])["network"]
    assert network["parameters"] == (2 * 16 + 1) * 6 + (6 + 1) * 2 * 16

    toy = json.loads(listed)[-1]
    assert (toy["family"], toy["size"], toy["embedding"]) == ("toy", "T", 4)
    # 6 channels x 64 pixels per patch, 4 features, 16 patches; 2 FLOPs per weight
    assert toy["embedding_gflops"] == round(2 * 6 * 64 * 4 * 16 / 1e9, 3)
    assert (tmp_path / "wells/artefact.json").exists()

    assert "toy: encoder and predict copied" in started
    first, second = (load_file(folder / "weights/model.safetensors") for folder in (run, warm))
    assert all((first[name] == second[name]).all() for name in first)
