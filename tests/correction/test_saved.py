"""A correction that is saved and applied to plates that come later."""

import numpy as np
import polars as pl
import pytest

from phenomae.correction import TVN, CenterScale
from phenomae.correction.correct import CorrectSettings, correct
from phenomae.correction.settings import FewControls
from phenomae.wells import read_wells

CHAIN = CorrectSettings("center-scale", "plate", ("tvn(ridge=0.3):batch", "sphering:"))
PLATES = ("P1", "P2", "P3", "P4")


@pytest.fixture
def saved(make_screen, tmp_path):
    """The screen's wells, and the file of the chain fitted on them."""
    wells = make_screen()
    correct(wells, tmp_path / "out", settings=CHAIN, save=tmp_path / "fitted.npz")
    return wells, tmp_path / "fitted.npz"


@pytest.mark.parametrize("method", ["center-scale", "pca-center-scale", "tvn", "sphering"])
@pytest.mark.parametrize("batch", [None, "plate"])
def test_the_plates_it_was_fitted_on_come_out_as_they_did(make_screen, tmp_path, method, batch):
    wells, file = make_screen(), tmp_path / "fitted.npz"
    correct(wells, tmp_path / "out", settings=CorrectSettings(method, batch), save=file)
    correct(wells, tmp_path / "again", apply=file)
    for plate in PLATES:
        one, two = (
            (tmp_path / name / f"{plate}.parquet").read_bytes() for name in ("out", "again")
        )
        assert one == two


def test_new_plates_go_by_their_own_controls_along_the_axes_that_were_fitted(
    saved, make_plates, tmp_path
):
    wells, _ = saved
    chosen = CorrectSettings("center-scale", "plate", ("tvn(ridge=0.3):batch",))
    correct(wells, tmp_path / "two", settings=chosen, save=tmp_path / "two.npz")
    new = make_plates("new", ("P4", "P5", "P6"), batch=pl.lit("day1"))
    correct(new, tmp_path / "corrected", apply=tmp_path / "two.npz")
    old, late = read_wells(wells), read_wells(new)
    control, plates = (old.table[name].to_numpy() for name in ("control", "plate"))
    plates, features = plates.astype(str), old.features.astype(np.float64)
    centered = CenterScale().fit_transform(features, controls=control, batches=plates)
    batches = old.table["batch"].to_numpy().astype(str)
    tvn = TVN(0.3).fit(centered, controls=control, batches=batches)
    scaled = late.features.astype(np.float64)
    for plate in ("P4", "P5", "P6"):
        rows = late.table["plate"].to_numpy() == plate
        own = scaled[rows & late.table["control"].to_numpy()]
        if plate == "P4":  # known: as it was fitted, whatever is on the new plate
            own = features[control & (plates == "P4")]
        scaled[rows] = (scaled[rows] - own.mean(axis=0)) / own.std(axis=0)
    wanted = tvn.transform(scaled, np.repeat("day1", len(scaled)))
    np.testing.assert_allclose(
        read_wells(tmp_path / "corrected").features, wanted, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(("policy", "plates"), [("pool", ["P5", "P6"]), ("drop", ["P6"])])
def test_new_plates_with_few_controls(saved, make_plates, tmp_path, policy: FewControls, plates):
    few = pl.col("control") & (pl.col("plate") != "P5")
    new = make_plates("new", ("P5", "P6"), control=few, batch=pl.lit("day1"))
    with pytest.raises(
        ValueError,
        match=r"plate P5 \(0\): center-scale needs at least 2 in every new batch; choose "
        "few_controls pool or drop",
    ):
        correct(new, tmp_path / "corrected", apply=saved[1])
    late = CorrectSettings(few_controls=policy)
    correct(new, tmp_path / "corrected", apply=saved[1], settings=late)
    assert read_wells(tmp_path / "corrected").table["plate"].unique().sort().to_list() == plates


def test_a_correction_without_batches_needs_no_controls_later(make_screen, make_plates, tmp_path):
    correct(make_screen(), tmp_path / "out", save=tmp_path / "fitted.npz")
    new = make_plates("new", ("P5",), control=pl.lit(False))
    correct(new, tmp_path / "corrected", apply=tmp_path / "fitted.npz")
    old, late = read_wells(tmp_path / "wells"), read_wells(new)
    tvn = TVN().fit(old.features, controls=old.table["control"].to_numpy())
    np.testing.assert_allclose(
        read_wells(tmp_path / "corrected").features,
        tvn.transform(late.features.astype(np.float64)),
        rtol=1e-5, atol=1e-6,
    )  # fmt: skip


def test_the_same_file_again_and_another_one(saved, tmp_path, capsys):
    wells, file = saved
    content = file.read_bytes()
    correct(wells, tmp_path / "out", settings=CHAIN, save=file)
    assert "fitted.npz is already there, made with the same settings" in capsys.readouterr().err
    file.unlink()
    correct(wells, tmp_path / "out", settings=CHAIN, save=file)  # OUT is there, the file is not
    assert file.read_bytes() == content
    with pytest.raises(ValueError, match=r"save .*fitted.npz is already there, made with other"):
        correct(wells, tmp_path / "other", save=file)
    correct(wells, tmp_path / "other", save=file, overwrite=True)
    assert file.read_bytes() != content


def test_it_is_no_pickle(saved):
    with np.load(saved[1], allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file.files)


@pytest.mark.parametrize("damage", ["cut", "flip", "text", "other", "absent"])
def test_a_file_that_will_not_do(saved, tmp_path, damage):
    wells, file = saved
    content = file.read_bytes()
    middle = len(content) // 2
    sentence = (
        "fitted.npz is damaged or not a correction: expected an .npz that correct --save wrote"
    )
    if damage == "cut":
        file.write_bytes(content[:middle])
    elif damage == "flip":
        file.write_bytes(content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :])
    elif damage == "text":
        file.write_text("x,y\n1,2\n")
    elif damage == "other":
        np.savez(file, x=np.ones(3))
    else:
        file, sentence = tmp_path / "absent.npz", "absent.npz: there is no such file"
    with pytest.raises(ValueError, match=sentence):
        correct(wells, tmp_path / "new", apply=file)
    if damage != "absent":
        with pytest.raises(ValueError, match=sentence):  # never replaced, as it may be anything
            correct(wells, tmp_path / "new", save=file, overwrite=True)


@pytest.mark.parametrize("part", ["header", "0 centers", "1 matrix"])
def test_a_file_that_was_changed(saved, tmp_path, part):
    wells, file = saved
    with np.load(file) as held:
        arrays = dict(held)
    changed = "what is recorded of its origin and files has changed since phenomae wrote it"
    if part == "header":
        arrays[part] = np.array(str(arrays[part]).replace('"width": 6', '"width": 5'))
    else:
        arrays[part].flat[0] += 1
        changed = "its numbers have changed since phenomae wrote them"
    np.savez(file, **arrays)
    with pytest.raises(ValueError, match=f"fitted.npz is damaged: {changed}"):
        correct(wells, tmp_path / "new", apply=file)


def test_another_format(saved, tmp_path):
    wells, file = saved
    with np.load(file) as held:
        arrays = dict(held)
    arrays["header"] = np.array(str(arrays["header"]).replace('"format": 2', '"format": 9'))
    np.savez(file, **arrays)
    with pytest.raises(ValueError, match=r"has format 9, of phenomae .* up to 2: install a newer"):
        correct(wells, tmp_path / "new", apply=file)


def test_another_number_of_features(saved, tmp_path):
    wells, file = saved
    correct(wells, tmp_path / "narrow", settings=CorrectSettings("tvn(components=3)"))
    with pytest.raises(ValueError, match=r"narrow has 3 features, but .*npz was fitted on 6: both"):
        correct(tmp_path / "narrow", tmp_path / "new", apply=file)


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"method": "tvn"}, "apply takes the methods from its file: leave out method"),
        ({"batch": "plate", "then": ("tvn",)}, "from its file: leave out batch, then"),
        ({"arm_genes": 3}, "arm_genes is only used with arms"),
    ],
)
def test_settings_beside_a_file(saved, tmp_path, chosen, sentence):
    with pytest.raises(ValueError, match=sentence):
        correct(saved[0], tmp_path / "new", settings=CorrectSettings(**chosen), apply=saved[1])


def test_save_and_apply_exclude_each_other(saved, tmp_path):
    with pytest.raises(ValueError, match=r"save .*two.npz and apply exclude each other"):
        correct(saved[0], tmp_path / "new", apply=saved[1], save=tmp_path / "two.npz")


def test_a_batch_column_that_is_empty_on_new_plates(saved, make_plates, tmp_path):
    new = make_plates("new", ("P5",), batch=pl.lit(None, pl.String))
    with pytest.raises(ValueError, match=r"apply .*\(tvn:batch\): the column is empty for 24 of"):
        correct(new, tmp_path / "corrected", apply=saved[1])


@pytest.mark.parametrize(
    ("out", "save", "sentence"),
    [
        ("wells", None, "wells is or contains the folder of the wells to correct"),
        ("other/../wells", None, "is or contains the folder of the wells"),
        ("", None, "is or contains the folder of the wells"),
        ("out", "out/fitted.npz", "fitted.npz is inside .*out, which may contain only plates"),
        ("out.npz", "out.npz", "out.npz is inside .*out.npz"),
        ("out", "fitted.csv", "save .*fitted.csv: give it a name that ends with .npz"),
    ],
)
def test_places_that_will_not_do(make_screen, tmp_path, out, save, sentence):
    """Whoever asks for --overwrite does not ask to lose what is corrected."""
    wells = make_screen()
    before = {path.name: path.read_bytes() for path in wells.iterdir()}
    file = None if save is None else tmp_path / save
    with pytest.raises(ValueError, match=sentence):
        correct(wells, tmp_path / out, save=file, overwrite=True)
    assert {path.name: path.read_bytes() for path in wells.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["wells"]
