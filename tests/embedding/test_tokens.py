"""One vector per crop: what it is, where its crop is, and that a stop loses none."""

import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from phenomae import check, cli
from phenomae.embedding.embed import EmbedSettings, embed
from phenomae.signatures import read_signature
from phenomae.store.read import open_store, read_field
from phenomae.tokens import CROP_COLUMNS, Tokens, open_tokens, write_tokens
from phenomae.weights import io as weights
from phenomae.wells import read_wells

ON_CPU = EmbedSettings(device="cpu", precision="float32")
TOPS, LEFTS = (4, 20), (2, 18, 34)  # the grid of crops of 16 x 16 in a field of 40 x 53, centred


def rounding(vectors: np.ndarray) -> np.ndarray:
    """Return the most by which float16 changes numbers: half a unit of their last place."""
    return np.maximum(np.abs(vectors) * 2.0**-11, 2.0**-25)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def embed_both(store: Path, run: Path | str, folder: Path, **changes) -> tuple[Path, Path]:
    wells, tokens = folder / "wells", folder / "tokens"
    embed(store, run, wells, tokens=tokens, settings=replace(ON_CPU, **changes))
    return wells, tokens


def require_means(wells: Path, tokens: Path) -> None:
    """Check that the profile of each well is the mean over its crops, up to float16."""
    profiles, found = read_wells(wells), open_tokens(tokens)
    checked = 0
    for plate in found.plates:
        crops, vectors = found.crops(plate), found.vectors(plate).astype(np.float64)
        for row, well in enumerate(profiles.table.select("plate", "well").iter_rows()):
            mine = vectors[(crops["well"] == well[1]).to_numpy()] if well[0] == plate else ()
            if len(mine):
                allowed = rounding(mine).mean(0) + 1e-6
                assert (np.abs(mine.mean(0) - profiles.features[row]) <= allowed).all()
                checked += 1
    assert checked == len(profiles.table) > 0


def test_each_crop_has_its_place_and_its_pooled_tokens(
    screen_path: Path, run: Path, pixels: dict, tmp_path: Path
) -> None:
    wells, tokens = embed_both(screen_path, run, tmp_path)
    require_means(wells, tokens)
    table, found = Tokens(tokens).to_polars(), open_tokens(tokens)
    assert table.schema == pl.Schema(CROP_COLUMNS)
    vectors = np.concatenate([Tokens(tokens).vectors(plate) for plate in found.plates])
    assert vectors.dtype == np.float16
    expected = []
    for (plate, well, site), image in sorted(pixels.items()):
        expected += [(plate, well, site, *at, 16) for at in itertools.product(TOPS, LEFTS)]
        assert image.shape == (2, 40, 53)
    assert table.drop("field").rows() == expected
    model, store = weights.load(run), open_store(screen_path)
    for row, vector in zip(table.iter_rows(named=True), vectors, strict=True):
        at = (slice(row[name], row[name] + 16) for name in ("top", "left"))
        crop = pixels[row["plate"], row["well"], row["site"]][:, *at]
        of_store = read_field(store, row["field"])
        np.testing.assert_array_equal(of_store, pixels[row["plate"], row["well"], row["site"]])
        inside = np.clip((crop.astype(np.float32) - 100) / 3900, 0, 1)
        with torch.no_grad():
            wanted = model.features(torch.from_numpy(inside[None]))[0, 1:].mean(0).numpy()
        assert (np.abs(vector - wanted) <= rounding(wanted) + 2e-5).all()


def test_they_record_what_the_wells_record(screen_path: Path, run: Path, tmp_path: Path) -> None:
    wells, tokens = map(read_signature, embed_both(screen_path, run, tmp_path))
    assert (wells["kind"], tokens["kind"]) == ("wells", "tokens")
    assert tokens["settings"] == wells["settings"]
    assert tokens["sources"] == wells["sources"]
    found = open_tokens(tmp_path / "tokens").sources
    assert found == tokens["sources"]
    assert found["store"] == open_store(screen_path).identity
    assert Tokens(tmp_path / "tokens").counts() == "2 plates, 54 crops, 16 features"


def test_fields_that_are_left_out_do_not_change_the_rows_of_others(
    screen_path: Path, run: Path, pixels: dict, tmp_path: Path
) -> None:
    wells, tokens = embed_both(screen_path, run, tmp_path, where="site = 2 OR plate = 'P2'")
    require_means(wells, tokens)
    fields = open_store(screen_path).fields
    for crop in Tokens(tokens).to_polars().iter_rows(named=True):
        place = fields.select("plate", "well", "site").row(crop["field"])
        assert place == (crop["plate"], crop["well"], crop["site"])


def test_places_are_in_pixels_of_the_store_where_crops_are_resampled(
    screen_path: Path, run: Path, tmp_path: Path
) -> None:
    """The store's half a micrometre to three quarters: 24 of its pixels become a crop's 16."""
    wells, tokens = embed_both(screen_path, run, tmp_path, pixel_size_um=0.75)
    require_means(wells, tokens)
    table = Tokens(tokens).to_polars()
    assert table.select("top", "left", "size").unique().sort("left").rows() == [
        (8, 2, 24),
        (8, 26, 24),
    ]


def test_all_blocks_have_the_tokens_that_each_has_alone(
    screen_path: Path, run: Path, tmp_path: Path
) -> None:
    _, every = embed_both(screen_path, run, tmp_path / "all", block="all", turns=4)
    for block in (1, 2):
        wells, alone = embed_both(screen_path, run, tmp_path / str(block), block=block, turns=4)
        require_means(wells, alone)
        assert files_of(every / f"block-{block:02d}") == files_of(alone)
    with pytest.raises(ValueError, match="tokens holds one tokens folder per block"):
        embed(screen_path, run, tmp_path / "wells", tokens=every, settings=ON_CPU)
    every_block = replace(ON_CPU, block="all")
    with pytest.raises(ValueError, match="tokens holds the tokens of one block"):
        embed(screen_path, run, tmp_path / "wells", tokens=alone, settings=every_block)
    assert not (tmp_path / "wells").exists()


def test_a_public_encoder_has_tokens(screen_path: Path, save_encoder, tmp_path: Path) -> None:
    encoder = save_encoder(tmp_path / "encoder", "dinov2")
    wells, tokens = embed_both(screen_path, f"hf:{encoder}", tmp_path)
    require_means(wells, tokens)
    assert open_tokens(tokens).width == 2 * 32  # side by side, for two channels


def test_tokens_that_are_made_later_are_the_same_and_leave_the_wells_alone(
    screen_path: Path, run: Path, tmp_path: Path
) -> None:
    together, tokens = embed_both(screen_path, run, tmp_path / "together")
    alone = tmp_path / "alone"
    embed(screen_path, run, alone / "wells", settings=ON_CPU)
    assert files_of(alone / "wells") == files_of(together)
    made = (alone / "wells/P1.parquet").stat().st_mtime_ns
    embed_both(screen_path, run, alone)
    assert (alone / "wells/P1.parquet").stat().st_mtime_ns == made
    assert files_of(alone / "tokens") == files_of(tokens)


def test_a_stopped_call_goes_on_with_the_plates_that_are_missing(
    screen_path: Path, run: Path, tmp_path: Path
) -> None:
    undisturbed = embed_both(screen_path, run, tmp_path / "undisturbed")
    lacking, folder = tmp_path / "store", tmp_path / "stopped"
    shutil.copytree(screen_path, lacking)
    shutil.rmtree(lacking / "P2.zarr/B/01/0")
    with pytest.raises(ValueError, match="P2"):
        embed_both(lacking, run, folder)
    assert {path.name for path in folder.iterdir()} == {"wells.partial", "tokens.partial"}
    kept = folder / "tokens.partial/P1.npy"
    made = kept.stat().st_mtime_ns
    (folder / "wells.partial/P1.parquet").unlink()  # a plate that only one of the two has
    resumed = embed_both(screen_path, run, folder)
    assert (folder / "tokens/P1.npy").stat().st_mtime_ns == made
    for one, other in zip(resumed, undisturbed, strict=True):
        assert files_of(one) == files_of(other)


@pytest.mark.parametrize(
    ("wells", "tokens"), [("out", "out"), ("out", "out/tokens"), ("out/wells", "out")]
)
def test_wells_and_tokens_are_beside_each_other(
    screen_path: Path, run: Path, tmp_path: Path, wells: str, tokens: str
) -> None:
    with pytest.raises(ValueError, match=r"tokens must be a folder beside that of the wells, .*"):
        embed(screen_path, run, tmp_path / wells, tokens=tmp_path / tokens, settings=ON_CPU)
    assert not list(tmp_path.iterdir())


def test_tokens_of_another_run_are_refused_unless_overwritten(
    screen_path: Path, run: Path, other_run: Path, tmp_path: Path
) -> None:
    _, tokens = embed_both(screen_path, run, tmp_path)
    before = open_tokens(tokens).vectors("P1")
    with pytest.raises(ValueError, match="another source: run"):
        embed(screen_path, other_run, tmp_path / "others", tokens=tokens, settings=ON_CPU)
    assert not list(tmp_path.glob("others*"))
    with pytest.raises(ValueError, match="holds tokens, not wells"):
        embed(screen_path, run, tokens, settings=ON_CPU)
    embed(
        screen_path,
        other_run,
        tmp_path / "wells",
        tokens=tokens,
        settings=ON_CPU,
        overwrite=True,
    )
    assert not np.allclose(open_tokens(tokens).vectors("P1"), before, atol=1e-3)


def test_the_command_writes_what_the_function_writes_and_check_reads_it(
    screen_path: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, tokens = embed_both(screen_path, run, tmp_path / "called")
    words = ["embed", screen_path, run, tmp_path / "wells", "--tokens", tmp_path / "tokens"]
    words += ["--device", "cpu", "--precision", "float32"]
    assert cli.run([str(word) for word in words]) == 0
    assert files_of(tmp_path / "tokens") == files_of(tokens)
    rows = check(tokens, among=[run.parent])
    states = dict(rows.select("kind", "state").iter_rows())
    assert (states["tokens"], states["run"]) == ("complete", "complete")
    array = tokens / "P2.npy"
    content = bytearray(array.read_bytes())
    content[-1] ^= 1
    array.write_bytes(content)
    with pytest.raises(ValueError, match=r"tokens is damaged: P2\.npy has changed"):
        check(tokens)
    with pytest.raises(ValueError, match=r"P2\.npy has changed since phenomae wrote it"):
        open_tokens(tokens)


@pytest.mark.parametrize("value", [65520.0, -1e6, np.nan])
def test_a_number_that_float16_does_not_hold_is_an_error(tmp_path: Path, value: float) -> None:
    row = ("P1", "A01", 1, 0, 0, 0, 16)
    crops = pl.DataFrame([row, row], list(CROP_COLUMNS), orient="row")
    vectors = np.array([[65519.0, 1e-9], [0.0, value]], dtype=np.float32)
    with pytest.raises(ValueError, match="crops of plate P1 numbers that are NaN or above 65504"):
        write_tokens(tmp_path, crops, vectors)
    assert not list(tmp_path.iterdir())
    write_tokens(tmp_path, crops, vectors[:1].repeat(2, axis=0))
    np.testing.assert_array_equal(np.load(tmp_path / "P1.npy"), [[65504, 0]] * 2)


def test_what_is_no_tokens_folder_is_refused(screen_path: Path, run: Path, tmp_path: Path) -> None:
    wells, tokens = embed_both(screen_path, run, tmp_path)
    with pytest.raises(ValueError, match="holds wells, not tokens, which embed makes with tokens"):
        open_tokens(wells)
    with pytest.raises(ValueError, match="has no plate 'P9': it has P1, P2"):
        open_tokens(tokens).vectors("P9")


def test_a_folder_without_plates_is_refused(
    screen_path: Path, run: Path, tmp_path: Path, resign
) -> None:
    _, tokens = embed_both(screen_path, run, tmp_path)
    for path in [*tokens.glob("*.npy"), *tokens.glob("*.parquet")]:
        path.unlink()
    resign(tokens)
    with pytest.raises(ValueError, match=r"tokens holds no plate: expected one \.parquet file"):
        open_tokens(tokens)
