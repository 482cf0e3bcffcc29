"""The pair loss by its formula, the wells that are compared, and what cannot be."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from phenomae.pretraining.combine_settings import find_objective
from phenomae.pretraining.objectives.masked import MaskedObjective
from phenomae.pretraining.objectives.pair_loss import PairLoss, compare_pairs
from phenomae.pretraining.pairs import list_pairs
from phenomae.probes.commands import (
    ChannelMaeSettings,
    EnergyMaeSettings,
    UnetMaeSettings,
    VitMaeSettings,
    pretrain_energy_mae,
)
from phenomae.runs import read_log
from phenomae.store.read import open_store

VIT: dict[str, Any] = {"patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2}
DECODER: dict[str, Any] = {"decoder_embed_dim": 16, "decoder_depth": 1, "decoder_num_heads": 2}
TRAINING: dict[str, Any] = {
    "crop_size": 16,
    "steps": 4,
    "crops_per_step": 8,
    "pair_weight": 0.5,
    "pair_crops": 2,
    "validation": 0.0,
    "log_every": 1,
    "device": "cpu",
    "precision": "float32",
}
SETTINGS = EnergyMaeSettings(**TRAINING, **VIT, **DECODER)


def test_the_loss_is_the_cross_entropy_of_partners_both_ways_without_the_own_group():
    vectors = torch.nn.functional.normalize(torch.randn(5, 2, 7), dim=-1)
    groups = np.array([[0, 1], [0, 2], [1, 2], [0, 1], [2, 3]])
    logits = vectors[:, 0].numpy().astype(float) @ vectors[:, 1].numpy().T / 0.2
    is_own = groups[:, None, 0] == groups[None, :, 1]
    assert is_own.sum() == 4
    logits[is_own] = -np.inf
    tables = (logits, logits.T)
    losses = [np.log(np.exp(table).sum(axis=1)) - table.diagonal() for table in tables]
    right = [table.argmax(axis=1) == np.arange(5) for table in tables]
    found = compare_pairs(vectors, torch.from_numpy(groups))
    assert found["pair_loss"].item() == pytest.approx(np.mean(losses), rel=1e-5)
    assert found["pair_accuracy"].item() == pytest.approx(np.mean(right))


def test_an_embedding_of_the_batch_alone_finds_nothing():
    """Its loss is that of a guess among all wells of other batches, not less and not more."""
    batches = torch.tensor([[0, 1]] * 6)
    vectors = torch.nn.functional.one_hot(batches).float()
    found = compare_pairs(vectors, batches)
    assert found["pair_loss"].item() == pytest.approx(np.log(6), rel=1e-6)


@pytest.mark.parametrize("bf16", [False, True])
def test_crops_of_a_well_are_averaged_before_they_are_compared_in_float32(bf16: bool):
    torch.manual_seed(0)
    loss = PairLoss(6, 2)
    crops, groups = torch.randn(8, 6), torch.tensor([0, 0, 1, 1] * 2)
    projected = torch.nn.functional.normalize(
        loss.project(crops.reshape(2, 2, 2, 6).mean(2)), dim=-1
    )
    expected = compare_pairs(projected, torch.tensor([[0, 1]] * 2))
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        assert torch.equal(loss(crops, groups)["pair_loss"], expected["pair_loss"])


def fields_of(*rows: tuple[str, str, str, str, bool]) -> list[dict[str, Any]]:
    """Return rows of fields.parquet of (batch, plate, well, perturbation, control)."""
    names = ("batch", "plate", "well", "perturbation", "control")
    return [dict(zip(names, row, strict=True)) for row in rows]


@pytest.fixture
def store(make_store, tmp_path: Path, resign):
    """Return a function that writes a store with these batches, plates, wells and labels."""

    def write(rows: list[dict[str, Any]]) -> Path:
        rng = np.random.default_rng(0)
        pixels = {
            (row["plate"], row["well"], 1): rng.integers(100, 250, (2, 20, 20)).astype(np.uint16)
            for row in rows
        }
        path = make_store(tmp_path / "store", pixels, ("DNA", "ER"))
        table = pl.read_parquet(path / "fields.parquet")
        new = pl.DataFrame(rows)
        columns = table.columns
        table = table.drop("batch", "perturbation", "control").join(new, on=["plate", "well"])
        table.select(columns).sort("plate", "well").write_parquet(path / "fields.parquet")
        resign(path)
        return path

    return write


def pairs_of(path: Path, **changes: Any) -> list[list[list[str]]]:
    """Return plate/well of the wells of each group of each label."""
    settings = replace(SETTINGS, crops_per_step=8, **changes)
    data = MaskedObjective.open_data([open_store(path)], settings)
    sampler = list_pairs(data, settings)
    names = [f"{plate}/{well}" for plate, well in data.fields.select("plate", "well").iter_rows()]
    return [
        [sorted(names[int(row)] for well in wells for row in well) for wells in groups]
        for groups in sampler.labels
    ]


ROWS = fields_of(
    ("B1", "P1", "A01", "a", False),
    ("B1", "P1", "A02", "a", False),
    ("B2", "P2", "A01", "a", False),
    ("B1", "P1", "A03", "b", False),
    ("B1", "P3", "A03", "b", False),
    ("B2", "P2", "A04", "c", False),
    ("B2", "P2", "A05", "c", False),
    ("B2", "P2", "A06", "none", True),
    ("B1", "P1", "A06", "none", True),
    ("B1", "P3", "A06", "d", False),
)


def test_wells_are_compared_across_plates_where_one_label_has_two_batches(store):
    assert pairs_of(store(ROWS)) == [
        [["P1/A01", "P1/A02"], ["P2/A01"]],
        [["P1/A03"], ["P3/A03"]],
    ]


def test_wells_are_compared_across_batches_where_enough_labels_have_two(store):
    rows = ROWS + fields_of(
        ("B2", "P2", "A07", "b", False),
        (None, "P4", "A07", "c", False),  # of an unknown batch
        (None, "P4", "A08", "d", False),
    )
    assert pairs_of(store(rows)) == [
        [["P1/A01", "P1/A02"], ["P2/A01"]],
        [["P1/A03", "P3/A03"], ["P2/A07"]],
    ]


def test_wells_of_one_plate_are_compared_where_there_is_but_one(store):
    rows = fields_of(*(("B", "P1", f"A{k:02d}", "ab"[k % 2], False) for k in range(2, 6)))
    assert pairs_of(store(rows)) == [[["P1/A02"], ["P1/A04"]], [["P1/A03"], ["P1/A05"]]]


def test_pair_where_leaves_fields_out(store):
    rows = ROWS + fields_of(("B2", "P2", "A08", "b", False))
    labels = pairs_of(store(rows), pair_where="plate != 'P3'")
    assert labels == [[["P1/A01", "P1/A02"], ["P2/A01"]], [["P1/A03"], ["P2/A08"]]]


@pytest.mark.parametrize(
    ("rows", "changes", "sentence"),
    [
        (
            ROWS,
            {"pair_by": "colour"},
            "pair_by must be a column of fields.parquet with .* not colour",
        ),
        (ROWS, {"pair_by": "focus"}, "pair_by must be a column .* not focus"),
        (ROWS, {"pair_by": "plate"}, "pair_by must be a column .* not plate"),
        (
            [row for row in ROWS if row["perturbation"] != "d"],
            {},
            "all wells of plate P3 have the same perturbation, so that pairs would teach the "
            "network to know plates",
        ),
        (
            [row for row in ROWS if row["perturbation"] == "a"],
            {},
            "all wells of each of plates P1, P2 have the same perturbation, so that ",
        ),
        (
            fields_of(
                *(("B1", "P1", f"A0{k}", "ab"[k % 2], False) for k in range(2, 6)),
                *(("B1", "P2", f"A0{k}", "cd"[k % 2], False) for k in range(2, 6)),
            ),
            {},
            "too few values of perturbation have wells on two plates",
        ),
        (
            fields_of(*((f"B{k}", "P1", f"A{k:02d}", f"drug {k}", False) for k in range(1, 6))),
            {},
            "pair_weight needs replicates: a step has 2 pairs of wells, each of another "
            "perturbation, but only 0 of 5 have two training wells",
        ),
        (
            ROWS,
            {"pair_where": "plate = 'P9'"},
            "^pair_where .* matches no row of the training fields",
        ),
        (ROWS, {"pair_where": "gen = 'a'"}, "^pair_where .* has no column 'gen'; it has plate, "),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(store, rows, changes, sentence):
    path = store(rows)
    with pytest.raises(ValueError, match=sentence):
        pairs_of(path, **changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"pair_weight": -1.0}, "pair_weight must be at least 0, not -1.0"),
        ({"pair_crops": 0}, "pair_crops must be at least 1, not 0"),
        ({"pair_crops": 3}, "crops_per_step must be a multiple of 6, .* not 8"),
        ({"pair_crops": 4}, "crops_per_step must be a multiple of 8, .* at least 16, not 8"),
        ({"crops_at_once": 4}, "crops_at_once must be auto if pair_weight is above 0, not 4"),
        ({"balance": "plate"}, "balance must be None if pair_weight is above 0, not plate"),
        ({"masks_per_crop": 0}, "masks_per_crop must be at least 1, not 0"),
        ({"crops_per_field": 2}, "crops_per_field must be 1 if pair_weight is above 0, not 2"),
    ],
)
def test_settings_that_cannot_be_are_named(changes: dict, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        replace(SETTINGS, **changes)


@pytest.mark.parametrize(
    "settings",
    [
        VitMaeSettings(**TRAINING, **VIT, **DECODER),
        ChannelMaeSettings(**TRAINING, **VIT, **DECODER, cross_num_heads=2),
        EnergyMaeSettings(**TRAINING, **VIT, **DECODER, masks_per_crop=2),
        UnetMaeSettings(**TRAINING, patch_size=4, widths=(8, 16), depths=(2, 2)),
    ],
    ids=lambda settings: settings.network.family,
)
def test_every_masked_family_learns_from_pairs(store, settings: Any):
    """The loss is the sum; every weight of the encoder and of the projection has a gradient."""
    path = store(ROWS)
    kind = find_objective(settings.network)
    data = kind.open_data([open_store(path)], settings)
    torch.manual_seed(0)
    objective = kind.build(data, settings).train()
    crops = data.stream(settings, 1, False, None, objective.pairs).step(0)
    losses = objective(crops, 0)
    rest = {"masked_mse": 1.0, "visible_mse": 1.0, "pair_loss": 0.5}
    total = sum(weight * losses[name] for name, weight in rest.items() if name in losses)
    assert losses["loss"].item() == pytest.approx(total.item(), rel=1e-5)
    losses["loss"].backward()
    assert all(part.grad.any() for part in objective.pair_loss.parameters())
    objective.eval()
    assert "pair_loss" not in objective(crops, 0)


def test_a_run_logs_the_pair_loss_and_goes_on(store, tmp_path: Path, resign):
    """A run that lost its second half ends with the same weights."""
    path, settings = store(ROWS), replace(SETTINGS, steps=6, checkpoint_every=2)
    for name in ("run", "again"):
        pretrain_energy_mae(path, tmp_path / name, settings=settings)
    lines = [line for line in read_log(tmp_path / "run") if "pair_loss" in line]
    assert [line["step"] for line in lines] == list(range(1, 7))
    for line in lines:
        parts = line["masked_mse"] + line["visible_mse"] + 0.5 * line["pair_loss"]
        assert line["loss"] == pytest.approx(parts, rel=1e-5)
        assert 0 <= line["pair_accuracy"] <= 1
    lose_the_second_half(tmp_path / "again", resign)
    pretrain_energy_mae(path, tmp_path / "again", settings=settings)
    ours, theirs = (tmp_path / name / "weights/model.safetensors" for name in ("run", "again"))
    assert ours.read_bytes() == theirs.read_bytes()


def lose_the_second_half(run: Path, resign: Callable) -> None:
    resign(run, identity=None, files={})
    (run / "checkpoints/step-00000006.safetensors").unlink()
    (run / "checkpoints/step-00000004.safetensors").unlink()
    (run / "weights/model.safetensors").unlink()
