"""Shards of ingest: the bytes of one process, also if killed, with bad fields and in parts."""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import tifffile

from phenomae import cli
from phenomae.images.fields import Problem
from phenomae.store import parts
from phenomae.store.check import check_store
from phenomae.store.ingest import IngestSettings, ingest
from phenomae.store.inventory import take_inventory
from phenomae.store.measures import Measures, read_measures, tabulate_measures
from phenomae.store.part_rows import part_units, read_part, save_part
from phenomae.store.parts import cut_plates
from phenomae.store.quality import Quality
from phenomae.store.read import Store

# Plates of twelve fields in three ranges of four.
CUT = "import phenomae.store.parts\nphenomae.store.parts._MIN_FIELDS = 4"
WELLS = ("A01", "A02", "A03", "B01", "B02", "B03")
SKIP = ("--on-bad", "skip")

# A shard that stops when it begins to write a file whose path has a part of its own.
STOP = """
import os, signal, sys

def watch(event, arguments):
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_WRONLY
    if writes and {part!r} in str(arguments[0]):
        print("stops", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)

sys.addaudithook(watch)
"""


def contents(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def wait_until(ready: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def replace_pixels(raw: Path) -> None:
    """Write other pixels of the same type and size."""
    path = raw / "images/P1/A01_s1_DNA.tiff"
    size = path.stat().st_size
    tifffile.imwrite(path, tifffile.imread(path)[::-1, ::-1].copy())
    assert path.stat().st_size == size


def finish(raw: Path, store: Path, **how: Any) -> Store:
    """Ingest and return the store, which must be finished."""
    made = ingest(raw, store, **how)
    assert made is not None
    return made


def spoil_pixels(path: Path) -> bytes:
    """Write an image whose header can be read, but not its pixels; return it with pixels."""
    tifffile.imwrite(path, tifffile.imread(path), compression="zlib")
    whole = path.read_bytes()
    with tifffile.TiffFile(path) as file:
        (offset, *_), (length, *_) = file.pages[0].dataoffsets, file.pages[0].databytecounts
    path.write_bytes(whole[:offset] + bytes(length) + whole[offset + length :])
    return whole


@pytest.fixture
def raw(write_screen) -> Path:
    """A raw screen of two plates of twelve fields."""
    return write_screen(plates=("P1", "P2"), wells=WELLS)


@pytest.fixture
def alone(raw, tmp_path) -> dict[str, bytes]:
    """The bytes of the store that one process writes, plate by plate."""
    ingest(raw, tmp_path / "alone")
    return contents(tmp_path / "alone")


def test_ranges_of_a_large_plate_are_of_almost_equal_length(raw, monkeypatch):
    for shortest, lengths in ((13, [12]), (7, [12]), (6, [6, 6]), (5, [6, 6]), (4, [4] * 3)):
        monkeypatch.setattr(parts, "_MIN_FIELDS", shortest)
        inventory = take_inventory(raw, IngestSettings())
        for plate, some in cut_plates(inventory).items():
            assert [len(part.fields) for part in some if len(part.fields)] == lengths
            assert [place for part in some for place in part.fields] == list(range(12))
            assert [part.is_whole for part in some] == [False] * (len(some) - 1) + [True]
            assert some[-1].name == plate
    # Pixels that are converted: the windows of the plate come first.
    inventory = take_inventory(raw, IngestSettings(bits=8))
    assert {len(some) for some in cut_plates(inventory).values()} == {1}


def test_measures_of_a_field_come_back_from_the_table_as_they_were():
    quality = Quality((0.1, 1 / 3), (0.0, 1e-300), (0.5, 1.0), ((1.0, 2.0), (4.0, 65535.0)))
    levels = [None, *(pl.arange(3 * k, 3 * k + 3, eager=True).to_numpy()[None] for k in (0, 1))]
    measured = [
        Measures(f"P1.zarr/A/01/{k}", f"{k:032x}", quality, (True, False), (k,) * (2 * k), one)
        for k, one in enumerate(levels)
    ]
    found = read_measures(tabulate_measures(measured))
    assert found[0].levels is not None
    assert found[0].levels.tolist() == [[0 + 3, 1 + 4, 2 + 5]]
    for old, new in zip(measured, found, strict=True):
        assert (new.path, new.checksum, new.quality) == (old.path, old.checksum, old.quality)
        assert (new.blank, new.clipped) == (old.blank, old.clipped)
    assert read_measures(tabulate_measures([])) == []


@pytest.mark.parametrize("flags", [{}, {"bits": 8}, {"value_range": (0.0, 1.0)}])
def test_plates_in_parts_give_the_bytes_of_whole_ones(raw, tmp_path, flags, monkeypatch):
    settings = IngestSettings(window_fields=5, **flags)
    ingest(raw, tmp_path / "whole", settings=settings)
    monkeypatch.setattr(parts, "_MIN_FIELDS", 4)
    ingest(raw, tmp_path / "parts", settings=settings)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    check_store(tmp_path / "parts")


@pytest.mark.parametrize("before", ["", CUT])
def test_shards_divide_the_fields_and_give_the_bytes_of_one_process(
    before, raw, alone, tmp_path, fork
):
    words = ["ingest", raw, tmp_path / "store", "--shard"]
    shards = [fork([*words, f"{number}/3"], before=before) for number in (1, 2, 3)]
    done = [shard.wait() for shard in shards]
    assert [it.returncode for it in done] == [0, 0, 0], [it.stderr for it in done]
    assert contents(tmp_path / "store") == alone
    assert not list(tmp_path.glob("store.*"))
    said = "".join(it.stderr for it in done)
    assert said.count(f"{tmp_path / 'store'}: 24 fields of 2 plates") == 1
    assert "ingesting: 24/24 fields" in said


@pytest.mark.parametrize("before", [pytest.param("", marks=pytest.mark.slow), CUT])
def test_eight_shards_killed_at_random_give_the_bytes_of_one_process(
    before, write_screen, tmp_path, fork
):
    rng = random.Random(len(before))
    raw = write_screen(plates=("P1", "P2", "P3", "P4"), wells=WELLS, size=(300, 260))
    spoil_pixels(raw / "images/P2/A02_s1_DNA.tiff")
    ingest(raw, tmp_path / "alone", settings=IngestSettings(on_bad="skip"))
    store = tmp_path / "store"

    def start(number: int):
        words = ["ingest", raw, store, *SKIP, "--workers", "1", "--shard", f"{number}/8"]
        return fork(words, before=before)

    running, kills = {number: start(number) for number in range(1, 9)}, 0
    while not store.exists():
        time.sleep(rng.uniform(0, 0.1))
        number = rng.choice(list(running))
        if running[number].poll() is None and (kills < 24 or rng.random() < 0.1):
            os.kill(running[number].pid, signal.SIGKILL)
            kills += running[number].wait().returncode == -signal.SIGKILL
        if running[number].poll() is not None:
            running[number] = start(number)
    done = [shard.wait() for shard in running.values()]
    assert {it.returncode for it in done} <= {0, -signal.SIGKILL}, [it.stderr for it in done]
    assert kills >= 4
    assert contents(store) == contents(tmp_path / "alone")
    assert not list(tmp_path.glob("store.*"))


@pytest.mark.slow
def test_killed_at_every_moment_the_next_shard_finishes(
    write_screen, tmp_path, fork, kill_before_change
):
    """Also between the last range, the plate and its rows, and between signing and renaming."""
    raw, store, moment, killed = write_screen(wells=("A01", "B01")), tmp_path / "store", 5, True
    ingest(raw, tmp_path / "alone")
    words = ["ingest", raw, store, "--workers", "1", "--shard"]
    cut = CUT.replace("4", "2")
    while killed:
        before = kill_before_change(store, moment, workers=False)
        killed = fork([*words, "1/2"], before=f"{cut}\n{before}").wait().returncode != 0
        assert fork([*words, "2/2"], before=cut).wait().returncode == 0
        assert contents(store) == contents(tmp_path / "alone"), moment
        assert not list(tmp_path.glob("store.*"))
        shutil.rmtree(store)
        moment += 5
    assert moment > 60


@pytest.mark.parametrize("before", [pytest.param("", marks=pytest.mark.slow), CUT])
def test_a_call_alone_goes_on_where_a_shard_stopped_and_the_reverse(
    before, raw, alone, tmp_path, fork
):
    store, shard = tmp_path / "store", ("--shard", "1/2")
    for first, other in ((shard, ()), ((), shard)):
        words = ["ingest", raw, store, "--workers", "1"]
        stuck = fork([*words, *first], before=f"{before}\n{STOP.format(part='P2.zarr/B/02/1')}")
        wait_until(lambda stuck=stuck: stuck.printed.read_text())
        stuck_with = contents(tmp_path / "store.partial/rows")
        refused = fork([*words, *other], before=before).wait()
        assert refused.returncode == 1
        assert f"{store} is being written by another call, " in refused.stderr
        os.kill(stuck.pid, signal.SIGKILL)
        stuck.wait()
        assert fork([*words, *other], before=before).wait().returncode == 0
        assert contents(store) == alone
        assert "P1.parquet" in stuck_with
        shutil.rmtree(store)


def test_a_plate_is_finished_when_its_ranges_are_written(raw, alone, tmp_path, fork):
    """The other shard is stopped in the first range of a plate: this one writes all but that."""
    store = tmp_path / "store"
    words = ["ingest", raw, store, "--workers", "1", "--shard"]
    stuck = fork([*words, "1/2"], before=f"{CUT}\n{STOP.format(part='.P1.0-4.parquet')}")
    wait_until(lambda: (store.with_name("store.partial") / ".claims/units/.P1.0-4").exists())
    wait_until(lambda: stuck.printed.read_text())
    other = fork([*words, "2/2"], before=CUT).wait()
    assert other.returncode == 0
    assert f"{store}: 2 of 8 parts are being written by other shards" in other.stderr
    rows = {path.name for path in (tmp_path / "store.partial/rows").iterdir()}
    assert rows == {
        *(f".P2.{ends}.parquet" for ends in ("0-4", "4-8", "8-12")),
        *(".P1.4-8.parquet", ".P1.8-12.parquet", "P2.parquet"),
    }
    os.kill(stuck.pid, signal.SIGKILL)
    stuck.wait()
    assert fork([*words, "2/2"], before=CUT).wait().returncode == 0
    assert contents(store) == alone


def test_shards_must_agree_on_how_many_they_are(raw, tmp_path, fork):
    words = ["ingest", raw, tmp_path / "store", "--shard"]
    stuck = fork([*words, "1/2"], before=STOP.format(part="rows/P1.parquet"))
    wait_until(lambda: stuck.printed.read_text())
    begun = time.monotonic()
    other = fork([*words, "3/4"]).wait()
    assert time.monotonic() - begun < 30
    assert other.returncode == 1
    assert other.stderr.splitlines()[-1] == (
        f"phenomae: {tmp_path / 'store'} is being written by 2 shards, and this would be one of 4: "
        "give all of them the same number, or wait until the others have ended"
    )
    os.kill(stuck.pid, signal.SIGKILL)
    stuck.wait()


@pytest.mark.parametrize(("before", "first"), [("", "rows/P1.csv"), (CUT, "rows/.P1.0-4.csv")])
def test_bad_fields_of_all_shards_are_in_the_report(before, first, raw, tmp_path, fork):
    for name in ("P1/A02_s1_DNA.tiff", "P2/B01_s2_ER.tiff"):
        spoil_pixels(raw / "images" / name)
    words = ["ingest", raw, tmp_path / "store", "--workers", "1"]
    ingest(raw, tmp_path / "alone", settings=IngestSettings(on_bad="skip"))
    report = pl.read_csv(tmp_path / "alone/ingest-report.csv")
    assert report["plate"].to_list() == ["P1", "P2"]
    stuck = fork([*words, "--shard", "1/2"], before=f"{before}\n{STOP.format(part=first)}")
    wait_until(lambda: stuck.printed.read_text())
    # A shard that is not the last one ends with what it has found itself.
    failed = fork([*words, "--shard", "2/2"], before=before).wait()
    os.kill(stuck.pid, signal.SIGKILL)
    stuck.wait()
    assert failed.returncode == 1
    assert "P2/B01_s2_ER.tiff" in failed.stderr
    assert "P1/A02_s1_DNA.tiff" not in failed.stderr
    assert "(--on-bad skip leaves such fields out)" in failed.stderr
    assert not (tmp_path / "store").exists()
    shards = [fork([*words, *SKIP, "--shard", f"{n}/2"], before=before) for n in (1, 2)]
    assert [shard.wait().returncode for shard in shards] == [0, 0]
    assert contents(tmp_path / "store") == contents(tmp_path / "alone")


def test_bad_fields_are_tried_again_by_the_next_call(raw, tmp_path):
    image = raw / "images/P1/A02_s1_DNA.tiff"
    whole = spoil_pixels(image)
    times = image.stat()
    for shard in ("1/2", "1/1"):
        with pytest.raises(ValueError, match="on_bad = skip leaves such fields out"):
            ingest(raw, tmp_path / "store", shard=shard)
        rows = tmp_path / "store.partial/rows"
        assert {path.name for path in rows.iterdir()} == {"P1.csv", "P1.parquet", "P2.parquet"}
    image.write_bytes(whole)  # as if it could be read this time: its time is the same
    os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns))
    ingest(raw, tmp_path / "store", shard="2/2")
    ingest(raw, tmp_path / "alone")
    assert contents(tmp_path / "store") == contents(tmp_path / "alone")


def test_saved_parts_are_done_again_if_raw_files_change_or_fields_were_bad(
    raw, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(parts, "_MIN_FIELDS", 4)
    store, partial = tmp_path / "store", tmp_path / "store.partial"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("phenomae.store.ingest.gather_plates", stop)
        with pytest.raises(KeyboardInterrupt):
            ingest(raw, store, shard="1/2")
    (_, second, _, whole) = cut_plates(take_inventory(raw, IngestSettings()))["P2"]
    saved = read_part(partial, second)
    assert saved is not None
    rows, _ = saved
    save_part(partial, second, rows, [Problem("not read", "P2", "A02", 1)])
    (partial / "rows/.P2.8-12.parquet").write_bytes(b"PAR1")
    replace_pixels(raw)
    capsys.readouterr()
    stamps = {path: path.stat().st_mtime_ns for path in partial.rglob("c/0/0/0")}
    done = []

    def note(folder: Path, part: parts.Part, rows: pl.DataFrame, problems: list[Problem]) -> None:
        done.append(part.name)
        save_part(folder, part, rows, problems)

    monkeypatch.setattr("phenomae.store.finish.save_part", note)
    ingest(raw, store)
    said = capsys.readouterr().err
    assert "plate P1: its raw files have changed since an earlier call read them" in said
    assert done == [".P1.0-4", ".P1.4-8", ".P1.8-12", "P1", ".P2.4-8", ".P2.8-12", whole.name]
    kept = {
        path
        for path, stamp in stamps.items()
        if (store / path.relative_to(partial)).exists()
        and (store / path.relative_to(partial)).stat().st_mtime_ns == stamp
    }
    assert {path.relative_to(partial).parts[0] for path in kept} == {"P2.zarr"}
    ingest(raw, tmp_path / "alone")
    assert contents(store) == contents(tmp_path / "alone")


def test_bad_fields_of_a_range_that_was_cut_short_are_found_again(raw, tmp_path, monkeypatch):
    """The plate was finished before the machine lost power."""
    monkeypatch.setattr(parts, "_MIN_FIELDS", 4)
    spoil_pixels(raw / "images/P1/A02_s1_DNA.tiff")
    settings, rows = IngestSettings(on_bad="skip"), tmp_path / "store.partial/rows"
    ingest(raw, tmp_path / "alone", settings=settings)
    # With an error for the bad field at its end, all parts stay.
    with pytest.raises(ValueError, match="on_bad = skip leaves such fields out"):
        ingest(raw, tmp_path / "store")
    (rows / ".P1.0-4.parquet").write_bytes(b"PAR1")
    assert (rows / "P1.parquet").exists()
    ingest(raw, tmp_path / "store", settings=settings)
    assert contents(tmp_path / "store") == contents(tmp_path / "alone")


def test_raw_files_that_change_between_shards_are_an_error(raw, tmp_path, fork):
    words = ["ingest", raw, tmp_path / "store", "--shard"]
    stuck = fork([*words, "1/2"], before=STOP.format(part="rows/P1.parquet"))
    wait_until(lambda: stuck.printed.read_text())
    replace_pixels(raw)
    other = fork([*words, "2/2"]).wait()
    assert other.returncode == 1
    assert f"{raw}: raw files of plate P1 have changed since other shards began" in other.stderr
    os.kill(stuck.pid, signal.SIGKILL)
    stuck.wait()
    ingest(raw, tmp_path / "store", shard="2/2")
    ingest(raw, tmp_path / "alone")
    assert contents(tmp_path / "store") == contents(tmp_path / "alone")


def test_shards_refer_to_plates_in_place(raw, alone, tmp_path, fork):
    plate = tmp_path / "alone/P1.zarr"
    words = ["ingest", plate, tmp_path / "store", "--in-place", "--shard"]
    shards = [fork([*words, f"{number}/2"], before=CUT) for number in (1, 2)]
    assert [shard.wait().returncode for shard in shards] == [0, 0]
    ingest(plate, tmp_path / "whole", settings=IngestSettings(in_place=True))
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")
    assert "in-place.arrow" in contents(tmp_path / "store")


def test_what_a_shard_cannot_write_another_one_does(raw, alone, tmp_path, fork):
    """The first shard may write no file as large as a field, as on a full disk."""
    store = tmp_path / "store"
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))"
    words = ["ingest", raw, store, "--workers", "1", "--quiet", "--shard"]
    failed = fork([*words, "1/2"], before=limit).wait()
    assert failed.returncode == 1
    assert "File too large" in failed.stderr
    assert failed.stderr.count("\n") == 1
    assert not store.exists()
    assert fork([*words, "2/2"]).wait().returncode == 0
    assert contents(store) == alone


def test_overwrite_by_shards_reads_raw_files_that_have_changed(raw, alone, tmp_path, capsys):
    store = tmp_path / "store"
    assert finish(raw, store, shard="1/2").path == store
    assert contents(store) == alone
    replace_pixels(raw)
    with pytest.raises(ValueError, match=r"raw files of plate P1 have changed since .*store"):
        ingest(raw, store, shard="2/2")
    assert finish(raw, store, shard="2/2", overwrite=True).path == store
    assert contents(store) != alone
    capsys.readouterr()
    assert finish(raw, store, shard="1/2", overwrite=True).path == store
    assert "store is already there" in capsys.readouterr().err


def test_a_store_that_other_shards_write_is_not_returned(raw, tmp_path, fork):
    store = tmp_path / "store"
    words = ["ingest", raw, store, "--shard"]
    stuck = fork([*words, "1/2"], before=STOP.format(part="rows/P1.parquet"))
    wait_until(lambda: stuck.printed.read_text())
    assert ingest(raw, store, shard="2/2") is None
    assert not store.exists()
    os.kill(stuck.pid, signal.SIGKILL)
    stuck.wait()
    assert finish(raw, store, shard="2/2").fields["plate"].n_unique() == 2


@pytest.mark.parametrize(
    ("place", "flags", "said"),
    [
        ("store", ["--add"], "plates are added by one process, because shards fill a new folder"),
        ("s3://bucket/store", [], "s3://bucket/store, an address, is written by one process, beca"),
    ],
)
def test_what_shards_cannot_write_is_one_sentence(place, flags, said, raw, tmp_path, capsys):
    where = place if place.startswith("s3") else str(tmp_path / place)
    assert cli.run(["ingest", str(raw), where, *flags, "--shard", "1/2"]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.endswith("leave --shard out, or ingest into a folder of its own\n")
    assert error.count("\n") == 1


def test_tasks_of_a_job_array_are_shards_but_not_with_add(raw, tmp_path, monkeypatch, capsys):
    for name, value in (("ID", "2"), ("COUNT", "2"), ("MIN", "1"), ("STEP", "1")):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    store = ingest(raw, tmp_path / "store")
    assert "shard 2 of 2 (SLURM_ARRAY_TASK_ID)" in capsys.readouterr().err
    assert store is not None
    ingest(raw, tmp_path / "store", add=True)
    assert "shard" not in capsys.readouterr().err
    names = part_units(cut_plates(take_inventory(raw, IngestSettings()))).names
    assert names == ["P1", "P2"]
