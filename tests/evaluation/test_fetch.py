"""Fetching the public lists: from a mirror on this machine, whole, checked, with their licences."""

import hashlib
import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from phenomae.evaluation import fetch as fetching
from phenomae.evaluation.fetch import FILES, FOLDER, Annotations, fetch_annotations


@pytest.fixture
def mirror(shared: Path, tmp_path: Path) -> Path:
    """The lists at hand, laid out as they lie at their commits."""
    for file in FILES:
        place = tmp_path / "mirror" / file.commit / FOLDER
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(shared / "data/annotations" / file.name, place / file.name)
    return tmp_path / "mirror"


@pytest.fixture
def address(mirror: Path) -> Iterator[str]:
    """A web server of the mirror."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(mirror))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_every_list_is_fetched_once_with_its_licence(address, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fetch_annotations(place=address)
    folder = tmp_path / "cache" / "phenomae" / "annotations"
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(FILES)
    for file, line in zip(FILES, printed, strict=True):
        content = (folder / file.name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file.checksum
        assert line == f"{folder / file.name}  {file.licence}"
    again = fetch_annotations(place="http://127.0.0.1:9/nobody-listens")  # all are there
    assert again == Annotations(folder)
    assert capsys.readouterr().out.splitlines() == printed


def test_a_list_that_is_damaged_is_fetched_again(mirror, tmp_path):
    folder = tmp_path / "lists"
    fetch_annotations(folder, place=mirror.as_uri())
    whole = (folder / "CORUM.txt").read_bytes()
    (folder / "CORUM.txt").write_bytes(whole[:1000])
    fetch_annotations(folder, place=mirror.as_uri())
    assert (folder / "CORUM.txt").read_bytes() == whole


def test_what_is_not_the_list_is_not_kept(mirror, tmp_path):
    last = FILES[-1]
    (mirror / last.commit / FOLDER / last.name).write_text("entity1,entity2\nA,B\n")
    with pytest.raises(
        ValueError, match=r"StringDB\.txt is not the expected StringDB\.txt: its SHA"
    ):
        fetch_annotations(tmp_path / "lists", place=mirror.as_uri())
    assert not (tmp_path / "lists" / last.name).exists()
    assert (tmp_path / "lists" / FILES[0].name).exists()


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("http://127.0.0.1:9", "CORUM.txt cannot be downloaded: .*copy the folder from"),
        ("file:///nowhere", "CORUM.txt cannot be downloaded"),
        ("somewhere", "place: somewhere/.* is not a URL"),
    ],
)
def test_places_that_will_not_do(place, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        fetch_annotations(tmp_path / "lists", place=place)
    assert not list((tmp_path / "lists").iterdir())


def test_a_file_is_no_place_for_lists(mirror, tmp_path):
    (tmp_path / "lists").write_text("mine")
    with pytest.raises(ValueError, match="lists is a file: give a folder for the annotation files"):
        fetch_annotations(tmp_path / "lists", place=mirror.as_uri())
    assert (tmp_path / "lists").read_text() == "mine"


def test_the_checksums_are_those_of_the_lists_at_hand(shared):
    for file in fetching.FILES:
        content = (shared / "data/annotations" / file.name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file.checksum
