"""Stores on S3: the same bytes as on a disk, also where an ingest was stopped."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from phenomae import cli
from phenomae.images.read import list_fields
from phenomae.store.ingest import ingest
from phenomae.store.inventory import IngestSettings
from phenomae.store.read import open_store, read_crops, read_field, windows

WELLS = tuple(f"{row}{column:02d}" for row in "AB" for column in range(1, 4))


def local_contents(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    """Run a command; return its exit code and what it told as an error."""
    capsys.readouterr()
    code = cli.run(["--quiet", *map(str, words)])
    return code, capsys.readouterr().err


def test_a_store_on_s3_has_the_bytes_of_one_on_a_disk(write_screen, tmp_path, bucket, capsys):
    raw = write_screen(plates=("P1", "P 2 #b"))
    ingest(raw, tmp_path / "store")
    assert run(capsys, "ingest", raw, bucket.address("my/store #1"))[0] == 0
    assert bucket.contents("my/store #1") == local_contents(tmp_path / "store")
    assert cli.run(["ingest", str(raw), bucket.address("my/store #1")]) == 0
    assert "is already there, made with the same settings" in capsys.readouterr().err
    assert cli.run(["store", "check", bucket.address("my/store #1")]) == 0


def test_fields_and_crops_are_read_from_s3(write_screen, tmp_path, bucket):
    raw = write_screen()
    ingest(raw, tmp_path / "store")
    ingest(raw, bucket.address("store"))
    local, remote = open_store(tmp_path / "store"), open_store(bucket.address("store"))
    assert remote.identity == local.identity
    assert remote.fields.equals(local.fields)
    for index, field in enumerate(list_fields(raw).fields):
        expected = np.stack([tifffile.imread(image.planes[0].url) for image in field.images])
        np.testing.assert_array_equal(read_field(remote, index), expected)
    crops = read_crops(remote, [0, 5, 5], [0, 20, 3], [0, 2, 1], 100, channels=[1])
    np.testing.assert_array_equal(
        crops, read_crops(local, [0, 5, 5], [0, 20, 3], [0, 2, 1], 100)[:, [1]]
    )
    np.testing.assert_array_equal(windows(remote, [1]), windows(local, [1]))


@pytest.mark.parametrize("flags", [[], pytest.param(["--bits", "8"], marks=pytest.mark.slow)])
def test_stopped_and_resumed_it_has_the_same_bytes(write_screen, tmp_path, bucket, flags, fork):
    raw = write_screen(plates=("P1", "P2"), wells=WELLS)
    ingest(raw, tmp_path / "store", settings=IngestSettings(bits=8 if flags else 16))
    words = ["ingest", raw, bucket.address("store"), *flags]

    def count() -> int:
        listed = bucket.client.list_objects_v2(Bucket=bucket.name, MaxKeys=1000)
        return sum("/c/0/0/0" in item["Key"] for item in listed.get("Contents", []))

    killed = 0
    for fields in (3, 12):
        process = fork(words)
        deadline = time.monotonic() + 60
        while count() < fields and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)  # each count keeps the server from its work
        process.send_signal(signal.SIGKILL)
        killed += process.wait().returncode == -signal.SIGKILL
    assert killed >= 1
    assert "fields.parquet" not in bucket.contents("store")
    with pytest.raises(ValueError, match="holds no store: it is unfinished: ingest it again"):
        open_store(bucket.address("store"))
    assert fork(words).wait().returncode == 0
    assert bucket.contents("store") == local_contents(tmp_path / "store")


def test_other_work_is_refused_and_overwritten_when_asked(write_screen, tmp_path, bucket, capsys):
    raw, store = write_screen(), bucket.address("store")
    assert run(capsys, "ingest", raw, store)[0] == 0
    before = bucket.contents("store")
    code, told = run(capsys, "ingest", raw, store, "--bits", "8")
    assert (code, told.count("\n")) == (1, 1)
    assert f"{store} was made with another setting: bits = 16, now 8" in told
    assert bucket.contents("store") == before
    assert run(capsys, "ingest", raw, store, "--bits", "8", "--overwrite")[0] == 0
    assert open_store(store).dtype == "uint8"
    bucket.client.put_object(Bucket=bucket.name, Key="papers/thesis.pdf", Body=b"x")
    code, told = run(capsys, "ingest", raw, bucket.address("papers"), "--overwrite")
    assert (code, told.count("\n")) == (1, 1)
    assert "exists and was not made by phenomae" in told
    assert bucket.contents("papers") == {"thesis.pdf": b"x"}


def test_plates_are_added_to_a_store_on_s3(write_screen, tmp_path, bucket, capsys):
    first, second = write_screen(), write_screen("more", plates=("P2",))
    for store in (tmp_path / "store", bucket.address("store")):
        assert run(capsys, "ingest", first, store)[0] == 0
        assert run(capsys, "ingest", second, store, "--add")[0] == 0
    assert bucket.contents("store") == local_contents(tmp_path / "store")


def test_a_public_bucket_needs_no_credentials(write_screen, bucket, monkeypatch):
    """The server refuses requests without a signature for all objects but public ones."""
    raw, store = write_screen(), bucket.address("store")
    assert cli.run(["ingest", str(raw), store, "--quiet"]) == 0
    public = [name for name in bucket.contents("store") if not name.startswith("P1.zarr/B")]
    for name in public:
        bucket.client.put_object_acl(Bucket=bucket.name, Key=f"store/{name}", ACL="public-read")
    words = [sys.executable, "-c", READ, store]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "1")
    done = subprocess.run(words, capture_output=True, text=True)
    shapes, refused = done.stdout.splitlines()
    assert json.loads(shapes) == [[2, 150, 130]] * 4
    assert "P1.zarr/B/01/0" in refused
    assert "PERMISSION_DENIED" in refused


READ = """
import sys, json
from phenomae.store.read import open_store, read_field
store = open_store(sys.argv[1])
print(json.dumps([read_field(store, index).shape for index in range(4)]))
try:
    read_field(store, 4)
except ValueError as error:
    print(error)
"""


def test_no_bucket_no_store_and_no_rights_are_one_sentence_each(write_screen, bucket, capsys):
    raw = write_screen()
    nowhere = "s3://no-such-bucket-anywhere/store"
    for words in (["ingest", raw, nowhere], ["store", "check", nowhere]):
        code, told = run(capsys, *words)
        assert (code, told.count("\n")) == (1, 1)
        assert nowhere in told
        assert "bucket" in told.removeprefix(f"phenomae: {nowhere}").lower()
    code, told = run(capsys, "store", "check", bucket.address("nothing"))
    assert (code, told.count("\n")) == (1, 1)
    assert f"{bucket.address('nothing')} holds no store: there is nothing" in told
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:PutObject",
                "Resource": f"arn:aws:s3:::{bucket.name}/*",
            }
        ],
    }
    bucket.client.put_bucket_policy(Bucket=bucket.name, Policy=json.dumps(policy))
    code, told = run(capsys, "ingest", raw, bucket.address("store"))
    assert (code, told.count("\n")) == (1, 1)
    assert f"{bucket.address('store')}/artefact.json cannot be written: " in told
    assert "the server denies access" in told
    assert "others need credentials" in told
