"""Clouds for the tests of file formats, and how far two of them are apart."""

from __future__ import annotations

import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.transforms import covariances
from tests.paths import DATA

SPLATS = DATA / "splats"
FIELDS = ("means", "quats", "scales", "opacities", "sh")


def random_cloud(n: int, degree: int, seed: int = 0, size: float = 1.0) -> GaussianCloud:
    """n Gaussians within what every format can hold: harmonics within +-1, colors within the visible range."""
    random = np.random.default_rng(seed)
    quats = random.normal(size=(n, 4))
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    sh = random.uniform(-0.99, 0.99, (n, (degree + 1) ** 2, 3))
    sh[:, 0] *= 1.7
    scales = np.exp(random.uniform(-9, 1, (n, 3)))
    return GaussianCloud(random.uniform(-size, size, (n, 3)), quats, scales, random.uniform(0, 1, n), sh)


def angles(a: GaussianCloud, b: GaussianCloud) -> np.ndarray:
    """[N] degrees between the rotations of two clouds."""
    p, q = a.quats.astype(np.float64), b.quats.astype(np.float64)
    apart = np.minimum(np.linalg.norm(p - q, axis=1), np.linalg.norm(p + q, axis=1))
    return np.degrees(4 * np.arcsin(apart / 2))  # exact near zero, where an arc cosine is not


def assert_equal(a: GaussianCloud, b: GaussianCloud) -> None:
    """Two clouds are the same bit for bit."""
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def assert_close(a: GaussianCloud, b: GaussianCloud, **bounds: float) -> None:
    """Two clouds differ at most by absolute bounds: means, logs (of scales), angle (degrees), opacities, dc, rest."""
    assert a.sh.shape == b.sh.shape
    differences = {
        "means": a.means - b.means,
        "logs": np.log(a.scales) - np.log(b.scales),
        "angle": angles(a, b),
        "opacities": a.opacities - b.opacities,
        "dc": a.sh[:, 0] - b.sh[:, 0],
        "rest": a.sh[:, 1:] - b.sh[:, 1:],
    }
    for name, bound in bounds.items():
        largest = float(np.abs(differences[name]).max(initial=0))
        assert largest <= bound, f"{name} differ by {largest}"


def same_shapes(a: GaussianCloud, b: GaussianCloud, atol: float) -> None:
    """Covariances agree, whatever quaternions and order of axes they are written with."""
    got, wanted = covariances(a.quats, a.scales), covariances(b.quats, b.scales)
    np.testing.assert_allclose(got, wanted, atol=atol * float(np.abs(wanted).max()))
