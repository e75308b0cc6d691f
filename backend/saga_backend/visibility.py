"""Which points one sees from a view: those not behind a surface."""

from __future__ import annotations

import numba
import numpy as np

from blender_saga.gaussians.view import View

from .query import Actors
from .raster import all_pixels, contributions_of

_PIXELS = 30_000  # of the picture in which depths are compared
_SOLID = 0.5  # what lies behind this much opacity is hidden
_SLACK = 2.0  # pixels of that picture, as a length at the point: surfaces seen at a slant reach over their depth


def seen(taking_part: Actors, view: View) -> np.ndarray:
    """[T] bool: the points, of all objects in order, that a view shows.

    A point is hidden if what lies before it in its pixel is at least half opaque, by more than its own radius and a
    little slack. The picture is rendered small, whatever the size of the view: it takes the time of a few clicks.
    """
    shrink = min(1.0, (_PIXELS / (view.width * view.height)) ** 0.5)
    small = view.resized(max(1, round(view.width * shrink)), max(1, round(view.height * shrink)))
    points = taking_part.projected(small)
    rows = contributions_of(points, small, all_pixels(small))
    depths = np.zeros(len(taking_part.all_ids), np.float32)
    depths[points.ids] = points.depths
    surface = np.full((small.height, small.width), np.inf, np.float32)
    _surface(rows.offsets, rows.ids, rows.weights, depths, surface.reshape(-1))
    inside = small.contains(points.means2d)
    column, row = points.means2d[inside].astype(np.int64).T
    out = np.zeros(len(depths), bool)
    out[points.ids[inside]] = points.depths[inside] <= surface[row, column] + _slack(small, points, inside)
    return out


def _slack(view: View, points, inside: np.ndarray) -> np.ndarray:
    """Scene units by which a point may lie behind the surface of its pixel."""
    length = np.ones(np.count_nonzero(inside)) if view.orthographic else points.depths[inside]
    return (_SLACK + 0.5 * points.radii[inside].max(axis=1)) * length / abs(view.K[0, 0])


@numba.njit(parallel=True, cache=True)
def _surface(offsets, ids, weights, depths, out):
    """The depth at which a pixel becomes solid; what never does stays infinite."""
    for p in numba.prange(len(offsets) - 1):
        alpha = 0.0
        for k in range(offsets[p], offsets[p + 1]):
            alpha += weights[k]
            if alpha >= _SOLID:
                out[p] = depths[ids[k]]
                break
