"""Crops that look alike: those of scikit-learn, in little memory, and what is refused."""

import tracemalloc
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from phenomae import cli, nearest_crops
from phenomae.evaluation import nearest_crops as searching
from phenomae.evaluation.nearest_crops import Crop, search_crops
from phenomae.signatures import Origin, sign_complete
from phenomae.tokens import CROP_COLUMNS, KIND, open_tokens, write_tokens

PLATES, WELLS, SITES, SIDE = ("P1", "P2", "P3"), ("A01", "A02", "B01"), 2, 10
WIDTH = 12


def write_folder(folder: Path, vectors: dict[str, np.ndarray], wells: tuple[str, ...]) -> Path:
    """Write crops in fields of 3 x 5, two fields a well, which repeat these wells."""
    folder.mkdir()
    for plate, its in vectors.items():
        rows = []
        for index in range(len(its)):
            field, crop = divmod(index, 15)
            well, site = wells[field // SITES % len(wells)], field % SITES + 1
            rows.append((plate, well, site, field, crop // 5 * SIDE, crop % 5 * SIDE, SIDE))
        write_tokens(folder, pl.DataFrame(rows, list(CROP_COLUMNS), orient="row"), its)
    sign_complete(folder, Origin(KIND))
    return folder


@pytest.fixture(scope="module")
def vectors() -> dict[str, np.ndarray]:
    """Vectors that all have a large part in common, as those of networks have."""
    rng = np.random.default_rng(0)
    return {
        plate: (rng.normal(size=(90, WIDTH)) + 2).astype(np.float32).astype(np.float16)
        for plate in PLATES
    }


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory, vectors) -> Path:
    folder = tmp_path_factory.mktemp("crops") / "tokens"
    floats = {plate: its.astype(np.float32) for plate, its in vectors.items()}
    return write_folder(folder, floats, WELLS)


@pytest.mark.parametrize("rows", [None, 7, 1])
@pytest.mark.parametrize("k", [1, 20, 1000])
@pytest.mark.parametrize("leave_out", ["crop", "well", "plate"])
def test_they_are_those_of_scikit_learn(
    tokens: Path, vectors, monkeypatch, rows, k, leave_out
) -> None:
    if rows is not None:  # many blocks of vectors
        monkeypatch.setattr(searching, "_NUMBERS", rows * WIDTH)
    files = open_tokens(tokens)
    table = pl.concat([files.crops(plate) for plate in PLATES])
    every = np.concatenate([vectors[plate] for plate in PLATES]).astype(np.float64)
    own = 90 + 15 * 3 + 7  # P2, the second field of A02
    cosines = cosine_similarity(every[own : own + 1], every)[0]
    assert table.row(own) == ("P2", "A02", 2, 3, 10, 20, 10)
    kept = {
        "crop": np.arange(len(every)) != own,
        "well": ~((table["plate"] == "P2") & (table["well"] == "A02")).to_numpy(),
        "plate": (table["plate"] != "P2").to_numpy(),
    }[leave_out]
    order = [row for row in np.argsort(-cosines, kind="stable") if kept[row]][:k]
    found = search_crops(files, Crop("P2", "A02", 2, 10, 20), k, leave_out)
    assert found.columns == ["rank", *CROP_COLUMNS, "cosine"]
    assert found["rank"].to_list() == list(range(1, min(k, kept.sum()) + 1))
    assert found.select(*CROP_COLUMNS).rows() == table[order].rows()
    np.testing.assert_allclose(found["cosine"], cosines[order], atol=1e-12)


@pytest.mark.parametrize("rows", [None, 4])
def test_equal_crops_are_in_the_order_of_the_files(tmp_path: Path, monkeypatch, rows) -> None:
    if rows is not None:
        monkeypatch.setattr(searching, "_NUMBERS", rows * 4)
    kinds = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    its = {plate: kinds[np.arange(90) % 5] for plate in ("P1", "P2")}
    files = open_tokens(write_folder(tmp_path / "tokens", its, WELLS))
    found = search_crops(files, Crop("P1", "A01", 1, 0, 10), 35)
    table = pl.concat([files.crops(plate) for plate in ("P1", "P2")]).with_row_index("row")
    alike = table.filter((pl.col("row") % 5 == 1) & (pl.col("row") != 1))
    assert found.select(*CROP_COLUMNS).rows() == alike.select(*CROP_COLUMNS).rows()
    np.testing.assert_allclose(found["cosine"], 1)


def test_a_crop_of_zeros_is_alike_to_none(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    its = rng.normal(size=(15, 4)).astype(np.float32)
    its[3] = 0
    folder = write_folder(tmp_path / "tokens", {"P1": its}, WELLS)
    found = nearest_crops(folder, "P1", "A01", 1, 0, 0)
    assert found.filter((pl.col("top") == 0) & (pl.col("left") == 30))["cosine"].to_list() == [0.0]
    with pytest.raises(ValueError, match="vector of this crop is all 0 and has no cosine"):
        nearest_crops(folder, "P1", "A01", 1, 0, 30)


def test_memory_does_not_grow_with_the_number_of_crops(tmp_path: Path, monkeypatch) -> None:
    """As float64 the vectors are 30 MB, and a block of them a quarter of a megabyte."""
    monkeypatch.setattr(searching, "_NUMBERS", 2**15)
    vectors = np.random.default_rng(3).normal(size=(15_000, 256)).astype(np.float32)
    files = open_tokens(write_folder(tmp_path / "tokens", {"P1": vectors}, WELLS))
    search_crops(files, Crop("P1", "A01", 1, 0, 0))  # imports
    tracemalloc.start()
    search_crops(files, Crop("P1", "A01", 1, 0, 0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


def test_the_command_prints_what_the_function_returns(tokens: Path, capsys) -> None:
    table = nearest_crops(tokens, "P2", "A02", 2, 10, 20, k=3, leave_out="well")
    printed = capsys.readouterr().out
    place = ["P2", "A02", "2", "10", "20"]
    assert cli.run(["nearest-crops", str(tokens), *place, "--k", "3", "--leave-out", "well"]) == 0
    assert capsys.readouterr().out == printed
    assert table["plate"][0] in printed
    assert len(printed.splitlines()) == 1 + len(table)


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        (("P9", "A01", 1, 0, 0), "has no plate 'P9': it has P1, P2, P3"),
        (("P1", "C01", 1, 0, 0), "at plate P1, well C01: well is A01, A02, B01"),
        (("P1", "A01", 3, 0, 0), "at plate P1, well A01 site 3: site is 1, 2"),
        (("P1", "A01", 1, 5, 0), "well A01 site 1 top 5: top is 0, 10, 20"),
        (("P1", "A01", 1, 10, 3), "site 1 top 10 left 3: left is 0, 10, 20, 30, 40"),
        (("P1", "A01", 1.5, 0, 0), "site must be a whole number, not 1.5"),
    ],
)
def test_a_crop_that_is_not_there_is_named_with_those_that_are(
    tokens: Path, place: tuple, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        nearest_crops(tokens, *place)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"k": 0}, "k must be at least 1, not 0"),
        ({"k": 2.5}, "k must be a whole number, not 2.5"),
        ({"leave_out": "field"}, "leave_out must be one of crop, well, plate, not field"),
    ],
)
def test_settings_outside_their_range_are_refused(tokens: Path, settings, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        nearest_crops(tokens, "P1", "A01", 1, 0, 0, **settings)


def test_nothing_to_compare_with_is_an_error(tmp_path: Path) -> None:
    its = np.ones((15, 4), dtype=np.float32)
    folder = write_folder(tmp_path / "tokens", {"P1": its}, WELLS)
    with pytest.raises(ValueError, match="no crop but those that leave_out well leaves out"):
        nearest_crops(folder, "P1", "A01", 1, 0, 0, leave_out="well")
