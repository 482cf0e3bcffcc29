"""The card of exported weights, read by the hub's own client, and the class for transformers."""

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import torch
from huggingface_hub import ModelCard

from phenomae import cli
from phenomae.models.network import Network
from phenomae.models.settings import ChannelMaeModel, VitMaeModel
from phenomae.models.vit.channel_mae import ChannelMae
from phenomae.models.vit.vit_mae import VitMae
from phenomae.runs import KIND as RUN
from phenomae.signatures import Origin, hash_files, sign, sign_complete
from phenomae.weights import io as weights
from phenomae.weights.import_export import export_weights, import_weights
from phenomae.weights.licence import join_licence, read_licence
from phenomae.weights.model_card import CardSettings

SIZES = {
    "crop_size": 16,
    "patch_size": 4,
    "embed_dim": 16,
    "depth": 2,
    "num_heads": 2,
    "layer_scale": 0.5,
    "decoder_embed_dim": 16,
    "decoder_depth": 1,
    "decoder_num_heads": 2,
    "mask_ratio": 0.5,
}
CHANNELS = ("DNA", "ER | RNA", "AGP")


def make(family: str) -> Network:
    """Return a network whose weights are all different from their initial values."""
    torch.manual_seed(0)
    model = (
        VitMae(VitMaeModel(**SIZES), CHANNELS)
        if family == "vit-mae"
        else ChannelMae(ChannelMaeModel(**SIZES, cross_num_heads=2), CHANNELS)
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.fixture(params=["vit-mae", "channel-mae"])
def model(request: pytest.FixtureRequest) -> Network:
    return make(request.param)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run as training leaves it: weights, and a signature with its settings."""
    told = {"pixel_size_um": 0.65, "intensity": "window", "identity": "0123", "store": "abcd"}
    weights.save(tmp_path / "run/weights", make("vit-mae"), {**told, "steps": 1000})
    settings = {"family": "vit-mae", "steps": 1000, "where": "focus > 0.5", "learning_rate": 1e-4}
    origin = Origin(RUN, settings, {"store": "abcd"})
    sign(tmp_path / "run", origin, "0123", hash_files(tmp_path / "run"))
    return tmp_path / "run"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    folder.mkdir()
    table = {
        "source": ["corum", "hu_map"],
        "low": [0.05, 0.05],
        "high": [0.95, 0.95],
        "recall": [0.4321, None],
        "n_pairs": [501, 0],
        "n_genes": [90, 0],
        "chance": [0.1, None],
    }
    pl.DataFrame(table).write_csv(folder / "recall.csv")
    sign_complete(folder, Origin("results"))
    return folder


def test_the_hubs_client_reads_the_card_of_a_run(run: Path, results: Path, tmp_path: Path):
    words = ["--licence", "cc-by-4.0", "--results", str(results)]
    assert cli.run(["weights", "export", str(run), str(tmp_path / "public"), *words]) == 0
    card = ModelCard.load(tmp_path / "public/README.md")
    assert card.data.license == "cc-by-4.0"
    assert card.data.library_name == "phenomae"
    assert card.data.pipeline_tag == "image-feature-extraction"
    assert {"phenomae", "microscopy", "vit-mae", "custom_code"} <= {*card.data.tags}
    (score,) = card.data.eval_results
    assert (score.dataset_name, score.metric_type, score.metric_value) == (
        "corum",
        "recall",
        0.4321,
    )
    identity = json.loads((results / "artefact.json").read_text())["identity"]
    for text in (
        "Licence: cc-by-4.0.",
        "| stores (identities) | abcd |",
        "| channels, in order | DNA, ER \\| RNA, AGP |",
        "| pixel size (micrometres) | 0.65 |",
        "| intensity | window |",
        "| fields | focus > 0.5 |",
        "| learning_rate | 0.0001 |",
        "| steps | 1000 |",
        "Identity of the run: `0123`.",
        "| corum | 0.05, 0.95 | 0.432 | 0.100 | 501 | 90 |",
        f"(results `{identity}`)",
        'phenomae.load_model("OWNER/NAME")',
        "trust_remote_code=True",
    ):
        assert text in card.text, text
    record = json.loads((tmp_path / "public/artefact.json").read_text())
    assert record["sources"]["results"] == identity
    assert set(record["files"]) == {
        *("README.md", "config.json", "model.safetensors", "modeling_phenomae.py")
    }


def test_weights_without_licence_run_or_results_have_a_card_that_says_so(tmp_path: Path):
    weights.save(tmp_path / "ours", make("vit-mae"), {})
    export_weights(tmp_path / "ours", tmp_path / "public")
    card = ModelCard.load(tmp_path / "public/README.md")
    assert card.data.license is None
    assert card.data.eval_results is None
    assert "No licence was named for these weights." in card.text
    assert "## Training" not in card.text
    assert "## Scores" not in card.text
    export_weights(tmp_path / "ours", tmp_path / "again")
    names = ("README.md", "config.json")
    one, two = (
        [(tmp_path / folder / name).read_text() for name in names] for folder in ("public", "again")
    )
    assert one == two


def test_imported_weights_keep_their_licence_and_their_configuration(
    golden_case: Callable[[str], Path], tmp_path: Path
):
    folder = tmp_path / "theirs"
    folder.mkdir()
    source = golden_case("published/safetensors")
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((source / name).read_bytes())
    (folder / "README.md").write_text("---\nlicense: other\nlicense_name: cells\n---\n")
    import_weights(str(folder), tmp_path / "ours")
    export_weights(tmp_path / "ours", tmp_path / "public")
    assert read_licence(tmp_path / "public") == {"license": "other", "license_name": "cells"}
    text = (tmp_path / "public/README.md").read_text()
    assert (
        "Licence: other, cells. Note: the public channel-agnostic weights are for non-comm" in text
    )
    assert "transformers" not in text
    assert not (tmp_path / "public/modeling_phenomae.py").exists()
    card = CardSettings(licence="mit")
    with pytest.raises(ValueError, match="has the licence other, cells, which licence=mit cannot"):
        export_weights(tmp_path / "ours", tmp_path / "public2", card=card)
    export_weights(tmp_path / "ours", tmp_path / "public2", card=CardSettings(licence="other"))


@pytest.mark.parametrize(
    "front",
    [
        "license: other\nlicense_link: https://example.org/l",
        "license: other\nlicense_name: cells, research only\nlicense_link: LICENSE.md",
        "license:\n- mit\n- apache-2.0",
    ],
)
def test_the_card_of_imported_weights_names_their_licence_by_the_same_keys(
    front: str, tmp_path: Path
):
    weights.save(tmp_path / "mine", make("vit-mae"), {})
    export_weights(tmp_path / "mine", tmp_path / "theirs")
    (tmp_path / "theirs/artefact.json").unlink()
    (tmp_path / "theirs/README.md").write_text(f"---\n{front}\n---\n# cells\n")
    given = ModelCard.load(tmp_path / "theirs/README.md").data.to_dict()
    import_weights(str(tmp_path / "theirs"), tmp_path / "ours")
    export_weights(tmp_path / "ours", tmp_path / "public")
    written = ModelCard.load(tmp_path / "public/README.md").data.to_dict()
    licence = {key: value for key, value in written.items() if key.startswith("license")}
    assert licence == given


def test_a_licence_that_version_0_1_recorded_is_read(tmp_path: Path):
    weights.save(tmp_path / "ours", make("vit-mae"), {"licence": "cc-by-nc-4.0"})
    export_weights(tmp_path / "ours", tmp_path / "public")
    assert join_licence(read_licence(tmp_path / "public")) == "cc-by-nc-4.0"


@pytest.mark.parametrize("licence", ["", "two words", "a\nb", "é"])
def test_a_licence_that_is_no_word_is_refused(licence: str):
    with pytest.raises(ValueError, match=r"licence must be one word, such as apache-2\.0, not"):
        CardSettings(licence=licence)


def test_scores_that_are_no_results_or_damaged_are_refused(
    run: Path, results: Path, tmp_path: Path
):
    for name, sentence in (
        ("absent", "absent holds no results"),
        ("run", "holds run, not results"),
    ):
        with pytest.raises(ValueError, match=sentence):
            export_weights(run, tmp_path / "out", card=CardSettings(results=tmp_path / name))
    (results / "recall.csv").write_text("source\n")
    with pytest.raises(ValueError, match=r"results is damaged: recall\.csv has changed"):
        export_weights(run, tmp_path / "out", card=CardSettings(results=results))
    assert not list(tmp_path.glob("out*"))


def test_an_export_with_another_licence_is_another_export(run: Path, tmp_path: Path):
    export_weights(run, tmp_path / "out")
    with pytest.raises(ValueError, match="made with another setting: licence = None, now 'mit'"):
        export_weights(run, tmp_path / "out", card=CardSettings(licence="mit"))


@pytest.mark.parametrize("side", [16, 24])
def test_transformers_computes_the_same_embeddings(model: Network, tmp_path: Path, side: int):
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    weights.save(tmp_path / "ours", model, {})
    export_weights(tmp_path / "ours", tmp_path / "public")
    theirs, loading = transformers.AutoModel.from_pretrained(
        str(tmp_path / "public"), trust_remote_code=True, output_loading_info=True
    )
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    assert not loading["mismatched_keys"]
    assert tuple(theirs.config.phenomae["channels"]) == CHANNELS
    for pixels in (
        torch.rand(2, 3, side, side),
        torch.randint(0, 256, (2, 3, side, 16), dtype=torch.uint8),
    ):
        with torch.no_grad():
            found = theirs.eval()(pixels)
            expected = model.encoder(pixels)
        torch.testing.assert_close(found.last_hidden_state, expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(found.pooler_output, model.embed(pixels), atol=1e-4, rtol=1e-4)
    if model.family == "channel-mae":  # any number of channels
        pixels = torch.rand(1, 5, 16, 16)
        with torch.no_grad():
            found = theirs(pixels).pooler_output
        torch.testing.assert_close(found, model.embed(pixels), atol=1e-4, rtol=1e-4)


def test_the_class_of_transformers_can_be_saved_and_loaded_again(tmp_path: Path):
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    weights.save(tmp_path / "ours", make("vit-mae"), {})
    export_weights(tmp_path / "ours", tmp_path / "public")
    load = transformers.AutoModel.from_pretrained
    first = load(str(tmp_path / "public"), trust_remote_code=True)
    first.save_pretrained(tmp_path / "saved")
    again = load(str(tmp_path / "saved"), trust_remote_code=True)
    pixels = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(first(pixels).pooler_output, again(pixels).pooler_output)
