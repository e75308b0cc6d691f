"""Virtual capture: it sees a thing from all around, and strays do not lead it away."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blender_saga.errors import Cancelled, UserError
from blender_saga.gaussians.cloud import GaussianCloud, concatenate
from saga_backend.cameras.virtual import CaptureSettings, capture, extent
from saga_backend.common.progress import Control
from saga_backend.rasterizer.cpu import all_pixels, contributions
from tests.helpers.twins import ball, unit

pytestmark = pytest.mark.usefixtures("one_thread")
SETTINGS = CaptureSettings(limit=10, width=64, height=48)
CENTER, RADIUS = np.array([3.0, -2.0, 5.0]), 0.7


@pytest.fixture
def sphere(rng) -> GaussianCloud:
    return ball(rng, CENTER, RADIUS, 500, (0.8, 0.2, 0.2))


def strays(rng, kind: str) -> GaussianCloud:
    """Five Gaussians that dwarf the scene, or stand far from it."""
    far = unit(rng.normal(size=(5, 3))) * RADIUS
    far = CENTER + far * (1e5 if kind == "far" else 30)
    size = 0.1 if kind == "far" else 20 * RADIUS
    return GaussianCloud(
        far, np.tile([1.0, 0, 0, 0], (5, 1)), np.full((5, 3), size), np.full(5, 0.9), np.ones((5, 1, 3))
    )


def seen_by(cloud: GaussianCloud, views) -> np.ndarray:
    """[N] bool: Gaussians that some pixel of some view takes a twentieth of its color from."""
    seen = np.zeros(len(cloud), bool)
    for view in views:
        rows = contributions(cloud, view, all_pixels(view))
        seen[rows.ids[rows.weights > 0.05]] = True
    return seen


def test_sphere_is_covered(sphere):
    taken = capture(sphere, SETTINGS)
    assert 1 < len(taken.views) <= 10 and 0.9 < taken.coverage <= 1
    assert seen_by(sphere, taken.views).mean() > 0.9
    assert all((v.width, v.height) == (64, 48) for v in taken.views)
    for view in taken.views:
        np.testing.assert_allclose(view.viewmat[:3, :3] @ view.viewmat[:3, :3].T, np.eye(3), atol=1e-9)
        assert np.linalg.norm(view.camera_position - CENTER) > RADIUS  # none from inside the matter


def test_limit_and_order(sphere):
    few, many = (capture(sphere, replace(SETTINGS, limit=n)) for n in (3, 6))
    assert len(few.views) == 3
    for a, b in zip(few.views, many.views, strict=False):  # greedy: more views only add
        np.testing.assert_array_equal(a.viewmat, b.viewmat)
    assert few.coverage <= many.coverage
    assert len({view.viewmat.tobytes() for view in many.views}) == len(many.views)  # none twice


@pytest.mark.parametrize("kind", ["giant", "far"])
def test_five_strays_do_not_move_it(rng, sphere, kind):
    messy = concatenate([sphere, strays(rng, kind)])
    clean_extent, messy_extent = extent(sphere), extent(messy)
    assert np.linalg.norm(messy_extent.center - clean_extent.center) < 0.1 * RADIUS
    assert messy_extent.radius == pytest.approx(clean_extent.radius, rel=0.1)
    taken = capture(messy, SETTINGS)
    distances = [np.linalg.norm(v.camera_position - CENTER) for v in taken.views]
    assert max(distances) < 3 * RADIUS
    if kind == "far":
        assert seen_by(sphere, taken.views).mean() > 0.9 and taken.coverage > 0.9


def test_haze_does_not_set_the_extent(rng, sphere):
    haze = ball(rng, CENTER + 50, 30, 2000, (1, 1, 1))
    messy = concatenate([sphere, replace(haze, opacities=np.full(2000, 0.04))])
    assert extent(messy).radius == pytest.approx(extent(sphere).radius, rel=1e-6)


def test_views_are_upright(sphere):
    for up in ((0.0, 0.0, 1.0), (0.0, -1.0, 0.0)):
        for view in capture(sphere, replace(SETTINGS, up=up)).views:
            assert view.viewmat[1, :3] @ up < 1e-9  # rows grow downwards


def test_what_stands_in_a_room_is_seen(rng):
    """From outside nothing of it shows."""
    room, thing = ball(rng, (0, 0, 0), 4.0, 2000, (0.5, 0.5, 0.5)), ball(rng, (1.8, 0, 0), 0.5, 200, (1, 0, 0))
    room = replace(room, scales=room.scales * 3)
    taken = capture(concatenate([room, thing]), replace(SETTINGS, limit=20))
    seen = seen_by(concatenate([room, thing]), taken.views)[len(room) :]
    assert seen.mean() > 0.6
    outside = [v for v in taken.views if np.linalg.norm(v.camera_position) > 4.2]
    assert seen_by(concatenate([room, thing]), outside)[len(room) :].mean() < 0.2


def test_one_point(sphere):
    point = replace(sphere, means=np.tile(CENTER, (500, 1)))
    where = extent(point)
    assert 0 < where.radius < RADIUS
    np.testing.assert_allclose(where.center, CENTER, atol=1e-6)
    assert capture(point, SETTINGS).views


def test_one_gaussian(sphere):
    taken = capture(sphere.take(np.array([0])), SETTINGS)
    assert taken.views and seen_by(sphere.take(np.array([0])), taken.views).mean() == 1


@pytest.mark.parametrize("count", [0, 1, 500])
def test_transparent_cloud_is_refused(sphere, count):
    faint = replace(sphere, opacities=np.full(500, 0.01)).take(np.arange(count))
    with pytest.raises(UserError) as caught:
        capture(faint, SETTINGS)
    assert caught.value.code == "empty_scene"


def test_cancelled(sphere):
    control = Control()
    control.cancel()
    with pytest.raises(Cancelled):
        capture(sphere, SETTINGS, control)
