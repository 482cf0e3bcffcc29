"""Pairs of wells: of one label, of different groups, the same whoever asks and for every share."""

from dataclasses import replace

import numpy as np
import pytest

from phenomae.crops.pairs import PairSampler
from phenomae.crops.reader import CropReader
from phenomae.crops.stream import CropStream
from phenomae.store.read import open_store

# Label k has the wells k0, k1 in one group and k2 in another, label 4 three groups of one well.
LABELS = [
    [[np.array([10 * k]), np.array([10 * k + 1, 10 * k + 2])], [np.array([10 * k + 3])]]
    for k in range(4)
]
LABELS.append([[np.array([40])], [np.array([41])], [np.array([42])]])
GROUP_OF = {
    f: (k, g)
    for k, groups in enumerate(LABELS)
    for g, w in enumerate(groups)
    for x in w
    for f in x.tolist()
}


def choose(step: int, crops: int = 12, per_well: int = 2, seed: int = 3) -> np.ndarray:
    numbers = np.random.default_rng([seed, step]).random(crops)
    return PairSampler(LABELS, per_well, np.arange(43)).choose(seed, step, numbers)


def test_a_pair_has_one_label_and_two_groups_and_labels_are_drawn_once():
    for step in range(200):
        pairs = choose(step).reshape(3, 2, 2)
        labels = []
        for pair in pairs.tolist():
            (first,), (second,) = ({GROUP_OF[field] for field in side} for side in pair)
            assert first[0] == second[0]
            assert first[1] < second[1]
            labels.append(first[0])
        assert len(set(labels)) == 3


def test_labels_sides_wells_and_fields_are_drawn_equally_often():
    chosen = np.concatenate([choose(step) for step in range(3000)])
    count = {field: int((chosen == field).sum()) for field in GROUP_OF}
    total = len(chosen)
    for k in range(4):
        # Half of the crops of a label are of each group, half of these of each well of two.
        shares = [count[10 * k + number] / total for number in range(4)]
        np.testing.assert_allclose(shares, [1 / 20, 1 / 40, 1 / 40, 1 / 10], rtol=0.12)
    np.testing.assert_allclose([count[f] / total for f in (40, 41, 42)], 1 / 15, rtol=0.12)


def test_a_step_is_the_same_again_and_another_step_or_seed_is_not():
    np.testing.assert_array_equal(choose(5), choose(5))
    assert (choose(5) != choose(6)).any()
    assert (choose(5) != choose(5, seed=4)).any()


@pytest.mark.parametrize("share", [range(8), range(8, 16)])
def test_a_share_of_a_stream_is_a_part_of_the_whole(make_store, tmp_path, share: range):
    rng = np.random.default_rng(0)
    pixels = {
        (plate, f"A{well:02d}", 1): rng.integers(100, 250, (2, 40, 40)).astype(np.uint16)
        for plate in ("P1", "P2")
        for well in range(1, 7)
    }
    store = open_store(make_store(tmp_path / "store", pixels, ("DNA", "ER")))
    reader = CropReader([store], "memory")
    sampler = PairSampler(
        [[[np.array([k])], [np.array([k + 6])]] for k in range(6)], 2, np.arange(12) // 6
    )
    stream = CropStream(reader, [np.arange(12)], 16, 16, 7, pairs=sampler)
    whole, part = stream.step(9), replace(stream, share=share).step(9)
    fields = whole.keys[:, 0].numpy().reshape(4, 2, 2)
    np.testing.assert_array_equal(fields[:, 1], fields[:, 0] + 6)
    np.testing.assert_array_equal(part.pixels, whole.pixels[share.start : share.stop])
    np.testing.assert_array_equal(part.keys, whole.keys[share.start : share.stop])
