"""`store check` accepts what an ingest left and nothing else: each damage is found and named."""

import hashlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import zarr

from phenomae.cli import run
from phenomae.store.check import check_store
from phenomae.store.ingest import ingest
from phenomae.store.inventory import IngestSettings


@pytest.fixture(scope="module")
def undamaged(write_raw, tmp_path_factory) -> Path:
    """Two plates of three wells with two fields each."""
    folder = tmp_path_factory.mktemp("undamaged")
    raw = write_raw(folder / "raw", plates=("P1", "P2"))
    ingest(raw, folder / "store", settings=IngestSettings(pixel_size_um=0.5))
    return folder / "store"


@pytest.fixture
def store(undamaged, tmp_path) -> Path:
    """A copy of it, to be damaged."""
    return shutil.copytree(undamaged, tmp_path / "store")


def damages(store: Path | str, capsys, *flags: str) -> list[str]:
    """Return the lines that tell of damage to a store, its path left out."""
    capsys.readouterr()
    code = run(["store", "check", str(store), *flags])
    captured = capsys.readouterr()
    said = [line.removeprefix("damaged: ") for line in captured.err.splitlines()]
    said = [line for line in said if not line.startswith("checking: ")]
    if code == 0:
        assert said == []
        assert captured.out == f"{store}: 12 fields of 2 plates, no damage found\n"
        return []
    (*lines, last) = said
    assert captured.out == ""
    assert code == 1
    start = f"phenomae: {store} is damaged: "
    noun = "1 problem: " if len(lines) == 1 else f"{len(lines)} problems, the first: "
    assert last == start + noun + " ".join(lines[0].split())
    return lines


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def edit_table(store: Path, **columns: pl.Expr) -> None:
    pl.read_parquet(store / "fields.parquet").with_columns(**columns).write_parquet(
        store / "fields.parquet"
    )


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def swap(one: Path, other: Path) -> None:
    one.rename(one.with_name("aside"))
    other.rename(one)
    one.with_name("aside").rename(other)


def rewrite(store: Path, path: str, pixels: np.ndarray) -> None:
    """Write other pixels into a field, by zarr-python."""
    zarr.open_array(store / path / "0", mode="r+")[:] = pixels


SHARD = "P1.zarr/A/02/1/0/c/0/0/0"
READ = "P1.zarr/A/02/1/0: its pixels cannot be read: "
CHANGED = "its pixels have changed since ingest (their SHA-256 is not that in fields.parquet)"
PAIR = "fields.parquet and artefact.json do not belong together"
DAMAGES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "shard gone": (lambda s: (s / SHARD).unlink(), [READ]),
    "shard cut": (lambda s: (s / SHARD).write_bytes((s / SHARD).read_bytes()[:-9]), [READ]),
    "shard empty": (lambda s: (s / SHARD).write_bytes(b""), [READ]),
    "shard's index": (lambda s: flip(s / SHARD, -9), [READ]),
    "shard of another field": (
        lambda s: shutil.copy(s / SHARD.replace("A/02", "B/01"), s / SHARD),
        [f"P1.zarr/A/02/1/0: {CHANGED}"],
    ),
    "pixels changed": (
        lambda s: rewrite(s, "P2.zarr/B/01/0", np.ones((2, 150, 130), np.uint16)),
        [f"P2.zarr/B/01/0/0: {CHANGED}"],
    ),
    "fields swapped": (
        lambda s: swap(s / "P1.zarr/A/01/0", s / "P1.zarr/A/01/1"),
        [f"P1.zarr/A/01/0/0: {CHANGED}", f"P1.zarr/A/01/1/0: {CHANGED}"],
    ),
    "array's zarr.json gone": (
        lambda s: (s / "P1.zarr/A/02/1/0/zarr.json").unlink(),
        ["P1.zarr/A/02/1/0: its zarr.json is missing"],
    ),
    "array of another size": (
        lambda s: edit(s / "P1.zarr/A/02/1/0/zarr.json", "[2,150,130]", "[2,150,131]"),
        ["P1.zarr/A/02/1/0: zarr.json, shape 3 is 131, expected 130"],
    ),
    "array of another type": (
        lambda s: edit(s / "P1.zarr/A/02/1/0/zarr.json", '"uint16"', '"uint8"'),
        ['P1.zarr/A/02/1/0: zarr.json, data_type is "uint8", expected "uint16"'],
    ),
    "array that cannot be decoded": (
        lambda s: edit(s / "P1.zarr/A/02/1/0/zarr.json", '"blosc"', '"gzip"'),
        ["P1.zarr/A/02/1/0: its pixels cannot be read: "],
    ),
    "image's zarr.json gone": (
        lambda s: (s / "P1.zarr/A/02/1/zarr.json").unlink(),
        ["P1.zarr/A/02/1: its zarr.json is missing"],
    ),
    "no JSON": (
        lambda s: (s / "P1.zarr/A/02/1/zarr.json").write_bytes(b"{\xff"),
        ["P1.zarr/A/02/1: its zarr.json is not JSON"],
    ),
    "channel renamed": (
        lambda s: edit(s / "P1.zarr/A/02/1/zarr.json", '"DNA"', '"RNA"'),
        [
            "P1.zarr/A/02/1: zarr.json, attributes, ome, omero, channels 1, label is "
            '"RNA", expected "DNA"'
        ],
    ),
    "pixel size changed": (
        lambda s: edit(s / "P1.zarr/A/02/1/zarr.json", "0.5,", "0.6,"),
        ["coordinateTransformations 1, scale 2 is 0.6, expected 0.5"],
    ),
    "well lists an image less": (
        lambda s: edit(s / "P1.zarr/A/02/zarr.json", '"path": "1"', '"path": "7"'),
        ['P1.zarr/A/02: zarr.json, attributes, ome, well, images 2, path is "7", expected "1"'],
    ),
    "well's zarr.json gone": (
        lambda s: (s / "P2.zarr/B/01/zarr.json").unlink(),
        ["P2.zarr/B/01: its zarr.json is missing"],
    ),
    "row's zarr.json gone": (
        lambda s: (s / "P2.zarr/B/zarr.json").unlink(),
        ["P2.zarr/B: its zarr.json is missing"],
    ),
    "plate lists a well less": (
        lambda s: edit(
            s / "P2.zarr/zarr.json",
            json.dumps({"path": "B/01", "rowIndex": 1, "columnIndex": 0}, indent=2).replace(
                "\n", "\n" + " " * 10
            ),
            '"none"',
        ),
        ['P2.zarr: zarr.json, attributes, ome, plate, wells 3 is "none", expected {"path": "B/01"'],
    ),
    "plate's folder gone": (
        lambda s: shutil.rmtree(s / "P2.zarr"),
        [
            *[f"P2.zarr{at}: its zarr.json is missing" for at in ("", "/A", "/A/01", "/A/02")],
            *[f"P2.zarr{at}: its zarr.json is missing" for at in ("/B", "/B/01")],
            *[
                f"P2.zarr/{well}/{image}{array}: its zarr.json is missing"
                for well in ("A/01", "A/02", "B/01")
                for image in (0, 1)
                for array in ("", "/0")
            ],
        ],
    ),
    "stray plate": (
        lambda s: shutil.copytree(s / "P1.zarr", s / "P3.zarr"),
        ["P3.zarr: fields.parquet does not list it"],
    ),
    "stray well": (
        lambda s: shutil.copytree(s / "P1.zarr/A/01", s / "P1.zarr/A/11"),
        ["P1.zarr/A/11: fields.parquet does not list it"],
    ),
    "stray image": (
        lambda s: shutil.copytree(s / "P1.zarr/A/01/0", s / "P1.zarr/A/01/2"),
        ["P1.zarr/A/01/2: fields.parquet does not list it"],
    ),
    "report gone": (
        lambda s: (s / "ingest-report.csv").unlink(),
        ["ingest-report.csv is missing"],
    ),
    "no report": (
        lambda s: (s / "ingest-report.csv").write_text("gene\nTP53\n"),
        ["ingest-report.csv "],
    ),
}
# Changes that whoever made them has also signed.
SIGNED: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "table edited": (lambda s: edit_table(s, gene=pl.lit("TP53")), [PAIR]),
    "checksum edited": (
        lambda s: edit_table(s, checksum=pl.lit("0" * 32)),
        [PAIR, *[f": {CHANGED}"] * 12],
    ),
    "row twice": (
        lambda s: pl.read_parquet(s / "fields.parquet")[[0, *range(11)]].write_parquet(
            s / "fields.parquet"
        ),
        [
            PAIR,
            "fields.parquet lists a field twice (path)",
            "fields.parquet lists a field twice (plate, well, site)",
            "P1.zarr/A/01: zarr.json, attributes, ome, well, images has 2 instead of 3 entries",
            "P2.zarr/B/01: zarr.json, attributes, ome, well, images has 2 instead of 1 entries",
            "P1.zarr: zarr.json, attributes, ome, plate, field_count is 2, expected 3",
            "P2.zarr/B/01/1: fields.parquet does not list it",
        ],
    ),
    "signature edited": (lambda s: edit(s / "artefact.json", '"bits": 16', '"bits": 8'), [PAIR]),
}


def places(lines: list[str]) -> list[str]:
    return [line.partition(": ")[0] for line in lines]


@pytest.mark.parametrize("case", [*DAMAGES, *SIGNED])
def test_damage_is_found_and_named(case, store, resign, capsys):
    change, expected = (DAMAGES | SIGNED)[case]
    change(store)
    if case in SIGNED:
        resign(store)
    found = damages(store, capsys)
    assert len(found) == len(expected)
    for sentence in expected:
        assert any(sentence in line for line in found), sentence
    quick = damages(store, capsys, "--quick")
    assert places(quick) == places([line for line in found if CHANGED not in line])


@pytest.mark.parametrize("case", SIGNED)
def test_a_table_or_signature_that_was_changed_is_refused_first(case, store, capsys):
    change, _ = SIGNED[case]
    change(store)
    part = "what is recorded of its origin and files" if "signature" in case else "fields.parquet"
    assert run(["store", "check", str(store)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"phenomae: {store} is damaged: {part} has changed since phenomae wrote")
    assert said.count("\n") == 1


def test_checksums_are_sha256_of_what_zarr_python_reads(store, capsys):
    assert damages(store, capsys) == damages(store, capsys, "--quick") == []
    for path, checksum in pl.read_parquet(store / "fields.parquet")["path", "checksum"].iter_rows():
        pixels = np.asarray(zarr.open_array(store / path / "0", mode="r")[:], dtype="<u2")
        assert hashlib.sha256(pixels.tobytes()).hexdigest().startswith(checksum)
        rewrite(store, path, pixels)  # in other bytes: zarr-python compresses in its own way
    assert damages(store, capsys) == []


def test_what_people_and_other_tools_keep_beside_the_plates_is_no_damage(store, capsys):
    (store / "notes.txt").write_text("imaged on a Monday")
    (store / "P1.zarr/tables/conditions").mkdir(parents=True)
    (store / "P1.zarr/A/01/0/labels/nuclei/0").mkdir(parents=True)
    edit(store / "P1.zarr/A/01/0/zarr.json", "0000FF", "00FF00")
    assert damages(store, capsys) == []


def test_of_much_damage_fifty_lines_are_told_and_the_rest_is_counted(
    write_screen, tmp_path, capsys
):
    raw = write_screen(wells=tuple(f"A{column:02d}" for column in range(1, 31)), size=(8, 8))
    ingest(raw, tmp_path / "store")
    for shard in tmp_path.glob("store/P1.zarr/*/*/*/0/c/0/0/0"):
        shard.write_bytes(b"")
    capsys.readouterr()
    assert run(["store", "check", str(tmp_path / "store"), "--quiet"]) == 1
    first = f"phenomae: {tmp_path / 'store'} is damaged: 60 problems, the first: P1.zarr/A/01/0/0: "
    assert capsys.readouterr().err.startswith(first)
    assert run(["store", "check", str(tmp_path / "store")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if line.startswith("damaged: P1.zarr/A/")]) == 50
    assert "damaged: and 10 more" in lines


TABLES = {
    "a path that leads out of the store": {"path": pl.lit("../P1.zarr/A/01/0")},
    "a plate that leads out of the store": {
        "plate": pl.lit("../P1"),
        "path": pl.lit("../P1.zarr/A/01/0"),
    },
    "a path of another well": {"path": pl.lit("P1.zarr/C/01/0")},
    "no path": {"path": pl.lit(None, pl.String)},
    "no height": {"height": pl.lit(None, pl.Int32)},
    "no checksum": {"checksum": pl.lit(None, pl.String)},
    "windows of fewer channels": {"window_low": pl.col("window_low").list.head(1)},
    "no window": {"window_high": pl.lit(None, pl.List(pl.Float64))},
}


@pytest.mark.parametrize("columns", TABLES.values(), ids=list(TABLES))
def test_rows_that_cannot_be_of_a_field_are_named_and_not_followed(columns, store, resign, capsys):
    edit_table(store, **columns)
    resign(store)
    shutil.copytree(store / "P1.zarr", store.parent / "P1.zarr")
    found = damages(store, capsys)
    assert PAIR in found[0]
    rows = [line for line in found if "does not describe a field" in line]
    assert rows == [f"fields.parquet: row {row} does not describe a field" for row in range(12)]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"kind": "store"', '"kind": "wells"', "holds wells, not store"),
        ('"uint16"', '"float99"', "artefact.json is damaged: the store's channels, dtype"),
        ('"channels": [', '"channel": [', "artefact.json is damaged: the store's channels"),
        ('"sources": {', '"source": {', "artefact.json is damaged: expected the JSON"),
        ('"identity":', '"identities":', "artefact.json is damaged: expected the JSON"),
        ("{", "[", "artefact.json is damaged: expected the JSON that phenomae wrote"),
    ],
)
def test_what_is_no_store_is_told_in_one_sentence(old, new, sentence, store, resign, capsys):
    edit(store / "artefact.json", old, new)
    if new != "[":  # what is no JSON cannot be signed
        resign(store)
    capsys.readouterr()
    assert run(["store", "check", str(store)]) == 1
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


def test_workers_must_be_at_least_one(store):
    with pytest.raises(ValueError, match="workers must be at least 1, not 0"):
        check_store(store, workers=0)


@pytest.mark.parametrize("seed", range(60))
def test_a_flipped_bit_or_a_cut_is_found_unless_it_changes_nothing(seed, store, capsys):
    """Where check accepts a change, zarr-python reads what it read before."""
    rng = random.Random(seed)
    path = rng.choice(sorted(path for path in store.rglob("*") if path.is_file()))
    before = read_all(store)
    content = bytearray(path.read_bytes())
    if rng.random() < 0.2:
        del content[rng.randrange(len(content)) :]
    else:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    capsys.readouterr()
    if run(["store", "check", str(store)]):
        assert capsys.readouterr().err.splitlines()[-1].startswith("phenomae: ")
    else:
        assert read_all(store) == before


def read_all(store: Path) -> object:
    """Return what a store holds, as zarr-python, polars and json read it; cosmetics left out."""
    table = pl.read_parquet(store / "fields.parquet")
    pixels = [zarr.open_array(store / path / "0", mode="r")[:].tobytes() for path in table["path"]]
    groups = [zarr.open_group(path, mode="r").attrs["ome"] for path in store.glob("*.zarr")]
    return pixels, table.to_dicts(), groups, (store / "artefact.json").read_text()


def test_a_store_on_s3(bucket, write_screen, tmp_path, capsys):
    store, s3 = bucket.address("screen"), bucket.client
    ingest(write_screen(plates=("P1", "P2")), store)
    assert damages(store, capsys) == damages(store, capsys, "--quick") == []
    s3.delete_object(Bucket=bucket.name, Key="screen/P1.zarr/A/02/1/0/c/0/0/0")
    s3.delete_object(Bucket=bucket.name, Key="screen/P2.zarr/A/zarr.json")
    s3.put_object(Bucket=bucket.name, Key="screen/P3.zarr/A/01/0/zarr.json", Body=b"{}")
    for flags in ([], ["--quick"]):
        found = damages(store, capsys, *flags)
        assert places(found) == ["P2.zarr/A", "P3.zarr", "P1.zarr/A/02/1/0"]
