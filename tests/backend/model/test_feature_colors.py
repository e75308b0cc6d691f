"""Colors of features: what principal components promise, and odd input."""

from __future__ import annotations

import numpy as np
import pytest

from saga_backend.model.feature_colors import colors_of
from tests.helpers.twins import unit


def test_like_features_have_like_colors(rng):
    kind = rng.integers(0, 4, 3000)
    features = np.eye(16)[kind] * 2 + 0.02 * rng.normal(size=(3000, 16))
    rgb = colors_of(features.astype(np.float32)).astype(float)
    middles = np.stack([rgb[kind == k].mean(axis=0) for k in range(4)])
    assert np.abs(rgb - middles[kind]).max(axis=1).mean() < 20
    apart = np.linalg.norm(middles[:, None] - middles, axis=2)[~np.eye(4, dtype=bool)]
    assert apart.min() > 100


def test_red_orders_the_gaussians_as_numpys_first_component_does(rng):
    """The singular value decomposition is another way to the same axes."""
    features = rng.normal(size=(2000, 8)) * np.array([5, 3, 2, 1, 1, 1, 1, 1])
    rgb = colors_of(features.astype(np.float32)).astype(float)
    vectors = unit(features)
    centered = vectors - vectors.mean(axis=0)
    _, _, axes = np.linalg.svd(centered, full_matrices=False)
    for channel in range(3):
        inner = (rgb[:, channel] > 0) & (rgb[:, channel] < 255)
        assert abs(np.corrcoef(rgb[inner, channel], (centered @ axes[channel])[inner])[0, 1]) > 0.999


def test_neither_order_nor_length_matters(rng):
    features = rng.normal(size=(900, 10)).astype(np.float32)
    rgb = colors_of(features).astype(int)
    order = rng.permutation(900)
    assert np.abs(colors_of(features[order]).astype(int) - rgb[order]).max() <= 1
    assert np.abs(colors_of(features * rng.uniform(0.5, 2, (900, 1)).astype(np.float32)).astype(int) - rgb).max() <= 1


def test_signs_stay_when_features_change_a_little(rng):
    """Kinds of different sizes: axes of nearly equal variance have no direction of their own, anything turns them."""
    kind = rng.permutation(np.repeat(np.arange(5), [700, 500, 400, 250, 150]))
    features = np.eye(12)[kind] + 0.1 * rng.normal(size=(2000, 12))
    later = features + 0.01 * rng.normal(size=features.shape)
    difference = np.abs(colors_of(features).astype(int) - colors_of(later).astype(int))
    assert np.median(difference) < 8


def test_odd_features_take_no_contrast_from_the_rest(rng):
    """One in a hundred is far out; the others still use most of the range."""
    features = np.ones((3000, 8)) + 0.1 * rng.normal(size=(3000, 8))
    features[:30] = 100 * rng.normal(size=(30, 8))
    rgb = colors_of(features)[30:].astype(float)
    assert (np.quantile(rgb, 0.9, axis=0) - np.quantile(rgb, 0.1, axis=0)).max() > 100


def test_a_closed_gate_hides_its_channels(rng):
    features = rng.normal(size=(500, 8)).astype(np.float32)
    scale_gate = np.array([1, 1, 1, 1, 0, 0, 0, 0], np.float32)
    other = features.copy()
    other[:, 4:] = rng.normal(size=(500, 4))
    np.testing.assert_array_equal(colors_of(features, scale_gate), colors_of(other, scale_gate))
    assert (colors_of(features) != colors_of(other)).any()


@pytest.mark.parametrize("shape", [(0, 8), (1, 8), (5, 1), (40, 2)])
def test_few_gaussians_and_few_channels(rng, shape):
    rgb = colors_of(rng.normal(size=shape).astype(np.float32))
    assert rgb.shape == (shape[0], 3) and rgb.dtype == np.uint8


@pytest.mark.parametrize("value", [0.0, 1.0, np.nan])
def test_features_that_are_all_alike_are_gray(value):
    np.testing.assert_array_equal(colors_of(np.full((50, 6), value, np.float32)), 128)
