"""Segments of the cloud: nested partitions that follow what is there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blender_saga.gaussians.cloud import concatenate
from blender_saga.gaussians.view import View, look_at
from saga_backend.common.neighbors import nearest
from saga_backend.common.progress import Control
from saga_backend.masks.sampled import mask_scale
from saga_backend.rasterizer.cpu import all_pixels, contributions
from saga_backend.segments.builtin.hierarchy import SegmentSettings, normals, segment, without_scene
from saga_backend.segments.builtin.masks import segment_cloud, segment_scales, view_masks, visible
from saga_backend.training.preparation import RasterizedViews, builtin_masks
from tests.helpers.twins import ball, dense, unit

GRAY = (0.5, 0.5, 0.5)


def segments_of(cloud, truth=None, settings=None) -> np.ndarray:
    """Segments as cameras all around would see them: normals point away from the middle of each thing."""
    truth = np.zeros(len(cloud), int) if truth is None else truth
    middles = np.stack([cloud.means[truth == thing].mean(axis=0) for thing in range(truth.max() + 1)])
    toward = unit(cloud.means - middles[truth] + 1e-6)
    rgb = 0.5 + cloud.sh[:, 0] / (2 * np.sqrt(np.pi))
    return segment(cloud.means, rgb, toward, settings).labels


def two_balls(rng, gap=0.5, colors=(GRAY, GRAY), counts=(400, 300)):
    """Two spheres on a line, `gap` between their surfaces, and which Gaussian belongs to which."""
    parts = [ball(rng, (0, 0, 0), 1.0, counts[0], colors[0]), ball(rng, (2 + gap, 0, 0), 1.0, counts[1], colors[1])]
    return concatenate(parts), np.repeat([0, 1], counts)


def is_split(labels: np.ndarray, truth: np.ndarray) -> bool:
    """Whether some level has exactly the segments of `truth` (numbers do not matter)."""
    for level in labels.T:
        pairs = {(a, b) for a, b in zip(level.tolist(), truth.tolist(), strict=True)}
        if len(pairs) == len(set(level.tolist())) == len(set(truth.tolist())):
            return True
    return False


def assert_nested(labels: np.ndarray, counts) -> None:
    """Every level partitions; a segment is a union of the level before; one numbering over all levels."""
    members: dict[int, frozenset] = {}
    assert (labels >= 0).all()
    for index, level in enumerate(labels.T):
        assert len(np.unique(level)) >= min(counts[index], len(np.unique(labels[:, 0])))
        for number in np.unique(level).tolist():
            points = frozenset(np.flatnonzero(level == number).tolist())
            assert members.setdefault(number, points) == points
            if index:
                finer = labels[sorted(points), index - 1]
                assert set(np.flatnonzero(np.isin(labels[:, index - 1], finer)).tolist()) == points


def test_levels_are_nested_partitions(rng):
    cloud, truth = two_balls(rng, gap=-0.2)
    labels = segments_of(cloud, truth)
    assert labels.shape == (700, len(SegmentSettings().counts)) and labels.dtype == np.int32
    assert_nested(labels, SegmentSettings().counts)
    numbers = [len(np.unique(level)) for level in labels.T]
    assert numbers == sorted(numbers, reverse=True) and numbers[0] <= 80 and numbers[-1] == 1


def test_points_without_any_order_are_nested_too(rng):
    points, rgb = rng.normal(size=(300, 3)), rng.random((300, 3))
    labels = segment(points, rgb, rng.normal(size=(300, 3)), SegmentSettings(counts=(30, 9, 3), smallest=3)).labels
    assert_nested(labels, (30, 9, 3))


@pytest.mark.parametrize("gap", [0.5, 20.0])
def test_two_spheres_apart_are_two_segments(rng, gap):
    cloud, truth = two_balls(rng, gap)
    labels = segments_of(cloud, truth)
    assert is_split(labels, truth)
    assert (labels[truth == 0, -2].min() == labels[truth == 0, -2].max()) or len(np.unique(labels[:, -2])) == 2


@pytest.mark.steady
def test_two_spheres_that_touch_part_at_the_crease(rng):
    cloud, truth = two_balls(rng, gap=-0.05, counts=(900, 900))
    labels = segments_of(cloud, truth)
    level = labels[:, -2]  # two are left
    same = level == np.where(
        truth == 0, np.bincount(level[truth == 0]).argmax(), np.bincount(level[truth == 1]).argmax()
    )
    assert same.mean() > 0.95


@pytest.mark.steady
def test_a_change_of_color_parts_what_geometry_does_not(rng):
    whole = ball(rng, (0, 0, 0), 1.0, 800, GRAY)
    north = whole.means[:, 2] > 0
    sh = whole.sh.copy()
    sh[north, 0] = [1.2, -1.2, -1.2]
    level = segments_of(replace(whole, sh=sh))[:, -2]
    agree = np.mean((level == np.bincount(level[north]).argmax()) == north)
    assert agree > 0.98


def test_order_of_the_points_does_not_matter(rng):
    cloud, truth = two_balls(rng)
    order = rng.permutation(len(cloud))
    assert is_split(segments_of(cloud.take(order), truth[order]), truth[order])


@pytest.mark.parametrize("count", [0, 1, 2, 3, 12, 19])
def test_few_points(rng, count):
    labels = segments_of(ball(rng, (0, 0, 0), 1.0, count, GRAY)) if count else segment(*(np.zeros((0, 3)),) * 3).labels
    assert labels.shape == (count, len(SegmentSettings().counts)) and (labels >= 0).all()


def test_points_in_one_place():
    labels = segment(np.zeros((200, 3)), np.zeros((200, 3)), np.ones((200, 3))).labels
    assert np.isfinite(labels).all() and labels.shape[0] == 200


def test_same_input_same_segments(rng):
    cloud, _ = two_balls(rng)
    np.testing.assert_array_equal(segments_of(cloud), segments_of(cloud))


def test_normals_of_a_sphere_and_a_plane(rng):
    sphere = unit(rng.normal(size=(4000, 3)))
    found = normals(sphere, nearest(sphere, 24)[0], sphere)
    assert np.median((found * sphere).sum(axis=1)) > 0.99
    flat = rng.random((200, 3)) * (1, 1, 0)
    for side in (1, -1):
        found = normals(flat, nearest(flat, 12)[0], np.tile([0.1, 0.2, side], (200, 1)))
        np.testing.assert_allclose(found, np.tile([0, 0, side], (200, 1)), atol=1e-4)


def test_whole_scene_is_no_mask():
    labels = np.array([[0, 5, 9]] * 6 + [[1, 5, 9]] * 2 + [[2, 2, 2]] * 2, np.int32)
    out = without_scene(labels)  # 9 holds eight of ten
    assert out[:, 2].tolist() == [-1] * 8 + [2, 2]
    np.testing.assert_array_equal(out[:, :2], labels[:, :2])


# --- as masks -------------------------------------------------------------------------------------------------------


@pytest.fixture
def balls_seen(rng):
    cloud, truth = two_balls(rng, gap=0.5)
    K = np.array([[50, 0, 32], [0, 50, 24], [0, 0, 1.0]])
    views = [View(look_at(e, (1.25, 0, 0), (0, 0, 1)), K, 64, 48) for e in np.eye(3)[1] * [[6], [-6]] + [[1.25, 0, 1]]]
    rows = [contributions(cloud, v, all_pixels(v)) for v in views]
    return cloud, truth, views, rows


def test_visible(balls_seen):
    cloud, _, _, rows = balls_seen
    largest = np.max([dense(r, len(cloud)).max(axis=0) for r in rows], axis=0)
    sure = np.abs(largest - 0.02) > 1e-6
    np.testing.assert_array_equal(visible(rows, len(cloud))[sure], (largest >= 0.02)[sure])


def test_only_what_is_seen_gets_a_segment(balls_seen):
    cloud, truth, views, rows = balls_seen
    labels = segment_cloud(cloud, views, rows).labels
    hidden = ~visible(rows, len(cloud))
    assert (labels[hidden] == -1).all() and (labels[~hidden, 0] >= 0).all()
    both = set(zip(labels[~hidden, 0].tolist(), truth[~hidden].tolist(), strict=True))
    assert len(both) == len(np.unique(labels[~hidden, 0]))  # no small segment reaches from ball to ball


def test_scales_of_segments_are_eq_2_and_rise(balls_seen):
    cloud, _, views, rows = balls_seen
    labels = segment_cloud(cloud, views, rows).labels
    scales = segment_scales(cloud, labels)
    for number in np.unique(labels[labels >= 0]).tolist():
        points = cloud.means[(labels == number).any(axis=1)].astype(float)
        plain = 2 * np.sqrt(sum(np.mean((column - column.mean()) ** 2) for column in points.T))
        assert scales[number] >= plain - 1e-6
        if (labels[:, 0] == number).any():  # the finest: nothing is smaller
            assert scales[number] == pytest.approx(plain, rel=1e-6, abs=1e-9)
    for finer, coarser in zip(labels.T[:-1], labels.T[1:], strict=True):
        both = (finer >= 0) & (coarser >= 0)
        assert (scales[coarser[both]] >= scales[finer[both]]).all()


def test_a_whole_is_larger_than_its_parts_however_its_points_lie(rng):
    """A few points in a wide ring and many in the middle: together their spread is less than the ring's."""
    cloud = ball(rng, (0, 0, 0), 1.0, 300, GRAY)
    inner = np.arange(300) >= 20
    cloud = replace(cloud, means=np.where(inner[:, None], cloud.means * 0.01, cloud.means))
    labels = np.stack([inner.astype(np.int32), np.full(300, 2, np.int32)], axis=1)
    scales = segment_scales(cloud, labels)
    assert mask_scale(cloud.means) < mask_scale(cloud.means[~inner]) == pytest.approx(scales[0], rel=1e-5)
    assert scales[2] > scales[0] > scales[1] > 0


def test_masks_of_a_view_are_the_strongest_segments(balls_seen):
    cloud, truth, views, rows = balls_seen
    labels = truth[:, None].astype(np.int32)
    masks = view_masks(views[0], rows[0], labels, np.array([2.0, 1.0]))
    matrix = dense(rows[0], len(cloud))
    mass = np.stack([matrix[:, truth == b].sum(axis=1) for b in (0, 1)], axis=1)
    shown = matrix.sum(axis=1) >= 0.5
    assert masks.scales.tolist() == [1.0, 2.0]  # smallest first: ball 1, ball 0
    clear = np.abs(mass[:, 0] - mass[:, 1]) > 1e-5
    wanted = np.stack([shown & (mass[:, 1] > mass[:, 0]), shown & (mass[:, 0] > mass[:, 1])], axis=1)
    np.testing.assert_array_equal(masks.members()[clear], wanted[clear])
    np.testing.assert_allclose(masks.areas, wanted.sum(axis=0), atol=(~clear).sum())


def test_builtin_masks_fit_the_views(balls_seen):
    cloud, _, views, rows = balls_seen
    found = builtin_masks(RasterizedViews(cloud, views, [all_pixels(view) for view in views], rows), Control())
    masks = found.masks
    assert len(masks) == len(views) and found.segments.count == len(cloud) and len(found.segments)
    np.testing.assert_array_equal(found.visible, visible(rows, len(cloud)))
    for part, view in zip(masks, views, strict=True):
        assert part.members().shape == (view.width * view.height, len(part.scales))
        assert len(part.scales) and (np.diff(part.scales) >= 0).all()
