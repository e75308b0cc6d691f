"""The CPU rasterizer: pictures, and contribution rows of selected pixels. Tiles, numba, all cores.

Blending as in 3DGS and gsplat: nearest first, alpha = min(0.999, opacity exp(-sigma)), alpha < 1/255 is skipped, and a
pixel ends before the Gaussian that would reduce its transmittance to 1e-4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.sh import colors
from blender_saga.gaussians.view import View

from .contributions import Contributions
from .projection import ALPHA_MIN, Projected, project

TILE = 16
ALPHA_MAX = 0.999
_T_MIN = 1e-4
_DENSE = 8  # pixels per tile (of 256) from which iterating over Gaussians first is faster


@dataclass(frozen=True, eq=False)
class Picture:
    """A rendered view.

    Attributes:
        rgb: [H,W,3] float32, 0..1 on black, display sRGB as 3DGS trains it.
        depth: [H,W] float32, expected camera z (scene units), 0 where no Gaussian is.
        alpha: [H,W] float32.
    """

    rgb: np.ndarray
    depth: np.ndarray
    alpha: np.ndarray


def render(cloud: GaussianCloud, view: View) -> Picture:
    """Render a cloud with its SH colors from a view."""
    projected = project(cloud, view)
    rgb = colors(cloud.take(projected.ids), view.camera_position)
    return draw(projected, view, rgb)


def draw(projected: Projected, view: View, rgb: np.ndarray) -> Picture:
    """Render projected Gaussians with colors `rgb` [M,3] in the order of `projected`."""
    values = np.concatenate([rgb, projected.depths[:, None]], axis=1).astype(np.float32)
    out = np.zeros((view.height, view.width, 5), np.float32)
    _draw(_bin(projected, view, None), projected, values, out)
    alpha = out[..., 4]
    depth = out[..., 3] / np.maximum(alpha, 1e-10)
    return Picture(out[..., :3], depth, alpha)


def all_pixels(view: View) -> np.ndarray:
    """[H*W,2] int32: every pixel (column, row), row by row."""
    rows, columns = np.mgrid[0 : view.height, 0 : view.width]
    return np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.int32)


def contributions(cloud: GaussianCloud, view: View, pixels: np.ndarray) -> Contributions:
    """Contribution rows of pixels.

    Args:
        cloud: N Gaussians.
        view: the camera.
        pixels: [P,2] integer pixels (column, row) inside the picture; any order, repeats allowed.
    """
    if len(pixels) == 0:
        return Contributions(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))
    return contributions_of(project(cloud, view, np.asarray(pixels)), view, pixels)


def contributions_of(projected: Projected, view: View, pixels: np.ndarray) -> Contributions:
    """`contributions` of projected Gaussians; the ids are taken from `projected.ids`."""
    pixels = np.asarray(pixels, dtype=np.int32).reshape(-1, 2)
    if not view.contains(pixels).all():
        raise ValueError("a pixel lies outside the picture")
    unique, inverse = np.unique(pixels[:, 1] * np.int64(view.width) + pixels[:, 0], return_inverse=True)
    if len(unique) < len(pixels):
        distinct = np.stack([unique % view.width, unique // view.width], axis=1)
        return contributions_of(projected, view, distinct).take(inverse)
    columns, rows = -(-view.width // TILE), -(-view.height // TILE)
    tile_of = (pixels[:, 1] // TILE) * columns + pixels[:, 0] // TILE
    active = np.bincount(tile_of, minlength=columns * rows)
    bins = _PixelBins(pixels, np.argsort(tile_of, kind="stable"), np.concatenate([[0], np.cumsum(active)]))
    tiles = _bin(projected, view, active > 0)
    counts = np.zeros(len(pixels), np.int64)
    _blend_rows(tiles, projected, bins, (counts, np.empty(0, np.int32), np.empty(0, np.float32)))
    offsets = np.concatenate([[0], np.cumsum(counts)])
    ids, weights = np.empty(offsets[-1], np.int32), np.empty(offsets[-1], np.float32)
    _blend_rows(tiles, projected, bins, (offsets[:-1].copy(), ids, weights))
    return Contributions(offsets, projected.ids[ids], weights)


class _Tiles(NamedTuple):
    """Gaussians by tile: `items` [K] int32, indices into a Projected, nearest first; tile t begins at starts[t]."""

    columns: int
    rows: int
    starts: np.ndarray
    items: np.ndarray


class _PixelBins(NamedTuple):
    """Pixels [P,2] by tile: `order` [P] sorts them, and tile t has order[starts[t] : starts[t + 1]]."""

    pixels: np.ndarray
    order: np.ndarray
    starts: np.ndarray


def _bin(projected: Projected, view: View, active: np.ndarray | None) -> _Tiles:
    """Sort Gaussians into the active tiles ([tiles] bool, None: all)."""
    columns, rows = -(-view.width // TILE), -(-view.height // TILE)
    active = np.ones(columns * rows, bool) if active is None else active
    counts = np.zeros(columns * rows, np.int64)
    _count_tiles(projected, columns, active, counts)
    starts = np.concatenate([[0], np.cumsum(counts)])
    items = np.empty(starts[-1], np.int32)
    _fill_tiles(projected, columns, active, starts[:-1].copy(), items)
    return _Tiles(columns, rows, starts, items)


@numba.njit(inline="always")
def _tiles_of(mean, radius, columns, rows):
    """Range of tiles with pixel centers within `radius` of `mean`."""
    x0 = max(0, math.floor((mean[0] - radius[0] - 0.5) / TILE))
    x1 = min(columns - 1, math.floor((mean[0] + radius[0]) / TILE))
    y0 = max(0, math.floor((mean[1] - radius[1] - 0.5) / TILE))
    y1 = min(rows - 1, math.floor((mean[1] + radius[1]) / TILE))
    return x0, x1, y0, y1


@numba.njit(cache=True, nogil=True)
def _count_tiles(projected, columns, active, counts):
    rows = len(active) // columns
    for g in range(len(projected.ids)):
        x0, x1, y0, y1 = _tiles_of(projected.means2d[g], projected.radii[g], columns, rows)
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                counts[y * columns + x] += active[y * columns + x]


@numba.njit(cache=True, nogil=True)
def _fill_tiles(projected, columns, active, cursor, items):
    rows = len(active) // columns
    for g in range(len(projected.ids)):
        x0, x1, y0, y1 = _tiles_of(projected.means2d[g], projected.radii[g], columns, rows)
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                tile = y * columns + x
                if active[tile]:
                    items[cursor[tile]] = g
                    cursor[tile] += 1


@numba.njit(inline="always")
def _alpha(projected, g, x, y):
    """Alpha of Gaussian g at the center of pixel (x, y); 0 where 3DGS skips it."""
    dx = np.float32(x) + np.float32(0.5) - projected.means2d[g, 0]
    dy = np.float32(y) + np.float32(0.5) - projected.means2d[g, 1]
    if abs(dx) > projected.radii[g, 0] or abs(dy) > projected.radii[g, 1]:
        return 0.0
    xx, xy, yy = projected.conics[g, 0], projected.conics[g, 1], projected.conics[g, 2]
    sigma = 0.5 * (xx * dx * dx + yy * dy * dy) + xy * dx * dy
    if sigma < 0.0:
        return 0.0
    alpha = min(ALPHA_MAX, projected.opacities[g] * math.exp(-sigma))
    return alpha if alpha >= ALPHA_MIN else 0.0


@numba.njit(inline="always")
def _pixels_of(mean, radius, begin, end):
    """First and last pixel of begin..end-1 whose center is within `radius` of `mean`, along one axis."""
    return max(begin, math.ceil(mean - radius - 0.5)), min(end - 1, math.floor(mean + radius - 0.5))


@numba.njit(cache=True, nogil=True)
def _draw_tile(tile, tiles, projected, values, out):
    """Draw a tile Gaussian by Gaussian: a small Gaussian only costs the few pixels that it covers."""
    height, width, _ = out.shape
    left, top = (tile % tiles.columns) * TILE, (tile // tiles.columns) * TILE
    right, bottom = min(left + TILE, width), min(top + TILE, height)
    transmittance = np.ones((TILE, TILE), np.float32)  # -1: the pixel is finished
    open_pixels = (right - left) * (bottom - top)
    for k in range(tiles.starts[tile], tiles.starts[tile + 1]):
        if open_pixels == 0:
            break
        g = tiles.items[k]
        x0, x1 = _pixels_of(projected.means2d[g, 0], projected.radii[g, 0], left, right)
        y0, y1 = _pixels_of(projected.means2d[g, 1], projected.radii[g, 1], top, bottom)
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                t = transmittance[y - top, x - left]
                alpha = _alpha(projected, g, x, y) if t > 0.0 else 0.0
                if alpha == 0.0:
                    continue
                after = t * (1.0 - alpha)
                if after <= _T_MIN:
                    transmittance[y - top, x - left] = -1.0
                    open_pixels -= 1
                    continue
                for c in range(4):
                    out[y, x, c] += t * alpha * values[g, c]
                out[y, x, 4] += t * alpha
                transmittance[y - top, x - left] = after


@numba.njit(parallel=True, cache=True)
def _draw(tiles, projected, values, out):
    for tile in numba.prange(len(tiles.starts) - 1):
        _draw_tile(tile, tiles, projected, values, out)


@numba.njit(cache=True, nogil=True)
def _rows_by_pixel(tile, tiles, projected, bins, out):
    """Compute the rows of a tile with few pixels, pixel by pixel."""
    cursors, ids, weights = out
    for n in range(bins.starts[tile], bins.starts[tile + 1]):
        p = bins.order[n]
        transmittance = np.float32(1.0)
        for k in range(tiles.starts[tile], tiles.starts[tile + 1]):
            alpha = _alpha(projected, tiles.items[k], bins.pixels[p, 0], bins.pixels[p, 1])
            after = np.float32(transmittance * (1.0 - alpha))
            if after <= _T_MIN:
                break
            if alpha > 0.0:
                if len(ids):
                    ids[cursors[p]], weights[cursors[p]] = tiles.items[k], transmittance * alpha
                cursors[p] += 1
                transmittance = after


@numba.njit(cache=True, nogil=True)
def _scan_order(tile, tiles, bins):
    """The pixels of a tile in scan order.

    Returns:
        pixels: [P] int64, their indices, row by row from left to right.
        starts: [TILE,TILE+1] int64, number of pixels before column x of row y.
    """
    begin, end = bins.starts[tile], bins.starts[tile + 1]
    left, top = (tile % tiles.columns) * TILE, (tile // tiles.columns) * TILE
    index = np.zeros((TILE, TILE), np.int64)
    for n in range(begin, end):
        p = bins.order[n]
        index[bins.pixels[p, 1] - top, bins.pixels[p, 0] - left] = p + 1
    pixels, starts, count = np.empty(end - begin, np.int64), np.empty((TILE, TILE + 1), np.int64), 0
    for y in range(TILE):
        for x in range(TILE):
            starts[y, x] = count
            if index[y, x]:
                pixels[count] = index[y, x] - 1
                count += 1
        starts[y, TILE] = count
    return pixels, starts


@numba.njit(inline="always")
def _blend(splat, pixel, transmittance, out):
    """Blend a Gaussian into an unfinished pixel; returns 1 if the Gaussian finishes the pixel."""
    projected, g = splat
    x, y, n, p = pixel
    cursors, ids, weights = out
    alpha = _alpha(projected, g, x, y)
    if alpha == 0.0:
        return 0
    before = transmittance[n]
    after = np.float32(before * (1.0 - alpha))
    if after <= _T_MIN:
        transmittance[n] = 0.0
        return 1
    transmittance[n] = after
    if len(ids):
        ids[cursors[p]], weights[cursors[p]] = g, before * alpha
    cursors[p] += 1
    return 0


@numba.njit(cache=True, nogil=True)
def _rows_by_gaussian(tile, tiles, projected, bins, out):
    """Compute the rows of a tile with many pixels, Gaussian by Gaussian: each one visits the pixels in its box."""
    left, top = (tile % tiles.columns) * TILE, (tile // tiles.columns) * TILE
    pixels, starts = _scan_order(tile, tiles, bins)
    transmittance = np.ones(len(pixels), np.float32)  # 0: the pixel is finished
    open_pixels = len(pixels)
    for k in range(tiles.starts[tile], tiles.starts[tile + 1]):
        if open_pixels == 0:
            break
        g = tiles.items[k]
        x0, x1 = _pixels_of(projected.means2d[g, 0], projected.radii[g, 0], left, left + TILE)
        y0, y1 = _pixels_of(projected.means2d[g, 1], projected.radii[g, 1], top, top + TILE)
        if x1 < x0:
            continue
        for y in range(y0, y1 + 1):
            for n in range(starts[y - top, x0 - left], starts[y - top, x1 - left + 1]):
                if transmittance[n] > 0.0:
                    p = pixels[n]
                    open_pixels -= _blend((projected, g), (bins.pixels[p, 0], y, n, p), transmittance, out)


@numba.njit(parallel=True, cache=True)
def _blend_rows(tiles, projected, bins, out):
    """Blend Gaussians, nearest first, into the pixels of all tiles.

    Args:
        out: cursors [P], ids, weights. Every entry advances its row's cursor; entries are only written if `ids` is not
            empty.
    """
    for tile in numba.prange(len(tiles.starts) - 1):
        if bins.starts[tile + 1] - bins.starts[tile] < _DENSE:
            _rows_by_pixel(tile, tiles, projected, bins, out)
        else:
            _rows_by_gaussian(tile, tiles, projected, bins, out)
