"""RxRx2, RxRx3, RxRx19a and RxRx19b: metadata and images as documented, in small copies.

The columns, paths and sample rows are those of the data sets' public documentation.
"""

from pathlib import Path

import imagecodecs
import numpy as np
import polars as pl
import pytest

from phenomae.images.fields import Listing
from phenomae.images.layouts.table import load_layout
from phenomae.images.read import list_fields, read_field, read_headers
from phenomae.images.settings import LayoutSettings
from phenomae.records import PLATE_MAP_COLUMNS
from phenomae.store.inventory import IngestSettings, take_inventory

OF_SITES = "site_id,well_id,cell_type,experiment,plate,well,site"
METADATA = {
    "rxrx2": (
        f"{OF_SITES},treatment,treatment_conc\n"
        "HUVEC-1_1_AA02_1,HUVEC-1_1_AA02,HUVEC,HUVEC-1,1,AA02,1,IL-6,0.01\n"
        "HUVEC-1_1_AA02_2,HUVEC-1_1_AA02,HUVEC,HUVEC-1,1,AA02,2,IL-6,0.01\n"
        "HUVEC-1_1_AA03_1,HUVEC-1_1_AA03,HUVEC,HUVEC-1,1,AA03,1,,\n"
        "HUVEC-2_1_AA02_1,HUVEC-2_1_AA02,HUVEC,HUVEC-2,1,AA02,1,EMPTY,\n"
        "HUVEC-2_9_AA02_1,HUVEC-2_9_AA02,HUVEC,HUVEC-2,9,AA02,1,IL-6,0.1\n"
    ),
    "rxrx19a": (
        f"{OF_SITES},disease_condition,treatment,treatment_conc,SMILES\n"
        "HRCE-1_1_AA02_1,HRCE-1_1_AA02,HRCE,HRCE-1,1,AA02,1,Active SARS-CoV-2,Remdesivir,3.0,C\n"
        "HRCE-1_1_AA02_2,HRCE-1_1_AA02,HRCE,HRCE-1,1,AA02,2,Active SARS-CoV-2,Remdesivir,3.0,C\n"
        "HRCE-1_1_AA03_1,HRCE-1_1_AA03,HRCE,HRCE-1,1,AA03,1,Active SARS-CoV-2,,,\n"
        "HRCE-2_1_AA02_1,HRCE-2_1_AA02,HRCE,HRCE-2,1,AA02,1,Mock,,,\n"
        "VERO-1_9_AA02_1,VERO-1_9_AA02,VERO,VERO-1,9,AA02,1,UV Inactivated SARS-CoV-2,,,\n"
    ),
    "rxrx19b": (
        f"{OF_SITES},disease_condition,treatment,treatment_conc,SMILES\n"
        "HUVEC-1_1_AA02_1,HUVEC-1_1_AA02,HUVEC,HUVEC-1,1,AA02,1,storm-severe,Crizotinib,0.3,C\n"
        "HUVEC-1_1_AA02_2,HUVEC-1_1_AA02,HUVEC,HUVEC-1,1,AA02,2,storm-severe,Crizotinib,0.3,C\n"
        "HUVEC-1_1_AA03_1,HUVEC-1_1_AA03,HUVEC,HUVEC-1,1,AA03,1,storm-severe,NA,,\n"
        "HUVEC-2_1_AA02_1,HUVEC-2_1_AA02,HUVEC,HUVEC-2,1,AA02,1,healthy,Crizotinib,0.3,C\n"
        "HUVEC-1_9_AA02_1,HUVEC-1_9_AA02,HUVEC,HUVEC-1,9,AA02,1,,,,\n"
    ),
    "rxrx3": (
        "well_id,experiment_name,plate,address,gene,treatment,SMILES,concentration,"
        "perturbation_type,cell_type\n"
        "HUVEC-1_1_AA02,HUVEC-1,1,AA02,RPLP2,RPLP2_guide_4,,,CRISPR,HUVEC\n"
        "HUVEC-1_1_AA03,HUVEC-1,1,AA03,EMPTY_control,EMPTY_control,,,CRISPR,HUVEC\n"
        'HUVEC-2_1_AA02,HUVEC-2,1,AA02,,Dequalinium,"CC1 |c:1,13|",0.25,COMPOUND,HUVEC\n'
        "HUVEC-2_9_AA02,HUVEC-2,9,AA02,,CRISPR_control,,,COMPOUND,HUVEC\n"
    ),
}
EXPERIMENT = {"rxrx19a": "HRCE", "rxrx2": "HUVEC", "rxrx3": "HUVEC", "rxrx19b": "HUVEC"}
CHANNELS = {"rxrx19a": 5, "rxrx2": 6, "rxrx3": 6, "rxrx19b": 6}
SETS = list(METADATA)
# Gene, guide, compound, concentration and whether it is a control, of three wells.
WELLS = {
    "rxrx2": [
        ("IL-6_0.01", None, None, "IL-6", None, False),
        (None, None, None, None, None, True),
        ("EMPTY", None, None, None, None, True),
    ],
    "rxrx19a": [
        ("Remdesivir_3", None, None, "Remdesivir", 3.0, False),
        ("Active SARS-CoV-2", None, None, None, None, True),
        ("Mock", None, None, None, None, False),
    ],
    "rxrx19b": [
        ("Crizotinib_0.3", None, None, "Crizotinib", 0.3, False),
        ("storm-severe", None, None, None, None, True),
        ("Crizotinib_0.3_healthy", None, None, "Crizotinib", 0.3, False),
    ],
    "rxrx3": [
        ("RPLP2_guide_4", "RPLP2", "RPLP2_guide_4", None, None, False),
        ("EMPTY_control", None, None, None, None, True),
        ("Dequalinium_0.25", None, None, "Dequalinium", 0.25, False),
    ],
}


def pixels(site: int, channel: int, dtype: str) -> np.ndarray:
    return np.full((8, 12), 10 * site + channel, dtype)


def write(raw: Path, name: str) -> Path:
    """Write two of the three plates that the metadata name."""
    raw.mkdir(parents=True, exist_ok=True)
    (raw / "metadata.csv").write_text(METADATA[name])
    cells = EXPERIMENT[name]
    sites = [f"{cells}-1/Plate1/AA02_s1", f"{cells}-1/Plate1/AA02_s2", f"{cells}-1/Plate1/AA03_s1"]
    for number, site in enumerate([*sites, f"{cells}-2/Plate1/AA02_s1"]):
        for channel in range(1, CHANNELS[name] + 1):
            path = raw / "images" / f"{site}_w{channel}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = pixels(number, channel, "uint16" if name == "rxrx3" else "uint8")
            path.write_bytes(imagecodecs.png_encode(image))
    return raw


def listed(raw: Path, name: str, **settings) -> Listing:
    layout = load_layout(name)
    return layout.list(raw, layout.find(raw), LayoutSettings(**settings))


@pytest.mark.parametrize("name", SETS)
def test_plates_have_their_experiment_in_their_name(tmp_path: Path, name: str):
    listing = listed(write(tmp_path, name), name)
    cells, count = EXPERIMENT[name], CHANNELS[name]
    assert len(listing.files) == 4 * count
    assert {(f.plate, f.well, f.site) for f in listing.files} == {
        (f"{cells}-1_Plate1", "AA02", 1),
        (f"{cells}-1_Plate1", "AA02", 2),
        (f"{cells}-1_Plate1", "AA03", 1),
        (f"{cells}-2_Plate1", "AA02", 1),
    }
    channels = [f"w{number}" for number in range(1, count + 1)]
    assert list(dict.fromkeys(f.channel for f in listing.files)) == channels
    noun = "wells" if name == "rxrx3" else "sites"
    assert listing.ignored == {f"{noun} of plates without a folder": 1}
    assert not listing.problems


@pytest.mark.parametrize("name", SETS)
def test_wells_have_their_treatment(tmp_path: Path, name: str):
    wells = listed(write(tmp_path, name), name).wells
    assert wells is not None
    assert dict(wells.schema) == PLATE_MAP_COLUMNS
    cells = EXPERIMENT[name]
    places = [(f"{cells}-1_Plate1", "AA02"), (f"{cells}-1_Plate1", "AA03")]
    places.append((f"{cells}-2_Plate1", "AA02"))
    assert wells.rows() == [
        (plate, well, plate.removesuffix("_Plate1"), *labels)
        for (plate, well), labels in zip(places, WELLS[name], strict=True)
    ]


@pytest.mark.parametrize("name", SETS)
def test_auto_tells_the_data_sets_apart(tmp_path: Path, name: str, capsys):
    raw = write(tmp_path, name)
    others = [other for other in ("rxrx1", "rxrx3-core", *SETS) if other != name]
    assert not any(load_layout(other).find(raw) for other in others)
    (raw / "metadata.csv").rename(raw / f"{name}-metadata.csv")
    plates = list_fields(raw)
    assert f"layout {name}, because of {raw}/{name}-metadata.csv\n" in capsys.readouterr().err
    headers, problems = read_headers(plates.fields, workers=1)
    assert not problems
    dtype = "uint16" if name == "rxrx3" else "uint8"
    assert {header.dtype for header in headers if header} == {dtype}
    count = range(1, CHANNELS[name] + 1)
    expected = np.stack([pixels(3, channel, dtype) for channel in count])
    assert np.array_equal(read_field(plates.fields[3]), expected)


def test_all_sites_of_a_well_of_rxrx3_are_read_and_its_names_may_be_those_of_the_core(tmp_path):
    raw = write(tmp_path, "rxrx3")
    plate = raw / "images/HUVEC-2/Plate1"
    for path in sorted(plate.iterdir()):
        path.rename(plate / path.name.replace("_w", "_").replace(".png", ".jp2"))
    channels = {file.channel for file in listed(raw, "rxrx3").files if "HUVEC-2" in file.plate}
    assert channels == {"1", "2", "3", "4", "5", "6"}
    (raw / "metadata.csv").rename(raw / "metadata_rxrx3.csv")
    assert len(listed(raw, "rxrx3").files) == 24
    (plate / "B09_s1_1.jp2").touch()
    ignored = listed(raw, "rxrx3").ignored
    assert ignored["images that metadata_rxrx3.csv does not name"] == 1


@pytest.mark.parametrize(
    ("name", "old", "new", "sentence"),
    [
        ("rxrx2", "1,AA03,1,", "1,AA0,1,", "line 4: 'AA0' is not a well"),
        ("rxrx2", "AA02,2,IL-6,0.01", "AA02,2,IL-6,x", "line 3: the concentration 'x' is not a"),
        ("rxrx19a", "AA03,HRCE,HRCE-1,1", "AA03,HRCE,HRCE-1,one", "line 4: 'one' is not a plate's"),
        ("rxrx19b", "1,AA03,1,", "1,AA04,1,", "has no image of well AA04, site 1"),
        ("rxrx3", "1,AA03,", "1,AA04,", "HUVEC-1/Plate1 has no image of well AA04$"),
        ("rxrx3", "control,,,CRISPR", "control,,,ORF", "line 3: perturbation_type 'ORF'"),
        ("rxrx3", "HUVEC-1,1,AA03", "../x,1,AA03", "line 3: '../x' cannot be the name of a batch"),
    ],
)  # fmt: skip
def test_a_row_that_is_wrong_is_a_problem(tmp_path: Path, name, old, new, sentence):
    raw = write(tmp_path, name)
    assert old in METADATA[name]
    (raw / "metadata.csv").write_text(METADATA[name].replace(old, new))
    (problem,) = listed(raw, name).problems
    assert pl.Series([str(problem)]).str.contains(sentence)[0], problem


@pytest.mark.parametrize(
    ("name", "old", "new", "sentence"),
    [
        ("rxrx2", "treatment_conc", "dose", "metadata of RxRx2: it has no column treatment_conc"),
        ("rxrx3", "gene,", "x,", "is not the metadata of RxRx3: it has no column gene"),
        (
            "rxrx19a", "2,Active SARS-CoV-2,Remdesivir", "2,Mock,Remdesivir",
            r"line 3: plate HRCE-1_Plate1, well AA02 has Remdesivir_3_Mock \(Mock\), but "
            r"Remdesivir_3 \(Active SARS-CoV-2\) in line 2",
        ),
        ("rxrx2", ",2,IL-6", ",2,", "well AA02 has no treatment, but IL-6_0.01 in line 2"),
    ],
)  # fmt: skip
def test_metadata_that_are_wrong_are_an_error(tmp_path: Path, name, old, new, sentence):
    raw = write(tmp_path, name)
    (raw / "metadata.csv").write_text(METADATA[name].replace(old, new))
    with pytest.raises(ValueError, match=sentence):
        listed(raw, name)


def test_archives_that_were_not_unpacked_are_named(tmp_path: Path):
    raw = write(tmp_path, "rxrx3")
    images = raw / "images"
    images.rename(raw / "elsewhere")
    (images / "HUVEC-1").mkdir(parents=True)
    (images / "HUVEC-1/Plate1.tar").touch()
    with pytest.raises(
        ValueError, match=r"Plate1.tar is an archive: unpack .* own, such as .*/HUVEC-1/Plate1$"
    ):
        listed(raw, "rxrx3")
    (images / "HUVEC-1/Plate1.tar").unlink()
    with pytest.raises(ValueError, match=r"has no folder of a plate in .*, such as HUVEC-1/Plate1"):
        listed(raw, "rxrx3")


def test_rxrx1_as_wilds_packs_it_is_named(tmp_path: Path):
    (tmp_path / "metadata.csv").write_text(
        "site_id,well_id,cell_type,dataset,experiment,plate,well,site,well_type,sirna,sirna_id\n"
        "HEPG2-01_1_B02_1,x,HEPG2,test,HEPG2-01,1,B02,1,negative_control,EMPTY,1138\n"
    )
    path = tmp_path / "images/HEPG2-01/Plate1/B02_s1.png"
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(ValueError, match=r"B02_s1.png is an image of three channels in colour, as"):
        list_fields(tmp_path)


def test_rxrx19_without_untreated_wells_of_the_disease(tmp_path: Path, capsys):
    raw = write(tmp_path, "rxrx19a")
    text = METADATA["rxrx19a"].replace("AA03,1,Active SARS-CoV-2", "AA03,1,Mock")
    (raw / "metadata.csv").write_text(text)
    wells = listed(raw, "rxrx19a").wells
    assert wells is not None
    assert not wells["control"].any()
    assert "so no well is a negative control (settings control_column" in capsys.readouterr().err


def controls(raw: Path, **settings) -> list[str]:
    """Return the wells that an ingest takes as controls, by experiment and well."""
    inventory = take_inventory(raw, IngestSettings(workers=1, **settings))
    wells = inventory.table.filter("control").unique(["plate", "well"]).sort("plate", "well")
    return [f"{plate.removesuffix('_Plate1')} {well}" for plate, well, *_ in wells.rows()]


def test_controls_are_chosen_by_the_columns_of_the_data_set(tmp_path: Path):
    raw = write(tmp_path / "a", "rxrx19a")
    assert controls(raw) == ["HRCE-1 AA03"]
    mock = {"control_column": "disease_condition", "control_label": "Mock"}
    assert controls(raw, **mock) == ["HRCE-2 AA02"]
    assert controls(raw, control_column="treatment", control_label="") == [
        "HRCE-1 AA03",
        "HRCE-2 AA02",
    ]
    both = {"control_column": "disease_condition,treatment", "control_label": "Active SARS-CoV-2"}
    assert controls(raw, **both) == ["HRCE-1 AA03"]
    assert controls(raw, control_column="concentration_um", control_label="3.0") == ["HRCE-1 AA02"]
    crispr = {"control_column": "perturbation", "control_label": "EMPTY_control,RPLP2_guide_4"}
    assert controls(write(tmp_path / "b", "rxrx3"), **crispr) == ["HUVEC-1 AA02", "HUVEC-1 AA03"]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"control_label": "Mock"}, r"has no column 'control' \(setting control_column\) by which"),
        ({"control_column": "disease"}, r"no column 'disease' .*; it has batch, .*treatment_conc"),
        (
            {"control_column": "disease_condition", "control_label": "mock"},
            "no well has the control label 'mock' in disease_condition",
        ),
        ({"control_column": "cell_type"}, "cell_type has .*: set control_label to the label of"),
    ],
)
def test_controls_that_cannot_be_chosen(tmp_path: Path, settings: dict[str, str], sentence: str):
    with pytest.raises(ValueError, match=sentence):
        controls(write(tmp_path, "rxrx19a"), **settings)
