"""EWA projection of Gaussians to a picture, as 3DGS and gsplat define it (numba, parallel, float32 out).

Sources: Zwicker et al. 2001 (EWA splatting), Kerbl et al. 2023 section 4; constants as in gsplat 1.5: 0.3 px dilation,
Gaussians below 1/255 skipped, the Jacobian's slope clamped to 1.3 times the field of view.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View

DILATION = 0.3
ALPHA_MIN = 1.0 / 255.0


@dataclass(frozen=True, eq=False)
class Projected:
    """The M Gaussians that can reach a picture, nearest first.

    Attributes:
        ids: [M] int32, index in the cloud.
        means2d: [M,2] float32, pixels (column, row).
        conics: [M,3] float32, inverse 2D covariance (xx, xy, yy), 1/pixel^2.
        radii: [M,2] float32, half sides in pixels of the box outside which alpha < 1/255.
        opacities: [M] float32.
        depths: [M] float32, camera z, scene units.
    """

    ids: np.ndarray
    means2d: np.ndarray
    conics: np.ndarray
    radii: np.ndarray
    opacities: np.ndarray
    depths: np.ndarray


@numba.njit(inline="always")
def _axes(quat, scale, a, b, c):
    """One row (a, b, c) of the view rotation times R S: how far each axis of the Gaussian reaches along that row."""
    w, x, y, z = quat[0], quat[1], quat[2], quat[3]
    norm = w * w + x * x + y * y + z * z
    s = 2.0 / norm if norm > 0.0 else 0.0
    u = a * (1.0 - s * (y * y + z * z)) + b * s * (x * y + w * z) + c * s * (x * z - w * y)
    v = a * s * (x * y - w * z) + b * (1.0 - s * (x * x + z * z)) + c * s * (y * z + w * x)
    t = a * s * (x * z + w * y) + b * s * (y * z - w * x) + c * (1.0 - s * (x * x + y * y))
    return u * scale[0], v * scale[1], t * scale[2]


@numba.njit(inline="always")
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@numba.njit(parallel=True, fastmath=False, cache=True)
def _project(means, quats, scales, opacities, camera, size, orthographic, means2d, conics, radii, depths):
    """Fill the outputs for every Gaussian; radii stay 0 where it cannot reach the picture."""
    # camera = [4,4]: rows 0-2 the view matrix, row 3 fx, fy, cx, cy; size = width, height, near, then the wanted box
    fx, fy, cx, cy = camera[3, 0], camera[3, 1], camera[3, 2], camera[3, 3]
    width, height, near = size[0], size[1], size[2]
    afx, afy = abs(fx), abs(fy)
    right = (width - cx) / afx + 0.15 * width / afx
    left = cx / afx + 0.15 * width / afx
    bottom = (height - cy) / afy + 0.15 * height / afy
    top = cy / afy + 0.15 * height / afy
    for i in numba.prange(means.shape[0]):
        radii[i, 0] = 0.0
        opacity = opacities[i]
        x = camera[0, 0] * means[i, 0] + camera[0, 1] * means[i, 1] + camera[0, 2] * means[i, 2] + camera[0, 3]
        y = camera[1, 0] * means[i, 0] + camera[1, 1] * means[i, 1] + camera[1, 2] * means[i, 2] + camera[1, 3]
        z = camera[2, 0] * means[i, 0] + camera[2, 1] * means[i, 1] + camera[2, 2] * means[i, 2] + camera[2, 3]
        depths[i] = z
        if opacity < ALPHA_MIN or z < near:
            continue
        m0 = _axes(quats[i], scales[i], camera[0, 0], camera[0, 1], camera[0, 2])
        m1 = _axes(quats[i], scales[i], camera[1, 0], camera[1, 1], camera[1, 2])
        m2 = _axes(quats[i], scales[i], camera[2, 0], camera[2, 1], camera[2, 2])
        c00, c01, c02 = _dot(m0, m0), _dot(m0, m1), _dot(m0, m2)
        c11, c12, c22 = _dot(m1, m1), _dot(m1, m2), _dot(m2, m2)
        if orthographic:
            u, v = fx * x + cx, fy * y + cy
            jx, jy, jxz, jyz = fx, fy, 0.0, 0.0
        else:
            u, v = fx * x / z + cx, fy * y / z + cy
            jx, jy = fx / z, fy / z
            jxz = -jx * min(right, max(-left, x / z))
            jyz = -jy * min(bottom, max(-top, y / z))
        xx = jx * jx * c00 + 2.0 * jx * jxz * c02 + jxz * jxz * c22 + DILATION
        yy = jy * jy * c11 + 2.0 * jy * jyz * c12 + jyz * jyz * c22 + DILATION
        xy = jx * jy * c01 + jx * jyz * c02 + jxz * jy * c12 + jxz * jyz * c22
        det = xx * yy - xy * xy
        if not det > 0.0:
            continue
        reach = math.sqrt(2.0 * math.log(opacity / ALPHA_MIN))
        rx, ry = reach * math.sqrt(xx), reach * math.sqrt(yy)
        if u + rx <= size[3] or u - rx >= size[5] or v + ry <= size[4] or v - ry >= size[6]:
            continue
        means2d[i, 0], means2d[i, 1] = u, v
        conics[i, 0], conics[i, 1], conics[i, 2] = yy / det, -xy / det, xx / det
        radii[i, 0], radii[i, 1] = rx, ry


def project(cloud: GaussianCloud, view: View, pixels: np.ndarray | None = None) -> Projected:
    """Project a cloud.

    Args:
        cloud: N Gaussians, in the space that `view.viewmat` maps from (that matrix may be any affine one).
        view: where from.
        pixels: [P,2] integers (column, row): only Gaussians that can reach their bounding box are kept; None: all pixels.
    """
    n = len(cloud)
    means2d, conics = np.empty((n, 2), np.float32), np.empty((n, 3), np.float32)
    radii, depths = np.empty((n, 2), np.float32), np.empty(n, np.float32)
    camera = view.viewmat.copy()
    camera[3] = view.K[0, 0], view.K[1, 1], view.K[0, 2], view.K[1, 2]
    box = (0, 0, view.width, view.height) if pixels is None else (*pixels.min(axis=0), *(pixels.max(axis=0) + 1))
    size = np.array([view.width, view.height, view.near, *box], np.float64)
    _project(
        cloud.means, cloud.quats, cloud.scales, cloud.opacities, camera, size, view.orthographic,
        means2d, conics, radii, depths,
    )  # fmt: skip
    ids = np.flatnonzero(radii[:, 0] > 0)
    ids = ids[_nearest_first(depths[ids])]
    return Projected(ids.astype(np.int32), means2d[ids], conics[ids], radii[ids], cloud.opacities[ids], depths[ids])


def _nearest_first(depths: np.ndarray) -> np.ndarray:
    """Stable ascending order of float32 values: two 16-bit radix passes, several times faster than a comparison sort."""
    bits = depths.view(np.uint32)
    keys = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))  # orders negative floats too
    order = np.argsort((keys & 0xFFFF).astype(np.uint16), kind="stable")
    return order[np.argsort((keys >> 16).astype(np.uint16)[order], kind="stable")]


def merge(parts: list[Projected], starts: list[int]) -> Projected:
    """One list of several projections, nearest first; part k's ids are shifted by starts[k]."""
    ids = np.concatenate([p.ids + np.int32(s) for p, s in zip(parts, starts, strict=True)])
    depths = np.concatenate([p.depths for p in parts])
    order = _nearest_first(depths)
    columns = [
        np.concatenate([getattr(p, n) for p in parts])[order] for n in ("means2d", "conics", "radii", "opacities")
    ]
    return Projected(ids[order], *columns, depths[order])
