"""Import after export is the identity, and export after import; what is wrong is one sentence."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, load_file, save_file

from phenomae import cli
from phenomae.models.network import Network
from phenomae.models.settings import ChannelMaeModel, VitMaeModel
from phenomae.models.vit.channel_mae import ChannelMae
from phenomae.models.vit.vit_mae import VitMae
from phenomae.progress import set_quiet
from phenomae.weights import io as weights
from phenomae.weights.import_export import export_weights, import_weights
from phenomae.weights.licence import NOTICE
from phenomae.whole_files import hash_file

SIZES = {
    "crop_size": 16,
    "patch_size": 4,
    "embed_dim": 8,
    "depth": 2,
    "num_heads": 2,
    "layer_scale": 0.5,
    "decoder_embed_dim": 16,
    "decoder_depth": 2,
    "decoder_num_heads": 2,
    "mask_ratio": 0.5,
}
CHANNELS = ("DNA", "ER", "AGP")
FIXTURES = ["published/safetensors", "published/archive", "mae", "camae"]


@pytest.fixture(params=["vit-mae", "channel-mae"])
def model(request: pytest.FixtureRequest) -> Network:
    torch.manual_seed(0)
    if request.param == "vit-mae":
        return VitMae(VitMaeModel(**SIZES), CHANNELS)
    return ChannelMae(ChannelMaeModel(**SIZES, cross_num_heads=2), CHANNELS)


@pytest.fixture
def ours(tmp_path: Path, model: Network) -> Path:
    """Weights as a run leaves them."""
    told = {"pixel_size_um": 0.65, "intensity": "window", "identity": "0123"}
    weights.save(tmp_path / "ours", model, told)
    return tmp_path / "ours"


@pytest.fixture
def public(tmp_path: Path, ours: Path) -> Path:
    """The same in the public layout, and no artefact: as it would lie anywhere."""
    export_weights(ours, tmp_path / "public")
    (tmp_path / "public/artefact.json").unlink()
    return tmp_path / "public"


def read_json(folder: Path, name: str = "config.json") -> dict:
    return json.loads((folder / name).read_text())


def edit_config(folder: Path, **changes) -> None:
    """Change config.json and remove its checksums, as in weights that other software wrote."""
    config = {**read_json(folder), **changes}
    kept = {key: value for key, value in config.items() if key not in ("sha256", "checksum")}
    (folder / "config.json").write_text(json.dumps(kept))


def require_same_tensors(found: Path, expected: Path) -> None:
    """Compare two folders of safetensors: names, shapes and bits."""
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (found, expected))
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype, name
        assert torch.equal(ours[name], tensor), name


def test_import_after_export_is_the_identity(model: Network, ours: Path, tmp_path: Path):
    export_weights(ours, tmp_path / "public")
    import_weights(str(tmp_path / "public"), tmp_path / "again")
    require_same_tensors(tmp_path / "again", ours)
    before, after = read_json(ours), read_json(tmp_path / "again")
    for key in ("family", "model", "channels", "pixel_size_um", "intensity"):
        assert after[key] == before[key], key
    found = weights.load(tmp_path / "again")
    assert (found.settings, found.channels) == (model.settings, CHANNELS)


def test_the_public_folder_itself_loads_too(model: Network, public: Path):
    found = weights.load(public)
    assert (found.settings, found.channels) == (model.settings, CHANNELS)
    pixels = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(found.embed(pixels), model.eval().embed(pixels))


@pytest.mark.parametrize("name", FIXTURES)
def test_export_after_import_of_a_fixture_is_the_identity(
    name: str, golden_case: Callable[[str], Path], tmp_path: Path
):
    folder = golden_case(name)
    import_weights(str(folder), tmp_path / "ours")
    export_weights(tmp_path / "ours", tmp_path / "public")
    assert read_json(tmp_path / "public") == read_json(folder)
    plain = folder.parent / "safetensors" if name == "published/archive" else folder
    require_same_tensors(tmp_path / "public", plain)
    import_weights(str(tmp_path / "public"), tmp_path / "again")
    require_same_tensors(tmp_path / "again", tmp_path / "ours")
    assert read_json(tmp_path / "again")["model"] == read_json(tmp_path / "ours")["model"]


def test_both_forms_of_the_published_fixture_are_the_same_weights(shared: Path, tmp_path: Path):
    for form in ("safetensors", "archive"):
        import_weights(str(shared / "fixtures/published" / form), tmp_path / form)
    require_same_tensors(tmp_path / "archive", tmp_path / "safetensors")


def test_a_public_folder_is_written_anew_without_import(public: Path, tmp_path: Path):
    torch.save({"state_dict": load_file(public / "model.safetensors")}, tmp_path / "archive")
    shutil.copytree(public, tmp_path / "packed")
    shutil.move(tmp_path / "archive", tmp_path / "packed/model.safetensors")
    export_weights(tmp_path / "packed", tmp_path / "plain")
    require_same_tensors(tmp_path / "plain", public)
    assert read_json(tmp_path / "plain") == read_json(public)


def test_channels_may_be_named(public: Path, tmp_path: Path):
    edit_config(public, phenomae={})
    import_weights(str(public), tmp_path / "unnamed")
    import_weights(str(public), tmp_path / "named", channels="Hoechst, ConA,WGA ")
    assert read_json(tmp_path / "unnamed")["channels"] == ["channel 1", "channel 2", "channel 3"]
    assert read_json(tmp_path / "named")["channels"] == ["Hoechst", "ConA", "WGA"]
    export_weights(tmp_path / "named", tmp_path / "public2")
    named = read_json(tmp_path / "public2")["phenomae"]
    assert named["channels"] == ["Hoechst", "ConA", "WGA"]
    assert set(named) == {"channels", "encoder"}  # the latter for transformers


@pytest.mark.parametrize("channels", ["DNA,ER", "DNA,ER,ER", "DNA,,AGP", ",", "a,b,c,d"])
def test_channels_that_are_not_those_of_the_weights_are_refused(
    channels: str, public: Path, tmp_path: Path
):
    with pytest.raises(ValueError, match="channels must be 3 different names, as many as the"):
        import_weights(str(public), tmp_path / "out", channels=channels)
    assert not list(tmp_path.glob("out*"))


def test_where_weights_come_from_is_kept(public: Path, tmp_path: Path, capsys):
    (public / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    import_weights(str(public), tmp_path / "out")
    told = f"public: licence: cc-by-nc-4.0; {NOTICE}\n"
    assert capsys.readouterr().err == told
    config = read_json(tmp_path / "out")
    assert (config["source"], config["revision"]) == ("public", None)
    assert (config["licence"], config["notice"]) == ({"license": "cc-by-nc-4.0"}, NOTICE)
    assert config["source_hash"] == hash_file(public / "model.safetensors")
    assert config["published"] == read_json(public)

    export_weights(tmp_path / "out", tmp_path / "public2")  # the card stays behind, its word not
    assert f"licence: cc-by-nc-4.0; {NOTICE}\n" in capsys.readouterr().err
    import_weights(str(tmp_path / "public2"), tmp_path / "again")
    assert read_json(tmp_path / "again")["licence"] == {"license": "cc-by-nc-4.0"}


def test_the_licence_is_told_where_none_is_named_and_not_with_quiet(
    public: Path, tmp_path: Path, capsys
):
    import_weights(str(public), tmp_path / "out")
    assert f"public: licence: not named by their source; {NOTICE}" in capsys.readouterr().err
    set_quiet(True)
    try:
        import_weights(str(public), tmp_path / "out2")
    finally:
        set_quiet(False)
    assert capsys.readouterr().err == ""
    assert read_json(tmp_path / "out2")["notice"] == NOTICE


def test_the_same_work_is_not_done_twice_and_other_work_is_not_replaced(
    public: Path, ours: Path, tmp_path: Path, capsys
):
    out = tmp_path / "out"
    import_weights(str(public), out)
    first = (out / "model.safetensors").stat().st_mtime_ns
    import_weights(str(public), out)
    assert "out is already there, made with the same settings" in capsys.readouterr().err
    assert (out / "model.safetensors").stat().st_mtime_ns == first
    with pytest.raises(ValueError, match="out was made with another setting: channels = "):
        import_weights(str(public), out, channels="a,b,c")
    with pytest.raises(ValueError, match="out was made with another setting: channels = "):
        export_weights(ours, out)
    import_weights(str(public), out, channels="a,b,c", overwrite=True)
    assert read_json(out)["channels"] == ["a", "b", "c"]
    with pytest.raises(ValueError, match=r"ours is there and was not made by phenomae"):
        import_weights(str(public), ours, overwrite=True)


def test_other_weights_under_the_same_name_are_another_source(public: Path, tmp_path: Path):
    import_weights(str(public), tmp_path / "out")
    tensors = load_file(public / "model.safetensors")
    tensors["decoder.mask_token"] += 1
    save_file(tensors, public / "model.safetensors")
    with pytest.raises(ValueError, match="out was made with another source: weights = "):
        import_weights(str(public), tmp_path / "out")


def test_phenomaes_own_weights_need_no_import(ours: Path, tmp_path: Path):
    with pytest.raises(ValueError, match="is in phenomae's own layout already: use it as it is"):
        import_weights(str(ours), tmp_path / "out")


@pytest.mark.parametrize("source", ["nowhere", "a/b/c", "./absent", "/absent/x", "../absent"])
def test_a_source_that_is_nowhere_is_refused(source: str, tmp_path: Path):
    with pytest.raises(
        ValueError, match="there is no such folder, and it is no OWNER/NAME on the hub"
    ):
        import_weights(source, tmp_path / "out")


def test_a_file_is_no_source(public: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Also where its path could be a name on the hub."""
    monkeypatch.chdir(tmp_path)
    sentence = "model.safetensors is a file: give the folder with config.json and model.safet"
    for source in ("public/model.safetensors", str(public / "model.safetensors")):
        with pytest.raises(ValueError, match=sentence):
            import_weights(source, tmp_path / "out")


def test_a_family_without_a_public_layout_is_refused(ours: Path, tmp_path: Path):
    edit_config(ours, family="unet-mae")
    with pytest.raises(ValueError, match="of family unet-mae, which the public layout does not"):
        export_weights(ours, tmp_path / "out")


def test_a_decoder_without_a_public_layout_is_refused(tmp_path: Path):
    settings = VitMaeModel(**SIZES, decoder_attention="cross")
    weights.save(tmp_path / "ours", VitMae(settings, CHANNELS), {})
    with pytest.raises(ValueError, match="cross-attention, which the public layout does not have"):
        export_weights(tmp_path / "ours", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("published", [{"architectures": []}, {"chans": 4, "dheads": 2}])
def test_a_kept_configuration_of_other_weights_is_refused(
    published: dict, ours: Path, tmp_path: Path
):
    edit_config(ours, published=published)
    with pytest.raises(ValueError, match="ours: the key published belongs to other weights: "):
        export_weights(ours, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_a_kept_configuration_that_no_longer_tells_all_is_completed(
    model: Network, ours: Path, public: Path, tmp_path: Path
):
    """As after training on: the sizes are the same, the way to train is not."""
    import_weights(str(public), tmp_path / "imported")
    trained = weights.load(tmp_path / "imported")
    trained.settings = replace(trained.settings, mask_ratio=0.25)
    weights.save(tmp_path / "trained", trained, read_json(tmp_path / "imported"))
    export_weights(tmp_path / "trained", tmp_path / "public2")
    assert read_json(tmp_path / "public2")["phenomae"]["model"]["mask_ratio"] == 0.25
    assert weights.load(tmp_path / "public2").settings == trained.settings


def test_the_position_table_is_long_enough_for_every_channel(tmp_path: Path):
    rows = {}
    for count in (3, 13):
        sizes = {**SIZES, "decoder_depth": 1}
        model = ChannelMae(ChannelMaeModel(**sizes, cross_num_heads=2), channels=count)
        weights.save(tmp_path / f"ours{count}", model, {})
        export_weights(tmp_path / f"ours{count}", tmp_path / f"public{count}")
        config = read_json(tmp_path / f"public{count}")
        tensors = load_file(tmp_path / f"public{count}/model.safetensors")
        rows[count] = tensors["encoder.vit_backbone.pos_embed"].shape[1]
        assert rows[count] == 1 + 16 * config["encoder"]["max_in_chans"]
    assert rows == {3: 1 + 16 * 11, 13: 1 + 16 * 13}


class Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def damage(public: Path, kind: str, trap: Path) -> None:
    path = public / "model.safetensors"
    content = path.read_bytes()
    if kind == "hostile archive":
        torch.save({"state_dict": {"a": Hostile(trap)}}, path)
    elif kind == "hostile pickle":
        torch.save(Hostile(trap), path, _use_new_zipfile_serialization=False)
    elif kind == "cut short":
        path.write_bytes(content[:-7])
    elif kind == "cut archive":
        torch.save({"state_dict": load(content)}, path)
        path.write_bytes(path.read_bytes()[:-100])
    elif kind == "another family":
        save_file({"conv1.weight": torch.zeros(8, 3, 7, 7), "fc.bias": torch.zeros(9)}, path)
    elif kind == "a tensor more":
        save_file({**load(content), "head.bias": torch.zeros(9)}, path)
    elif kind == "other channels":
        tensors = load(content)
        tensors["decoder_pred.bias"] = torch.zeros(7)
        save_file(tensors, path)
    elif kind == "no weights":
        path.unlink()
    else:
        (public / "config.json").write_text('{"architectures": ')


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("hostile archive", "holds more than tensors: only tensors are read"),
        ("hostile pickle", "is cut short or is not a safetensors file"),
        ("cut short", "model.safetensors is cut short or is not a safetensors file"),
        ("cut archive", "model.safetensors is cut short or damaged"),
        ("another family", "the weights lack encoder.vit_backbone.patch_embed.proj.weight: they"),
        ("a tensor more", "has the unexpected tensor head.bias: it belongs to another model"),
        ("other channels", "decoder_pred.bias has shape (7,), but config.json describes"),
        ("no weights", "model.safetensors is missing"),
        ("no config", "config.json is damaged: it should be JSON"),
    ],
)
def test_bad_weights_are_one_sentence_and_no_code_is_run(
    kind: str, sentence: str, public: Path, tmp_path: Path, capsys
):
    damage(public, kind, tmp_path / "ran")
    for command in ("import", "export"):
        assert cli.run(["weights", command, str(public), str(tmp_path / "out")]) == 1
        said = capsys.readouterr().err
        assert sentence in said
        assert said.count("\n") == 1
    assert not (tmp_path / "ran").exists()
    assert not list(tmp_path.glob("out*"))
