"""The CPU rasteriser: pictures, and for chosen pixels the Gaussians that make them. Tiles, numba, all cores.

Blending as in 3DGS and gsplat: nearest first, alpha = min(0.999, opacity exp(-sigma)), alpha < 1/255 skipped, a pixel
ends before the Gaussian that would bring its transmittance to 1e-4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.sh import colours
from blender_saga.gaussians.view import View

from .projection import ALPHA_MIN, Projected, project
from .rows import Rows

TILE = 16
_ALPHA_MAX = 0.999
_T_MIN = 1e-4


@dataclass(frozen=True, eq=False)
class Picture:
    """A rendered view.

    Attributes:
        rgb: [H,W,3] float32, 0..1 on black, display sRGB as 3DGS trains it.
        depth: [H,W] float32, expected camera z (scene units), 0 where nothing is.
        alpha: [H,W] float32.
    """

    rgb: np.ndarray
    depth: np.ndarray
    alpha: np.ndarray


def render(cloud: GaussianCloud, view: View) -> Picture:
    """Render a cloud with its SH colours."""
    projected = project(cloud, view)
    rgb = colours(cloud.take(projected.ids), view.camera_position)
    return draw(projected, view, rgb)


def draw(projected: Projected, view: View, rgb: np.ndarray) -> Picture:
    """Render projected Gaussians with given colours [M,3] in the order of `projected`."""
    values = np.concatenate([rgb, projected.depths[:, None]], axis=1).astype(np.float32)
    out = np.zeros((view.height, view.width, 5), np.float32)
    starts, items = _bin(projected, view, None)
    _draw(starts, items, projected.means2d, projected.conics, projected.radii, projected.opacities, values, out)
    alpha = out[..., 4]
    depth = out[..., 3] / np.maximum(alpha, 1e-10)
    return Picture(out[..., :3], depth, alpha)


def all_pixels(view: View) -> np.ndarray:
    """[H*W,2] int32: every pixel (column, row), row by row."""
    rows, columns = np.mgrid[0 : view.height, 0 : view.width]
    return np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.int32)


def contributions(cloud: GaussianCloud, view: View, pixels: np.ndarray) -> Rows:
    """Rows of blending weights.

    Args:
        cloud: N Gaussians.
        view: where from.
        pixels: [P,2] integer pixels (column, row) inside the picture; any order, repeats allowed.
    """
    if len(pixels) == 0:
        return Rows(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))
    return contributions_of(project(cloud, view, np.asarray(pixels)), view, pixels)


def contributions_of(projected: Projected, view: View, pixels: np.ndarray) -> Rows:
    """`contributions` of Gaussians that are projected already; ids are those of `projected.ids`."""
    pixels = np.asarray(pixels, dtype=np.int32).reshape(-1, 2)
    if not view.contains(pixels).all():
        raise ValueError("a pixel lies outside the picture")
    columns, rows = -(-view.width // TILE), -(-view.height // TILE)
    tile_of = (pixels[:, 1] // TILE) * columns + pixels[:, 0] // TILE
    order = np.argsort(tile_of, kind="stable")
    wanted = np.bincount(tile_of, minlength=columns * rows)
    starts, items = _bin(projected, view, wanted > 0)
    pixel_starts = np.concatenate([[0], np.cumsum(wanted)])
    scene = (starts, items, projected.means2d, projected.conics, projected.radii, projected.opacities)
    counts = np.zeros(len(pixels) + 1, np.int64)
    _rows(scene, pixel_starts, order, pixels, counts, np.empty(0, np.int32), np.empty(0, np.float32), False)
    offsets = np.concatenate([[0], np.cumsum(counts[:-1])])
    ids, weights = np.empty(offsets[-1], np.int32), np.empty(offsets[-1], np.float32)
    _rows(scene, pixel_starts, order, pixels, offsets, ids, weights, True)
    return Rows(offsets, projected.ids[ids], weights)


def _bin(projected: Projected, view: View, wanted: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Tile lists in depth order: starts [tiles+1] int64 and items [K] int32 (positions in `projected`)."""
    columns, rows = -(-view.width // TILE), -(-view.height // TILE)
    if wanted is None:
        wanted = np.ones(columns * rows, bool)
    counts = np.zeros(columns * rows + 1, np.int64)
    _count_tiles(projected.means2d, projected.radii, columns, rows, wanted, counts)
    starts = np.concatenate([[0], np.cumsum(counts[:-1])])
    items = np.empty(starts[-1], np.int32)
    _fill_tiles(projected.means2d, projected.radii, columns, rows, wanted, starts[:-1].copy(), items)
    return starts, items


@numba.njit(inline="always")
def _tiles_of(mean, radius, columns, rows):
    """Tile box of the pixels whose centres can lie within `radius` of `mean`."""
    x0 = max(0, int(math.floor((mean[0] - radius[0] - 0.5) / TILE)))
    x1 = min(columns - 1, int(math.floor((mean[0] + radius[0]) / TILE)))
    y0 = max(0, int(math.floor((mean[1] - radius[1] - 0.5) / TILE)))
    y1 = min(rows - 1, int(math.floor((mean[1] + radius[1]) / TILE)))
    return x0, x1, y0, y1


@numba.njit(cache=True)
def _count_tiles(means2d, radii, columns, rows, wanted, counts):
    for g in range(len(means2d)):
        x0, x1, y0, y1 = _tiles_of(means2d[g], radii[g], columns, rows)
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                counts[y * columns + x] += wanted[y * columns + x]


@numba.njit(cache=True)
def _fill_tiles(means2d, radii, columns, rows, wanted, cursor, items):
    for g in range(len(means2d)):
        x0, x1, y0, y1 = _tiles_of(means2d[g], radii[g], columns, rows)
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                t = y * columns + x
                if wanted[t]:
                    items[cursor[t]] = g
                    cursor[t] += 1


@numba.njit(inline="always")
def _alpha(dx, dy, conic, opacity):
    sigma = 0.5 * (conic[0] * dx * dx + conic[2] * dy * dy) + conic[1] * dx * dy
    return min(_ALPHA_MAX, opacity * math.exp(-sigma)) if sigma >= 0.0 else 0.0


@numba.njit(parallel=True, cache=True)
def _draw(starts, items, means2d, conics, radii, opacities, values, out):
    height, width, _ = out.shape
    columns = -(-width // TILE)
    for tile in numba.prange(len(starts) - 1):
        left, top = (tile % columns) * TILE, (tile // columns) * TILE
        right, bottom = min(left + TILE, width), min(top + TILE, height)
        transmittance = np.ones((TILE, TILE), np.float32)
        open_pixels = (right - left) * (bottom - top)
        for k in range(starts[tile], starts[tile + 1]):
            g = items[k]
            if open_pixels == 0:
                break
            y0 = max(top, int(math.ceil(means2d[g, 1] - radii[g, 1] - 0.5)))
            y1 = min(bottom - 1, int(math.floor(means2d[g, 1] + radii[g, 1] - 0.5)))
            x0 = max(left, int(math.ceil(means2d[g, 0] - radii[g, 0] - 0.5)))
            x1 = min(right - 1, int(math.floor(means2d[g, 0] + radii[g, 0] - 0.5)))
            for y in range(y0, y1 + 1):
                dy = np.float32(y) + np.float32(0.5) - means2d[g, 1]
                for x in range(x0, x1 + 1):
                    t = transmittance[y - top, x - left]
                    if t < 0.0:  # a negative sign marks a finished pixel
                        continue
                    dx = np.float32(x) + np.float32(0.5) - means2d[g, 0]
                    alpha = _alpha(dx, dy, conics[g], opacities[g])
                    if alpha < ALPHA_MIN:
                        continue
                    after = t * (1.0 - alpha)
                    if after <= _T_MIN:
                        transmittance[y - top, x - left] = -1.0
                        open_pixels -= 1
                        continue
                    w = t * alpha
                    for c in range(4):
                        out[y, x, c] += w * values[g, c]
                    out[y, x, 4] += w
                    transmittance[y - top, x - left] = after


@numba.njit(parallel=True, cache=True)
def _rows(scene, pixel_starts, order, pixels, offsets, ids, weights, fill):
    """First call (fill False): number of Gaussians of each pixel into `offsets`; second: fill ids and weights."""
    starts, items, means2d, conics, radii, opacities = scene
    for tile in numba.prange(len(starts) - 1):
        for n in range(pixel_starts[tile], pixel_starts[tile + 1]):
            p = order[n]
            x, y = np.float32(pixels[p, 0]) + np.float32(0.5), np.float32(pixels[p, 1]) + np.float32(0.5)
            t = np.float32(1.0)
            cursor = offsets[p] if fill else 0
            for k in range(starts[tile], starts[tile + 1]):
                g = items[k]
                dx, dy = x - means2d[g, 0], y - means2d[g, 1]
                if abs(dx) > radii[g, 0] or abs(dy) > radii[g, 1]:
                    continue
                alpha = _alpha(dx, dy, conics[g], opacities[g])
                if alpha < ALPHA_MIN:
                    continue
                after = np.float32(t * (1.0 - alpha))
                if after <= _T_MIN:
                    break
                if fill:
                    ids[cursor] = g
                    weights[cursor] = t * alpha
                cursor += 1
                t = after
            if not fill:
                offsets[p] = cursor
