"""Networks train on stores on S3 and embed them, to the bytes that stores on a disk give."""

from pathlib import Path

import pytest

from phenomae import cli

NETWORK = (
    "--crop-size 32 --patch-size 8 --embed-dim 16 --depth 1 --num-heads 2 --decoder-embed-dim 16 "
    "--decoder-depth 1 --decoder-num-heads 2 --steps 2 --crops-per-step 8 --device cpu "
    "--precision float32"
)


def run(*words: object) -> None:
    assert cli.run(["--quiet", *map(str, words)]) == 0


def parquets(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.parquet")}


def test_two_steps_and_their_wells_are_those_of_local_stores(write_screen, tmp_path, bucket):
    first, second = write_screen(), write_screen("more", plates=("P2", "P3"))
    places = {
        "disk": (tmp_path / "first", tmp_path / "second"),
        "s3": (bucket.address("first"), bucket.address("second")),
    }
    for name, (one, other) in places.items():
        run("ingest", first, one)
        run("ingest", second, other)
        run("pretrain", "vit-mae", one, other, tmp_path / f"{name}-run", *NETWORK.split())
        run(
            *("embed", other, tmp_path / f"{name}-run", tmp_path / f"{name}-wells"),
            *("--device", "cpu", "--precision", "float32"),
        )
        run("features", other, tmp_path / f"{name}-features")
    weights = [tmp_path / f"{name}-run/weights/model.safetensors" for name in places]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    for kind in ("wells", "features"):
        disk, s3 = (parquets(tmp_path / f"{name}-{kind}") for name in places)
        assert list(disk) == ["P2.parquet", "P3.parquet"]
        assert disk == s3


@pytest.mark.parametrize("command", ["pretrain vit-mae", "embed", "features"])
def test_what_is_no_store_is_one_sentence(bucket, tmp_path, capsys, command):
    words = [*command.split(), bucket.address("none"), str(tmp_path / "out")]
    if command == "embed":
        words.append(str(tmp_path / "wells"))
    assert cli.run([*words, "--quiet"]) == 1
    told = capsys.readouterr().err
    assert told == (
        f"phenomae: {bucket.address('none')} holds no store: "
        "there is nothing of that name, or no such bucket\n"
    )


def test_a_run_lies_on_this_machine(write_screen, tmp_path, bucket, capsys):
    run("ingest", write_screen(), tmp_path / "store")
    words = ["pretrain", "vit-mae", str(tmp_path / "store"), bucket.address("run")]
    assert cli.run([*words, "--quiet"]) == 1
    told = capsys.readouterr().err
    assert "cannot be a run: RUN comes last and is a folder on this machine" in told
