"""Paths and addresses in tables of other machines are resolved to files of this one."""

from pathlib import Path

import pytest

from phenomae.images.layouts.relocate import ImageLocator


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "P 1").mkdir()
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat/a#1.tif").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("file:///data/P%201/a%231.tif", "/data/P 1/a#1.tif"),
        ("file:/data/a.tif", "/data/a.tif"),
        ("FILE://localhost/data/a.tif", "/data/a.tif"),
        ("file:P%201/a.tif", "{here}/P 1/a.tif"),
        ("/data/P%201/a.tif", "/data/P%201/a.tif"),  # a path is as it stands
        ("/a.tif", "/a.tif"),
        ("a.tif", "{here}/a.tif"),
        ("s3://bucket/P%201/a #1.tif", "s3://bucket/P%201/a #1.tif"),
        ("s3a://bucket/a.tif", "s3://bucket/a.tif"),
        ("https://host/a%20b.tif?x=1", "https://host/a%20b.tif?x=1"),
    ],
)
def test_urls(here: Path, url, expected):
    assert ImageLocator(here, None).find("", None, url) == expected.format(here=here)


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("s3://bucket/a/", "s3://bucket/a/x.tif"),
        ("file:///a%20b", "/a b/x.tif"),
        ("/a/b/", "/a/b/x.tif"),
        ("C:\\a\\b", "{here}/C:\\a\\b/x.tif"),
    ],
)
def test_folders_may_be_addresses(here: Path, folder, expected):
    assert ImageLocator(here, None).find(folder, "x.tif", None) == expected.format(here=here)


def test_a_folder_that_exists_is_preferred_to_the_url(here: Path):
    places = ImageLocator(here, None)
    assert places.find("P 1", "a.tif", "s3://b/P 1/a.tif") == str(here / "P 1/a.tif")
    assert places.find("/gone", "a.tif", "s3://b/P 1/a.tif") == "s3://b/P 1/a.tif"
    assert places.find("/gone", "a.tif", None) == "/gone/a.tif"


def test_images_that_were_moved(here: Path):
    places = ImageLocator(Path("/csvs"), here)
    assert places.find("/mnt/x/P 1/", "a.tif", None) == str(here / "P 1/a.tif")
    assert places.find("D:\\x\\P 1", "a.tif", None) == str(here / "P 1/a.tif")
    assert places.find("", None, "s3://bucket/x/P 1/a.tif") == str(here / "P 1/a.tif")
    assert places.find("", None, "file:///x/P%201/a.tif") == str(here / "P 1/a.tif")
    # Where no tail of the folder is there, the file is looked for in `images` itself.
    assert places.find("/mnt/x/Q", "a.tif", None) == str(here / "a.tif")
    assert places.find("/mnt/x/Q", "a.tif", "s3://b/Q/a.tif") == "s3://b/Q/a.tif"
    flat = ImageLocator(Path("/csvs"), here / "flat")
    assert flat.find("/mnt/x/Q", "a#1.tif", "s3://b/Q/a#1.tif") == str(here / "flat/a#1.tif")
    assert flat.find("", None, "s3://b/Q/b.tif") == "s3://b/Q/b.tif"


@pytest.mark.parametrize("url", ["gs://b/a.tif", "omero:iid=123", "ftp://host/a.tif"])
def test_what_cannot_be_read_is_an_error(here: Path, url):
    with pytest.raises(ValueError, match=f"{url} cannot be read: expected a path, s3://"):
        ImageLocator(here, None).find("", None, url)


def test_a_name_that_no_disk_takes_is_only_missing(here: Path):
    long = "x" * 5000
    assert ImageLocator(here, None).find(long, "a.tif", "s3://b/a.tif") == "s3://b/a.tif"
    assert ImageLocator(here, here).find(f"/{long}\x00", "a\x00", None) == str(here / "a\x00")
