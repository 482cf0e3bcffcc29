"""Memory does not grow with the steps, of a store of more fields than handles are kept."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

FIELDS = 5000

PROGRAM = """
import resource, sys
from pathlib import Path
import numpy as np
from phenomae.crops.reader import CropReader, choose_reading
from phenomae.crops.stream import CropStream
from phenomae.store.read import open_store
store = open_store(Path(sys.argv[1]))
assert choose_reading([store], cache_gb=0.001) == "crops"
stream = CropStream(CropReader([store], "crops"), [np.arange(len(store.fields))], 32, 8, 0)
pages = []
for step, _ in stream.steps(0, 19_000):
    pages.append(int(Path("/proc/self/statm").read_text().split()[1]))
# Memory is full by step 9,000 (docs/log.md, 2026-11-30); a median, because buffers come and go.
for first in (9_000, 18_000):
    print(int(np.median(pages[first : first + 1_000])) * resource.getpagesize())
"""


@pytest.mark.slow
def test_memory_is_the_same_after_nine_thousand_more_steps(
    tmp_path: Path, make_store, resign
) -> None:
    rng = np.random.default_rng(0)
    pixels = {("P1", "A01", 1): rng.integers(0, 4000, (2, 64, 64), dtype=np.uint16)}
    path = make_store(tmp_path / "store", pixels, ("DNA", "ER"))
    table = pl.read_parquet(path / "fields.parquet")
    names = [f"P1.zarr/A/01/{number}" for number in range(FIELDS)]
    for name in names[1:]:
        shutil.copytree(path / names[0], path / name)
    many = pl.concat([table] * FIELDS).with_columns(
        path=pl.Series(names), site=pl.int_range(1, FIELDS + 1, dtype=pl.Int32)
    )
    many.write_parquet(path / "fields.parquet")
    resign(path)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, path], capture_output=True, text=True, check=True
    )
    early, late = map(int, done.stdout.split())
    assert late < 1.1 * early
