"""Crops cut out by hand: the pixels that zarr-python reads, and shards that are damaged."""

from pathlib import Path

import numpy as np
import pytest
import tensorstore as ts
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import ZstdCodec

from phenomae.store.read import open_store, read_crops
from phenomae.store.shards import Cut, fill_crops, open_shard
from phenomae.store.write import array_metadata, write_array


def cut(field: Path, places: list[tuple[int, int]], size: int, channels: list[int], dtype="uint16"):
    """Crops of one field, by hand."""
    shard = open_shard(str(field), field.name)
    assert shard is not None
    pixels = np.empty((len(places), len(channels), size, size), dtype)
    cuts = [Cut(crop, *place) for crop, place in zip(pixels, places, strict=True)]
    fill_crops([shard] * len(cuts), cuts, channels)
    return pixels


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_crops_are_those_that_zarr_python_reads(tmp_path_factory, data):
    shape = [data.draw(st.integers(1, most)) for most in (5, 400, 400)]
    dtype = data.draw(st.sampled_from(["uint8", "uint16"]))
    size = data.draw(st.integers(1, min(shape[1:])))
    corner = st.tuples(*(st.integers(0, side - size) for side in shape[1:]))
    places = data.draw(st.lists(corner, min_size=1, max_size=4))
    channels = data.draw(st.lists(st.integers(0, shape[0] - 1), min_size=1, max_size=6))
    field = tmp_path_factory.mktemp("field")
    most = np.iinfo(dtype).max
    write_array(field / "0", np.random.default_rng(0).integers(0, most, shape, dtype, True))
    array = zarr.open_array(field / "0", mode="r")
    for crop, (top, left) in zip(cut(field, places, size, channels, dtype), places, strict=True):
        expected = np.asarray(array[:, top : top + size, left : left + size])[channels]
        np.testing.assert_array_equal(crop, expected)


def test_a_chunk_that_was_not_written_is_zeros(tmp_path):
    metadata = array_metadata((2, 300, 300), "uint16")
    spec = {"driver": "zarr3", "kvstore": f"file://{tmp_path}/0/", "metadata": metadata}
    array = ts.open(spec, create=True).result()
    array[:, :100, :100].write(np.ones((2, 100, 100), np.uint16)).result()
    crop = cut(tmp_path, [(60, 60)], 200, [0, 1])[0]
    assert crop[:, :40, :40].min() == 1
    assert crop.sum() == 2 * 40 * 40


def test_a_store_packed_by_another_hand_is_read_too(tmp_path, make_store):
    pixels = np.random.default_rng(0).integers(0, 4000, (2, 300, 200), dtype=np.uint16)
    other = pixels[:, ::-1].copy()
    store = open_store(
        make_store(tmp_path / "store", {("P1", "A01", 1): pixels, ("P1", "A02", 1): other}, "ab")
    )
    folder = tmp_path / "store" / store.fields["path"][1] / "0"
    array = zarr.create_array(
        folder,
        shape=other.shape,
        dtype="uint16",
        shards=other.shape,
        chunks=(1, 100, 100),
        compressors=ZstdCodec(),
        overwrite=True,
    )
    array[:] = other
    assert open_shard(str(folder.parent), "other") is None
    crops = read_crops(store, [0, 1, 1], [20, 0, 172], [3, 72, 0], 128, [1, 0])
    expected = [pixels[::-1, 20:148, 3:131], other[::-1, :128, 72:], other[::-1, 172:, :128]]
    np.testing.assert_array_equal(crops, expected)


@pytest.mark.parametrize("kept", [0, 100, -200, -1])
def test_a_shard_cut_short_is_told_with_its_field(tmp_path, kept):
    write_array(tmp_path / "0", np.random.default_rng(0).integers(0, 9, (2, 300, 300)).astype("u2"))
    shard = tmp_path / "0/c/0/0/0"
    shard.write_bytes(shard.read_bytes()[:kept])
    with pytest.raises(ValueError, match=f"{tmp_path.name} cannot be read"):
        cut(tmp_path, [(0, 0)], 300, [0, 1])


def test_flipped_bytes_never_leave_the_words(tmp_path):
    """Whatever a flip hits, pixels of the right shape come back, or one sentence."""
    write_array(tmp_path / "0", np.random.default_rng(0).integers(0, 9, (2, 300, 300)).astype("u2"))
    shard = tmp_path / "0/c/0/0/0"
    whole, rng, told = shard.read_bytes(), np.random.default_rng(1), 0
    for _ in range(300):
        broken = bytearray(whole)
        for at in rng.integers(0, len(whole), 3).tolist():
            broken[at] = rng.integers(256)
        broken[-148 + rng.integers(144)] = rng.integers(256)  # in the index
        shard.write_bytes(broken)
        open_shard.cache_clear()
        try:
            assert cut(tmp_path, [(0, 0)], 300, [0, 1]).shape == (1, 2, 300, 300)
        except ValueError as error:
            assert f"{tmp_path} cannot be read: " in str(error)  # noqa: PT017
            told += 1
    assert told > 100
