"""`benchmarks/growth.py` and `benchmarks/beyond.py`: what they measure, go on with, and reckon."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
# 300 MB here and 200 MB in a child, at the same time, and .5 CPU seconds in the child.
HUNGRY = """
import subprocess, sys
held = bytearray(b"1") * 300_000_000
child = '''
import time
held = bytearray(b"1") * 200_000_000
while time.process_time() < .5: pass
time.sleep(.5)
'''
subprocess.run([sys.executable, "-c", child], check=True)
"""


@pytest.fixture
def growth(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return import_module("growth")


@pytest.fixture
def beyond(growth: ModuleType) -> ModuleType:
    del growth  # only its path is needed
    return import_module("beyond")


def test_the_exponent_of_a_power_is_found(growth):
    wells = [100, 200, 400, 800, 1600]
    assert growth.fit_exponent(wells, [3 * count**1.5 for count in wells]) == pytest.approx(1.5)
    uses = [growth.Usage("map", n, 2.0, n / 50, 9.0, n**0.5) for n in wells[:-1]]
    uses.append(growth.Usage("map", 1600, 2.0, 4 * 800 / 50, 9.0, 800**0.5 / 2))
    name, seconds, _, _, cpu_last, memory_last = growth.fit_command("map", uses)
    assert (name, seconds, cpu_last, memory_last) == ("map", "0.00", "2.00", "-1.00")
    assert growth.fit_command("map", uses[:1]) == ()


def test_time_and_memory_are_those_of_the_process_and_its_children():
    """In a small process: Linux counts the memory of who starts a process as a peak of its own."""
    program = (
        "import sys, dataclasses, json, growth\n"
        "use = growth.measure('map', 7, [sys.executable, '-c', sys.argv[1]])\n"
        "print(json.dumps(dataclasses.asdict(use)))"
    )
    command = [sys.executable, "-c", program, HUNGRY]
    done = subprocess.run(
        command, cwd=ROOT / "benchmarks", capture_output=True, text=True, check=True
    )
    use = json.loads(done.stdout)
    assert (use["command"], use["wells"]) == ("map", 7)
    assert 300 < use["peak_mb"] < 360
    assert 500 < use["sum_mb"] < 600
    assert 0.5 < use["cpu_s"] < 4
    assert use["seconds"] > 1


def test_a_command_that_fails_ends_the_benchmark(growth):
    with pytest.raises(SystemExit, match=r"failed: nothing$"):
        growth.measure("map", 7, [sys.executable, "-c", "raise SystemExit('nothing')"])


def test_plates_of_64_wells_are_required(growth, tmp_path):
    with pytest.raises(SystemExit, match=r"must be multiples of 64: 100"):
        growth.make_raw(tmp_path, 100, tmp_path)


def test_an_interrupted_call_goes_on(tmp_path):
    words = [sys.executable, ROOT / "benchmarks/growth.py", tmp_path / "made"]
    words += ["--only", "map", "--figure", tmp_path / "growth.svg", "--sizes"]
    subprocess.run([*words, "400"], check=True, capture_output=True)
    kept = tmp_path / "made/growth.jsonl"
    first = json.loads(kept.read_text())
    assert first["wells"] == 400
    # A call that was stopped while the second command was writing.
    (tmp_path / "made/800").mkdir()
    (tmp_path / "made/800/out.h5ad").write_text("half")
    done = subprocess.run([*words, "400", "800"], check=True, capture_output=True, text=True)
    lines = [json.loads(line) for line in kept.read_text().splitlines()]
    assert [line["wells"] for line in lines] == [400, 800]
    assert lines[0] == first
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["map 800"]
    assert done.stdout.count("| map |") == 3
    assert list((tmp_path / "made").iterdir()) == [kept], "inputs are removed"
    assert (tmp_path / "growth.svg").read_text().count("wells") == 2


def test_what_is_reckoned_is_right(beyond):
    (jump, rpi) = (
        beyond.reckon_screen(screen, beyond.Prices(0.1, 2, 10), beyond.describe_network("mae-l8"))
        for screen in (beyond.JUMP_LITE, beyond.RPI)
    )
    # 855,519 x 5 x 1080 x 1280 x 1.14 bytes; 93e6 x 6 x 2048 x 2048 x 1.14 bytes
    assert (jump["store, TB"], rpi["store, TB"]) == ("6.7", "2,700")
    # .26 of that
    assert (jump["store with `--bits 8`, TB"], rpi["store with `--bits 8`, TB"]) == ("1.8", "690")
    # 855,519 / 15.2 = 56,284 s; 93e6 x 50.33 MB / 158 MB/s = 2.963e7 s
    assert jump["ingest, hours on 2 cores"] == "16"
    assert jump["ingest, hours on 64 cores"] == "0.49"
    assert rpi["ingest, hours on 2 cores"] == "8,200"
    # 855,519 x 20 = 17.11 M and 93e6 x 64 = 5,952 M crops at 24.17, and at 7,576 a second
    assert (jump["crops of 256 x 256"], rpi["crops of 256 x 256"]) == ("17 M", "5,952 M")
    assert jump["embed S/16, hours on 2 cores"] == "200"
    assert rpi["embed S/16, hours on 64 cores"] == "2,100"
    assert rpi["embed S/16, hours on one H200"] == "220"
    # 301 crops/s x 688.4 GF in training are 207.2 TF/s, or 286.5 crops/s of 723.2 GF in embedding
    assert rpi["embed L/8, hours on one H200"] == "5,800"
    # 15.64 h x 2 x .1; 218.2 h x 2; 2,668 TB x 10
    assert jump["ingest, $"] == "3.1"
    assert rpi["embed S/16 on H200, $"] == "440"
    assert rpi["store, $ a month"] == "27,000"


def test_the_page_has_the_tables_that_the_benchmark_prints(beyond):
    page = (ROOT / "docs/scale.md").read_text().splitlines()
    printed = [*beyond.screen_table(beyond.Prices()), *beyond.training_table(beyond.Prices())]
    assert [line for line in printed if line not in page] == []
    # 215,698 x 16,384 x 688.4e9 FLOPs; / 301 / 3,600 hours; x 3 $
    large = "| `mae-l8` | 215,698 x 16,384 | 688.4 | 2.4e+21 | 301 | 3,300 | 9,800 |"
    assert large in printed
