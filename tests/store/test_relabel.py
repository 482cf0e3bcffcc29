"""Labels of a finished store: replaced as a whole, as by an ingest with their plate map."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from phenomae.cli import run
from phenomae.embedding.features import FeaturesSettings, features
from phenomae.images.platemap.settings import PlateMapSettings
from phenomae.reporting.check import INPUT, check
from phenomae.reporting.qc import qc
from phenomae.store.check import check_store
from phenomae.store.ingest import IngestSettings, ingest
from phenomae.store.read import LABELS, open_store
from phenomae.store.relabel import relabel_store
from phenomae.wells import read_wells

INTENSITY = FeaturesSettings(kind="intensity")
NEW = (
    "plate,well,compound,dose,batch,kind\n"
    "P1,A01,taxol,0.5,b1,trt\nP1,A02,,,b1,dmso\nP1,B01,taxol,2,b2,trt\n"
)
COLUMNS = {
    "concentration_column": "dose",
    "control_column": "kind",
    "control_label": "dmso",
}


@pytest.fixture
def raw(write_screen) -> Path:
    return write_screen()


@pytest.fixture
def store(raw: Path, tmp_path: Path) -> Path:
    ingest(raw, tmp_path / "store")
    return tmp_path / "store"


def write(path: Path, text: str = NEW) -> PlateMapSettings:
    path.write_text(text)
    return PlateMapSettings(plate_map=path, **(COLUMNS if "dose" in text else {}))


def other_files(store: Path) -> dict[str, bytes]:
    paths = [path for path in store.rglob("*") if path.is_file()]
    changed = ("artefact.json", LABELS)
    return {str(path): path.read_bytes() for path in paths if path.name not in changed}


def test_the_table_is_that_of_an_ingest_with_the_new_plate_map(raw, store, tmp_path, capsys):
    settings = write(tmp_path / "new.csv")
    before, old = other_files(store), open_store(store)
    relabelled = relabel_store(store, settings=settings)
    assert f"{settings.plate_map} has no gene, guide: these labels are empty now" in (
        capsys.readouterr().err
    )
    again = IngestSettings(plate_map=settings.plate_map, **COLUMNS)
    ingested = ingest(raw, tmp_path / "other", settings=again)
    assert ingested is not None
    assert_frame_equal(relabelled.fields, ingested.fields)
    assert_frame_equal(open_store(store).fields, ingested.fields)
    assert other_files(store) == before
    assert relabelled.identity == old.identity
    check_store(store)
    # A map of other labels, and the first one, which has a perturbation for each guide.
    relabel_store(store, settings=PlateMapSettings(plate_map=raw / "plate_map.csv"))
    assert_frame_equal(open_store(store).fields, old.fields)


def test_what_is_made_afterwards_names_the_labels_and_what_was_made_before_stays(store, tmp_path):
    before = features(store, tmp_path / "before", settings=INTENSITY)
    identity = read_wells(before).identity
    relabel_store(store, settings=write(tmp_path / "new.csv"))
    assert read_wells(before).identity == identity
    rows = check(before).rows_by_key("output", named=True, unique=True)
    assert rows[str(store)]["state"] == rows[str(tmp_path / "before")]["state"] == "complete"
    assert str(store / LABELS) not in rows
    with pytest.raises(ValueError, match=r"before was made with another source: labels = None"):
        features(store, before, settings=INTENSITY)
    after = features(store, tmp_path / "after", settings=INTENSITY)
    assert read_wells(after).table["compound"].to_list() == ["taxol", None, "taxol"]
    rows = check(after).rows_by_key("output", named=True, unique=True)
    assert rows[str(store)]["state"] == rows[str(store / LABELS)]["state"] == "complete"
    recorded = json.loads((tmp_path / "after" / "artefact.json").read_text())["sources"]
    assert recorded == {
        "store": rows[str(store)]["identity"],
        "labels": rows[str(store / LABELS)]["identity"],
    }
    # The next labels are other ones, and these are not found any more.
    relabel_store(store, settings=write(tmp_path / "new.csv", NEW.replace("taxol", "paclitaxel")))
    states = check(after)["state"].to_list()
    assert states.count("not found here") == 1  # the labels
    assert states.count(INPUT) == 2  # raw data and the plate map


@pytest.mark.parametrize("damage", ["edited", "removed", "of another store"])
def test_a_table_that_was_changed_by_hand_is_noticed_by_every_reader(
    raw, store, tmp_path, damage, capsys
):
    relabel_store(store, settings=write(tmp_path / "new.csv"))
    path = store / LABELS
    if damage == "removed":
        path.unlink()
    elif damage == "edited":
        pl.read_parquet(path).with_columns(compound=pl.lit("x")).write_parquet(path)
    else:
        ingest(raw, tmp_path / "other")
        changed = NEW.replace("taxol", "nocodazole")
        relabel_store(tmp_path / "other", settings=write(tmp_path / "other.csv", changed))
        shutil.copy(tmp_path / "other" / LABELS, path)
    sentence = "is missing" if damage == "removed" else "has changed since phenomae wrote it"
    for command in (
        ["features", store, tmp_path / "wells", "--kind", "intensity"],
        ["store", "check", store],
        ["ingest", raw, store],
        ["pretrain", "vit-mae", store, tmp_path / "run"],
        ["store", "relabel", store, "--plate-map", raw / "plate_map.csv"],
        ["check", store],
    ):
        capsys.readouterr()
        assert run(list(map(str, command))) == 1, command
        assert f"{LABELS}" in capsys.readouterr().err, command
    with pytest.raises(ValueError, match=sentence):
        open_store(store)


# The command ends as by a power cut when it renames its file number CALL to its place.
KILL = """
import os, signal
replace, counted = os.replace, 0
def kill(*arguments):
    global counted
    counted += 1
    if counted == {call}:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*arguments)
os.replace = kill
"""


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("call", range(1, 4))
def test_killed_at_any_moment_the_labels_are_the_old_ones_or_the_new_ones(
    store, tmp_path, fork, call, first, capsys
):
    """Killed before each of the files has its name: signature, labels, signature."""
    if not first:
        relabel_store(store, settings=write(tmp_path / "first.csv", NEW.replace("taxol", "none")))
    old = open_store(store).fields
    settings = write(tmp_path / "new.csv")
    words = ["store", "relabel", store, "--plate-map", settings.plate_map]
    words += ["--concentration-column", "dose", "--control-column", "kind"]
    words += ["--control-label", "dmso"]
    assert fork(words, before=KILL.format(call=call)).wait().returncode == -9
    found = open_store(store).fields
    if call == 3:
        assert found["compound"].to_list() == ["taxol"] * 2 + [None] * 2 + ["taxol"] * 2
    else:
        assert_frame_equal(found, old)
    check_store(store)
    assert check(store)["state"][0] == "complete"
    assert run(list(map(str, words))) == 0
    assert "an earlier call" in capsys.readouterr().err
    assert open_store(store).fields["concentration_um"].to_list() == [0.5, 0.5, None, None, 2, 2]
    assert sorted(path.name for path in tmp_path.glob("store*")) == ["store"]
    assert not list(store.glob("*.partial"))


def test_plates_that_are_added_have_labels_of_their_own(write_screen, store, tmp_path):
    relabel_store(store, settings=write(tmp_path / "new.csv"))
    more = write_screen("more", plates=("P2",))
    ingest(more, store, add=True)
    both = open_store(store)
    assert both.fields.select("plate", "compound", "gene").unique(maintain_order=True).rows() == [
        ("P1", "taxol", None),
        ("P1", None, None),
        ("P2", None, "GENE0"),
        ("P2", None, "GENE1"),
        ("P2", None, "GENE2"),
    ]
    assert list(both.label_sources) == ["labels"]
    check_store(store)
    with pytest.raises(ValueError, match=r"plate P2, well A01 has images but is not in the plate"):
        relabel_store(store, settings=PlateMapSettings(plate_map=tmp_path / "new.csv", **COLUMNS))
    assert_frame_equal(open_store(store).fields, both.fields)


def test_wells_that_do_not_match_are_said_as_ingest_says_them(raw, store, tmp_path):
    old = open_store(store).fields
    one = NEW.replace("P1,B01,taxol,2,b2,trt\n", "")
    for text, sentence in (
        (one, r"plate P1, well B01 has images but is not in the plate map \(setting unmapped"),
        (NEW + "P1,H12,x,1,b,trt\n", r"plate P1, well H12 is in the plate map but has no images"),
        (NEW.replace("P1", "P7"), r"3 problems: plate P1, well A01 has images but"),
    ):
        with pytest.raises(ValueError, match=sentence):
            relabel_store(store, settings=write(tmp_path / "new.csv", text))
        settings = IngestSettings(plate_map=tmp_path / "new.csv", **COLUMNS)
        with pytest.raises(ValueError, match=sentence):
            ingest(raw, tmp_path / "ingested", settings=settings)
    assert_frame_equal(open_store(store).fields, old)
    write(tmp_path / "new.csv", one + "P1,H12,x,1,b,trt\n")
    chosen = {**COLUMNS, "plate_map": tmp_path / "new.csv", "unmapped": "keep", "unimaged": "skip"}
    relabelled = relabel_store(store, settings=PlateMapSettings(**chosen))
    ingested = ingest(raw, tmp_path / "ingested", settings=IngestSettings(**chosen))
    assert ingested is not None
    assert_frame_equal(relabelled.fields, ingested.fields)
    assert relabelled.fields["compound"].to_list()[-2:] == [None, None]


def test_a_map_of_other_plates_is_refused_whatever_the_settings(raw, store, tmp_path):
    write(tmp_path / "new.csv", NEW.replace("P1", "P7"))
    chosen = {**COLUMNS, "plate_map": tmp_path / "new.csv", "unmapped": "keep", "unimaged": "skip"}
    sentence = r"new\.csv names none of the wells that have images"
    with pytest.raises(ValueError, match=sentence):
        relabel_store(store, settings=PlateMapSettings(**chosen))
    with pytest.raises(ValueError, match=sentence):
        ingest(raw, tmp_path / "ingested", settings=IngestSettings(**chosen))


def test_quality_control_depends_on_the_labels(store, tmp_path):
    qc(store, tmp_path / "checked")
    relabel_store(store, settings=write(tmp_path / "new.csv"))
    with pytest.raises(ValueError, match=r"checked was made with another source: labels = None"):
        qc(store, tmp_path / "checked")


def test_settings_that_cannot_be(store, tmp_path, capsys):
    for flags, sentence in (
        ((), "a store is relabelled by a plate map: set --plate-map"),
        (("--control-label", "DMSO"), "--control-label is only used with a plate map"),
        (("--plate-map", "absent.csv"), "absent.csv: there is no such plate map"),
        (("--unmapped", "skip"), "--unmapped must be error or keep, not skip"),
    ):
        assert run(["store", "relabel", str(store), *flags]) == 1
        assert sentence in capsys.readouterr().err
    assert run(["store", "relabel", str(tmp_path / "absent"), "--plate-map", "x.csv"]) == 1
    assert "absent holds no store" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw", "store"]


def test_a_well_that_ingest_left_out_may_be_in_the_map(raw, tmp_path):
    for path in raw.glob("images/P1/B01_*"):
        path.write_bytes(path.read_bytes()[:300])
    ingest(raw, tmp_path / "store", settings=IngestSettings(on_bad="skip"))
    relabelled = relabel_store(tmp_path / "store", settings=write(tmp_path / "new.csv"))
    assert relabelled.fields["well"].unique(maintain_order=True).to_list() == ["A01", "A02"]
    (tmp_path / "store" / "ingest-report.csv").write_text("plate,well,site,problem\n")
    with pytest.raises(ValueError, match=r"ingest-report.csv has changed since phenomae wrote it"):
        relabel_store(tmp_path / "store", settings=write(tmp_path / "new.csv"))


def test_a_store_on_s3(raw, bucket, tmp_path):
    ingest(raw, bucket.address("store"))
    relabel_store(bucket.address("store"), settings=write(tmp_path / "new.csv"))
    ingest(raw, tmp_path / "store")
    relabel_store(tmp_path / "store", settings=write(tmp_path / "new.csv"))
    local, remote = open_store(tmp_path / "store"), open_store(bucket.address("store"))
    assert_frame_equal(remote.fields, local.fields)
    assert remote.sources == local.sources
    check_store(bucket.address("store"))
