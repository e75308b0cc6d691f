"""Named axis conventions of splat formats, and the conversion of clouds between them.

A name gives the directions of x, y and z: R right, L left, U up, D down, F forward, B back. PLY files use RDF, SPZ uses
RUB, glTF uses LUF. Names may be left-handed; the conversion then mirrors the cloud.
"""

from __future__ import annotations

import numpy as np

from .cloud import GaussianCloud
from .sh import sh_basis
from .transforms import transform_cloud

_DIRECTIONS = {"R": (1, 0, 0), "L": (-1, 0, 0), "D": (0, 1, 0), "U": (0, -1, 0), "F": (0, 0, 1), "B": (0, 0, -1)}


def axes_matrix(source: str, target: str) -> np.ndarray:
    """[3,3] matrix from coordinates in axes `source` to axes `target`, a signed permutation."""
    return _to_rdf(target).T @ _to_rdf(source)


def change_axes(cloud: GaussianCloud, source: str, target: str) -> GaussianCloud:
    """Convert a cloud to other axes.

    If only signs change, nothing is rounded, and the reverse conversion is exact.
    """
    matrix = axes_matrix(source, target)
    signs = np.diag(matrix)
    if not signs.all():
        wide = np.eye(4)
        wide[:3, :3] = matrix
        return transform_cloud(cloud, wide)
    if (signs > 0).all():
        return cloud
    # D R D for a diagonal D of signs: the local axes flip too, which leaves the ellipsoid unchanged.
    pairs = np.array([1, signs[1] * signs[2], signs[0] * signs[2], signs[0] * signs[1]])
    sh = cloud.sh * _sh_signs(signs, cloud.sh_degree)[:, None]
    means, quats = cloud.means * signs.astype(np.float32), cloud.quats * pairs.astype(np.float32)
    return GaussianCloud(means, quats, cloud.scales, cloud.opacities, sh)


def _to_rdf(name: str) -> np.ndarray:
    return np.array([_DIRECTIONS[letter] for letter in name], dtype=np.float64).T


def _sh_signs(signs: np.ndarray, degree: int) -> np.ndarray:
    """[K] float32 of +-1: the sign of each basis function after a change of coordinate signs."""
    direction = np.array([0.48, 0.6, 0.64])  # arbitrary, but no basis function is zero there
    return np.sign(sh_basis(direction * signs, degree) / sh_basis(direction, degree)).astype(np.float32)
