"""CIE Lab against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.color import rgb2lab

from saga_backend.common.cie_lab import srgb_to_lab


@pytest.mark.parametrize(("kind", "tolerance"), [(np.float32, 1e-3), (np.float64, 1e-9)])
@pytest.mark.parametrize("darkness", [1, 0.05, 0.002])
def test_colors_are_those_of_scikit_image(rng, kind, tolerance, darkness):
    rgb = (darkness * rng.random((50, 40, 3))).astype(kind)
    lab = srgb_to_lab(rgb)
    assert lab.dtype == kind
    np.testing.assert_allclose(lab, rgb2lab(rgb), atol=tolerance)
    np.testing.assert_array_equal(srgb_to_lab(rgb[3]), lab[3])


def test_black_white_and_gray():
    lab = srgb_to_lab(np.array([[0.0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5]]))
    np.testing.assert_allclose(lab, [[0, 0, 0], [100, 0, 0], [53.39, 0, 0]], atol=0.02)
