"""Both rasterizers say the same, on random scenes and on real captures: rgb, depth, rows, to 1e-4."""

from __future__ import annotations

import numpy as np
import pytest

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.ply import read_ply
from blender_saga.gaussians.view import View
from saga_backend.cameras.virtual import CaptureSettings, capture
from saga_backend.rasterizer import cpu, select
from saga_backend.rasterizer.contributions import Contributions
from saga_backend.rasterizer.cpu import Picture
from saga_backend.rasterizer.cuda import CudaRasterizer
from tests.helpers.twins import random_cloud, random_view
from tests.paths import DATA

SPLATS = DATA / "splats"
CAPTURES = ("composite_apart/scene.ply", "composite_touching/scene.ply", "playbot_sh2.ply")
KINDS = ("perspective", "orthographic", "off-center", "affine")
CLOSE = 1e-4
UNSURE = 0.005
"""Share of pixels in which an alpha of nearly 1/255, or a transmittance of nearly 1e-4, may fall either way."""


@pytest.fixture(scope="module")
def cuda() -> CudaRasterizer:
    obstacle = select.gsplat_obstacle()
    if obstacle:
        pytest.skip(obstacle)
    return CudaRasterizer()


def check_pictures(ours: Picture, theirs: Picture) -> None:
    deep = max(float(theirs.depth.max()), 1.0)
    for name, scale in (("rgb", 1.0), ("alpha", 1.0), ("depth", deep)):
        difference = np.abs(getattr(ours, name) - getattr(theirs, name)).reshape(theirs.alpha.size, -1).max(axis=1)
        assert (difference < CLOSE * scale).mean() > 1 - UNSURE, (name, np.quantile(difference, [0.9, 0.99, 1]))


def check_rows(ours: Contributions, theirs: Contributions) -> None:
    """The same Gaussians in the same order with the same weights; pixels on the edge of a decision aside."""
    same = np.zeros(len(theirs), bool)
    for p in range(len(theirs)):
        a, b = (slice(r.offsets[p], r.offsets[p + 1]) for r in (ours, theirs))
        if a.stop - a.start == b.stop - b.start and np.array_equal(ours.ids[a], theirs.ids[b]):
            same[p] = np.abs(ours.weights[a] - theirs.weights[b]).max(initial=0) < CLOSE
    assert same.mean() > 1 - UNSURE, same.mean()
    assert (np.diff(theirs.offsets) > 0).any()


def check(cuda: CudaRasterizer, cloud: GaussianCloud, view: View, rng: np.random.Generator) -> None:
    check_pictures(cuda.render(cloud, view), cpu.render(cloud, view))
    pixels = rng.integers(0, (view.width, view.height), (2000, 2))
    check_rows(cuda.contributions(cloud, view, pixels), cpu.contributions(cloud, view, pixels))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("coefficients", [1, 4, 9, 16, 25])
def test_random_scenes(cuda, kind, coefficients):
    rng = np.random.default_rng(7)
    check(cuda, random_cloud(rng, 500, coefficients), random_view(rng, kind, (150, 97)), rng)


def test_an_orthographic_view_shows_what_is_behind_the_camera(cuda):
    rng = np.random.default_rng(8)
    view = random_view(rng, "orthographic", (90, 60))
    viewmat = view.viewmat.copy()
    viewmat[2, 3] -= 3
    check(cuda, random_cloud(rng, 300), View(viewmat, view.K, 90, 60, True, -1e30), rng)


@pytest.mark.parametrize("name", CAPTURES)
@pytest.mark.parametrize("orthographic", [False, True])
def test_captures(cuda, name, orthographic):
    path = SPLATS / name
    if not path.is_file():
        pytest.skip(f"there is no {name}")
    cloud, rng = read_ply(path).cloud, np.random.default_rng(9)
    for view in capture(cloud, CaptureSettings(limit=3)).views:
        if orthographic:
            distance = np.median(cloud.means @ view.viewmat[2, :3] + view.viewmat[2, 3])
            K = view.K.copy()
            K[[0, 1], [0, 1]] /= distance
            view = View(view.viewmat, K, view.width, view.height, True)
        check(cuda, cloud, view, rng)


def test_nothing_in_sight(cuda):
    rng = np.random.default_rng(10)
    cloud, view = random_cloud(rng, 5), random_view(rng)
    away = View(np.diag([1.0, 1, -1, 1]) @ view.viewmat, view.K, view.width, view.height)
    assert not cuda.render(cloud, away).alpha.any()
    assert not len(cuda.contributions(cloud, away, np.zeros((3, 2), int)).ids)
