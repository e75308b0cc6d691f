"""EWA projection of Gaussians to a picture, as in 3DGS and gsplat (numba, parallel, float32 output).

Sources: Zwicker et al. 2001 (EWA splatting), Kerbl et al. 2023 section 4; constants as in gsplat 1.5: 0.3 px dilation,
Gaussians below 1/255 are skipped, the Jacobian's slope is clamped to 1.3 times the field of view.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View

DILATION = 0.3
ALPHA_MIN = 1.0 / 255.0


_BLOCK = 1024  # Gaussians per work item of a thread
_REACH_MAX = 3.33  # standard deviations at which the most opaque Gaussian falls below 1/255
_ROOT_DILATION = DILATION**0.5
SLOPE_MARGIN = 0.15  # of the picture's size: the Jacobian's slope is clamped this far outside the picture


class Projected(NamedTuple):
    """The M Gaussians that can reach a picture, nearest first (a named tuple, which numba accepts).

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


class _Camera(NamedTuple):
    """A view as plain numbers; x0, y0, x1, y1 is the region of interest, pixels.

    `spread`: upper bound of pixels per scene unit, in any direction (perspective: times z).
    """

    viewmat: np.ndarray
    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    near: float
    orthographic: bool
    spread: float
    x0: float
    y0: float
    x1: float
    y1: float


def project(
    cloud: GaussianCloud, view: View, pixels: np.ndarray | None = None, members: np.ndarray | None = None
) -> Projected:
    """Project a cloud.

    Args:
        cloud: N Gaussians, in the space that `view.viewmat` maps from (that matrix may be any affine one).
        view: the camera.
        pixels: [P,2] integers (column, row); Gaussians outside their bounding box are dropped; None: all pixels.
        members: [M] integers, the Gaussians to project; the result's ids are indices into `members`; None: all.
    """
    box = (0, 0, view.width, view.height) if pixels is None else (*pixels.min(axis=0), *(pixels.max(axis=0) + 1))
    K = view.K
    camera = _Camera(
        view.viewmat, K[0, 0], K[1, 1], K[0, 2], K[1, 2], view.width, view.height, view.near, view.orthographic,
        _spread(view), *(float(edge) for edge in box),
    )  # fmt: skip
    gaussians = (cloud.means, cloud.quats, cloud.scales, cloud.opacities)
    near = np.empty(len(cloud) if members is None else len(members), np.bool_)
    _cull(gaussians, members, camera, near)
    candidates = np.flatnonzero(near).astype(np.int32)
    ids = candidates if members is None else members[candidates]
    n = len(ids)
    means2d, conics = np.empty((n, 2), np.float32), np.empty((n, 3), np.float32)
    radii, depths = np.zeros((n, 2), np.float32), np.empty(n, np.float32)
    _project(gaussians, ids, camera, (means2d, conics, radii, depths))
    reach = np.flatnonzero(radii[:, 0] > 0)
    reach = reach[_nearest_first(depths[reach])]
    opacities = cloud.opacities[ids[reach]]
    return Projected(candidates[reach], means2d[reach], conics[reach], radii[reach], opacities, depths[reach])


def _spread(view: View) -> float:
    """See _Camera: the norm of the Jacobian at its steepest slopes, times the largest stretch of the view matrix."""
    stretch = np.linalg.norm(view.viewmat[:3, :3], 2)
    focal, center, size = np.abs(np.diag(view.K)[:2]), view.K[:2, 2], np.array([view.width, view.height])
    slopes = np.maximum(np.abs(center), np.abs(size - center)) + SLOPE_MARGIN * size
    return float(stretch * np.sqrt((focal**2).sum() + (0 if view.orthographic else (slopes**2).sum())))


def _nearest_first(depths: np.ndarray) -> np.ndarray:
    """Stable ascending order of float32 values in two 16-bit radix passes, much faster than a comparison sort."""
    bits = depths.view(np.uint32)
    keys = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))  # orders negative floats too
    order = np.argsort((keys & 0xFFFF).astype(np.uint16), kind="stable")
    return order[np.argsort((keys >> 16).astype(np.uint16)[order], kind="stable")]


def merge(parts: list[Projected], starts: list[int]) -> Projected:
    """Several projections in one, nearest first; the ids of part k are shifted by starts[k]."""
    ids = np.concatenate([p.ids + np.int32(s) for p, s in zip(parts, starts, strict=True)])
    depths = np.concatenate([p.depths for p in parts])
    order = _nearest_first(depths)

    def column(name: str) -> np.ndarray:
        return np.concatenate([getattr(p, name) for p in parts])[order]

    boxes = column("means2d"), column("conics"), column("radii")
    return Projected(ids[order], *boxes, column("opacities"), depths[order])


@numba.njit(inline="always")
def _along(viewmat, row, point):
    return viewmat[row, 0] * point[0] + viewmat[row, 1] * point[1] + viewmat[row, 2] * point[2] + viewmat[row, 3]


@numba.njit(inline="always")
def _axes(quat, scale, row):
    """A row of the view rotation times R S: the extent of each axis of the Gaussian along that row."""
    w, x, y, z = quat[0], quat[1], quat[2], quat[3]
    a, b, c = row[0], row[1], row[2]
    norm = w * w + x * x + y * y + z * z
    s = 2.0 / norm if norm > 0.0 else 0.0
    u = a * (1.0 - s * (y * y + z * z)) + b * s * (x * y + w * z) + c * s * (x * z - w * y)
    v = a * s * (x * y - w * z) + b * (1.0 - s * (x * x + z * z)) + c * s * (y * z + w * x)
    t = a * s * (x * z + w * y) + b * s * (y * z - w * x) + c * (1.0 - s * (x * x + y * y))
    return u * scale[0], v * scale[1], t * scale[2]


@numba.njit(inline="always")
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@numba.njit(inline="always")
def _clamped(slope, focal, center, size):
    """The slope, limited to a margin around the picture: the Jacobian far outside would inflate Gaussians."""
    low = -(center / abs(focal) + SLOPE_MARGIN * size / abs(focal))
    high = (size - center) / abs(focal) + SLOPE_MARGIN * size / abs(focal)
    return min(high, max(low, slope))


@numba.njit(inline="always")
def _jacobian(camera, x, y, z):
    """Pixel position and d(u, v)/d(x, y, z) as (u, v, du/dx, dv/dy, du/dz, dv/dz)."""
    if camera.orthographic:
        return camera.fx * x + camera.cx, camera.fy * y + camera.cy, camera.fx, camera.fy, 0.0, 0.0
    jx, jy = camera.fx / z, camera.fy / z
    dz_u = -jx * _clamped(x / z, camera.fx, camera.cx, camera.width)
    dz_v = -jy * _clamped(y / z, camera.fy, camera.cy, camera.height)
    return jx * x + camera.cx, jy * y + camera.cy, jx, jy, dz_u, dz_v


@numba.njit(inline="always")
def _covariance2d(jacobian, m0, m1, m2):
    """Dilated 2D covariance (xx, xy, yy), pixels^2, of a Gaussian whose camera-space axes are the columns of m."""
    _, _, jx, jy, dz_u, dz_v = jacobian
    c02, c12, c22 = _dot(m0, m2), _dot(m1, m2), _dot(m2, m2)
    xx = jx * jx * _dot(m0, m0) + 2.0 * jx * dz_u * c02 + dz_u * dz_u * c22 + DILATION
    yy = jy * jy * _dot(m1, m1) + 2.0 * jy * dz_v * c12 + dz_v * dz_v * c22 + DILATION
    xy = jx * jy * _dot(m0, m1) + jx * dz_v * c02 + dz_u * jy * c12 + dz_u * dz_v * c22
    return xx, xy, yy


@numba.njit(cache=True, nogil=True)
def _cull_range(begin, end, gaussians, members, camera, near):
    means, _, scales, opacities = gaussians
    viewmat = camera.viewmat
    for k in range(begin, end):
        i = k if members is None else members[k]
        near[k] = False
        z = _along(viewmat, 2, means[i])
        if opacities[i] < ALPHA_MIN or z < camera.near:
            continue
        w = 1.0 if camera.orthographic else z  # both sides times w: no division
        u = camera.fx * _along(viewmat, 0, means[i]) + camera.cx * w
        v = camera.fy * _along(viewmat, 1, means[i]) + camera.cy * w
        reach = _REACH_MAX * (camera.spread * max(scales[i, 0], scales[i, 1], scales[i, 2]) + _ROOT_DILATION * w)
        outside = u + reach <= camera.x0 * w or u - reach >= camera.x1 * w
        near[k] = not (outside or v + reach <= camera.y0 * w or v - reach >= camera.y1 * w)


@numba.njit(parallel=True, cache=True)
def _cull(gaussians, members, camera, near):
    """Mark the Gaussians whose bounding sphere can reach the box: cheap, and a click keeps few of a million."""
    count = len(near)
    for block in numba.prange(-(-count // _BLOCK)):
        _cull_range(block * _BLOCK, min((block + 1) * _BLOCK, count), gaussians, members, camera, near)


@numba.njit(cache=True, nogil=True)
def _project_range(begin, end, gaussians, ids, camera, out):
    means, quats, scales, opacities = gaussians
    means2d, conics, radii, depths = out
    viewmat = camera.viewmat
    for k in range(begin, end):
        i = ids[k]
        z = _along(viewmat, 2, means[i])
        depths[k] = z
        jacobian = _jacobian(camera, _along(viewmat, 0, means[i]), _along(viewmat, 1, means[i]), z)
        m0 = _axes(quats[i], scales[i], viewmat[0])
        m1 = _axes(quats[i], scales[i], viewmat[1])
        m2 = _axes(quats[i], scales[i], viewmat[2])
        xx, xy, yy = _covariance2d(jacobian, m0, m1, m2)
        det = xx * yy - xy * xy
        if not det > 0.0:
            continue
        reach = math.sqrt(2.0 * math.log(opacities[i] / ALPHA_MIN))
        rx, ry = reach * math.sqrt(xx), reach * math.sqrt(yy)
        u, v = jacobian[0], jacobian[1]
        if u + rx <= camera.x0 or v + ry <= camera.y0 or u - rx >= camera.x1 or v - ry >= camera.y1:
            continue
        means2d[k, 0], means2d[k, 1] = u, v
        conics[k, 0], conics[k, 1], conics[k, 2] = yy / det, -xy / det, xx / det
        radii[k, 0], radii[k, 1] = rx, ry


@numba.njit(parallel=True, cache=True)
def _project(gaussians, ids, camera, out):
    """Fill means2d, conics, radii, depths for the Gaussians `ids`; radii stay 0 for those that cannot reach the box.

    The loop body is a separate function, here and elsewhere, because numba shares tuples created inside a parallel
    loop among its threads. Each call takes a block, because each call counts references.
    """
    count = len(ids)
    for block in numba.prange(-(-count // _BLOCK)):
        _project_range(block * _BLOCK, min((block + 1) * _BLOCK, count), gaussians, ids, camera, out)
