#!/usr/bin/env bash
# A table whose name has brackets is not read: polars reads another file that its name would match.
#
# Version: polars 2.1.0, Python 3.11.
# Input: `plate_map[1].csv`, as browsers and mail programs name a second download, and beside it
# `plate_map1.csv`.
# Expected: a path that is the name of an existing file is that file, as for open() and pandas.
# Seen: read_csv, scan_csv, read_parquet and read_parquet_schema of `plate_map[1].csv` give the
# content of `plate_map1.csv`, without a word; also of a pathlib.Path. Without the second file it is
# an error that no file was found. With glob=False the right file is read; read_parquet_schema has no
# such argument, and needs an open file.
# In phenomae: names of files are never patterns (tests/test_file_names.py).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet polars==2.1.0
cd "$folder"
"$folder/env/bin/python" - <<'PROGRAM'
import sys
from pathlib import Path

import polars as pl

named, other = Path("plate_map[1].csv"), Path("plate_map1.csv")
for path, gene in ((named, "TP53"), (other, "PLK1")):
    table = pl.DataFrame({"well": ["A01"], gene: [gene]})
    table.write_csv(path)
    table.write_parquet(path.with_suffix(".parquet"))
parquet = named.with_suffix(".parquet")
seen = {
    "read_csv": pl.read_csv(named).columns[1],
    "scan_csv": pl.scan_csv(named).collect().columns[1],
    "read_parquet": pl.read_parquet(parquet).columns[1],
    "read_parquet_schema": list(pl.read_parquet_schema(parquet))[1],
}
right = {
    "read_csv": pl.read_csv(named, glob=False).columns[1],
    "read_parquet": pl.read_parquet(parquet, glob=False).columns[1],
}
print("polars", pl.__version__, seen, "with glob=False", right)
changed = set(seen.values()) != {"PLK1"} or set(right.values()) != {"TP53"}
sys.exit("this has changed" if changed else 0)
PROGRAM
