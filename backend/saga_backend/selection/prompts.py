"""Clicks, boxes and lassos as pixels, and many pixels as a few prototypes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np
from scipy.ndimage import binary_dilation

from blender_saga.errors import REPORT, ErrorCode, UserError
from blender_saga.gaussians.view import View
from blender_saga.wire.messages import Prompt

from ..rasterizer.contributions import Contributions

REGION_PIXELS = 256
"""Approximate number of pixels sampled from a box or lasso."""
PROTOTYPES = 12
"""Maximum number of prototypes of a box or lasso."""
_SPARSE = 64  # a grid with fewer pixels misses thin regions: pixels are then taken along the rows
_SAME_PROTOTYPE = 0.95  # cosine of features that share a prototype
_SAME_SEGMENT = 0.7  # cosine above which a pixel counts for a prototype
_WITHIN = 1.5  # a prototype of the region is this much commoner inside than around it,
_OWN = 0.2  # unless less than this share of the region would remain
_LEAST = 0.03  # share of a region's pixels; a rarer prototype is a rim, a blend of two segments


@dataclass(frozen=True, eq=False)
class PromptPixels:
    """Pixels of a prompt.

    Attributes:
        pixels: [P,2] int32, column and row, inside the picture.
        around: [R,2] int32, pixels just outside a box or lasso; none for clicked points.
    """

    pixels: np.ndarray
    around: np.ndarray


def sample(prompt: Prompt) -> PromptPixels:
    """The pixels of a prompt: the clicked ones, or a sample of those inside. Equal prompts give equal pixels.

    Raises:
        UserError: for a click outside the picture, a box or lasso that covers no pixel, a lasso of fewer than three
            corners, or numbers that are not finite.
    """
    corners = prompt.pixels
    if corners.ndim != 2 or corners.shape[1] != 2 or not len(corners):
        raise UserError(
            "The click is not usable", "its pixels must have two coordinates each", fix=REPORT, code=ErrorCode.BAD_CLICK
        )
    if prompt.kind == "points":
        if not prompt.view.contains(corners).all():
            raise UserError("The click lies outside the view", fix="Click inside the picture", code=ErrorCode.BAD_CLICK)
        return PromptPixels(np.floor(corners).astype(np.int32), np.zeros((0, 2), np.int32))
    if prompt.kind not in ("box", "lasso"):
        raise UserError(f"There is no prompt '{prompt.kind}'", fix="Use points, box or lasso", code=ErrorCode.BAD_CLICK)
    if not np.isfinite(corners).all():
        raise UserError(
            f"The {prompt.kind} is not usable",
            "its corners are not finite",
            fix=REPORT,
            code=ErrorCode.BAD_CLICK,
        )
    return _spread(inside(_polygon(prompt), prompt.view), prompt.kind)


def _polygon(prompt: Prompt) -> np.ndarray:
    """[K,2] float64 corners of a box or lasso."""
    corners = prompt.pixels.astype(np.float64)
    if prompt.kind == "lasso":
        if len(corners) < 3:
            why = f"it has {len(corners)} corners, and an area needs three"
            raise UserError("The lasso is not usable", why, "Draw around the object", ErrorCode.BAD_CLICK)
        return corners
    if len(corners) != 2:
        raise UserError(
            "The box is not usable", "it must have two opposite corners", fix=REPORT, code=ErrorCode.BAD_CLICK
        )
    (x0, y0), (x1, y1) = corners
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def inside(polygon: np.ndarray, view: View) -> np.ndarray:
    """[H,W] bool: the pixels with their center inside a polygon [K,2] (even-odd rule, pixels of the view)."""
    turns = np.zeros((view.height, view.width + 1), np.bool_)
    _turns(np.ascontiguousarray(polygon, dtype=np.float64), turns)
    return np.logical_xor.accumulate(turns[:, :-1], axis=1)


@numba.njit(cache=True, nogil=True)
def _turns(polygon, turns):
    """Mark the first pixel behind each edge in every row of pixel centers."""
    height, width = turns.shape[0], turns.shape[1] - 1
    for k in range(len(polygon)):
        xa, ya = polygon[k - 1]
        xb, yb = polygon[k]
        low, high = min(ya, yb) - 0.5, max(ya, yb) - 0.5
        if high <= 0.0 or low >= height:
            continue
        for row in range(max(0, int(np.ceil(max(low, 0.0)))), min(height, int(np.ceil(min(high, float(height)))))):
            x = xa + (row + 0.5 - ya) / (yb - ya) * (xb - xa)
            column = int(np.ceil(min(max(x - 0.5, 0.0), float(width))))
            turns[row, column] = not turns[row, column]


def _spread(region: np.ndarray, kind: str) -> PromptPixels:
    """A grid of the region's pixels, and of the pixels one step outside it."""
    count = int(np.count_nonzero(region))
    if not count:
        fix = "Draw it larger, over the splat"
        raise UserError(f"The {kind} covers no pixel of the picture", fix=fix, code=ErrorCode.BAD_CLICK)
    step = max(1, round((count / REGION_PIXELS) ** 0.5))
    first = step // 2
    coarse = region[first::step, first::step]
    ring = binary_dilation(coarse, np.ones((3, 3), bool)) & ~coarse

    def pixels(cells: np.ndarray) -> np.ndarray:
        return (np.argwhere(cells)[:, ::-1] * step + first).astype(np.int32)

    chosen = pixels(coarse)
    if len(chosen) < min(count, _SPARSE):
        row, column = np.divmod(np.flatnonzero(region), region.shape[1])
        every = np.linspace(0, count - 1, min(count, REGION_PIXELS)).round().astype(np.int64)
        chosen = np.stack([column[every], row[every]], axis=1).astype(np.int32)
    return PromptPixels(chosen, pixels(ring))


# --- prototypes of many pixels --------------------------------------------------------------------------------------


def group_pixels(features: np.ndarray, most: int = PROTOTYPES) -> np.ndarray:
    """Group pixels of similar features: greedy k-center (Gonzalez 1985) on the unit sphere, from the commonest.

    Args:
        features: [P,D] blended features of the pixels, any length.
        most: largest number of groups.

    Returns:
        [P] int64, group of each pixel, consecutive numbers from 0; fewer groups where pixels are similar.
    """
    unit = _unit(features)
    first = int(np.argmax(unit @ unit.mean(axis=0)))
    centers = [first]
    closeness = unit @ unit[first]
    group = np.zeros(len(unit), np.int64)
    while len(centers) < most and closeness.min() < _SAME_PROTOTYPE:
        centers.append(int(np.argmin(closeness)))
        new = unit @ unit[centers[-1]]
        group[new > closeness] = len(centers) - 1
        closeness = np.maximum(closeness, new)
    return np.unique(group, return_inverse=True)[1]


def merge(rows: Contributions, group: np.ndarray) -> Contributions:
    """One row for every group of rows: their mean, so the blend of the row is the mean of their blends.

    Args:
        rows: P rows.
        group: [P] group of each row, consecutive numbers from 0.
    """
    sizes = np.bincount(group)
    of_entry = np.repeat(group, np.diff(rows.offsets))
    weights = rows.weights / sizes[of_entry]
    order = np.lexsort((rows.ids, of_entry))
    key = np.stack([of_entry[order], rows.ids[order]], axis=1)
    new = np.append(True, (key[1:] != key[:-1]).any(axis=1))[: len(key)]
    starts = np.flatnonzero(new)
    summed = np.add.reduceat(weights[order], starts) if len(starts) else weights[:0]
    offsets = np.searchsorted(key[starts, 0], np.arange(len(sizes) + 1))
    return Contributions(offsets.astype(np.int64), key[starts, 1].astype(np.int32), summed.astype(np.float32))


def prototypes(
    rows: Contributions, around: Contributions, describe: Callable[[Contributions], np.ndarray]
) -> Contributions:
    """Reduce the rows of a region's pixels to a few prototypes.

    Rims between segments are left out, and so is a floor or wall behind the object, which is commoner in the pixels
    around the region. If hardly anything would remain, the region lies inside one segment and selects that segment.

    Args:
        rows: P rows of the pixels inside, without background.
        around: rows of the pixels around the region, background included.
        describe: vectors [P,D] of rows, for comparison: blended features, or the segments that hold each pixel.
    """
    if len(rows) <= PROTOTYPES:
        return rows
    pixels = _unit(describe(rows))
    group = group_pixels(pixels)
    common = np.bincount(group)[group] >= _LEAST * len(rows)
    if common.any():
        rows, pixels = rows.take(common), pixels[common]
        group = np.unique(group[common], return_inverse=True)[1]
    few = merge(rows, group)
    centers = _unit(describe(few))
    inside = _shares(pixels, centers)
    outside = _shares(_unit(describe(around)), centers)
    own = inside >= _WITHIN * outside
    return few.take(np.flatnonzero(own)) if inside[own].sum() >= _OWN else few


def _shares(pixels: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """[K]: share of the pixels that match each center, counted for the nearest center only."""
    if not len(pixels):
        return np.zeros(len(centers))
    cosines = pixels @ centers.T
    nearest = np.where(cosines.max(axis=1) > _SAME_SEGMENT, cosines.argmax(axis=1), len(centers))
    return np.bincount(nearest, minlength=len(centers) + 1)[:-1] / len(pixels)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
