"""A cloud baked by a random matrix and seen by the moved camera gives the same picture."""

from __future__ import annotations

import numpy as np
import pytest

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.transforms import transform_cloud
from blender_saga.gaussians.view import View, look_at
from saga_backend.rasterizer.cpu import render


def cloud_of(degree: int, seed: int, n: int = 800) -> GaussianCloud:
    """Flat and long Gaussians in all directions, with colors that change strongly with the direction."""
    random = np.random.default_rng(seed)
    quats = random.normal(size=(n, 4))
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    sh = random.normal(size=(n, (degree + 1) ** 2, 3)) * 0.4
    scales = np.exp(random.uniform(-5, -1.5, (n, 3)))
    return GaussianCloud(random.uniform(-1, 1, (n, 3)), quats, scales, random.uniform(0.2, 0.95, n), sh)


def camera(seed: int, orthographic: bool) -> View:
    random = np.random.default_rng(seed + 100)
    eye = random.normal(size=3)
    viewmat = look_at(eye / np.linalg.norm(eye) * 3.5, np.zeros(3), np.array([0, 0, 1.0]))
    focal = 60 if orthographic else 180
    K = np.array([[focal, 0, 80], [0, focal, 60], [0, 0, 1.0]])
    return View(viewmat, K, 160, 120, orthographic)


def rotation(random: np.random.Generator) -> np.ndarray:
    q, r = np.linalg.qr(random.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)


LINEAR = {
    "rotation": rotation,
    "mirror": lambda random: rotation(random) @ np.diag([1, 1, -1]),
    "uniform scale": lambda random: rotation(random) * random.uniform(0.3, 3),
    "mirrored and scaled": lambda random: -1.7 * rotation(random),
    "non-uniform scale": lambda random: rotation(random) @ np.diag(random.uniform(0.4, 2, 3)),
    "shear": lambda random: rotation(random) @ (np.eye(3) + np.triu(random.uniform(-0.8, 0.8, (3, 3)), 1)),
}
BENDING = ("non-uniform scale", "shear")


def pictures(kind: str, degree: int, seed: int, orthographic: bool) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = LINEAR[kind](random), random.uniform(-2, 2, 3)
    cloud, view = cloud_of(degree, seed), camera(seed, orthographic)
    baked = transform_cloud(cloud, matrix)
    return render(cloud, view).rgb, render(baked, view.of_object(np.linalg.inv(matrix))).rgb


@pytest.mark.parametrize("kind", [kind for kind in LINEAR if kind not in BENDING])
@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("seed", [0, 1])
def test_with_all_bands(kind: str, degree: int, seed: int) -> None:
    before, after = pictures(kind, degree, seed, orthographic=False)
    assert before.std() > 0.05
    assert np.abs(before - after).max() <= 1 / 255


@pytest.mark.parametrize("kind", LINEAR)
@pytest.mark.parametrize("orthographic", [False, True])
@pytest.mark.parametrize("seed", [2, 3])
def test_shapes_under_any_matrix(kind: str, orthographic: bool, seed: int) -> None:
    before, after = pictures(kind, 0, seed, orthographic)
    assert before.std() > 0.05
    assert np.abs(before - after).max() <= 1 / 255


def test_the_pictures_would_tell() -> None:
    """Harmonics that stay behind are seen: the comparison is not blind."""
    random = np.random.default_rng(0)
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(random)
    cloud, view = cloud_of(3, 0), camera(0, False)
    baked = transform_cloud(cloud, matrix)
    wrong = GaussianCloud(baked.means, baked.quats, baked.scales, baked.opacities, cloud.sh)
    seen = render(wrong, view.of_object(np.linalg.inv(matrix))).rgb
    assert np.abs(render(cloud, view).rgb - seen).max() > 0.1
