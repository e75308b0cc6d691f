"""Spherical harmonics against scipy's complex ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.sh import C0, colors, rotate_sh, sh_basis

special = pytest.importorskip("scipy.special", reason="scipy is the oracle here")
spatial = pytest.importorskip("scipy.spatial.transform", reason="scipy is the oracle here")
if not hasattr(special, "sph_harm_y"):
    pytest.skip("scipy before 1.15 has no sph_harm_y", allow_module_level=True)


def oracle(directions: np.ndarray, degree: int) -> np.ndarray:
    """Real harmonics with the Condon-Shortley phase, which is INRIA's sign convention."""
    theta = np.arccos(np.clip(directions[:, 2], -1, 1))
    phi = np.arctan2(directions[:, 1], directions[:, 0])
    columns = []
    for band in range(degree + 1):
        for m in range(-band, band + 1):
            value = special.sph_harm_y(band, abs(m), theta, phi)
            columns.append(value.real if m == 0 else np.sqrt(2) * (value.real if m > 0 else value.imag))
    return np.stack(columns, 1)


def unit_vectors(n: int, seed: int = 0) -> np.ndarray:
    v = np.random.default_rng(seed).normal(size=(n, 3))
    return v / np.linalg.norm(v, axis=1, keepdims=True)


@pytest.mark.parametrize("degree", range(5))
def test_basis(degree):
    directions = np.concatenate([unit_vectors(200), np.eye(3), -np.eye(3)])
    np.testing.assert_allclose(sh_basis(directions, degree), oracle(directions, degree), atol=1e-12)


def test_first_band_has_the_signs_of_the_inria_code():
    x, y, z = unit_vectors(1)[0]
    expected = 0.4886025119029199 * np.array([-y, z, -x])
    np.testing.assert_allclose(sh_basis(np.array([[x, y, z]]), 1)[0, 1:], expected)


@settings(max_examples=25, deadline=None)
@given(degree=st.integers(0, 4), seed=st.integers(0, 999), mirror=st.booleans())
def test_turned_function_in_turned_direction_is_the_old_one(degree, seed, mirror):
    turn = spatial.Rotation.random(random_state=seed).as_matrix()
    if mirror:
        turn = turn @ np.diag([1, -1, 1])
    sh = np.random.default_rng(seed).normal(size=(7, (degree + 1) ** 2, 3))
    directions = unit_vectors(20, seed)
    before = np.einsum("dk,nkc->ndc", oracle(directions, degree), sh)
    after = np.einsum("dk,nkc->ndc", oracle(directions @ turn.T, degree), rotate_sh(sh, turn))
    np.testing.assert_allclose(after, before, atol=2e-5)


def test_point_reflection_flips_the_odd_bands():
    sh = np.random.default_rng(0).normal(size=(3, 25, 3)).astype(np.float32)
    sign = np.concatenate([np.full(2 * band + 1, (-1.0) ** band) for band in range(5)])
    np.testing.assert_allclose(rotate_sh(sh, -np.eye(3)), sh * sign[:, None], atol=1e-5)


@pytest.mark.parametrize("degree", range(5))
def test_colors(degree):
    random = np.random.default_rng(degree)
    n, eye = 50, np.array([1.0, -2.0, 3.0])
    sh = 2 * random.normal(size=(n, (degree + 1) ** 2, 3))
    cloud = GaussianCloud(random.normal(size=(n, 3)), np.tile([1, 0, 0, 0], (n, 1)), np.ones((n, 3)), np.ones(n), sh)
    rays = cloud.means.astype(float) - eye
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    expected = np.maximum(0.5 + np.einsum("nk,nkc->nc", oracle(rays, degree), sh), 0)
    np.testing.assert_allclose(colors(cloud, eye), expected, atol=5e-5)
    assert (expected == 0).any()  # the clip at black takes part
    assert np.isclose(C0, 0.28209479177387814)
