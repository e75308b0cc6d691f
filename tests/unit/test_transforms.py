"""Transforms of clouds: the covariance rule A C A^T is the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blender_saga.errors import UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.sh import colors
from blender_saga.gaussians.transforms import (
    RDF_TO_BLENDER,
    covariances,
    matrices_to_quats,
    multiply_quats,
    quats_to_matrices,
    transform_cloud,
)


def random_cloud(n: int = 30, degree: int = 2, seed: int = 0) -> GaussianCloud:
    random = np.random.default_rng(seed)
    quats = random.normal(size=(n, 4))
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    scales = np.exp(random.uniform(-6, 0, (n, 3)))
    sh = random.normal(size=(n, (degree + 1) ** 2, 3))
    return GaussianCloud(random.normal(size=(n, 3)), quats, scales, random.uniform(0, 1, n), sh)


def random_rotation(random: np.random.Generator) -> np.ndarray:
    q, r = np.linalg.qr(random.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.sign(np.linalg.det(q))


def affine(linear: np.ndarray, offset=(0.5, -2, 3)) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, offset
    return matrix


KINDS = {
    "rotation": lambda r: random_rotation(r),
    "uniform": lambda r: 2.5 * random_rotation(r),
    "mirror": lambda r: random_rotation(r) @ np.diag([1, -1, 1]),
    "mirrored scale": lambda r: -0.3 * random_rotation(r),
    "non-uniform": lambda r: random_rotation(r) @ np.diag([0.2, 1, 3]) @ random_rotation(r),
    "mirror and shear": lambda r: np.array([[1, 0.7, 0], [0, -1, 0.2], [0, 0, 2.0]]) @ random_rotation(r),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_covariances_follow(kind, seed):
    cloud = random_cloud(seed=seed)
    matrix = affine(KINDS[kind](np.random.default_rng(seed)))
    moved = transform_cloud(cloud, matrix)
    linear = matrix[:3, :3]
    np.testing.assert_allclose(moved.means, cloud.means @ linear.T + matrix[:3, 3], rtol=1e-5, atol=1e-5)
    expected = linear @ covariances(cloud.quats, cloud.scales) @ linear.T
    error = np.abs(covariances(moved.quats, moved.scales) - expected).max(axis=(1, 2))
    assert (error <= 2e-6 * np.abs(expected).max(axis=(1, 2))).all()
    np.testing.assert_allclose(np.linalg.norm(moved.quats, axis=1), 1, atol=1e-6)
    volume = np.prod(cloud.scales.astype(float), 1) * abs(np.linalg.det(linear))
    np.testing.assert_allclose(np.prod(moved.scales.astype(float), 1), volume, rtol=1e-4)


@pytest.mark.parametrize("kind", ["rotation", "uniform", "mirror", "mirrored scale"])
def test_color_seen_along_with_the_motion_stays(kind):
    cloud = random_cloud(degree=4)
    matrix = affine(KINDS[kind](np.random.default_rng(5)))
    eye = np.array([3.0, 1.0, -2.0])
    moved_eye = matrix[:3, :3] @ eye + matrix[:3, 3]
    np.testing.assert_allclose(colors(transform_cloud(cloud, matrix), moved_eye), colors(cloud, eye), atol=2e-4)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(sorted(KINDS)))
def test_there_and_back(seed, kind):
    cloud = random_cloud(8, 3, seed)
    matrix = affine(KINDS[kind](np.random.default_rng(seed)))
    back = transform_cloud(transform_cloud(cloud, matrix), np.linalg.inv(matrix))
    np.testing.assert_allclose(back.means, cloud.means, atol=1e-4)
    np.testing.assert_allclose(back.sh, cloud.sh, atol=1e-4)
    expected = covariances(cloud.quats, cloud.scales)
    np.testing.assert_allclose(covariances(back.quats, back.scales), expected, atol=1e-4 * np.abs(expected).max())


def test_axes_of_files_and_of_blender():
    cloud = random_cloud()
    turned = transform_cloud(cloud, RDF_TO_BLENDER)
    x, y, z = cloud.means.T
    np.testing.assert_array_equal(turned.means, np.stack([x, z, -y], 1))  # y down becomes z up
    assert turned.fingerprint() == cloud.fingerprint()
    back = transform_cloud(turned, np.linalg.inv(RDF_TO_BLENDER))
    np.testing.assert_array_equal(back.means, cloud.means)
    np.testing.assert_array_equal(back.scales, cloud.scales)
    np.testing.assert_allclose(back.sh, cloud.sh, atol=1e-6)


def test_a_float32_rotation_keeps_the_fingerprint():
    cloud = random_cloud()
    matrix = affine(random_rotation(np.random.default_rng(1)).astype(np.float32))
    assert transform_cloud(cloud, matrix).fingerprint() == cloud.fingerprint()


def test_identity_changes_nothing():
    cloud = random_cloud()
    same = transform_cloud(cloud, np.eye(4))
    for name in ("means", "quats", "scales", "opacities", "sh"):
        np.testing.assert_array_equal(getattr(same, name), getattr(cloud, name))


@pytest.mark.parametrize("bad", [np.diag([1.0, 0, 1, 1]), np.zeros((4, 4)), np.full((4, 4), np.nan), np.eye(3)])
def test_matrices_that_cannot_be_used(bad):
    with pytest.raises(UserError, match="cannot be transformed"):
        transform_cloud(random_cloud(), bad)


def test_quaternions_and_matrices_agree():
    random = np.random.default_rng(0)
    quats = random.normal(size=(200, 4))
    quats[:6] = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 1, 1, 0], [1e-9, 0, 1, 1]]
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    back = matrices_to_quats(quats_to_matrices(quats))
    sign = np.sign(np.einsum("ij,ij->i", back, quats))
    np.testing.assert_allclose(back * sign[:, None], quats, atol=1e-12)
    product = quats_to_matrices(multiply_quats(quats[:100], quats[100:]))
    np.testing.assert_allclose(product, quats_to_matrices(quats[:100]) @ quats_to_matrices(quats[100:]), atol=1e-12)
    quarter = quats_to_matrices(np.array([[np.sqrt(0.5), 0, 0, np.sqrt(0.5)]]))[0]  # 90 degrees about z
    np.testing.assert_allclose(quarter @ [1, 0, 0], [0, 1, 0], atol=1e-12)


def test_overwriting_gives_the_same_cloud() -> None:
    random = np.random.default_rng(3)
    for degree in (0, 3):
        cloud, other = random_cloud(50, degree), random_cloud(50, degree)
        matrix = affine(random_rotation(random))
        wanted, got = transform_cloud(cloud, matrix), transform_cloud(other, matrix, overwrite=True)
        for name in ("means", "quats", "scales", "opacities", "sh"):
            np.testing.assert_array_equal(getattr(got, name), getattr(wanted, name))
        assert all(np.shares_memory(getattr(got, name), getattr(other, name)) for name in ("means", "quats", "sh"))
