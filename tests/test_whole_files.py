"""Files appear whole, with the caller's rights, and never through a link that someone planted."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from phenomae.whole_files import remove_abandoned, whole_file, write_bytes


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.parametrize(
    ("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664), (0o027, 0o640)]
)
@pytest.mark.parametrize("folder_mode", [0o1777, 0o700, 0o755])
def test_rights_are_what_the_umask_leaves(
    tmp_path: Path, umask: None, folder_mode: int, mask: int, mode: int
):
    (folder := tmp_path / "shared").mkdir()
    folder.chmod(folder_mode)
    os.umask(mask)
    write_bytes(folder / "a.csv", b"a")
    with whole_file(folder / "b.safetensors") as partial:
        save_file({"x": torch.zeros(3)}, partial)
    write_bytes(folder / "a.csv", b"again")
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "a.csv": mode,
        "b.safetensors": mode,
    }


@pytest.mark.parametrize("there", [True, False])
def test_a_planted_link_is_not_followed(tmp_path: Path, there: bool):
    other = tmp_path / "precious"
    if there:
        other.write_text("precious")
    (tmp_path / "map.h5ad.partial").symlink_to(other)
    write_bytes(tmp_path / "map.h5ad", b"map")
    assert (tmp_path / "map.h5ad").read_bytes() == b"map"
    assert not (tmp_path / "map.h5ad").is_symlink()
    assert other.exists() == there
    assert not there or other.read_text() == "precious"


def test_what_an_interrupted_call_left_is_replaced(tmp_path: Path):
    """If it is older than an hour: a younger one may be of a call that still runs."""
    for name in ("a.csv.0a1b2c3d.partial", "a.csv.99999999.partial", "b.csv.0a1b2c3d.partial"):
        (tmp_path / name).write_bytes(b"half of a longer content")
    os.utime(tmp_path / "a.csv.0a1b2c3d.partial", (0, 0))
    remove_abandoned(tmp_path / "a.csv")
    write_bytes(tmp_path / "a.csv", b"whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.csv",
        "a.csv.99999999.partial",
        "b.csv.0a1b2c3d.partial",
    ]
    assert (tmp_path / "a.csv").read_bytes() == b"whole"


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path):
    (tmp_path / "a.csv").write_bytes(b"theirs")
    with pytest.raises(FileExistsError, match=r"a.csv"):
        write_bytes(tmp_path / "a.csv", b"ours", replace=False)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"theirs"]
    write_bytes(tmp_path / "b.csv", b"ours", replace=False)
    assert (tmp_path / "b.csv").read_bytes() == b"ours"


def fail_to_write(path: Path) -> None:
    with whole_file(path) as partial:
        partial.write_bytes(b"new")
        raise RuntimeError


def test_a_block_that_fails_leaves_the_file_as_it_was(tmp_path: Path):
    write_bytes(tmp_path / "a.csv", b"old")
    with pytest.raises(RuntimeError):
        fail_to_write(tmp_path / "a.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert (tmp_path / "a.csv").read_bytes() == b"old"
