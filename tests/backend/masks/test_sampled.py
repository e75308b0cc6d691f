"""Masks over sampled pixels: scales (Eq. 2), bits, masks that are too small."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from saga_backend.masks.sampled import from_labels, from_pictures, mask_scale, unproject
from saga_backend.rasterizer.cpu import all_pixels
from tests.helpers.twins import bits_to_bool, random_view


@pytest.mark.parametrize("kind", ["perspective", "orthographic", "off-center"])
def test_unproject_is_the_way_back(rng, kind):
    view = random_view(rng, kind)
    pixels = rng.integers(0, 26, (50, 2))
    depths = rng.uniform(0.5, 9, 50)
    for (column, row), depth, (x, y, z) in zip(pixels, depths, unproject(view, pixels, depths).tolist(), strict=True):
        divide = 1 if view.orthographic else z
        assert view.K[0, 0] * x / divide + view.K[0, 2] == pytest.approx(column + 0.5, abs=1e-3)
        assert view.K[1, 1] * y / divide + view.K[1, 2] == pytest.approx(row + 0.5, abs=1e-3)
        assert z == pytest.approx(depth, rel=1e-6)


def test_mask_scale_is_eq_2(rng):
    points = rng.normal(size=(300, 3)) * (1, 2, 3) + 100
    spreads = [np.mean([(p - np.mean(column)) ** 2 for p in column]) for column in points.T]
    assert mask_scale(points.astype(np.float32)) == pytest.approx(2 * sum(spreads) ** 0.5, rel=1e-4)
    assert mask_scale(np.ones((5, 3), np.float32)) == 0
    assert mask_scale(3 * points) == pytest.approx(3 * mask_scale(points))
    assert mask_scale(points + 7) == pytest.approx(mask_scale(points))


def test_from_labels_pixel_by_pixel(rng):
    labels = rng.integers(-1, 150, (900, 3)).astype(np.int32)
    scales = 0.1 + rng.permutation(150) / 100  # all different: a mask is known by its scale here
    masks = from_labels(labels, scales, 2.5)
    wanted = {}
    for segment in range(150):
        pixels = frozenset(p for p in range(900) if segment in labels[p].tolist())
        if len(pixels) >= 4:
            wanted[round(float(np.float32(scales[segment])), 6)] = pixels
    members = bits_to_bool(masks.bits, len(masks.scales))
    np.testing.assert_array_equal(members, masks.members())
    assert (np.diff(masks.scales) >= 0).all() and len(masks.scales) == len(wanted)
    for m, scale in enumerate(masks.scales.tolist()):
        assert frozenset(np.flatnonzero(members[:, m]).tolist()) == wanted[round(scale, 6)]
        assert masks.areas[m] == pytest.approx(2.5 * members[:, m].sum())


@pytest.mark.parametrize("labels", [np.full((50, 2), -1), np.zeros((0, 3)), np.zeros((3, 1))])
def test_nothing_in_it(labels):
    masks = from_labels(labels.astype(np.int32), np.ones(1), 1.0)
    assert masks.members().shape == (len(labels), 0) and len(masks.bits) == len(labels)


def test_a_segment_at_two_levels_is_one_mask():
    masks = from_labels(np.zeros((10, 4), np.int32), np.ones(1), 1.0)
    assert len(masks.scales) == 1 and masks.areas.tolist() == [10]


def test_from_pictures(rng):
    view = replace(random_view(rng, "perspective"), width=20, height=16)
    depth = rng.uniform(2, 3, (16, 20))
    depth[:, 15:] = 0
    masks = np.zeros((5, 16, 20), bool)
    masks[0, 2:9, 3:10] = True  # 49 pixels, 25 when eroded
    masks[1, 2:4, 3:6] = True  # nothing left when eroded: the whole
    masks[2, 5:8, 16:19] = True  # where nothing is
    masks[3, 1, 1] = True  # too small
    masks[4] = True
    rows, columns = np.mgrid[0:16, 0:20]
    pixels = np.stack([columns.ravel(), rows.ravel()], axis=1)
    sampled = from_pictures(masks, depth.ravel(), view, pixels)
    assert sorted(sampled.areas.tolist()) == [6, 49, 320]
    members = sampled.members()
    for area, index, inner in ((49, 0, np.s_[3:8, 4:9]), (6, 1, np.s_[2:4, 3:6]), (320, 4, np.s_[1:15, 1:15])):
        m = sampled.areas.tolist().index(area)
        np.testing.assert_array_equal(members[:, m].reshape(16, 20), masks[index])
        chosen = np.zeros((16, 20), bool)
        chosen[inner] = True
        chosen &= depth > 0
        points = []
        for row, column in np.argwhere(chosen):
            z = depth[row, column]
            x = (column + 0.5 - view.K[0, 2]) / view.K[0, 0] * z
            points.append((x, (row + 0.5 - view.K[1, 2]) / view.K[1, 1] * z, z))
        assert sampled.scales[m] == pytest.approx(2 * np.sqrt(np.var(points, axis=0).sum()), rel=1e-4)
    assert (np.diff(sampled.scales) >= 0).all()


def test_many_masks_from_pictures_by_erosion(rng):
    """More than one word of bits; masks up to the picture's edge, in pieces, of few pixels; any order."""
    view = replace(random_view(rng, "perspective"), width=45, height=30)
    y, x = np.ogrid[:30, :45]
    middles = rng.uniform(0, 1, (120, 2)) * (30, 45)
    masks = np.stack([(y - cy) ** 2 + (x - cx) ** 2 < rng.uniform(0.5, 14) ** 2 for cy, cx in middles])
    masks &= rng.random(masks.shape) > 0.05
    pixels = all_pixels(view)[rng.permutation(30 * 45)[:700]]
    depths = (rng.uniform(1, 3, 700) * (rng.random(700) < 0.9)).astype(np.float32)
    sampled, points = from_pictures(masks, depths, view, pixels), unproject(view, pixels, depths)
    wanted = []
    for mask in masks:
        inside = mask[pixels[:, 1], pixels[:, 0]]
        there = inside & (depths > 0)
        inner = there & binary_erosion(mask)[pixels[:, 1], pixels[:, 0]]
        if inside.sum() >= 4 and there.any():
            wanted.append((mask_scale(points[inner if inner.sum() >= 4 else there]), inside, mask.sum()))
    wanted.sort(key=lambda one: one[0])
    assert len(sampled.scales) == len(wanted) > 64
    np.testing.assert_allclose(sampled.scales, [one[0] for one in wanted], rtol=1e-5)
    np.testing.assert_array_equal(sampled.members(), np.stack([one[1] for one in wanted], axis=1))
    np.testing.assert_array_equal(sampled.areas, [one[2] for one in wanted])


@pytest.mark.parametrize("count", [0, 2])
def test_from_pictures_without_a_usable_mask(rng, count):
    view = random_view(rng)
    pixels = np.array([[0, 0], [1, 1], [2, 2], [3, 3], [4, 4]])
    empty = from_pictures(np.zeros((count, 26, 37), bool), np.ones(5), view, pixels)
    assert empty.members().shape == (5, 0) and len(empty.scales) == 0
