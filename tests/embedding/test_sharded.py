"""Shards of `embed` and `features`: the bytes of one process, also if they are killed."""

import os
import random
import signal
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from phenomae import cli
from phenomae.embedding.embed import EmbedSettings, embed
from phenomae.embedding.features import FeaturesSettings, features

CPU = ("--device", "cpu", "--precision", "float32")


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory, make_store) -> Path:
    """A store of nine plates of two wells with a site of 40 x 53 pixels."""
    rng = np.random.default_rng(0)
    pixels = {
        (f"P{number}", well, 1): rng.integers(0, 5000, (2, 40, 53), dtype=np.uint16)
        for number in range(1, 10)
        for well in ("A01", "A02")
    }
    return make_store(tmp_path_factory.mktemp("plates") / "store", pixels, ("DNA", "ER"))


def bytes_of(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_two_shards_of_features_give_the_bytes_of_one_process(plates, tmp_path, fork):
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    words = ["features", plates, shared, "--kind", "intensity"]
    features(plates, alone, settings=FeaturesSettings(kind="intensity"))
    shards = [fork([*words, "--shard", f"{number}/2"]) for number in (1, 2)]
    done = [shard.wait() for shard in shards]
    assert [it.returncode for it in done] == [0, 0], [it.stderr for it in done]
    assert bytes_of(shared) == bytes_of(alone)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone", "shared"]
    said = "".join(it.stderr for it in done)
    assert f"{shared}: 9 plates, 18 wells, 22 features" in said


def test_shards_of_embed_fill_all_its_folders(plates, run, tmp_path, fork):
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    settings = EmbedSettings(device="cpu", precision="float32", block="all")
    made = embed(plates, run, alone / "wells", tokens=alone / "tokens", settings=settings)
    assert made.is_finished
    words = ["embed", plates, run, shared / "wells", "--tokens", shared / "tokens", *CPU]
    shards = [fork([*words, "--block", "all", "--shard", f"{n}/3"]) for n in (1, 2, 3)]
    done = [shard.wait() for shard in shards]
    assert [it.returncode for it in done] == [0, 0, 0], [it.stderr for it in done]
    assert bytes_of(shared) == bytes_of(alone)
    assert len(bytes_of(alone)) == 2 * (9 + 1) + 2 * (18 + 1)


def test_a_shard_alone_does_all_work(plates, run, tmp_path):
    settings = EmbedSettings(device="cpu", precision="float32")
    embed(plates, run, tmp_path / "alone", settings=settings)
    made = embed(plates, run, tmp_path / "shared", settings=settings, shard="5/7")
    assert made.is_finished
    assert bytes_of(made.path) == bytes_of(tmp_path / "alone")


STOP = """
import os, signal, sys

def watch(event, arguments):
    if event == "open" and "/P1.parquet." in str(arguments[0]):
        print("stops", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)

sys.addaudithook(watch)
"""


def test_a_shard_that_leaves_work_to_others_is_not_finished(plates, tmp_path, fork):
    """The other shard is stopped when it opens the file of its first plate."""
    out = tmp_path / "out"
    words = ["features", plates, out, "--kind", "intensity", "--shard"]
    first = fork([*words, "1/2"], before=STOP)
    wait_until(lambda: first.printed.read_text())
    made = features(plates, out, settings=FeaturesSettings(kind="intensity"), shard="2/2")
    assert not made.is_finished
    assert not out.exists()
    assert cli.run([*map(str, words), "2/2"]) == 0  # and prints no counts
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    made = features(plates, out, settings=FeaturesSettings(kind="intensity"), shard="2/2")
    assert made.is_finished
    features(plates, tmp_path / "alone", settings=FeaturesSettings(kind="intensity"))
    assert bytes_of(out) == bytes_of(tmp_path / "alone")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            lambda at: {"SLURM_ARRAY_TASK_ID": at + 4, "SLURM_ARRAY_TASK_MIN": 4},
            "shard {} of 2 (SLURM_ARRAY_TASK_ID)",
        ),
        (
            lambda at: {
                "TORCHELASTIC_RUN_ID": "none",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": 29999,
                "RANK": at,
                "LOCAL_RANK": at,
                "LOCAL_WORLD_SIZE": 2,
            },
            "shard {} of 2 (RANK of torchrun)",
        ),
    ],
)
@pytest.mark.parametrize("command", ["embed", "features"])
def test_schedulers_tell_the_shard(command, variables, said, plates, run, tmp_path, fork):
    """No process waits for another: each would fill the folder alone."""
    out = tmp_path / "out"
    words = ["embed", plates, run, out, *CPU] if command == "embed" else ["features", plates, out]
    counts = {"SLURM_ARRAY_TASK_COUNT": "2", "WORLD_SIZE": "2"}
    for at in (1, 0):
        told = {name: str(value) for name, value in variables(at).items()}
        done = fork(words, **counts, **told).wait()
        assert done.returncode == 0, done.stderr
        assert said.format(at + 1) in done.stderr
    assert "out is already there" in done.stderr
    assert len(bytes_of(out)) == 10


def test_embed_joins_no_processes_of_a_job_with_several_tasks(plates, run, tmp_path, fork):
    """Lightning Fabric refuses jobs of `--ntasks`, if it is let to look."""
    told = {"NTASKS": 4, "JOB_NAME": "embed", "PROCID": 1, "LOCALID": 1, "NODEID": 0, "JOB_ID": 7}
    variables = {f"SLURM_{name}": str(value) for name, value in told.items()}
    words = ["embed", plates, run, tmp_path / "out", *CPU, "--shard", "2/4"]
    done = fork(words, **variables).wait()
    assert done.returncode == 0, done.stderr


def test_what_is_no_shard_is_one_sentence(plates, tmp_path, capsys):
    words = ["features", str(plates), str(tmp_path / "out"), "--shard", "0/2"]
    assert cli.run(words) == 1
    assert capsys.readouterr().err == (
        "phenomae: --shard must be I/N with I from 1 to N, like 3/8 for the third of eight, not "
        "0/2\n"
    )


def wait_until(ready: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A simulated screen of 16 plates as a store, and a tiny network with random weights."""
    folder = tmp_path_factory.mktemp("simulated")
    size = "--genes 6 --complexes 2 --guides 1 --batches 16 --controls 4 --sites 1 --field-size 64"
    network = (
        "--crop-size 32 --patch-size 8 --embed-dim 16 --depth 2 --num-heads 2 --steps 0 "
        "--decoder-embed-dim 16 --decoder-depth 1 --decoder-num-heads 2 --device cpu"
    )
    raw, store, run = (str(folder / name) for name in ("raw", "store", "run"))
    for words in (
        ["simulate", raw, *size.split()],
        ["ingest", raw, store],
        ["pretrain", "vit-mae", store, run, *network.split()],
    ):
        assert cli.run(["--quiet", *words]) == 0
    return Path(store), Path(run)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_eight_shards_of_embed_killed_at_random_give_the_bytes_of_one(
    simulated, seed, tmp_path, fork
):
    store, run = simulated
    rng = random.Random(seed)

    def words(name: str) -> list[object]:
        folder = tmp_path / name
        return ["embed", store, run, folder / "wells", "--tokens", folder / "tokens", *CPU]

    assert fork(words("alone")).wait().returncode == 0
    killed = [0] * 8
    running = [fork([*words("shared"), "--shard", f"{n}/8"]) for n in range(1, 9)]
    places = [tmp_path / "shared/wells", tmp_path / "shared/tokens"]
    while not all(place.exists() for place in places):
        time.sleep(rng.uniform(0, 0.15))
        at = rng.choice(range(8))
        if running[at].poll() is None and (killed[at] < 3 or rng.random() < 0.1):
            os.kill(running[at].pid, signal.SIGKILL)
            killed[at] += running[at].wait().returncode == -signal.SIGKILL
        if running[at].poll() is not None:
            running[at] = fork([*words("shared"), "--shard", f"{at + 1}/8"])
    codes = [shard.wait().returncode for shard in running]
    assert set(codes) <= {0, -signal.SIGKILL}, [shard.wait().stderr for shard in running]
    assert sum(killed) >= 8
    assert bytes_of(tmp_path / "shared") == bytes_of(tmp_path / "alone")
    assert len(list(chain(*(place.glob("*.parquet") for place in places)))) >= 32
