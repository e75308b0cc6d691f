"""Affine transforms of a cloud: means, rotations, scales and spherical harmonics together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import UserError
from .blocks import blocks
from .cloud import GaussianCloud
from .sh import rotate_sh

RDF_TO_BLENDER = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
"""[4,4] from the axes of files (x right, y down, z forward) to Blender's (z up): (x, y, z) -> (x, z, -y)."""

_SIMILARITY_TOLERANCE = 1e-5  # relative; Blender's matrices are float32
_BLOCK = 65536
_CACHED = 8192  # rows that fit into the cache: multiplying a million rows by a 3x3 matrix at once took 25 times as long


def quats_to_matrices(quats: np.ndarray) -> np.ndarray:
    """[N,4] unit quaternions (w, x, y, z) to [N,3,3] float64 rotation matrices."""
    w, x, y, z = np.asarray(quats, np.float64).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def matrices_to_quats(matrices: np.ndarray) -> np.ndarray:
    """[N,3,3] proper rotation matrices to [N,4] float64 unit quaternions (w, x, y, z), w >= 0.

    Source: S. Sarabandi, F. Thomas, "Accurate Computation of Quaternions from Rotation Matrices", 2019: every
    component's square is a sum over the diagonal; the largest component gives the signs of the others.
    """
    m = np.asarray(matrices, np.float64)
    xx, yy, zz = m[:, 0, 0], m[:, 1, 1], m[:, 2, 2]
    squares = np.stack([1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz], axis=1)
    wx, wy, wz = m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]
    xy, xz, yz = m[:, 0, 1] + m[:, 1, 0], m[:, 0, 2] + m[:, 2, 0], m[:, 1, 2] + m[:, 2, 1]
    products = np.stack([squares[:, 0], wx, wy, wz, wx, squares[:, 1], xy, xz], axis=1)
    products = np.concatenate([products, np.stack([wy, xy, squares[:, 2], yz, wz, xz, yz, squares[:, 3]], 1)], 1)
    best = np.argmax(squares, axis=1)
    quats = products.reshape(-1, 4, 4)[np.arange(len(m)), best]
    quats *= np.where(quats[:, :1] < 0, -1.0, 1.0)
    return quats / np.linalg.norm(quats, axis=1, keepdims=True)


def multiply_quats(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Hamilton product of quaternions [...,4] (w, x, y, z): first `right`, then `left`."""
    a, b, c, d = np.moveaxis(np.asarray(left), -1, 0)
    e, f, g, h = np.moveaxis(np.asarray(right), -1, 0)
    parts = [
        a * e - b * f - c * g - d * h,
        a * f + b * e + c * h - d * g,
        a * g - b * h + c * e + d * f,
        a * h + b * g - c * f + d * e,
    ]
    return np.stack(np.broadcast_arrays(*parts), axis=-1)


def covariances(quats: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """[N,3,3] float64 covariance R S S^T R^T of Gaussians with quaternions [N,4] and scales [N,3]."""
    half = quats_to_matrices(quats) * np.asarray(scales, np.float64)[:, None, :]
    return half @ half.transpose(0, 2, 1)


def transform_cloud(cloud: GaussianCloud, matrix: np.ndarray, overwrite: bool = False) -> GaussianCloud:
    """Transform a cloud by an affine matrix: every covariance C becomes A C A^T.

    Args:
        cloud: the Gaussians.
        matrix: [4,4] affine; any combination of rotation, uniform or non-uniform scale, mirror and shear.
        overwrite: whether to overwrite the arrays of `cloud`, which must not be used afterwards.

    Returns:
        A new cloud in the same order. A similarity keeps the order of the axes of each Gaussian and, without scale, its
        exact scales. Spherical harmonics follow the orthogonal factor of the polar decomposition of A, because
        view-dependent color cannot be sheared.

    Raises:
        UserError: if the matrix is not finite or flattens space.
    """
    matrix = np.asarray(matrix, np.float64)
    linear = matrix[:3, :3]
    orthogonal, factor = _split(matrix)
    means = _by_blocks(cloud.means, lambda rows: rows @ linear.T + matrix[:3, 3], overwrite)
    sh = cloud.sh if np.array_equal(orthogonal, np.eye(3)) else rotate_sh(cloud.sh, orthogonal, overwrite)
    if factor is None:
        quats, scales = _transform_covariances(cloud, linear)
    else:
        # The mirrored frame -Q describes the same ellipsoid as the proper rotation Q.
        proper = orthogonal * np.sign(np.linalg.det(orthogonal))
        turn = matrices_to_quats(proper[None])[0]
        quats = _by_blocks(cloud.quats, lambda rows: multiply_quats(turn, rows), overwrite)
        scales = cloud.scales if factor == 1.0 else cloud.scales * factor
    return GaussianCloud(means, quats, scales, cloud.opacities, sh)


def _by_blocks(values: np.ndarray, change: Callable[[np.ndarray], np.ndarray], overwrite: bool) -> np.ndarray:
    """Apply `change` to values [N,C] float32 in blocks, because double precision for all rows needs too much memory."""
    out = values if overwrite else np.empty_like(values)
    for part in blocks(len(values), _CACHED):
        out[part] = change(values[part])
    return out


def _split(matrix: np.ndarray) -> tuple[np.ndarray, float | None]:
    """The orthogonal polar factor [3,3] of a matrix, and its scale if it is a similarity, otherwise None."""
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise UserError(
            "The object cannot be transformed",
            "its matrix is not 4x4 with finite values",
            fix="Reset the object's location, rotation and scale",
        )
    u, stretch, vt = np.linalg.svd(matrix[:3, :3])
    if stretch[2] <= 1e-9 * stretch[0]:
        raise UserError(
            "The object cannot be transformed", "its scale is zero along an axis", "Set a scale other than zero"
        )
    if stretch[0] - stretch[2] > _SIMILARITY_TOLERANCE * stretch[0]:
        return u @ vt, None
    linear = matrix[:3, :3]
    orthogonal = linear if np.array_equal(linear @ linear.T, np.eye(3)) else u @ vt
    factor = float(stretch.mean())
    return orthogonal, 1.0 if abs(factor - 1) < _SIMILARITY_TOLERANCE else factor


def _transform_covariances(cloud: GaussianCloud, linear: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quaternions and scales of A C A^T, from the SVD of A R S: squaring would lose the thin axis of a disc."""
    quats = np.empty((len(cloud), 4), np.float32)
    scales = np.empty((len(cloud), 3), np.float32)
    for start in range(0, len(cloud), _BLOCK):
        part = slice(start, start + _BLOCK)
        half = linear @ (quats_to_matrices(cloud.quats[part]) * cloud.scales[part, None, :].astype(np.float64))
        u, stretch, _ = np.linalg.svd(half)
        u[:, :, 2] *= np.sign(np.linalg.det(u))[:, None]
        quats[part], scales[part] = matrices_to_quats(u), stretch
    return quats, scales
