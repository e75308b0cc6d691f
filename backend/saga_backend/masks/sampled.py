"""Masks for training: the masks that cover each sampled pixel of a view, and their 3D scales.

Training uses a random sample of a view's pixels. A mask is one bit per sampled pixel; its picture is not kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np

from blender_saga.gaussians.view import View

MIN_SAMPLED_PIXELS = 4
"""Masks that cover fewer sampled pixels of a view are ignored."""


@dataclass(frozen=True, eq=False)
class SampledMasks:
    """The M masks of one view over its P sampled pixels, smallest 3D scale first.

    Attributes:
        bits: [P,W] uint64; bit m of a row (in word m // 64) is set if mask m covers the pixel.
        scales: [M] float32, 3D scale (SAGA Eq. 2), scene units, ascending.
        areas: [M] float32, pixels covered in the whole picture.
    """

    bits: np.ndarray
    scales: np.ndarray
    areas: np.ndarray

    def members(self) -> np.ndarray:
        """[P,M] bool: whether mask m covers pixel p."""
        if not len(self.scales):
            return np.zeros((len(self.bits), 0), bool)
        bytes_ = np.unpackbits(self.bits.view(np.uint8), axis=1, bitorder="little")
        return bytes_[:, : len(self.scales)].astype(bool)

    def take(self, pixels: np.ndarray) -> SampledMasks:
        """The same masks at some of the pixels (index array)."""
        return SampledMasks(self.bits[pixels], self.scales, self.areas)


def unproject(view: View, pixels: np.ndarray, depths: np.ndarray) -> np.ndarray:
    """[P,3] float32 camera-space points of pixel centers [P,2] (column, row) at camera z `depths` [P]."""
    centered = np.asarray(pixels) + 0.5 - view.K[:2, 2]
    xy = centered / view.K[[0, 1], [0, 1]]
    if not view.orthographic:
        xy = xy * depths[:, None]
    return np.concatenate([xy, depths[:, None]], axis=1).astype(np.float32)


def mask_scale(points: np.ndarray) -> float:
    """3D scale of a mask from its unprojected points [P,3] (SAGA Eq. 2), scene units."""
    return float(2 * np.sqrt(points.var(axis=0, dtype=np.float64).sum()))


def from_labels(labels: np.ndarray, scales: np.ndarray, pixel_area: float) -> SampledMasks:
    """Masks from label maps at the sampled pixels.

    Args:
        labels: [P,L] int32, label of each pixel at every level, with one numbering for all levels; negative: unlabeled.
        scales: 3D scale of every label, scene units.
        pixel_area: pixels of the picture per sampled pixel.
    """
    segments, index = np.unique(labels, return_inverse=True)
    members = np.zeros((len(labels), len(segments)), bool)
    members[np.arange(len(labels))[:, None], index.reshape(labels.shape)] = True
    count = members.sum(axis=0)
    kept = (count >= MIN_SAMPLED_PIXELS) & (segments >= 0)
    return _sorted(members[:, kept], scales[segments[kept]], count[kept] * pixel_area)


def from_pictures(masks: np.ndarray, depths: np.ndarray, view: View, pixels: np.ndarray) -> SampledMasks:
    """Masks from full pictures (SAM, files).

    Args:
        masks: [M,H,W] bool.
        depths: [P] camera z at the sampled pixels, 0 where no Gaussian is. Scales are measured on each mask
            eroded by one pixel, or on the whole mask if too little remains.
        view: the view of the masks.
        pixels: [P,2] the sampled pixels (column, row).
    """
    places = pixels.astype(np.int64)
    points = unproject(view, pixels, depths)
    covers = np.empty((len(masks), len(pixels)), np.bool_)
    scales, areas = np.empty(len(masks)), np.empty(len(masks), np.float32)
    _measure(np.ascontiguousarray(masks), places, points, (covers, scales, areas))
    order = np.argsort(scales, kind="stable")[: np.count_nonzero(np.isfinite(scales))]
    bits = np.zeros((len(pixels), max(1, -(-len(order) // 64))), np.uint64)
    _pack(covers, order, bits)
    return SampledMasks(bits, scales[order].astype(np.float32), areas[order])


@numba.njit(parallel=True, cache=True)
def _measure(masks, places, points, out):
    """Coverage of pixels, scale (infinite if too few pixels have a depth) and area of every mask."""
    for m in numba.prange(len(masks)):
        _measure_one(m, masks[m], places, points, out)


@numba.njit(cache=True, nogil=True)
def _measure_one(m, mask, places, points, out):
    covers, scales, areas = out
    areas[m] = np.count_nonzero(mask)
    scales[m] = _scale(mask, places, points, covers[m])


@numba.njit(cache=True, nogil=True)
def _scale(mask, places, points, covers):
    interior, solid = np.empty(len(places), np.int32), np.empty(len(places), np.int32)
    covered = interior_count = solid_count = 0
    for p in range(len(places)):
        x, y = places[p, 0], places[p, 1]
        covers[p] = mask[y, x]
        if not covers[p]:
            continue
        covered += 1
        if points[p, 2] > 0:
            solid[solid_count] = p
            solid_count += 1
            if _is_interior(mask, x, y):
                interior[interior_count] = p
                interior_count += 1
    if covered < MIN_SAMPLED_PIXELS or solid_count == 0:
        return np.inf
    if interior_count >= MIN_SAMPLED_PIXELS:
        return _subset_scale(points, interior[:interior_count])
    return _subset_scale(points, solid[:solid_count])


@numba.njit(inline="always")
def _is_interior(mask, x, y):
    """Whether a pixel of a mask remains after an erosion by one pixel."""
    if x == 0 or y == 0 or y == mask.shape[0] - 1 or x == mask.shape[1] - 1:
        return False
    return mask[y - 1, x] and mask[y + 1, x] and mask[y, x - 1] and mask[y, x + 1]


@numba.njit(cache=True, nogil=True)
def _subset_scale(points, subset):
    """`mask_scale` of a subset of the points (indices)."""
    total = 0.0
    for axis in range(3):
        mean = square = 0.0
        for at in range(len(subset)):
            mean += points[subset[at], axis]
        mean /= len(subset)
        for at in range(len(subset)):
            square += (points[subset[at], axis] - mean) ** 2
        total += square / len(subset)
    return 2 * math.sqrt(total)


@numba.njit(cache=True, nogil=True)
def _pack(covers, order, bits):
    for word in range(bits.shape[1]):
        for m in range(64 * word, min(64 * (word + 1), len(order))):
            for p in range(len(bits)):
                bits[p, word] |= np.uint64(covers[order[m], p]) << np.uint64(m - 64 * word)


def _sorted(members: np.ndarray, scales: np.ndarray, areas: np.ndarray) -> SampledMasks:
    order = np.argsort(scales, kind="stable")
    members = members[:, order]
    words = max(1, -(-members.shape[1] // 64))
    padded = np.zeros((len(members), words * 64), bool)
    padded[:, : members.shape[1]] = members
    bits = np.packbits(padded, axis=1, bitorder="little").view(np.uint64)
    return SampledMasks(bits, scales[order].astype(np.float32), areas[order].astype(np.float32))
