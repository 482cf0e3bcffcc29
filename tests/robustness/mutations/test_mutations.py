"""Real inputs, changed at random: a store that `check` accepts or one sentence, and nothing else.

Each seed takes a small copy of a layout (real ones cropped, where they are at hand), changes one to
three of its files, and ingests it. No traceback, no hang, no second line, no other file touched.
"""

import faulthandler
import hashlib
import os
import random
import re
import shutil
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from changes import KEEPING, MUTATIONS, mutate

from phenomae import cli

LIMIT_S = 30


@contextmanager
def time_limit(what: str, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """End the whole test run where something hangs: a thread that waits for ever has no end."""

    def stop(number: int, frame: object) -> None:
        with capfd.disabled():
            print(f"hangs: {what}", file=sys.stderr)
            faulthandler.dump_traceback()
            os._exit(1)

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def hash_files(folder: Path) -> dict[str, str]:
    """Return the hash of every file near the store, but for the store's own."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in folder.rglob("*")
        if not path.relative_to(folder).parts[0].startswith("store")
    }


def run(words: list[str], capfd: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with time_limit(" ".join(words), capfd), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        code = cli.run(words)
    out, err = capfd.readouterr()
    assert [str(item.message) for item in warned] == []
    return code, out, err


def ingest_changed(seed: int, layouts, home: Path, capfd: pytest.CaptureFixture[str]) -> int:
    """Ingest a changed copy of a layout and judge what came of it; return the exit code."""
    rng, layout = random.Random(seed), layouts[seed % len(layouts)]
    raw, store = home / f"{layout.raw.name} {seed}", home / "store"
    shutil.copytree(layout.raw, raw)
    changes = mutate(rng, raw)
    before = hash_files(home)
    choices = [f"--on-bad={rng.choice(['error', 'skip'])}", f"--bits={rng.choice([8, 16])}"]
    choices += [f"--{what}={rng.choice(['error', 'skip'])}" for what in ("unmapped", "unimaged")]
    flags = [flag.replace(str(layout.raw), str(raw)) for flag in layout.flags]
    words = ["ingest", str(raw), str(store), "--quiet", "--workers", "2", *flags, *choices]
    code, out, err = run(words, capfd)
    names = "; ".join(f"{kind} {path.relative_to(raw)}" for kind, path in changes)
    done = f"seed {seed}: {names} -> {err}"
    assert hash_files(home) == before, done
    assert out == "", done
    assert store.exists() == (code == 0), done
    if code == 0:
        assert err == "", done
        assert not (home / "store.partial").exists(), done
        code, out, wrong = run(["store", "check", str(store), "--quiet"], capfd)
        assert (code, wrong) == (0, ""), (done, wrong)
        if all(kind in KEEPING and path.suffix not in MUTATIONS for kind, path in changes):
            assert layout.lost_in_silence(store) == set(), done
    else:
        assert code == 1, done
        assert err.startswith("phenomae: "), done
        assert err.count("\n") == 1, done
        assert not re.search(r"Traceback|Error\b|object at 0x", err), done
    for path in home.iterdir():
        shutil.rmtree(path)
    return code


@pytest.mark.parametrize("seed", range(63))
def test_a_changed_input_ends_in_a_whole_store_or_in_one_sentence(seed, layouts, tmp_path, capfd):
    ingest_changed(seed, layouts, tmp_path, capfd)


@pytest.mark.slow
@pytest.mark.parametrize("hundred", range(1, 11))
def test_a_thousand_changed_inputs(hundred, layouts, tmp_path, capfd):
    seeds = range(100 * hundred, 100 * hundred + 100)
    codes = [ingest_changed(seed, layouts, tmp_path, capfd) for seed in seeds]
    assert 20 < sum(codes) < 80  # or the mutations show little
