"""Addresses of other machines: what is a name in them, and servers that do not answer."""

import time
from pathlib import Path

import pytest

from phenomae.urls import (
    below,
    is_address,
    list_addresses,
    locate,
    read_address,
    write_address,
)


def test_an_address_is_no_path():
    told = ["s3://bucket/a", "https://host/a", "/a/s3:", "s3/a"]
    assert [is_address(text) for text in told] == [True, True, False, False]
    assert locate("s3://bucket/a/") == "s3://bucket/a"
    assert locate("a/b") == Path("a/b")
    assert below("s3://bucket/a", "b c") == "s3://bucket/a/b c"
    assert below(Path("a"), "b c") == Path("a/b c")


def test_signs_in_urls_are_read_as_browsers_do(served: str, tmp_path: Path):
    (tmp_path / "plate #1 a").mkdir()
    (tmp_path / "plate #1 a/A01 %2 β.tif").write_bytes(b"pixels")
    url = f"{served}/plate%20%231%20a/A01%20%252%20%CE%B2.tif"
    assert read_address(url) == b"pixels"
    with pytest.raises(FileNotFoundError):
        read_address(f"{served}/plate%20%231%20a/A02.tif")


def test_nothing_is_listed_on_a_web_server_or_written_to_it(served: str):
    with pytest.raises(OSError, match=r"/plate cannot be listed: .*not support"):
        list_addresses(f"{served}/plate")
    with pytest.raises(OSError, match=r"/a.txt cannot be written: .*not support"):
        write_address(f"{served}/a.txt", b"x")


@pytest.mark.slow
def test_a_server_that_is_not_there_is_told_after_a_while(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    for address in ("http://127.0.0.1:1/a.tif", "s3://a-bucket-nobody-serves/a.tif"):
        begun = time.monotonic()
        with pytest.raises(OSError, match=f"{address} cannot be read: .*[Cc]ould not connect"):
            read_address(address)
        assert time.monotonic() - begun < 180
