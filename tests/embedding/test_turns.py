"""Embeddings averaged over the turns of a crop, and of a few crops of a field."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from phenomae import cli
from phenomae.crops.turns import TURNS, turn_image
from phenomae.embedding.embed import EmbedSettings, embed
from phenomae.embedding.features import FeaturesSettings, features
from phenomae.embedding.hand_made.kind import View
from phenomae.embedding.hand_made.kinds import find_kind
from phenomae.signatures import read_signature
from phenomae.weights import io as weights
from phenomae.wells import read_wells

ON_CPU = EmbedSettings(device="cpu", precision="float32")
FILTERS = FeaturesSettings(kind="random-layer", filters=16, filter_size=4)


def quarter_turns(image: np.ndarray) -> list[np.ndarray]:
    return [np.rot90(image, number, (-2, -1)) for number in range(4)]


def all_turns(image: np.ndarray) -> list[np.ndarray]:
    return [*quarter_turns(image), *quarter_turns(image[..., ::-1])]


def as_set(images: list[np.ndarray]) -> set[bytes]:
    return {np.ascontiguousarray(image).tobytes() for image in images}


@pytest.mark.parametrize(("count", "expected"), [(4, quarter_turns), (8, all_turns)])
def test_turns_are_those_of_a_square(count: int, expected: Callable) -> None:
    image = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    turned = as_set([turn_image(image, bits) for bits in TURNS[count]])
    assert turned == as_set(expected(image))
    assert len(turned) == count


def embed_by_hand(run: Path, crops: list[np.ndarray], pool: str) -> np.ndarray:
    """Return the mean embedding of crops of raw pixels."""
    inside = np.stack([np.clip((crop.astype(np.float32) - 100) / 3900, 0, 1) for crop in crops])
    with torch.no_grad():
        tokens = weights.load(run).features(torch.from_numpy(inside))[:, 1:].numpy()
    parts = [tokens.mean(1)] if pool == "mean" else [tokens.mean(1), tokens.std(1)]
    return np.concatenate(parts, axis=1).mean(0)


@pytest.mark.parametrize(
    ("turns", "turned"), [(1, lambda crop: [crop]), (4, quarter_turns), (8, all_turns)]
)
@pytest.mark.parametrize("pool", ["mean", "mean-std"])
def test_a_well_is_the_mean_over_the_turns_of_its_crops(
    screen_path: Path, run: Path, pixels: dict, tmp_path: Path, turns, turned, pool
) -> None:
    settings = replace(ON_CPU, turns=turns, pool=pool)
    embed(screen_path, run, tmp_path / "wells", settings=settings)
    wells = read_wells(tmp_path / "wells")
    for row, (plate, well) in enumerate(wells.table.select("plate", "well").iter_rows()):
        sites = [image for key, image in pixels.items() if key[:2] == (plate, well)]
        crops = [
            crop
            for image, top, left in itertools.product(sites, (4, 20), (2, 18, 34))
            for crop in turned(image[:, top : top + 16, left : left + 16])
        ]
        expected = embed_by_hand(run, crops, pool)
        np.testing.assert_allclose(wells.features[row], expected, rtol=1e-4, atol=1e-5)


def test_every_block_is_averaged_over_turns(screen_path: Path, run: Path, tmp_path: Path) -> None:
    settings = replace(ON_CPU, turns=4)
    blocks = embed(screen_path, run, tmp_path / "all", settings=replace(settings, block="all"))
    alone = embed(screen_path, run, tmp_path / "one", settings=replace(settings, block=1))
    first = read_wells(blocks.blocks[1].path)  # pyright: ignore[reportAttributeAccessIssue]
    np.testing.assert_allclose(first.features, read_wells(alone.path).features, rtol=1e-5)


@pytest.mark.parametrize("pool", ["mean", "mean-std"])
def test_eight_turns_do_not_see_how_a_field_is_turned(
    run: Path, tmp_path: Path, make_store, pool
) -> None:
    image = np.random.default_rng(1).integers(0, 5000, (2, 32, 32), dtype=np.uint16)
    found = []
    for number, turned in enumerate(all_turns(image)):
        store = make_store(tmp_path / f"{number}", {("P1", "A01", 1): turned}, ("DNA", "ER"))
        settings = replace(ON_CPU, turns=8, pool=pool)
        wells = embed(store, run, tmp_path / f"wells-{number}", settings=settings)
        found.append(read_wells(wells.path).features[0])
    np.testing.assert_allclose(found, np.broadcast_to(found[0], np.shape(found)), rtol=1e-4)


@pytest.mark.parametrize("turns", [4, 8])
def test_a_random_layer_is_averaged_over_turns(turns: int) -> None:
    crop = np.random.default_rng(0).integers(0, 4000, (3, 24, 24), dtype=np.uint16)
    view = View("store", list("abc"), 24, FILTERS)
    make = find_kind("random-layer").from_pixels
    assert make is not None
    once = make(view)
    turned = quarter_turns(crop) if turns == 4 else all_turns(crop)
    expected = np.mean([once(image) for image in turned], axis=0)
    found = make(replace(view, settings=replace(FILTERS, turns=turns)))(crop)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", ["spectra", "intensity", "count"])
def test_other_features_do_not_depend_on_turns(kind: str) -> None:
    crop = np.random.default_rng(0).integers(0, 4000, (2, 24, 24), dtype=np.uint16)
    crop[:, 4:12, 6:15] += 9000  # a blob
    settings = FeaturesSettings(kind=kind)  # pyright: ignore[reportArgumentType]
    make = find_kind(kind).from_pixels
    assert make is not None
    describe = make(View("store", ["DNA", "ER"], 24, settings))
    for turned in all_turns(crop):
        np.testing.assert_allclose(describe(turned), describe(crop), rtol=1e-4, atol=1e-4)


def test_a_few_crops_of_a_field_are_the_same_for_networks_and_features(
    screen_path: Path, run: Path, pixels: dict, tmp_path: Path
) -> None:
    embed(screen_path, run, tmp_path / "wells", settings=replace(ON_CPU, crops_per_field=2))
    # The first places of the sequence are (.50, .50) and (.25, .07) of the 2 rows and 3 columns.
    image = pixels["P2", "A01", 1]
    crops = [image[:, 4:20, 2:18], image[:, 20:36, 18:34]]
    wells = read_wells(tmp_path / "wells")
    row = wells.table["plate"].to_list().index("P2")
    np.testing.assert_allclose(
        wells.features[row], embed_by_hand(run, crops, "mean"), rtol=1e-4, atol=1e-5
    )
    settings = replace(FILTERS, tiling="grid", crop_size=16, crops_per_field=2)
    features(screen_path, tmp_path / "features", settings=settings)
    make = find_kind("random-layer").from_pixels
    assert make is not None
    describe = make(View("store", ["DNA", "ER"], 16, settings))
    expected = np.mean([describe(crop) for crop in crops], axis=0)
    np.testing.assert_allclose(
        read_wells(tmp_path / "features").features[row], expected, rtol=1e-5, atol=1e-7
    )


def test_one_turn_of_all_crops_is_the_same_work_as_before(
    screen_path: Path, run: Path, tmp_path: Path
) -> None:
    embed(screen_path, run, tmp_path / "wells", settings=ON_CPU)
    embed(screen_path, run, tmp_path / "turned", settings=replace(ON_CPU, turns=8))
    once, turned = (read_signature(tmp_path / name, "wells") for name in ("wells", "turned"))
    assert not {"turns", "crops_per_field"} & once["settings"].keys()
    assert turned["settings"]["turns"] == 8


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EmbedSettings(crops_per_field=0), "crops_per_field must be at least 1, not 0"),
        (lambda: replace(FILTERS, crops_per_field=2), "crops_per_field needs tiling"),
        (
            lambda: FeaturesSettings(turns=8),
            "turns is a setting of kind random-layer, not of spectra",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(make: Callable, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_two_turns_are_refused_in_one_sentence(tmp_path: Path, capfd) -> None:
    assert cli.run(["embed", "store", "run", str(tmp_path / "wells"), "--turns", "2"]) == 2
    assert "turns" in capfd.readouterr().err.strip()
