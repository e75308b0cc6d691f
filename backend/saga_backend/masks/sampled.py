"""Masks as training sees them: which masks cover each sampled pixel of a view, how large they are in 3D.

Training uses a random sample of a view's pixels. A mask is one bit per sampled pixel; its picture is not kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np

from blender_saga.gaussians.view import View

MIN_SAMPLED_PIXELS = 4
"""A mask that covers fewer sampled pixels of a view says nothing about it."""


@dataclass(frozen=True, eq=False)
class SampledMasks:
    """The M masks of one view over its P sampled pixels, smallest 3D scale first.

    Attributes:
        bits: [P,W] uint64; bit m of the row (word m // 64) says whether mask m covers the pixel.
        scales: [M] float32, 3D scale (SAGA Eq. 2), scene units, rising.
        areas: [M] float32, pixels covered in the whole picture.
    """

    bits: np.ndarray
    scales: np.ndarray
    areas: np.ndarray

    def members(self) -> np.ndarray:
        """[P,M] bool: the same, unpacked."""
        if not len(self.scales):
            return np.zeros((len(self.bits), 0), bool)
        bytes_ = np.unpackbits(self.bits.view(np.uint8), axis=1, bitorder="little")
        return bytes_[:, : len(self.scales)].astype(bool)

    def take(self, pixels: np.ndarray) -> SampledMasks:
        """The same masks over some of the pixels (index array)."""
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
        labels: [P,L] int32, label of each pixel at every level, one numbering over all levels; negative: none.
        scales: 3D scale of every label, scene units.
        pixel_area: pixels of the picture that one sampled pixel stands for.
    """
    segments, place = np.unique(labels, return_inverse=True)
    members = np.zeros((len(labels), len(segments)), bool)
    members[np.arange(len(labels))[:, None], place.reshape(labels.shape)] = True
    count = members.sum(axis=0)
    kept = (count >= MIN_SAMPLED_PIXELS) & (segments >= 0)
    return _sorted(members[:, kept], scales[segments[kept]], count[kept] * pixel_area)


def from_pictures(masks: np.ndarray, depths: np.ndarray, view: View, pixels: np.ndarray) -> SampledMasks:
    """Masks from pictures of them (SAM, files).

    Args:
        masks: [M,H,W] bool.
        depths: [P] camera z at the sampled pixels, 0 where nothing is; scales are taken from each mask eroded by a
            pixel, or from the whole mask where nothing would be left.
        view: their view.
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
    """Of every mask which pixels it covers, its scale (infinite where too little is known of it) and its area."""
    for m in numba.prange(len(masks)):
        _measure_one(m, masks[m], places, points, out)


@numba.njit(cache=True, nogil=True)
def _measure_one(m, mask, places, points, out):
    covers, scales, areas = out
    areas[m] = np.count_nonzero(mask)
    scales[m] = _scale(mask, places, points, covers[m])


@numba.njit(cache=True, nogil=True)
def _scale(mask, places, points, covers):
    inner, some = np.empty(len(places), np.int32), np.empty(len(places), np.int32)
    inside = inners = there = 0
    for p in range(len(places)):
        x, y = places[p, 0], places[p, 1]
        covers[p] = mask[y, x]
        if not covers[p]:
            continue
        inside += 1
        if points[p, 2] > 0:
            some[there] = p
            there += 1
            if _within(mask, x, y):
                inner[inners] = p
                inners += 1
    if inside < MIN_SAMPLED_PIXELS or there == 0:
        return np.inf
    return _spread(points, inner[:inners]) if inners >= MIN_SAMPLED_PIXELS else _spread(points, some[:there])


@numba.njit(inline="always")
def _within(mask, x, y):
    """Whether a mask's pixel is none of its outermost: it stays when the mask is eroded by one."""
    if x == 0 or y == 0 or y == mask.shape[0] - 1 or x == mask.shape[1] - 1:
        return False
    return mask[y - 1, x] and mask[y + 1, x] and mask[y, x - 1] and mask[y, x + 1]


@numba.njit(cache=True, nogil=True)
def _spread(points, chosen):
    """`mask_scale` of some of the points."""
    total = 0.0
    for axis in range(3):
        mean = square = 0.0
        for at in range(len(chosen)):
            mean += points[chosen[at], axis]
        mean /= len(chosen)
        for at in range(len(chosen)):
            square += (points[chosen[at], axis] - mean) ** 2
        total += square / len(chosen)
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
