"""XML is read element by element, whatever its length, and hostile or broken XML is refused."""

import tracemalloc
from pathlib import Path

import pytest

from phenomae.images.layouts.xml_stream import Element, read_elements


def read(path: Path, *names: str) -> list[Element]:
    return list(read_elements(path, "Top", set(names)))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_elements_have_no_namespaces(tmp_path: Path, encoding: str):
    path = tmp_path / "index.xml"
    text = (
        '<p:Top xmlns:p="urn:p" p:Title="µ">head'
        '<p:In p:Type="IMG" Plain=" b ">  a &amp; b#1.tif\n</p:In>'
        '<Group><In><Size Unit="m">\n 5E-7 </Size><Deep><Size>9</Size></Deep> tail</In></Group>'
        "</p:Top>"
    )
    declared = encoding.removesuffix("-sig")
    path.write_bytes(f'<?xml version="1.0" encoding="{declared}"?>{text}'.encode(encoding))
    one, two = read(path, "In")
    assert (one.name, one.parent, one.text) == ("In", "Top", "a & b#1.tif")
    assert one.attributes == {"Type": "IMG", "Plain": "b"}
    assert one.outermost == {"Title": "µ"}
    assert (two.parent, two.values, two.units) == (
        "Group",
        {"Size": "5E-7", "Deep": ""},
        {"Size": "m"},
    )
    assert two.need("Size") == "5E-7"
    assert one.need_attribute("Type") == "IMG"
    with pytest.raises(ValueError, match="it has no Deep: expected an element of that name in it"):
        two.need("Deep")
    with pytest.raises(ValueError, match="it has no Row: expected an attribute of that name"):
        one.need_attribute("Row")


def test_a_file_that_is_truncated_is_refused_wherever_it_was_cut(tmp_path: Path):
    path = tmp_path / "index.xml"
    whole = b'<?xml version="1.0"?><Top><In a="b">text</In></Top>'
    for keep in range(len(whole)):
        path.write_bytes(whole[:keep])
        with pytest.raises(
            ValueError, match=r"index\.xml is truncated or not XML \(.*: copy it again"
        ):
            read(path, "In")
    path.write_bytes(whole)
    assert len(read(path, "In")) == 1


def bomb() -> str:
    """Entities that would be 3 GB when expanded."""
    lines = "".join(
        f'<!ENTITY {chr(98 + step)} "{f"&{chr(97 + step)};" * 10}">' for step in range(9)
    )
    return f'<!DOCTYPE Top [<!ENTITY a "lol">{lines}]><Top><In>&j;</In></Top>'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (bomb(), r"it declares a document type \(DOCTYPE Top\), which no microscope does"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><Top/>', "it declares a document type"),
        ("<html><In/></html>", "its root element is html, expected Top"),
        ('<?xml version="1.0" encoding="klingon"?><Top/>', "unknown encoding"),
        ('<?xml version="1.0" encoding="shift_jis"?><Top/>', "multi-byte encodings"),
    ],
)
def test_what_is_not_an_index_is_refused(tmp_path: Path, text: str, reason: str):
    path = tmp_path / "index.xml"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"index\.xml is not an index that can be read: {reason}"):
        read(path, "In")


@pytest.mark.parametrize("text", ["II*\0 a TIFF", "<Top>&undeclared;</Top>", "<Top/><Top/>", "{}"])
def test_what_is_not_xml_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "index.xml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"index\.xml is truncated or not XML"):
        read(path, "In")
    with pytest.raises(ValueError, match=r"gone\.xml cannot be read: No such file"):
        read(tmp_path / "gone.xml", "In")


def test_memory_does_not_grow_with_the_index(tmp_path: Path):
    path = tmp_path / "index.xml"
    peaks: list[int] = []
    for count in (4000, 20_000):
        path.write_text(f"<Top>{'<In><Row>1</Row><URL>a.tiff</URL></In>' * count}</Top>")
        tracemalloc.start()
        found = sum(1 for _ in read_elements(path, "Top", {"In"}))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert found == count
    assert peaks[1] < 1.5 * peaks[0]
