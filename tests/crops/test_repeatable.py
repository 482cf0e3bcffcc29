"""A step's crops are a pure function of (seed, step, index), wherever they are made, and when."""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenomae.crops.reader import CropReader
from phenomae.crops.stream import CropStream
from phenomae.crops.tensors import Crops
from phenomae.store.read import open_store

SIZES = [(64, 70), (80, 64), (100, 128), (64, 64), (300, 200)]

PROGRAM = """
import hashlib
from pathlib import Path
import numpy as np
from phenomae.crops.reader import CropReader
from phenomae.crops.stream import CropStream
from phenomae.store.read import open_store
reader = CropReader([open_store(Path({path!r}))], "crops")
stream = CropStream(reader, [np.arange(5)], **{arguments})
for step in {steps}:
    crops = stream.step(step)
    parts = (crops.pixels, crops.windows, crops.turns, crops.keys)
    print(hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest())
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, make_store) -> Path:
    """Five fields of one channel and of five sizes."""
    rng = np.random.default_rng(0)
    pixels = {
        ("P1", f"A{column:02d}", 1): rng.integers(0, 4000, (1, *size), dtype=np.uint16)
        for column, size in enumerate(SIZES, start=1)
    }
    return make_store(tmp_path_factory.mktemp("golden") / "store", pixels, ("DNA",))


def make_stream(path: Path, reading: str = "memory", **arguments) -> CropStream:
    reader = CropReader([open_store(path)], reading)  # pyright: ignore
    return CropStream(reader, **{"groups": [np.arange(5)], **arguments})


def digest(crops: Crops) -> str:
    parts = (crops.pixels, crops.windows, crops.turns, crops.keys)
    return hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest()


@pytest.mark.parametrize(
    ("arguments", "step", "crops"),
    [
        (
            {"groups": [np.arange(5)], "seed": 7},
            3,
            [
                (2, 26, 3, 2),
                (3, 0, 0, 2),
                (2, 9, 58, 5),
                (2, 31, 48, 1),
                (2, 14, 8, 1),
                (3, 0, 0, 0),
            ],
        ),
        (
            {"groups": [np.array([0, 2]), np.array([1, 3, 4])], "seed": 7},
            3,
            [
                (3, 0, 0, 2),
                (4, 46, 70, 2),
                (3, 0, 0, 5),
                (3, 0, 0, 1),
                (3, 0, 0, 1),
                (4, 121, 99, 0),
            ],
        ),
        (
            {
                "groups": [np.array([0, 2]), np.array([1]), np.array([3, 4])],
                "seed": 7,
                "groups_per_step": 2,
            },
            700,
            [(0, 0, 5, 2), (2, 29, 17, 7), (0, 0, 3, 6), (1, 8, 0, 1), (1, 5, 0, 2), (1, 6, 0, 3)],
        ),
        (
            {"groups": [np.arange(5)], "seed": 2**62 + 5},
            10**6,
            [
                (4, 155, 15, 2),
                (0, 0, 6, 2),
                (3, 0, 0, 6),
                (4, 89, 90, 5),
                (3, 0, 0, 3),
                (0, 0, 1, 6),
            ],
        ),
    ],
)
def test_the_draws_stay_what_they_were_in_the_first_version(
    path: Path, arguments: dict, step: int, crops: list
) -> None:
    """Numbers of version 0.1.0: a run that was stopped then must go on with the same crops."""
    found = make_stream(path, crop_size=64, crops_per_step=6, **arguments).step(step)
    keys = np.column_stack([found.keys.numpy(), found.turns.numpy()])
    assert keys.tolist() == [list(crop) for crop in crops]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1),
    first=st.integers(0, 10**9),
    groups_per_step=st.sampled_from([1, 2]),
    crops_per_field=st.sampled_from([1, 2, 4]),
    weights=st.none() | st.lists(st.floats(0.01, 1), min_size=5, max_size=5).map(np.array),
    order=st.permutations(range(4)),
    readings=st.permutations(["memory", "fields", "crops"]),
)
def test_a_step_depends_on_seed_and_step_alone(
    path: Path,
    seed: int,
    first: int,
    groups_per_step: int,
    crops_per_field: int,
    weights: np.ndarray | None,
    order: list[int],
    readings: list[str],
) -> None:
    """Not on the steps before it, their order, the thread, or how pixels are read."""
    make = partial(
        make_stream,
        path,
        groups=[np.array([0, 2]), np.array([1, 3, 4])],
        crop_size=48,
        crops_per_step=8,
        seed=seed,
        groups_per_step=groups_per_step,
        weights=weights,
        crops_per_field=crops_per_field,
    )
    in_order = [digest(crops) for _, crops in make(readings[0]).steps(first, first + 4)]
    other = make(readings[1])
    shuffled = {at: digest(other.step(first + at)) for at in order}
    resumed = [digest(crops) for _, crops in make(readings[2]).steps(first + 2, first + 4)]
    assert [shuffled[at] for at in range(4)] == in_order
    assert resumed == in_order[2:]
    assert len(set(in_order)) == 4


def test_another_process_makes_the_same_steps(path: Path, fork_program: Callable) -> None:
    arguments = {"crop_size": 48, "crops_per_step": 6, "seed": 11, "crops_per_field": 2}
    steps = (2, 0, 5)
    expected = [digest(make_stream(path, **arguments).step(step)) for step in steps]
    program = PROGRAM.format(path=str(path), arguments=arguments, steps=steps)
    done = fork_program(program).wait()
    assert done.stdout.split() == expected


def test_a_row_of_a_step_does_not_depend_on_how_many_there_are(path: Path) -> None:
    few, many = (
        make_stream(path, crop_size=48, crops_per_step=count, seed=2, crops_per_field=2).step(9)
        for count in (4, 12)
    )
    assert few.keys.tolist() == many.keys.tolist()[:4]
    assert few.turns.tolist() == many.turns.tolist()[:4]
