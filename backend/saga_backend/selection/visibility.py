"""Which points one sees from a view: those not behind a surface."""

from __future__ import annotations

import numba
import numpy as np

from blender_saga.gaussians.view import View

from ..rasterizer.cpu import contributions_of
from ..rasterizer.projection import Projected
from .click import QueryObjects

_PIXELS = 30_000  # about as many are rendered to compare depths
_SOLID = 0.5  # what lies behind this much opacity is hidden
_SLACK = 2.0  # pixels of that picture, as a length at the point: surfaces seen at a slant reach over their depth


def seen(taking_part: QueryObjects, view: View, points: np.ndarray) -> np.ndarray:
    """[T] bool: those of the points [T] bool that a view shows; T counts all points of all objects in order.

    A point is hidden if what lies before it in its pixel is at least half opaque, by more than its own radius and a
    little slack. Only the part of the picture where the points are is rendered, and that small.
    """
    out = np.zeros(len(points), bool)
    box = _box(taking_part, view, points)
    if box is None:
        return out
    shrink = min(1.0, (_PIXELS / ((box[2] - box[0]) * (box[3] - box[1]))) ** 0.5)
    small = view.resized(max(1, round(view.width * shrink)), max(1, round(view.height * shrink)))
    x0, y0 = (int(edge * shrink) for edge in box[:2])
    x1, y1 = min(int(box[2] * shrink) + 1, small.width), min(int(box[3] * shrink) + 1, small.height)
    rows, columns = np.mgrid[y0:y1, x0:x1]
    pixels = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.int32)
    found = taking_part.projected(small, pixels)
    surface = np.full((small.height, small.width), np.inf, np.float32)
    surface[rows, columns] = _surfaces(found, small, pixels, len(points)).reshape(rows.shape)
    asked = points[found.ids] & small.contains(found.means2d)
    column, row = found.means2d[asked].astype(np.int64).T
    length = np.float32(1) if small.orthographic else found.depths[asked]
    slack = (_SLACK + found.radii[asked].max(axis=1)) * length / abs(small.K[0, 0])
    out[found.ids[asked]] = found.depths[asked] <= surface[row, column] + slack
    return out


def _box(taking_part: QueryObjects, view: View, points: np.ndarray) -> tuple[float, float, float, float] | None:
    """The part of the picture (x0, y0, x1, y1, pixels) in which the centers of the points lie; None: outside of it."""
    low, high, start = np.full(2, np.inf), np.full(2, -np.inf), 0
    for index, (part, ids) in enumerate(zip(taking_part.objects, taking_part.ids, strict=True)):
        chosen = points[start : start + len(ids)]
        start += len(ids)
        viewmat = view.of_object(part.matrix).viewmat
        camera = taking_part.places(index, chosen) @ viewmat[:3, :3].T + viewmat[:3, 3]
        camera = camera[camera[:, 2] >= view.near]
        depth = 1.0 if view.orthographic else camera[:, 2:]
        places = camera[:, :2] / depth * np.diag(view.K)[:2] + view.K[:2, 2]
        places = places[view.contains(places)]
        if len(places):
            low, high = np.minimum(low, places.min(axis=0)), np.maximum(high, places.max(axis=0))
    return None if low[0] > high[0] else (*np.floor(low), *(np.floor(high) + 1))


def _surfaces(found: Projected, view: View, pixels: np.ndarray, count: int) -> np.ndarray:
    """[P] float32: camera z at which each pixel becomes solid; infinite where it never does."""
    rows = contributions_of(found, view, pixels)
    depths, out = np.zeros(count, np.float32), np.full(len(pixels), np.inf, np.float32)
    depths[found.ids] = found.depths
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
