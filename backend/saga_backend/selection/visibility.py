"""The points that are visible from a view: those not behind a surface."""

from __future__ import annotations

import numba
import numpy as np

from blender_saga.gaussians.view import View

from ..rasterizer.cpu import contributions_of
from ..rasterizer.projection import Projected
from .click import QueryObjects

_PIXELS = 30_000  # approximate size of the picture for the depth test
_SOLID = 0.5  # accumulated opacity that hides everything behind it
_SLACK = 2.0  # pixels of that picture, as a length at the point: tolerance for surfaces at a slant


def visible_points(objects: QueryObjects, view: View, points: np.ndarray) -> np.ndarray:
    """[T] bool: the visible ones of the points [T] bool; T counts all points of all objects in order.

    A point is hidden if its pixel becomes half opaque in front of it, by more than its own radius and a small slack.
    Only the part of the picture around the points is rendered, at a low resolution.
    """
    out = np.zeros(len(points), bool)
    box = _box(objects, view, points)
    if box is None:
        return out
    shrink = min(1.0, (_PIXELS / ((box[2] - box[0]) * (box[3] - box[1]))) ** 0.5)
    small = view.resized(max(1, round(view.width * shrink)), max(1, round(view.height * shrink)))
    x0, y0 = (int(edge * shrink) for edge in box[:2])
    x1, y1 = min(int(box[2] * shrink) + 1, small.width), min(int(box[3] * shrink) + 1, small.height)
    rows, columns = np.mgrid[y0:y1, x0:x1]
    pixels = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.int32)
    projected = objects.project(small, pixels)
    surface = np.full((small.height, small.width), np.inf, np.float32)
    surface[rows, columns] = _surface_depths(projected, small, pixels, len(points)).reshape(rows.shape)
    tested = points[projected.ids] & small.contains(projected.means2d)
    column, row = projected.means2d[tested].astype(np.int64).T
    length = np.float32(1) if small.orthographic else projected.depths[tested]
    slack = (_SLACK + projected.radii[tested].max(axis=1)) * length / abs(small.K[0, 0])
    out[projected.ids[tested]] = projected.depths[tested] <= surface[row, column] + slack
    return out


def _box(objects: QueryObjects, view: View, points: np.ndarray) -> tuple[float, float, float, float] | None:
    """Bounds (x0, y0, x1, y1, pixels) of the points' centers in the picture; None if all lie outside of it."""
    low, high, start = np.full(2, np.inf), np.full(2, -np.inf), 0
    for index, (placement, ids) in enumerate(zip(objects.placements, objects.ids, strict=True)):
        chosen = points[start : start + len(ids)]
        start += len(ids)
        viewmat = view.of_object(placement.matrix).viewmat
        camera = objects.positions(index, chosen) @ viewmat[:3, :3].T + viewmat[:3, 3]
        camera = camera[camera[:, 2] >= view.near]
        depth = 1.0 if view.orthographic else camera[:, 2:]
        pixels = camera[:, :2] / depth * np.diag(view.K)[:2] + view.K[:2, 2]
        pixels = pixels[view.contains(pixels)]
        if len(pixels):
            low, high = np.minimum(low, pixels.min(axis=0)), np.maximum(high, pixels.max(axis=0))
    return None if low[0] > high[0] else (*np.floor(low), *(np.floor(high) + 1))


def _surface_depths(projected: Projected, view: View, pixels: np.ndarray, count: int) -> np.ndarray:
    """[P] float32: camera z at which each pixel becomes solid; infinite where it stays transparent."""
    rows = contributions_of(projected, view, pixels)
    depths, out = np.zeros(count, np.float32), np.full(len(pixels), np.inf, np.float32)
    depths[projected.ids] = projected.depths
    _first_solid(rows.offsets, rows.ids, rows.weights, depths, out)
    return out


@numba.njit(parallel=True, cache=True)
def _first_solid(offsets, ids, weights, depths, out):
    for p in numba.prange(len(offsets) - 1):
        alpha = 0.0
        for k in range(offsets[p], offsets[p + 1]):
            alpha += weights[k]
            if alpha >= _SOLID:
                out[p] = depths[ids[k]]
                break
