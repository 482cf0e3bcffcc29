"""Tables as people read them."""

import polars as pl
import pytest

from phenomae.print_table import read_written, show


def test_words_stand_left_and_numbers_right(capsys):
    show(
        pl.DataFrame(
            {
                "name": ["a", "longer"],
                "low": [0.05, 0.1],
                "recall": [0.5, None],
                "flops": [1.0, 2.5e12],
                "n": [1, 20],
                "best": [True, False],
            }
        )
    )
    assert capsys.readouterr().out.splitlines() == [
        "name     low  recall      flops   n   best",
        "a       0.05  0.5000     1.0000   1   True",
        "longer   0.1       -  2.500e+12  20  False",
    ]


def test_an_empty_table_is_its_head(capsys):
    show(pl.DataFrame(schema={"name": pl.String, "n": pl.Int64}))
    assert capsys.readouterr().out == "name  n\n"


@pytest.mark.parametrize("content", [None, b"", b"a,b\n", b"a,b\n1,2,3\n"])
def test_a_table_that_lies_there_damaged(tmp_path, content):
    path = tmp_path / "table.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"table.csv is missing or damaged: make it again with over"
    ):
        read_written(path)
