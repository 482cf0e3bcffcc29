"""Gather what a machine with PyTorch and no package index lacks: `make gpu-kit`.

    python benchmarks/gpu/kit.py gpu-kit.tar.xz --python 3.12

The archive has this source and, unpacked in `kit/`, the packages below, for Linux on x86-64. There:

    tar -xf gpu-kit.tar.xz && phenomae/benchmarks/gpu.sh
"""

import argparse
import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
# Import names of the packages that travel, by their names in the index. What else is imported is on
# any machine where PyTorch and pytorch-lightning are, with their usual companions (docs/gpu.md).
TRAVEL = {
    "anndata": "anndata",
    "array-api-compat": "array_api_compat",
    "cyclopts": "cyclopts",
    "docstring-parser": "docstring_parser",
    "donfig": "donfig",
    "google-crc32c": "google_crc32c",
    "legacy-api-wrap": "legacy_api_wrap",
    "natsort": "natsort",
    "numcodecs": "numcodecs",
    "polars": "polars",
    "polars-runtime-32": "_polars_runtime_32",
    "pytorch-optimizer": "pytorch_optimizer",
    "rich": "rich",
    "rich-rst": "rich_rst",
    "scverse-misc": "scverse_misc",
    "tomli-w": "tomli_w",
    "zarr": "zarr",
}
SOURCE = ("src", "benchmarks", "pyproject.toml", "LICENSE")
LIMIT_MB = 63.0
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")


def download(folder: Path, python: str) -> list[Path]:
    """Download the wheels, in the versions of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().split()
    pinned = {canonicalize_name(line.partition("==")[0]): line for line in lines}
    wanted = [pinned[canonicalize_name(name)] for name in TRAVEL]
    platforms = [word for name in PLATFORMS for word in ("--platform", f"{name}_x86_64")]
    how = ["--no-deps", "--only-binary=:all:", "--implementation", "cp", "--quiet"]
    command = [sys.executable, "-m", "pip", "download", *how, "--python-version", python]
    subprocess.run([*command, *platforms, "--dest", str(folder), *wanted], check=True)
    return sorted(folder.glob("*.whl"))


def pack(archive: Path, wheels: list[Path]) -> None:
    """Write the archive: the source, and the wheels unpacked."""
    listed = subprocess.run(
        ["git", "ls-files", *SOURCE], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    # One stream of unpacked files: xz makes it a third smaller than the wheels are.
    with tarfile.open(archive, "w:xz", preset=6) as tar:
        for name in listed:
            tar.add(ROOT / name, f"phenomae/{name}")
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as content:
                for item in content.infolist():
                    if item.is_dir():
                        continue
                    entry = tarfile.TarInfo(f"phenomae/kit/{item.filename}")
                    entry.size = item.file_size
                    tar.addfile(entry, io.BytesIO(content.read(item)))


def main() -> int:
    """Write the archive and print the sizes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("--python", default="3.12", help="version of Python of that machine")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheels = download(Path(folder), arguments.python)
        for wheel in wheels:
            print(f"{wheel.stat().st_size / 1e6:8.1f} MB  {wheel.name}")
        partial = arguments.archive.with_name(f"{arguments.archive.name}.partial")
        pack(partial, wheels)
    size = partial.stat().st_size / 1e6
    if size > LIMIT_MB:
        partial.unlink()
        print(f"gpu-kit: {size:.1f} MB, more than the {LIMIT_MB:.0f} that may travel")
        return 1
    partial.rename(arguments.archive)
    print(f"{size:8.1f} MB  {arguments.archive}, with the source")
    return 0


if __name__ == "__main__":
    sys.exit(main())
