"""Real spherical harmonics as in 3D Gaussian Splatting: evaluation and rotation, degree 0 to 4.

Order of the K = (degree + 1)^2 coefficients: l = 0, 1, 2, ...; inside a band m = -l .. l. Sign convention of the
INRIA code (the Condon-Shortley phase stays in): band 1 is (-y, z, -x) times sqrt(3 / 4 pi).
"""

from __future__ import annotations

from math import factorial, pi, sqrt

import numpy as np

from .blocks import over_blocks
from .cloud import GaussianCloud

C0 = 0.5 / sqrt(pi)
"""The constant basis function: base color = 0.5 + C0 * DC coefficient."""

_BLOCK = 65536  # rows a pass: keeps the temporary arrays small


def sh_basis(directions: np.ndarray, degree: int) -> np.ndarray:
    """Evaluate the basis functions.

    Args:
        directions: [..., 3] unit vectors.
        degree: highest band l, 0 or more.

    Returns:
        [..., (degree + 1)^2], in the dtype of `directions`.

    Source: the recurrences of the associated Legendre functions, with sin(theta)^m folded into x and y (P.-P. Sloan,
    "Efficient Spherical Harmonic Evaluation", JCGT 2013).
    """
    x, y, z = np.moveaxis(np.asarray(directions), -1, 0)
    out = np.empty((*x.shape, (degree + 1) ** 2), dtype=x.dtype)
    cosine, sine = np.ones_like(x), np.zeros_like(x)  # sin(theta)^m times cos(m phi), sin(m phi)
    for m in range(degree + 1):
        for band, legendre in enumerate(_legendre_column(z, m, degree), start=m):
            norm = sqrt((2 * band + 1) / (4 * pi) * factorial(band - m) / factorial(band + m))
            center = band * (band + 1)
            if m == 0:
                out[..., center] = norm * legendre
            else:
                out[..., center + m] = sqrt(2) * norm * legendre * cosine
                out[..., center - m] = sqrt(2) * norm * legendre * sine
        cosine, sine = x * cosine - y * sine, x * sine + y * cosine
    return out


def _legendre_column(z: np.ndarray, m: int, degree: int) -> list[np.ndarray]:
    """P_l^m(z) / sin(theta)^m for l = m .. degree, Condon-Shortley phase included."""
    start = (-1.0) ** m * factorial(2 * m) / (2**m * factorial(m))  # (-1)^m (2m - 1)!!
    column = [np.full_like(z, start)]
    if degree > m:
        column.append((2 * m + 1) * z * column[0])
    for band in range(m + 2, degree + 1):
        column.append(((2 * band - 1) * z * column[-1] - (band + m - 1) * column[-2]) / (band - m))
    return column


def colors(cloud: GaussianCloud, camera_position: np.ndarray) -> np.ndarray:
    """The color of each Gaussian from a viewpoint: [N,3] float32 r, g, b, at least 0, not clipped at 1.

    Args:
        cloud: the Gaussians.
        camera_position: [3], in the space of the means. Source: 3DGS, color = max(0, 0.5 + sum of basis * sh).
    """
    if cloud.sh_degree == 0:
        return np.maximum(0.5 + C0 * cloud.sh[:, 0], 0.0).astype(np.float32)
    out = np.empty((len(cloud), 3), np.float32)
    position = np.asarray(camera_position, np.float32)
    for start in range(0, len(cloud), _BLOCK):
        part = slice(start, start + _BLOCK)
        rays = cloud.means[part] - position
        rays /= np.maximum(np.linalg.norm(rays, axis=1, keepdims=True), 1e-12)
        basis = sh_basis(rays, cloud.sh_degree)
        out[part] = np.maximum(0.5 + np.einsum("nk,nkc->nc", basis, cloud.sh[part]), 0.0)
    return out


def sh_rotation(matrix: np.ndarray, degree: int) -> np.ndarray:
    """[K,K] float64 matrix that rotates coefficients: the rotated function at Q d equals the original at d.

    Args:
        matrix: [3,3] orthogonal Q; mirrors (determinant -1) are allowed.
        degree: 0 to 4.

    A rotation maps every band to itself, and the basis at enough directions determines its matrix. Least squares over
    many directions are accurate to rounding errors, without Wigner's recurrences.
    """
    directions = _spread_directions(8 * (degree + 1) ** 2)
    old = sh_basis(directions @ np.asarray(matrix, np.float64), degree)  # a row times Q is Q^T d
    new = sh_basis(directions, degree)
    turn = np.zeros((new.shape[1], new.shape[1]))
    for band in range(degree + 1):
        part = slice(band**2, (band + 1) ** 2)
        turn[part, part] = np.linalg.lstsq(new[:, part], old[:, part], rcond=None)[0]
    return turn


def rotate_sh(sh: np.ndarray, matrix: np.ndarray, overwrite: bool = False) -> np.ndarray:
    """Rotate SH coefficients.

    Args:
        sh: [N,K,3].
        matrix: [3,3] orthogonal; mirrors are allowed (odd bands change sign under a point reflection).
        overwrite: write the result to `sh`, which must be float32; allocating memory takes as long as the computation.

    Returns:
        [N,K,3] float32. The first coefficient does not change.
    """
    sh = np.asarray(sh, np.float32)
    n, k = sh.shape[:2]
    if k == 1:
        return sh if overwrite else sh.copy()
    turn = sh_rotation(matrix, round(sqrt(k)) - 1)[1:, 1:]
    # One matrix product for all channels: [N, 3(K-1)], where the identity separates them.
    wide = np.kron(turn.T, np.eye(3)).astype(np.float32)
    out = sh if overwrite else np.empty_like(sh)

    def work(part: slice) -> None:
        out[part, 0] = sh[part, 0]
        out[part, 1:] = (sh[part, 1:].reshape(-1, 3 * (k - 1)) @ wide).reshape(-1, k - 1, 3)

    over_blocks(n, _BLOCK, work)
    return out


def _spread_directions(count: int) -> np.ndarray:
    """[count,3] unit vectors, evenly distributed over the sphere (Fibonacci spiral)."""
    index = np.arange(count) + 0.5
    z = 1 - 2 * index / count
    angle = index * pi * (3 - sqrt(5))
    radius = np.sqrt(1 - z * z)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)
