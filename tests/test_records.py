"""A well has one name, however it is spelled."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenomae.records import choose_channels, normalize_well, parse_well

SHAPES = {96: (8, 12), 384: (16, 24), 1536: (32, 48)}
ROWS = [*"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "AA", "AB", "AC", "AD", "AE", "AF"]


@st.composite
def wells(draw) -> tuple[int, int, int]:
    """A size of plate, and one of its wells' row and column, both from 1."""
    size = draw(st.sampled_from(sorted(SHAPES)))
    rows, columns = SHAPES[size]
    return size, draw(st.integers(1, rows)), draw(st.integers(1, columns))


@given(wells())
def test_every_spelling_of_every_well_is_one_name(well):
    size, row, column = well
    letters = ROWS[row - 1]
    number = (row - 1) * SHAPES[size][1] + column
    name = f"{letters}{column:02d}"
    spellings = [
        f"{letters}{column}",
        f"{letters}{column:02d}",
        f"{letters}{column:03d}",
        f"{letters.lower()}{column:02d}",
        f" {letters}-{column:02d} ",
        f"{letters}:{column}",
        f"{letters}_{column}",
        f"{letters} {column}",
        f"{number:02d}-{letters}-{column:02d}",
        f"r{row:02d}c{column:02d}",
        f"R{row}C{column}",
        f"r{row}-c{column}",
    ]
    for spelling in spellings:
        assert normalize_well(spelling) == name
        assert normalize_well(spelling, size) == name
    assert normalize_well(str(number), size) == normalize_well(f"{number:04d}", size) == name
    for first in (letters, letters.lower(), str(row), f"{row:02d}"):
        assert parse_well(first, str(column), size) == parse_well(first, f"{column:02d}") == name


@pytest.mark.parametrize(
    ("row", "column", "well"),
    [
        ("1", "1", "A01"),
        ("26", "4", "Z04"),
        ("27", "12", "AA12"),
        ("32", "48", "AF48"),
        ("c", "007", "C07"),
    ],
)
def test_rows_by_letter_or_number(row, column, well):
    assert parse_well(row, column) == well


@pytest.mark.parametrize(
    ("size", "last"),
    [
        (6, "B03"),
        (12, "C04"),
        (24, "D06"),
        (48, "F08"),
        (96, "H12"),
        (384, "P24"),
        (1536, "AF48"),
    ],
)
def test_the_last_well_of_every_plate(size, last):
    assert normalize_well(str(size), size) == normalize_well(last, size) == last
    for beyond in (str(size + 1), "0", f"A{int(last[-2:]) + 1}", "AG01", "r33c01"):
        with pytest.raises(ValueError, match=f"is not a well of a plate of {size}"):
            normalize_well(beyond, size)


@pytest.mark.parametrize(
    "text",
    ["", " ", "A", "A0", "A00", "A100", "ABC1", "1A", "A--1", "r0c1", "01-A01", "A1.5", "-1", "ß1"],
)
def test_what_is_no_well(text):
    with pytest.raises(ValueError, match="is not a well: expected row letters and a column"):
        normalize_well(text)


def test_a_number_alone_needs_the_size_of_the_plate():
    with pytest.raises(ValueError, match=r"'33' is not a well: a number alone .* size of the pla"):
        normalize_well("33")


@pytest.mark.parametrize(("row", "column"), [("", "1"), ("A", ""), ("0", "1"), ("ABC", "1")])
def test_rows_and_columns_that_are_none(row, column):
    with pytest.raises(ValueError, match=r"row .* and column .* are not a well"):
        parse_well(row, column)


def test_channels_are_chosen_ordered_and_renamed():
    names = ["1", "2", "405ex, 570-630-em)"]
    assert choose_channels("", names, "raw") == {name: name for name in names}
    assert choose_channels("2, 1=DNA", names, "raw") == {"2": "2", "1": "DNA"}
    quoted = '"405ex, 570-630-em)"=AGP,1'
    assert choose_channels(quoted, names, "raw") == {"405ex, 570-630-em)": "AGP", "1": "1"}
    for text in ("1,1", "1=A,2=A", "1,,2", ",", '"1\n2"'):
        with pytest.raises(ValueError, match=r"channels repeats a name|has no channel"):
            choose_channels(text, names, "raw")
