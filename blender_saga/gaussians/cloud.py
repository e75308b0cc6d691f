"""The class for a cloud of 3D Gaussians."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from ..errors import UserError

SH_COEFFICIENTS = (1, 4, 9, 16, 25)
"""Number of SH coefficients K for degrees 0 to 4."""


@dataclass(frozen=True, eq=False)
class GaussianCloud:
    """N Gaussians as arrays, activated (scales are exponentiated, opacities went through the sigmoid).

    Attributes:
        means: [N,3] float32, centers, scene units.
        quats: [N,4] float32, unit quaternions, order w, x, y, z.
        scales: [N,3] float32, linear standard deviations along the rotated axes, scene units.
        opacities: [N] float32, 0 to 1.
        sh: [N,K,3] float32, spherical harmonics coefficients (raw), K = 1, 4, 9, 16 or 25, last axis r, g, b.
    """

    means: np.ndarray
    quats: np.ndarray
    scales: np.ndarray
    opacities: np.ndarray
    sh: np.ndarray

    def __post_init__(self) -> None:
        n = len(self.means) if self.means.ndim else 0  # a scalar has no length; the check below refuses its shape
        expected = {"means": (n, 3), "quats": (n, 4), "scales": (n, 3), "opacities": (n,)}
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, expected {shape}")
        if self.sh.ndim != 3 or self.sh.shape[::2] != (n, 3) or self.sh.shape[1] not in SH_COEFFICIENTS:
            raise ValueError(f"sh has shape {self.sh.shape}, expected ({n}, K, 3) with K in {SH_COEFFICIENTS}")
        for name in (*expected, "sh"):
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), dtype=np.float32))

    def __len__(self) -> int:
        return len(self.means)

    @property
    def sh_degree(self) -> int:
        """Degree of the spherical harmonics, 0 to 4."""
        return SH_COEFFICIENTS.index(self.sh.shape[1])

    def take(self, index: np.ndarray) -> GaussianCloud:
        """The Gaussians at a boolean mask [N] or an index array [M], in its order."""
        return GaussianCloud(
            self.means[index], self.quats[index], self.scales[index], self.opacities[index], self.sh[index]
        )

    def with_degree(self, degree: int) -> GaussianCloud:
        """The cloud without SH bands above `degree`; returns itself if it has none."""
        k = SH_COEFFICIENTS[degree]
        if k >= self.sh.shape[1]:
            return self
        return GaussianCloud(self.means, self.quats, self.scales, self.opacities, self.sh[:, :k])

    def fingerprint(self) -> str:
        """Hex digest (32 characters) of count, scales, opacities and base colors.

        It covers only values that a rigid motion does not change, so that a file and its import have the same digest.
        """
        digest = hashlib.blake2b(str(len(self)).encode(), digest_size=16)
        for array in (self.scales, self.opacities, self.sh[:, 0]):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def concatenate(clouds: list[GaussianCloud]) -> GaussianCloud:
    """Concatenate clouds in order; lower SH degrees are padded with zeros to the highest.

    Raises:
        UserError: if the list is empty.
    """
    if not clouds:
        raise UserError("There is no cloud to join", fix="Select at least one splat object")
    if len(clouds) == 1:
        return clouds[0]
    k = max(cloud.sh.shape[1] for cloud in clouds)
    sh = [np.pad(c.sh, ((0, 0), (0, k - c.sh.shape[1]), (0, 0))) for c in clouds]
    return GaussianCloud(
        np.concatenate([c.means for c in clouds]),
        np.concatenate([c.quats for c in clouds]),
        np.concatenate([c.scales for c in clouds]),
        np.concatenate([c.opacities for c in clouds]),
        np.concatenate(sh),
    )
