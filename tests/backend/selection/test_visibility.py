"""What one sees of balls: the half that faces the camera, unless another ball stands before it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View, look_at
from blender_saga.wire.messages import ObjectPoints
from saga_backend.selection.click import query_objects
from saga_backend.selection.visibility import visible_points
from tests.helpers.twins import ball, unit

pytestmark = pytest.mark.usefixtures("one_thread")
N = 4000


def closed_ball(rng: np.random.Generator, radius: float) -> GaussianCloud:
    """A ball without gaps: its discs are twice as large as is usual."""
    cloud = ball(rng, (0, 0, 0), radius, N, (1, 0, 0))
    cloud.scales[:, :2] *= 2
    return cloud


def a_view(eye: np.ndarray, size: tuple[int, int] = (400, 300), orthographic: bool = False) -> View:
    width, height = size
    focal = 0.2 * width if orthographic else 1.2 * width
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    return View(look_at(eye, np.zeros(3), np.array([0.3, 0.2, 1])), K, width, height, orthographic)


@pytest.mark.parametrize("size", [(400, 300), (1600, 1200), (90, 70)])
@pytest.mark.parametrize("orthographic", [False, True])
def test_the_half_that_faces_the_camera(rng, size, orthographic):
    cloud = closed_ball(rng, 0.6)
    eye = 4 * unit(rng.normal(size=3))
    shown = visible_points(query_objects(cloud, ()), a_view(eye, size, orthographic), np.ones(N, bool))
    toward = np.broadcast_to(unit(eye), (N, 3)) if orthographic else unit(eye - cloud.means)
    facing = (unit(cloud.means) * toward).sum(axis=1)
    assert shown[facing > 0.3].mean() > 0.99
    assert shown[facing < -0.3].mean() < 0.01


def test_another_object_hides_it_where_it_stands(rng):
    """Two objects of one cloud, the second moved before the first; with it away, the first is seen."""
    cloud = closed_ball(rng, 0.5)
    eye = np.array([4.0, 0, 0])
    ids = np.arange(N, dtype=np.int32)
    before, away = np.eye(4), np.eye(4)
    before[:3, 3], away[:3, 3] = (1.5, 0, 0), (0, 0, 1.2)
    middle = (unit(cloud.means) @ (1, 0, 0)) > 0.5
    for matrix, visible in ((before, 0.0), (away, 1.0)):
        objects = query_objects(cloud, (ObjectPoints(np.eye(4), ids[:2000]), ObjectPoints(matrix, ids[2000:])))
        shown = visible_points(objects, a_view(eye), np.ones(N, bool))
        assert shown.shape == (N,)
        assert abs(shown[:2000][middle[:2000]].mean() - visible) < 0.05


def test_outside_of_the_picture_nothing_is_seen(rng):
    cloud = ball(rng, (0, 0, 0), 0.5, 300, (1, 0, 0))
    view = a_view(np.array([4.0, 0, 0]))
    away = replace(view, K=view.K + np.array([[0, 0, 5000], [0, 0, 0], [0, 0, 0]]))
    assert not visible_points(query_objects(cloud, ()), away, np.ones(300, bool)).any()


def test_a_faint_veil_hides_nothing(rng):
    cloud = closed_ball(rng, 0.5)
    cloud.opacities[:] = 0.02
    assert visible_points(query_objects(cloud, ()), a_view(np.array([4.0, 0, 0])), np.ones(N, bool)).mean() > 0.95


def test_only_the_points_asked_for_are_looked_at(rng):
    """A part of the points is answered as it is among all, up to the finer picture of where it lies."""
    cloud = closed_ball(rng, 0.6)
    objects, view = query_objects(cloud, ()), a_view(4 * unit(rng.normal(size=3)), (800, 600))
    part = np.linalg.norm(cloud.means - cloud.means[0], axis=1) < 0.3
    everything, some = visible_points(objects, view, np.ones(N, bool)), visible_points(objects, view, part)
    assert not some[~part].any()
    assert (some[part] == everything[part]).mean() > 0.9
    assert not visible_points(objects, view, np.zeros(N, bool)).any()
