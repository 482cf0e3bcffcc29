"""Which fields are drawn, and how often: by a filter, a balance, and several crops a field."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tensorstore as ts
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from phenomae.crops.fields import balance, check_balance, keep_fields, read_weights
from phenomae.crops.reader import CropReader
from phenomae.crops.stream import CropStream
from phenomae.store.read import Store, open_store, read_field

# Twelve fields of three perturbations, of 6, 3 and 1, and two without any.
VALUES = pl.Series(["b"] * 6 + [None, "a", "a", "c", None, "a"])
EXPECTED = np.array([1 / 6] * 6 + [1 / 2, 1 / 3, 1 / 3, 1, 1 / 2, 1 / 3]) / 4


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, make_store) -> Store:
    """Two plates of six wells, each field of a size of its own."""
    rng = np.random.default_rng(0)
    pixels = {
        (plate, f"A{column:02d}", 1): rng.integers(0, 4000, (2, 20 + column, 30), dtype=np.uint16)
        for plate in ("P1", "P2")
        for column in range(1, 7)
    }
    path = tmp_path_factory.mktemp("fields") / "store"
    opened = open_store(make_store(path, pixels, ("DNA", "ER")))
    return replace(opened, fields=opened.fields.with_columns(perturbation=VALUES))


def count_fields(stream: CropStream, steps: int) -> np.ndarray:
    drawn = np.concatenate([stream.step(step).keys[:, 0].numpy() for step in range(steps)])
    return np.bincount(drawn, minlength=12)


def test_the_store_that_is_kept_has_the_fields_that_polars_filters(store: Store) -> None:
    kept = keep_fields(store, "plate = 'P2' AND height > 23")
    oracle = store.fields.filter((pl.col("plate") == "P2") & (pl.col("height") > 23))
    assert kept.fields.equals(oracle)
    np.testing.assert_array_equal(read_field(kept, 0), read_field(store, 9))
    assert keep_fields(store, None) is store
    with pytest.raises(ValueError, match=r"store has no column 'dose'; it has plate, well"):
        keep_fields(store, "dose > 1")


@pytest.mark.parametrize(
    "where", ["plate = 'P2' AND height > 23", "perturbation = 'b'", "site = 1"]
)
def test_what_where_leaves_out_is_reported(store: Store, where: str, capsys) -> None:
    """Another SQL engine counts the fields."""
    database = sqlite3.connect(":memory:")
    columns = ["plate", "site", "height", "perturbation"]
    database.execute(f"CREATE TABLE fields ({', '.join(columns)})")
    rows = store.fields.select(columns).rows()
    database.executemany("INSERT INTO fields VALUES (?, ?, ?, ?)", rows)
    ((count,),) = database.execute(f"SELECT count(*) FROM fields WHERE {where}").fetchall()
    keep_fields(store, None)
    assert capsys.readouterr().err == ""
    keep_fields(store, where)
    assert capsys.readouterr().err == f"{store.path}: where {where!r} keeps {count} of 12 fields\n"


def test_every_value_weighs_the_same_and_shares_it_evenly() -> None:
    weights = balance(VALUES)
    np.testing.assert_allclose(weights / weights.sum(), EXPECTED, rtol=1e-12)


@given(st.lists(st.none() | st.integers(0, 5), min_size=1, max_size=30))
def test_the_weights_of_a_value_add_up_to_one(numbers: list[int | None]) -> None:
    weights = balance(pl.Series(numbers, dtype=pl.Int64))
    for value in set(numbers):
        mine = [weight for weight, number in zip(weights, numbers, strict=True) if number == value]
        assert sum(mine) == pytest.approx(1)
        assert len(set(mine)) == 1


def test_balanced_fields_come_as_often_as_they_should(store: Store) -> None:
    stream = CropStream(
        CropReader([store], "memory"), [np.arange(12)], 16, 60, 0, weights=balance(VALUES)
    )
    counts = count_fields(stream, 200)
    assert stats.chisquare(counts, EXPECTED * counts.sum()).pvalue > 0.001


def test_groups_do_not_upset_the_balance(store: Store) -> None:
    """Plates are drawn by the weight of their fields, so all in all each value comes as often."""
    groups = [np.arange(6), np.arange(6, 12)]
    stream = CropStream(CropReader([store], "memory"), groups, 16, 2, 0, weights=balance(VALUES))
    counts = count_fields(stream, 4000)
    both = [set((stream.step(step).keys[:, 0] // 6).tolist()) for step in range(50)]
    assert set(map(len, both)) == {1}
    # A step's two crops share their plate, so that the counts spread about twice as wide.
    assert stats.chisquare(counts / 2, EXPECTED * counts.sum() / 2).pvalue > 0.001


def test_equal_weights_draw_what_no_weights_do(store: Store) -> None:
    reader, groups = CropReader([store], "memory"), [np.arange(5), np.arange(5, 12)]
    plain = CropStream(reader, groups, 16, 12, 3)
    weighed = CropStream(reader, groups, 16, 12, 3, weights=np.ones(12))
    for step in range(20):
        assert plain.step(step).keys.tolist() == weighed.step(step).keys.tolist()


@pytest.mark.parametrize("groups_per_step", [1, 2])
def test_several_crops_come_from_each_field(store: Store, groups_per_step: int) -> None:
    groups = [np.arange(6), np.arange(6, 12)]
    streams = [
        CropStream(
            CropReader([store], "crops"), groups, 16, 24, 1, groups_per_step, crops_per_field=count
        )
        for count in (1, 4)
    ]
    alone, shared = (stream.step(5) for stream in streams)
    fields = shared.keys[:, 0].reshape(6, 4)
    assert (fields == fields[:, :1]).all()
    # The first of four is the crop that it is alone; the others keep their place by their own draw.
    assert shared.keys[::4].tolist() == alone.keys[::4].tolist()
    assert shared.turns.tolist() == alone.turns.tolist()
    assert len({tuple(key) for key in shared.keys.tolist()}) > 20
    for pixels, (field, top, left) in zip(shared.pixels, shared.keys.tolist(), strict=True):
        whole = read_field(store, field)
        np.testing.assert_array_equal(pixels, whole[:, top : top + 16, left : left + 16])


def test_a_column_to_balance_by_must_be_there_and_single(store: Store) -> None:
    check_balance([store], "perturbation")
    with pytest.raises(ValueError, match=r"balance 'dose': .*store has no such column; it has"):
        check_balance([store], "dose")
    with pytest.raises(ValueError, match="balance 'window_low' has lists: name a column"):
        check_balance([store], "window_low")


def bytes_read() -> int:
    """What tensorstore has read from files so far, by its own count."""
    (metric,) = ts.experimental_collect_matching_metrics("/tensorstore/kvstore/file/bytes_read")
    return metric["values"][0]["value"]


def test_crops_that_share_a_field_read_it_once(tmp_path: Path, make_store) -> None:
    """Fields of 260 x 260 in chunks of 128: a crop of 200 touches all nine or four of them."""
    rng = np.random.default_rng(0)
    pixels = {
        ("P1", f"A{column:02d}", 1): rng.integers(0, 4000, (2, 260, 260), dtype=np.uint16)
        for column in range(1, 9)
    }
    store = open_store(make_store(tmp_path / "store", pixels, ("DNA", "ER")))
    size = (tmp_path / "store/P1.zarr/A/01/0/0/c/0/0/0").stat().st_size
    taken = {}
    for count in (1, 8):
        stream = CropStream(
            CropReader([store], "crops"), [np.arange(8)], 200, 64, 0, crops_per_field=count
        )
        stream.step(0)  # opens the arrays
        before = bytes_read()
        fields = stream.step(1).keys[:, 0].unique()
        taken[count] = (bytes_read() - before) / size
        assert taken[count] <= len(fields)
    assert taken[8] > 1


def test_weights_of_a_table_are_those_of_its_rows(store: Store, tmp_path: Path, capsys) -> None:
    table = tmp_path / "weights.csv"
    table.write_text("weight,plate,perturbation\n2,P1,b\n.5,P2,a\n0,P2,c\n")
    weights = read_weights(table, store.fields)
    rows = store.fields.select("plate", "perturbation").rows()
    known = {("P1", "b"): 2.0, ("P2", "a"): 0.5}
    assert (2 * weights).tolist() == [known.get(row, 0.0) for row in rows]
    assert f"{sum(weights > 0)} of 12 fields have a weight above 0" in capsys.readouterr().err
    reader = CropReader([store], "memory")
    drawn = count_fields(CropStream(reader, [np.arange(12)], 16, 40, 0, weights=weights), 50)
    expected = weights / weights.sum() * drawn.sum()
    assert (drawn[weights == 0] == 0).all()
    assert stats.chisquare(drawn[weights > 0], expected[weights > 0]).pvalue > 0.001


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("plate,weight\nP1,much\n", "weight must be a number of at least 0, not much"),
        ("plate,weight\nP1,-1\n", "weight must be a number of at least 0, not -1"),
        ("plate,weight\nP1,\n", "weight must be a number of at least 0, not None"),
        ("plate,weight\nP1,1\nP1,2\n", "has two rows for P1: keep one"),
        ("plate,weight\nP9,1\n", "no field has a weight above 0; fields have plate like P1"),
        ("plate,share\nP1,1\n", "has the columns plate, share: expected weight and one or more of"),
        ("dose,weight\n1,1\n", "has the columns dose, weight: expected weight and one or more of"),
        ("", "is not a CSV table"),
        ("window_low,weight\n1,1\n", "has the columns window_low, weight: expected weight and one"),
        ("control,weight\nmaybe,1\n", "control must be true or false, not maybe"),
        ("site,weight\n1.5,1\n", "site must be a number like those of the store, not 1.5"),
    ],
)
def test_tables_of_weights_that_cannot_be_used(
    text, sentence, store: Store, tmp_path: Path
) -> None:
    table = tmp_path / "weights.csv"
    table.write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read_weights(table, store.fields)
    with pytest.raises(ValueError, match="there is no file"):
        read_weights(tmp_path / "absent.csv", store.fields)


def test_rows_of_a_table_are_read_as_the_columns_they_name(store: Store, tmp_path: Path, capsys):
    """`True` of pandas is true, 1.0 is 1, and a name with brackets is no pattern."""
    (tmp_path / "w1.csv").write_text("site,weight\n9,1\n")
    table = tmp_path / "w[1].csv"
    table.write_text("control,site,weight\nFalse,1.0,5\nTRUE,1,2\nfalse,7,3\n")
    fields = store.fields.with_columns(control=pl.Series([True] * 3 + [False] * 9))
    weights = read_weights(table, fields)
    assert weights.tolist() == [0.4] * 3 + [1.0] * 9
    assert "1 of 3 rows match no field, like that of False, 7" in capsys.readouterr().err
