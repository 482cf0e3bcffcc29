"""Trained networks by path, ready to embed."""

from pathlib import Path

import numpy as np
import pytest
import torch

from phenomae.models.settings import VitMaeModel
from phenomae.models.vit.vit_mae import VitMae
from phenomae.weights.import_export import Weights, export_weights, import_weights
from phenomae.weights.io import save
from phenomae.weights.licence import NOTICE
from phenomae.weights.load_model import load_model

SMALL = VitMaeModel(
    crop_size=16,
    patch_size=4,
    embed_dim=16,
    depth=1,
    num_heads=2,
    layer_scale=1.0,
    decoder_embed_dim=16,
    decoder_depth=1,
    decoder_num_heads=2,
)
CROPS = np.random.default_rng(0).integers(0, 256, (3, 2, 16, 16), dtype=np.uint8)


@pytest.fixture
def model() -> VitMae:
    torch.manual_seed(0)
    return VitMae(SMALL, ["DNA", "ER"])


def test_a_folder_gives_the_network_in_eval_mode_on_a_device(
    model: VitMae, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "weights", model, {})
    for source in (tmp_path, str(tmp_path), tmp_path / "weights"):
        found = load_model(source, device="cpu")
        assert not found.training
        assert found.channels == ("DNA", "ER")
        np.testing.assert_array_equal(found.embed(CROPS), model.embed(CROPS))
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert next(load_model(tmp_path).parameters()).device.type == expected
    assert capsys.readouterr().err == ""


def test_published_weights_come_with_their_licence_and_commands_return_weights(
    model: VitMae, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "run", model, {})
    public = export_weights(str(tmp_path / "run"), str(tmp_path / "public"))
    assert public == export_weights(tmp_path / "run", tmp_path / "public")
    assert public == Weights(tmp_path / "public")
    (public.path / "README.md").write_text("---\nlicense: mit\n---\n")
    capsys.readouterr()
    found = load_model(public, device="cpu")
    assert capsys.readouterr().err == f"public: licence: mit; {NOTICE}\n"
    np.testing.assert_array_equal(found.embed(CROPS), model.embed(CROPS))
    ours = import_weights(public, tmp_path / "ours", channels="a,b")
    assert ours == import_weights(public, tmp_path / "ours", channels="a,b")
    assert ours == Weights(tmp_path / "ours")
    assert ours.load().channels == ("a", "b")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="device must be cpu or auto, not cuda"):
        load_model(tmp_path, device="cuda")


def test_what_is_neither_a_folder_nor_a_repository_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no such folder, and it is no OWNER/NAME"):
        load_model(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"is a file: give the folder with config\.json"):
        load_model(tmp_path / "file")
    with pytest.raises(ValueError, match="has no weights"):
        load_model(tmp_path)
