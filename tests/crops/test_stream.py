"""The training stream: which crops, from where, and turned how."""

import threading

import numpy as np
import pytest
import torch

from phenomae.crops.prefetch import prefetch
from phenomae.crops.reader import CropReader, choose_reading
from phenomae.crops.stream import CropStream, centre_crops
from phenomae.crops.tensors import Crops, network_input, turn_each
from phenomae.store.read import Store, open_store, read_field

CHANNELS = ("DNA", "ER")


@pytest.fixture(scope="module", params=["uint8", "uint16"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, make_store):
    rng = np.random.default_rng(1)
    pixels = {
        ("P1", f"A0{column}", site): rng.integers(
            0, np.iinfo(request.param).max, (2, 40 + 4 * column, 52), dtype=request.param
        )
        for column in (1, 2, 3)
        for site in (1, 2)
    }
    path = tmp_path_factory.mktemp(request.param) / "store"
    return open_store(make_store(path, pixels, CHANNELS))


def make_stream(store: Store, reading: str = "memory", seed: int = 0) -> CropStream:
    fields = np.arange(len(store.fields))
    return CropStream(CropReader([store], reading), [fields], 16, 24, seed)  # pyright: ignore


@pytest.mark.parametrize("reading", ["memory", "fields", "crops"])
def test_a_crop_is_the_fields_pixels_at_its_key(store: Store, reading: str) -> None:
    crops = make_stream(store, reading).step(3)
    assert crops.pixels.shape == (24, 2, 16, 16)
    for pixels, (field, top, left) in zip(crops.pixels, crops.keys.tolist(), strict=True):
        whole = read_field(store, field)
        np.testing.assert_array_equal(pixels, whole[:, top : top + 16, left : left + 16])


def test_a_step_is_the_same_whenever_it_is_asked_for(store: Store) -> None:
    in_order = [crops for _, crops in make_stream(store).steps(0, 5)]
    later = dict(make_stream(store).steps(3, 5))
    for step in (3, 4):
        assert torch.equal(in_order[step].pixels.int(), later[step].pixels.int())
        assert torch.equal(in_order[step].turns, later[step].turns)
    assert not torch.equal(in_order[3].keys, in_order[4].keys)
    assert not torch.equal(make_stream(store, seed=1).step(3).keys, in_order[3].keys)


def test_all_fields_places_and_turns_come_up(store: Store) -> None:
    stream = make_stream(store)
    steps = [stream.step(step) for step in range(60)]
    keys = torch.cat([crops.keys for crops in steps])
    counts = torch.bincount(keys[:, 0])
    assert len(counts) == 6
    assert counts.min() > 60 * 24 / 6 * 0.75
    smallest = keys[keys[:, 0] < 2]  # fields of 44 x 52
    assert set(smallest[:, 1].tolist()) == set(range(44 - 16 + 1))
    assert set(smallest[:, 2].tolist()) == set(range(52 - 16 + 1))
    assert set(torch.cat([crops.turns for crops in steps]).tolist()) == set(range(8))


def test_only_the_fields_given_are_drawn_from(store: Store) -> None:
    stream = CropStream(CropReader([store], "memory"), [np.array([1, 4])], 16, 50, 0)
    assert set(stream.step(0).keys[:, 0].tolist()) == {1, 4}


def test_turns_are_the_eight_flips_and_quarter_turns() -> None:
    image = torch.arange(9).to(torch.uint16).reshape(1, 1, 3, 3)
    turned = turn_each(image.expand(8, 1, 3, 3).contiguous(), torch.arange(8, dtype=torch.uint8))
    ours = {tuple(item.int().flatten().tolist()) for item in turned}
    square = np.arange(9).reshape(3, 3)
    theirs = {
        tuple(np.rot90(sheet, quarter).ravel().tolist())
        for sheet in (square, square.T)
        for quarter in range(4)
    }
    assert ours == theirs
    assert turned.dtype == torch.uint16


def test_uint16_goes_through_its_window_and_uint8_stays() -> None:
    def crops(pixels: torch.Tensor) -> Crops:
        windows = torch.tensor([[[100.0, 300.0]]])
        zeros = torch.zeros(1, dtype=torch.uint8)
        return Crops(pixels, windows, zeros, torch.zeros((1, 3), dtype=torch.int64), ("DNA",))

    raw = torch.tensor([[[[0, 100], [150, 65535]]]])
    dim = network_input(crops(raw.to(torch.uint16)), "cpu")
    np.testing.assert_allclose(dim, [[[[0.0, 0.0], [0.25, 1.0]]]], rtol=1e-7)
    bytes_ = network_input(crops(raw.clamp(max=255).to(torch.uint8)), "cpu")
    assert bytes_.dtype == torch.uint8
    assert bytes_.flatten().tolist() == [0, 100, 150, 255]


def test_centre_crops_are_the_middle(store: Store) -> None:
    crops = centre_crops(CropReader([store], "crops"), np.array([0, 5]), 16)
    assert crops.keys.tolist() == [[0, 14, 18], [5, 18, 18]]


def test_a_store_is_held_in_memory_where_it_fits(store: Store) -> None:
    size = sum(read_field(store, index).nbytes for index in range(len(store.fields)))
    assert choose_reading([store], size / 1e9) == "memory"
    assert choose_reading([store], (size - 1) / 1e9) == "crops"


def test_fields_of_the_last_call_alone_are_kept(store: Store) -> None:
    reader = CropReader([store], "fields")
    zeros = np.zeros(2, dtype=np.int64)
    reader.crops(np.array([0, 1]), zeros, zeros, 16)
    reader.crops(np.array([1, 2]), zeros, zeros, 16)
    assert set(reader._cached) == {1, 2}


def test_prefetch_keeps_order_and_works_ahead() -> None:
    made: list[int] = []
    ready = threading.Event()

    def make(item: int) -> int:
        made.append(item)
        if item == 2:
            ready.set()
        return item * item

    results = prefetch(make, range(6), ahead=2)
    assert next(results) == 0
    assert ready.wait(5)
    assert list(results) == [1, 4, 9, 16, 25]


def test_prefetch_raises_where_the_result_would_have_come() -> None:
    def make(item: int) -> int:
        if item == 1:
            raise ValueError("field 1 is damaged")
        return item

    results = prefetch(make, range(3))
    assert next(results) == 0
    with pytest.raises(ValueError, match="field 1 is damaged"):
        next(results)


def test_a_stream_says_how_long_it_kept_its_caller_waiting(store: Store) -> None:
    stream = make_stream(store)
    list(stream.steps(0, 2))
    assert stream.waited_s > 0


def test_a_step_takes_the_groups_it_is_told_to_as_often_as_they_have_fields(store: Store) -> None:
    groups = [np.array([0, 1, 2, 3]), np.array([4, 5])]
    reader = CropReader([store], "memory")
    stream = CropStream(reader, groups, 16, 2, seed=0)
    steps = [set(stream.step(step).keys[:, 0].tolist()) for step in range(600)]
    first = [fields for fields in steps if fields <= {0, 1, 2, 3}]
    second = [fields for fields in steps if fields <= {4, 5}]
    assert len(first) + len(second) == 600
    assert abs(len(first) - 400) < 3 * (600 * 2 / 9) ** 0.5
    assert set().union(*first) == {0, 1, 2, 3}


def test_the_groups_of_a_step_are_different_ones(store: Store) -> None:
    groups = [np.array([0, 1, 2]), np.array([3]), np.array([4, 5])]
    stream = CropStream(CropReader([store], "memory"), groups, 16, 6, seed=0, groups_per_step=2)
    of = [0, 0, 0, 1, 2, 2]
    pairs = [
        [{of[field] for field in half.tolist()} for half in stream.step(step).keys[:, 0].split(3)]
        for step in range(40)
    ]
    assert all(len(half) == 1 for pair in pairs for half in pair)
    assert all(pair[0] != pair[1] for pair in pairs)
    assert set().union(*(half for pair in pairs for half in pair)) == {0, 1, 2}


@pytest.mark.parametrize("reading", ["memory", "fields", "crops"])
def test_several_stores_are_counted_through(store: Store, tmp_path, make_store, reading) -> None:
    """Crops of a step from both have the pixels, the windows and the names of their own store."""
    rng = np.random.default_rng(5)
    pixels = {
        ("P9", "A01", 1): rng.integers(0, 255, (3, 30, 30), dtype=store.dtype),
    }
    other = open_store(make_store(tmp_path / "other", pixels, ("ER", "AGP", "DNA")))
    reader = CropReader([store, other], reading, channels=("DNA", "ER"))
    assert len(reader.sizes) == 7
    assert reader.kinds.tolist() == [0] * 7
    fields, places = np.array([6, 2, 6]), np.array([1, 2, 3])
    crops = reader.crops(fields, places, places, 16)
    assert crops.channels == ("DNA", "ER")
    theirs = read_field(other, 0)[[2, 0]]
    np.testing.assert_array_equal(crops.pixels[0], theirs[:, 1:17, 1:17])
    np.testing.assert_array_equal(crops.pixels[1], read_field(store, 2)[:, 2:18, 2:18])
    np.testing.assert_array_equal(crops.pixels[2], theirs[:, 3:19, 3:19])
    with pytest.raises(ValueError, match="has no channel 'AGP': it has DNA, ER"):
        CropReader([store, other], reading, channels=("AGP",))
    free = CropReader([store, other], reading)
    assert free.kinds.tolist() == [0] * 6 + [1]
    assert free.channels_of(6) == ("ER", "AGP", "DNA")


def test_crops_of_some_channels_are_those_channels(store: Store) -> None:
    crops = make_stream(store).step(0)
    part = crops.only(["ER"])
    assert part.channels == ("ER",)
    np.testing.assert_array_equal(part.pixels, crops.pixels.numpy()[:, 1:])
    assert torch.equal(part.windows, crops.windows[:, 1:])
    assert torch.equal(part.keys, crops.keys)
