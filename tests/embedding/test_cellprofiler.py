"""The kind cellprofiler of `features`, against cp_measure called by hand."""

import shutil
import sys
import warnings
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import ndimage

from phenomae import cli
from phenomae.blas import one_blas_thread
from phenomae.cores import available_cores
from phenomae.embedding.features import FeaturesSettings, features
from phenomae.embedding.hand_made.kind import View
from phenomae.embedding.hand_made.kinds import find_kind
from phenomae.embedding.hand_made.measurements import measure_objects
from phenomae.embedding.object_profiles import median_profile
from phenomae.signatures import read_signature
from phenomae.wells import read_wells

CHANNELS = ("DNA", "ER")
SETTINGS = FeaturesSettings(kind="cellprofiler", cell_distance=5)
WINDOWS = np.array([[100, 4000], [100, 4000]], dtype=np.float32)  # those of `make_store`


@pytest.fixture(autouse=True)
def _one_blas_thread():
    """BLAS with one thread, without which the small products of textures take seconds."""
    with one_blas_thread():
        yield


@pytest.fixture(scope="session")
def bulk():
    """cp_measure's tables of functions."""
    return pytest.importorskip("cp_measure.bulk", reason="needs the extra cellprofiler")


def draw_field(seed: int, nuclei: int = 4, height: int = 80, width: int = 96) -> np.ndarray:
    """Return nuclei (DNA) in textured cells (ER), of 12 bits as from a camera."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    away = np.full((height, width), np.inf)
    places = [(20, 20), (58, 24), (22, 66), (56, 70)][:nuclei]
    for row, column in places:
        row, column = np.array([row, column]) + rng.integers(-4, 5, 2)
        away = np.minimum(away, np.hypot(rows - row, 1.2 * (columns - column)) / rng.uniform(7, 9))
    grain = 1 + 0.3 * ndimage.gaussian_filter(rng.standard_normal((2, height, width)), (0, 1, 1))
    light = np.stack([2500 * (away < 1), 1500 * (away < 1.6)]) * grain + 150
    return rng.poisson(ndimage.gaussian_filter(light, (0, 1, 1))).astype(np.uint16)


@pytest.fixture(scope="session")
def fields() -> dict[tuple[str, str, int], np.ndarray]:
    """Two plates; well A02 of P1 has no nucleus, and its second field is larger than others."""
    pixels = {("P1", "A01", site): draw_field(site) for site in (1, 2)}
    pixels |= {("P1", "A02", site): draw_field(site, nuclei=0) for site in (1, 2)}
    pixels["P1", "A02", 2] = np.full((2, 90, 120), 150, dtype=np.uint16)
    return pixels | {("P2", "A01", 1): draw_field(3), ("P2", "A02", 1): draw_field(4, nuclei=3)}


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, make_store, fields) -> Path:
    """The store of `fields`."""
    return make_store(tmp_path_factory.mktemp("cells") / "store", fields, CHANNELS)


@pytest.fixture(scope="session")
def describe(bulk):
    """The function that measures an image of two channels."""
    return find_kind("cellprofiler").from_objects(View("store", CHANNELS, 80, SETTINGS))


@pytest.fixture(scope="session")
def wells(bulk, tmp_path_factory: pytest.TempPathFactory, store: Path) -> Path:
    """The wells of `store`."""
    path = tmp_path_factory.mktemp("cells") / "wells"
    return features(store, path, settings=SETTINGS).path


def masks() -> np.ndarray:
    """Three objects drawn by hand, of which two touch."""
    labels = np.zeros((80, 96), dtype=np.int32)
    labels[10:30, 12:28] = 1
    labels[30:44, 10:33] = 2
    rows, columns = np.mgrid[:80, :96]
    labels[np.hypot(rows - 50, columns - 70) < 12] = 3
    return labels


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_features_are_those_of_cp_measure(bulk):
    labels, images = masks(), draw_field(0) / 4095
    found = measure_objects(labels, images, CHANNELS)
    core, pairs = bulk.get_core_measurements(legacy=True), bulk.get_correlation_measurements()
    expected = {
        f"AreaShape_{key}": values
        for group in ("sizeshape", "zernike", "feret")
        for key, values in core[group](labels, None).items()
    }
    for name, image in zip(CHANNELS, images, strict=True):
        for group in ("intensity", "granularity"):
            got = core[group](labels, image)
            expected |= {f"{key}_{name}": values for key, values in got.items()}
        for key, values in core["texture"](labels, image).items():
            feature, scale, way, levels = key.split("_")
            expected[f"Texture_{feature}_{name}_{scale}_{way}_{levels}"] = values
        for group in ("radial_distribution", "radial_zernikes"):
            for key, values in core[group](labels, image).items():
                _, feature, *rest = key.split("_")
                at = "_".join(["RadialDistribution", feature, name, *rest])
                expected[at] = values
    for group in ("pearson", "manders_fold", "rwc"):
        expected |= pairs[group](images[0], images[1], labels)
    renamed = {
        "Correlation_Correlation_DNA_ER": "Correlation_Pearson",
        "Correlation_Slope_DNA_ER": "Correlation_Slope",
        "Correlation_Manders_DNA_ER": "Correlation_Manders_1",
        "Correlation_Manders_ER_DNA": "Correlation_Manders_2",
        "Correlation_RWC_DNA_ER": "Correlation_RWC_1",
        "Correlation_RWC_ER_DNA": "Correlation_RWC_2",
    }
    assert len(found) == 101 + 2 * 155 + 6
    for name, values in found.items():
        np.testing.assert_array_equal(values, expected[renamed.get(name, name)], err_msg=name)
    left_out = expected.keys() - found.keys() - set(renamed.values())
    assert all(
        name.startswith(("Location_", "AreaShape_Center_", "AreaShape_BoundingBoxM"))
        or np.isnan(expected[name]).all()
        for name in left_out
    ), "nothing is left out but places and what is undefined for every object"


def test_features_have_known_values(bulk):
    """Against formulas: cp_measure gets the objects and channels that the names say."""
    labels, images = masks(), draw_field(0) / 4095
    found = measure_objects(labels, images, CHANNELS)
    for label in (1, 2, 3):
        dna, er = (image[labels == label] for image in images)
        together = (dna >= 0.15 * dna.max()) & (er >= 0.15 * er.max())
        expected = {
            "AreaShape_Area": len(dna),
            "Intensity_MeanIntensity_ER": er.mean(),
            "Intensity_StdIntensity_DNA": dna.std(),
            "Correlation_Correlation_DNA_ER": np.corrcoef(dna, er)[0, 1],
            "Correlation_Slope_DNA_ER": np.polyfit(dna, er, 1)[0],
            "Correlation_Manders_ER_DNA": er[together].sum() / er[er >= 0.15 * er.max()].sum(),
        }
        for name, value in expected.items():
            assert found[name][label - 1] == pytest.approx(value, rel=1e-6), name


def test_names_are_those_of_cellprofiler(describe):
    assert len(set(describe.names)) == len(describe.names) == 2 * (101 + 2 * 155 + 6)
    assert {
        "Cells_AreaShape_Area",
        "Nuclei_AreaShape_Zernike_0_0",
        "Cells_Intensity_MeanIntensity_ER",
        "Nuclei_Texture_Contrast_DNA_3_00_256",
        "Cells_Granularity_1_ER",
        "Nuclei_RadialDistribution_FracAtD_DNA_1of4",
        "Cells_RadialDistribution_ZernikeMagnitude_ER_9_9",
        "Cells_Correlation_RWC_ER_DNA",
    } < set(describe.names)


def test_a_well_is_the_median_over_the_objects_of_its_fields(describe, wells, fields):
    found = read_wells(wells)
    assert found.table.select("plate", "well", "sites").rows() == [
        ("P1", "A01", 2),
        ("P2", "A01", 1),
        ("P2", "A02", 1),
    ], "a well without an object is left out"
    assert np.isfinite(found.features).all()
    counts = []
    for row, (plate, well) in enumerate(found.table.select("plate", "well").iter_rows()):
        sites = [image for key, image in fields.items() if key[:2] == (plate, well)]
        objects = np.concatenate([describe(image, WINDOWS) for image in sites])
        counts.append(len(objects))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            expected = np.nanmedian(np.where(np.isinf(objects), np.nan, objects), axis=0)
        np.testing.assert_array_equal(found.features[row], np.nan_to_num(expected).astype("f4"))
    assert counts == [8, 4, 3]


def test_the_names_of_features_stand_beside_the_wells(describe, wells):
    table = pl.read_csv(wells / "features.csv")
    assert table["name"].to_list() == list(describe.names)
    assert table["feature"].to_list() == [f"feature_{at:04d}" for at in range(len(table))]
    settings = read_signature(wells)["settings"]
    assert settings["cell_distance"] == 5
    assert settings["cp_measure"] == version("cp_measure")


def test_the_order_of_fields_and_what_is_below_the_window_do_not_matter(
    wells, fields, make_store, tmp_path
):
    keys = [(plate, well, 3 - site) for plate, well, site in fields if plate == "P1"]
    swapped = {key: fields[*key[:2], 3 - key[2]] for key in reversed(keys)}
    swapped = {key: np.where(image < 100, 3, image).astype("u2") for key, image in swapped.items()}
    path = make_store(tmp_path / "swapped", swapped, CHANNELS)
    features(path, tmp_path / "again", settings=SETTINGS)
    expected = read_wells(wells).features[:1]
    np.testing.assert_array_equal(read_wells(tmp_path / "again").features, expected)


def test_crops_are_measured_one_by_one(describe, fields, make_store, tmp_path):
    key = ("P2", "A01", 1)
    path = make_store(tmp_path / "store", {key: fields[key]}, CHANNELS)
    settings = replace(SETTINGS, tiling="grid", crop_size=40)
    features(path, tmp_path / "wells", settings=settings)
    crops = [fields[key][:, y : y + 40, x : x + 40] for y in (0, 40) for x in (8, 48)]
    objects = np.concatenate([describe(crop, WINDOWS) for crop in crops])
    assert 1 <= len(objects) <= 4
    np.testing.assert_array_equal(
        read_wells(tmp_path / "wells").features[0], median_profile(objects)
    )


def test_a_channel_of_one_value_gives_numbers(describe, fields):
    image = fields["P1", "A01", 1].copy()
    image[1] = 150
    objects = describe(image, WINDOWS)
    assert len(objects) == 4
    assert np.isnan(objects[:, describe.names.index("Cells_Correlation_Correlation_DNA_ER")]).all()
    profile = median_profile(objects)
    assert np.isfinite(profile).all()
    assert profile[describe.names.index("Cells_Correlation_Correlation_DNA_ER")] == 0
    black = np.array([[100, 4000], [150, 150]], dtype=np.float32)  # a window without width
    assert np.isfinite(median_profile(describe(image, black))).all()


def test_medians_leave_out_what_is_undefined():
    nan, inf = np.nan, np.inf
    objects = np.array([[1, nan, 4, nan], [2, 5, inf, nan], [6, 7, 8, inf]])
    np.testing.assert_array_equal(median_profile(objects), [2, 6, 6, 0])


def test_a_stopped_call_goes_on_with_the_missing_plates(wells, store, tmp_path):
    lacking = tmp_path / "store"
    shutil.copytree(store, lacking)
    shutil.rmtree(lacking / "P2.zarr/A/01/0")
    with pytest.raises(ValueError, match="P2"):
        features(lacking, tmp_path / "wells", settings=SETTINGS)
    made = (tmp_path / "wells.partial/P1.parquet").stat().st_mtime_ns
    features(store, tmp_path / "wells", settings=SETTINGS)
    assert (tmp_path / "wells/P1.parquet").stat().st_mtime_ns == made
    for path in wells.iterdir():
        assert (tmp_path / "wells" / path.name).read_bytes() == path.read_bytes()


def test_a_single_channel_is_enough(bulk, fields, make_store, tmp_path):
    pixels = {("P1", "A01", 1): fields["P1", "A01", 1][:1]}
    path = make_store(tmp_path / "store", pixels, ("Hoechst",))
    features(path, tmp_path / "wells", settings=SETTINGS)
    assert read_wells(tmp_path / "wells").features.shape == (1, 2 * (101 + 155))


@pytest.mark.slow
@pytest.mark.skipif(available_cores() < 2, reason="one core: there are no processes to compare")
def test_processes_give_the_same_bytes_as_one(describe, make_store, tmp_path):
    pixels = {("P1", f"A{well:02d}", 1): draw_field(well) for well in range(1, 18)}
    path = make_store(tmp_path / "store", pixels, CHANNELS)
    features(path, tmp_path / "wells", settings=SETTINGS)
    objects = [median_profile(describe(image, WINDOWS)) for image in pixels.values()]
    np.testing.assert_array_equal(read_wells(tmp_path / "wells").features, np.stack(objects))


def test_a_store_without_nuclei_leaves_nothing(bulk, fields, make_store, tmp_path, capsys):
    pixels = {key: image for key, image in fields.items() if key[1] == "A02" and key[0] == "P1"}
    path = make_store(tmp_path / "store", pixels, CHANNELS)
    assert cli.run(["features", str(path), str(tmp_path / "wells"), "--kind", "cellprofiler"]) == 1
    *_, line = capsys.readouterr().err.strip().splitlines()
    assert "has no nucleus that is not cut by the edge of an image: name the channel" in line
    assert not list(tmp_path.glob("wells*"))


def test_an_unknown_nuclear_channel_is_one_sentence(bulk, store, tmp_path, capsys):
    command = ["features", str(store), str(tmp_path / "wells"), "--kind", "cellprofiler"]
    assert cli.run([*command, "--channels", "ER"]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "no single channel of ER is known to show nuclei" in line
    assert not list(tmp_path.glob("wells*"))


def test_without_cp_measure_nothing_is_read(tmp_path, monkeypatch, capsys):
    for name in [name for name in sys.modules if name.partition(".")[0] == "cp_measure"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cp_measure", None)  # as if it were not installed
    command = [
        "features",
        str(tmp_path / "none"),
        str(tmp_path / "wells"),
        "--kind",
        "cellprofiler",
    ]
    assert cli.run(command) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "kind cellprofiler needs cp_measure: pip install 'phenomae[cellprofiler]'" in line
    assert not list(tmp_path.iterdir())
