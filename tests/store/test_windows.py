"""Windows: percentiles against numpy, a sample that stays the same, and 16 bits to 8."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenomae.images.fields import RawField
from phenomae.store.quality import count_levels
from phenomae.store.windows import (
    WindowSettings,
    find_windows,
    is_stretched,
    sample_fields,
    to_bytes,
)


@pytest.mark.parametrize(("low", "high"), [(0.1, 99.9), (0, 100), (5, 50), (33.3, 66.6)])
def test_percentiles_are_those_of_numpy(low, high):
    pixels = np.random.default_rng(0).negative_binomial(2, 0.01, (4, 3, 31, 37)).astype(np.uint16)
    expected = np.percentile(pixels, [low, high], axis=(0, 2, 3), method="inverted_cdf").T
    levels = sum(count_levels(image) for image in pixels)
    np.testing.assert_array_equal(find_windows(levels, WindowSettings(low, high)), expected)


def test_a_channel_of_one_value_has_a_window_of_width_one():
    levels = count_levels(np.full((1, 8, 8), 700, np.uint16))
    np.testing.assert_array_equal(find_windows(levels, WindowSettings()), [[700, 701]])


def test_bytes_stretched_to_words_are_known():
    pixels = np.arange(256, dtype=np.uint16).reshape(1, 16, 16)
    assert is_stretched(count_levels(pixels * 257))
    assert not is_stretched(count_levels(pixels * 257 + (pixels == 9)))
    assert not is_stretched(count_levels(pixels))
    assert not is_stretched(count_levels(np.zeros((1, 4, 4), np.uint16)))


def test_the_sample_depends_on_names_alone():
    fields = [RawField("P", f"{row}{c:02d}", 1, ()) for row in "ABCDEFGH" for c in range(1, 13)]
    sample = sample_fields(fields, 24)
    assert len(set(sample)) == 24
    assert sample_fields(fields[::-1], 24) == sample
    assert sample_fields(fields, 12) == sample[:12]
    assert len({field.well[0] for field in sample}) > 4
    assert len(sample_fields(fields, 1000)) == 96


@settings(max_examples=30, deadline=None)
@given(low=st.integers(0, 60_000), width=st.integers(1, 5535), seed=st.integers(0, 9))
def test_bytes_are_the_rounded_share_of_the_window(low, width, seed):
    pixels = np.random.default_rng(seed).integers(0, 65536, (2, 9, 11), dtype=np.uint16)
    pixels[0, 0, :3] = [low, min(low + width, 65535), low + width // 2]
    found = to_bytes(pixels, np.array([[low, low + width], [0, 65535]], dtype=float))
    share = np.clip((pixels[0].astype(float) - low) / width, 0, 1)
    np.testing.assert_allclose(found[0], share * 255, atol=0.5 + 1e-9)
    assert found[0, 0, 0] == 0
    assert found[0, 0, 1] == 255
    np.testing.assert_array_equal(found[1], np.rint(pixels[1] / 257))
