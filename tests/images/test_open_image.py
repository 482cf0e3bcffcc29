"""Images in rows of Parquet files: by several threads at once, and what is no image."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from phenomae.images.fields import Place
from phenomae.images.pixels.open_image import open_place

# In a process of its own: where the reader is shared without care, it hangs or crashes.
THREADS = """
import sys
from concurrent.futures import ThreadPoolExecutor
from phenomae.images.pixels import open_image as places

def read(row):
    return places.open_place(places.Place(sys.argv[1], row)).read()

for _ in range(200):
    places._open_parquet.cache_clear()
    places._read_group.cache_clear()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read, range(40))) == [b"%d" % row for row in range(40)]
"""


def test_several_threads_read_one_file(tmp_path: Path):
    images = pa.array([{"bytes": b"%d" % row} for row in range(40)])
    pq.write_table(pa.table({"jp2": images}), tmp_path / "shard.parquet", row_group_size=2)
    command = [sys.executable, "-c", THREADS, str(tmp_path / "shard.parquet")]
    assert subprocess.run(command, timeout=60).returncode == 0


def test_a_parquet_file_that_is_replaced_is_read_anew(tmp_path: Path):
    path = tmp_path / "shard.parquet"
    for content in (b"before", b"afterwards"):
        pq.write_table(pa.table({"jp2": [{"bytes": content}]}), tmp_path / "new.parquet")
        (tmp_path / "new.parquet").replace(path)
        assert open_place(Place(str(path), row=0)).read() == content


@pytest.mark.parametrize("value", ["text", 1, None, {"path": "a.jp2"}, {"bytes": None}, [b"x"]])
def test_a_row_without_bytes(value, tmp_path: Path):
    path = tmp_path / "shard.parquet"
    pq.write_table(pa.table({"jp2": pa.array([value])}), path)
    with pytest.raises(ValueError, match=r"shard\.parquet, row 0 has no image bytes in its"):
        open_place(Place(str(path), 0))


def test_a_damaged_file_is_named(tmp_path: Path):
    path = tmp_path / "shard.parquet"
    pq.write_table(pa.table({"jp2": pa.array([bytes(1000)] * 10)}), path)
    content = path.read_bytes()
    path.write_bytes(content[:4] + b"\xff" * 20 + content[24:])  # the header of its first page
    with pytest.raises(ValueError, match=r"shard\.parquet, row 3 is not a readable Parquet"):
        open_place(Place(str(path), 3))
