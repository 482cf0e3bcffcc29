"""What is hidden, against numpy's order of the noise."""

import numpy as np
import pytest
import torch

from phenomae.models.masking import hide, take


@pytest.mark.parametrize(("patches", "ratio", "kept"), [(16, 0.75, 4), (10, 0.25, 7), (7, 0.5, 3)])
def test_the_patches_of_smallest_noise_are_kept(patches: int, ratio: float, kept: int):
    noise, rows = torch.rand(5, patches), torch.randn(5, patches, 3)
    masking = hide(noise, rows, ratio)
    assert masking.seen.shape == (5, kept)
    expected = np.sort(np.argsort(noise.numpy(), axis=1)[:, :kept], axis=1)
    np.testing.assert_array_equal(np.sort(masking.seen.numpy(), axis=1), expected)
    assert masking.mask().sum(1).tolist() == [patches - kept] * 5
    assert torch.equal(masking.restore(take(rows, masking.order)), rows)
