"""A `torch.save` archive gives its tensors; whatever else one holds is refused and not run."""

import pickle
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from phenomae.weights.torch_archive import is_archive, read_archive

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2])}


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def saved(path: Path, content: object, **options) -> Path:
    torch.save(content, path, **options)
    return path


def repacked(path: Path, change: Callable[[str, bytes], bytes], method: int) -> Path:
    """Write an archive's entries again, changed."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, change(name, content))
    return path


@pytest.mark.parametrize("level", [True, False], ids=["state_dict", "plain"])
def test_tensors_come_back_whatever_the_file_is_called(level: bool, tmp_path: Path):
    path = saved(
        tmp_path / "model.safetensors", {"state_dict": TENSORS} if level else dict(TENSORS)
    )
    assert is_archive(path)
    found = read_archive(path)
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)


def test_parameters_and_parts_of_tensors_come_back_plain(tmp_path: Path):
    content = {"a": torch.nn.Parameter(TENSORS["a.weight"]), "b": TENSORS["a.weight"].T[1:]}
    found = read_archive(saved(tmp_path / "a", content))
    assert not found["a"].requires_grad
    assert torch.equal(found["b"], content["b"])
    assert found["b"].is_contiguous()


def test_other_files_are_no_archives(tmp_path: Path):
    for content in (b"", b"P", pickle.dumps(1)):
        (tmp_path / "a").write_bytes(content)
        assert not is_archive(tmp_path / "a")
    old = saved(tmp_path / "b", dict(TENSORS), _use_new_zipfile_serialization=False)
    assert not is_archive(old)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda trap: trap,
        lambda trap: {"a": trap},
        lambda trap: {"state_dict": {**TENSORS, "a": trap}},
        lambda trap: {"state_dict": TENSORS, "more": trap},
        lambda trap: [trap],
    ],
)
def test_an_archive_that_would_run_code_is_refused(wrap: Callable, tmp_path: Path):
    path = saved(tmp_path / "model.safetensors", wrap(Hostile(tmp_path / "ran")))
    with pytest.raises(ValueError, match="holds more than tensors: only tensors are read"):
        read_archive(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("payload", ["pickle", "bytes", "nothing"])
def test_an_archive_with_its_pickle_changed_is_refused(payload: str, tmp_path: Path):
    contents = {"pickle": pickle.dumps(Hostile(tmp_path / "ran")), "bytes": b"\x80", "nothing": b""}
    path = repacked(
        saved(tmp_path / "a", dict(TENSORS)),
        lambda name, content: contents[payload] if name.endswith("data.pkl") else content,
        zipfile.ZIP_STORED,
    )
    with pytest.raises(ValueError, match="only tensors are read"):
        read_archive(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_torchscript_archive_is_refused(tmp_path: Path):
    class Doubling(torch.nn.Module):
        def forward(self, x):
            return 2 * x

    traced = torch.jit.trace(Doubling(), torch.zeros(2))
    torch.jit.save(traced, str(tmp_path / "a"))
    repacked(tmp_path / "a", lambda _, content: content, zipfile.ZIP_STORED)
    with pytest.raises(ValueError, match="only tensors are read"):
        read_archive(tmp_path / "a")


def test_a_packed_archive_is_refused(tmp_path: Path):
    """One of some kilobytes could unpack to more than there is memory."""
    path = repacked(
        saved(tmp_path / "a", dict(TENSORS)), lambda _, content: content, zipfile.ZIP_DEFLATED
    )
    with pytest.raises(ValueError, match=r"is a compressed zip archive, which torch.save does not"):
        read_archive(path)


@pytest.mark.parametrize("length", [2, 100, -10, -200])
def test_an_archive_cut_short_is_refused(length: int, tmp_path: Path):
    path = saved(tmp_path / "a", dict(TENSORS))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"is cut short or damaged|is damaged or holds more"):
        read_archive(path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([torch.zeros(1)], "is an archive of a list, not of tensors"),
        (torch.zeros(1), "is an archive of a Tensor, not of tensors"),
        ({"state_dict": [1]}, "holds 'state_dict', which is not a tensor"),
        ({"a": 1}, "holds 'a', which is not a tensor"),
        ({"a": {"b": torch.zeros(1)}}, "holds 'a', which is not a tensor"),
        ({1: torch.zeros(1)}, "holds 1, which is not a tensor"),
        ({"a": torch.zeros(2, 2).to_sparse()}, "holds 'a', which is not a tensor"),
        ({"a": torch.zeros(1).expand(10**9)}, "holds 'a', which is not a tensor"),
        ({"a": torch.zeros(2, device="meta")}, "holds 'a', which is not a tensor"),
    ],
)
def test_what_is_no_dictionary_of_tensors_is_refused(content, sentence: str, tmp_path: Path):
    with pytest.raises(ValueError, match=sentence):
        read_archive(saved(tmp_path / "a", content))


def test_an_archive_whose_entries_share_their_bytes_is_refused(tmp_path: Path):
    path = saved(tmp_path / "a", {"a": torch.arange(1000.0)})
    with zipfile.ZipFile(path, "a") as archive:
        (entry,) = (item for item in archive.infolist() if item.filename.endswith("data/0"))
        archive.filelist += [entry] * 9
        archive._didModify = True  # so that the list of entries is written anew
    with pytest.raises(ValueError, match="is a compressed zip archive"):
        read_archive(path)


def test_every_byte_of_a_tensor_is_checked(tmp_path: Path):
    path = saved(tmp_path / "a", {"a": torch.arange(64, dtype=torch.uint8)})
    content = path.read_bytes()
    first = content.index(bytes(range(64)))
    for place in range(first, first + 64):
        path.write_bytes(flipped(content, place))
        with pytest.raises(ValueError, match="damaged: a/data/0 does not match its checksum"):
            read_archive(path)


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def test_a_changed_byte_elsewhere_is_a_value_error_or_without_effect(tmp_path: Path):
    path = saved(tmp_path / "a", dict(TENSORS))
    content = path.read_bytes()
    for place in range(0, len(content), 3):
        path.write_bytes(flipped(content, place))
        with suppress(ValueError):
            found = read_archive(path)
            assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS), place


def test_a_tensor_that_calls_itself_a_folder_is_refused(tmp_path: Path):
    path = saved(tmp_path / "a", dict(TENSORS))
    with zipfile.ZipFile(path, "a") as archive:
        for entry in archive.infolist():
            entry.external_attr = 0x10
        archive._didModify = True
    with pytest.raises(ValueError, match="is damaged: it has folders"):
        read_archive(path)


@pytest.mark.parametrize("start", [2**40, 2**64 - 1])
def test_a_list_of_entries_outside_the_file_is_refused(start: int, tmp_path: Path):
    path = saved(tmp_path / "a", dict(TENSORS))
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\6\6") + 48  # where the end says that the list begins
    content[place : place + 8] = start.to_bytes(8, "little")
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is cut short or damaged: "):
        read_archive(path)


def test_an_entry_that_ends_too_soon_is_refused(tmp_path: Path):
    path = saved(tmp_path / "a", dict(TENSORS))
    content = bytearray(path.read_bytes())
    content[29] = 255  # of the first entry's own length of what stands before its content
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is cut short or damaged: an entry ends too soon"):
        read_archive(path)


def test_an_archive_without_checksums_is_read(tmp_path: Path):
    torch.serialization.set_crc32_options(False)
    try:
        path = saved(tmp_path / "a", dict(TENSORS))
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(read_archive(path)["b"], TENSORS["b"])


def test_a_disk_that_cannot_be_read_is_no_damage(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        read_archive(tmp_path / "absent")


def test_a_storage_shorter_than_its_tensor_is_refused(tmp_path: Path):
    path = saved(tmp_path / "a", {"a": torch.arange(1000.0)})
    repacked(
        path,
        lambda name, content: content[:8] if name.endswith("data/0") else content,
        zipfile.ZIP_STORED,
    )
    with pytest.raises(ValueError, match="only tensors are read"):
        read_archive(path)


def test_what_a_training_left_beside_the_tensors_is_passed_over(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    with open(path, "wb") as file:
        torch.save({"state_dict": {"a": torch.ones(2)}, "epoch": 3, "lr": [0.1]}, file)
    assert read_archive(path)["a"].tolist() == [1.0, 1.0]
