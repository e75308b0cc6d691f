"""Masks as training sees them: which masks cover each sampled pixel of a view, how large they are in 3D.

Training looks at a pool of pixels only, so a mask is one bit a pool pixel; pictures of masks are not kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_erosion

from blender_saga.gaussians.view import View

MIN_POOL_PIXELS = 4
"""A mask that covers fewer pool pixels of a view says nothing about it."""


@dataclass(frozen=True, eq=False)
class PoolMasks:
    """The M masks of one view over its pool of P pixels, smallest 3D scale first.

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

    def take(self, pixels: np.ndarray) -> PoolMasks:
        """The same masks over some of the pixels (index array)."""
        return PoolMasks(self.bits[pixels], self.scales, self.areas)


def unproject(view: View, pixels: np.ndarray, depths: np.ndarray) -> np.ndarray:
    """[P,3] float32 camera-space points of pixel centres [P,2] (column, row) at camera z `depths` [P]."""
    centred = np.asarray(pixels) + 0.5 - view.K[:2, 2]
    xy = centred / view.K[[0, 1], [0, 1]]
    if not view.orthographic:
        xy = xy * depths[:, None]
    return np.concatenate([xy, depths[:, None]], axis=1).astype(np.float32)


def mask_scale(points: np.ndarray) -> float:
    """3D scale of a mask from its unprojected points [P,3] (SAGA Eq. 2), scene units."""
    return float(2 * np.sqrt(points.var(axis=0, dtype=np.float64).sum()))


def from_labels(labels: np.ndarray, scales: np.ndarray, pixel_area: float) -> PoolMasks:
    """Masks from label maps at the pool's pixels.

    Args:
        labels: [P,L] int32, label of each pixel at every level, one numbering over all levels; negative: none.
        scales: 3D scale of every label, scene units.
        pixel_area: pixels of the picture that one pool pixel stands for.
    """
    segments, place = np.unique(labels, return_inverse=True)
    members = np.zeros((len(labels), len(segments)), bool)
    members[np.arange(len(labels))[:, None], place.reshape(labels.shape)] = True
    count = members.sum(axis=0)
    kept = (count >= MIN_POOL_PIXELS) & (segments >= 0)
    return _sorted(members[:, kept], scales[segments[kept]], count[kept] * pixel_area)


def from_pictures(masks: np.ndarray, depths: np.ndarray, view: View, pixels: np.ndarray) -> PoolMasks:
    """Masks from pictures of them (SAM, files).

    Args:
        masks: [M,H,W] bool.
        depths: [P] camera z at the pool's pixels, 0 where nothing is; scales are taken from each mask eroded by a
            pixel, or from the whole mask where nothing would be left.
        view: their view.
        pixels: [P,2] the pool's pixels (column, row).
    """
    rows, columns = pixels[:, 1], pixels[:, 0]
    points, there = unproject(view, pixels, depths), depths > 0
    kept, scales, areas = [], [], []
    for index, mask in enumerate(masks):
        inside = mask[rows, columns]
        if np.count_nonzero(inside) < MIN_POOL_PIXELS:
            continue
        inner = _eroded(mask)[rows, columns] & there
        inner = inner if np.count_nonzero(inner) >= MIN_POOL_PIXELS else inside & there
        if not inner.any():
            continue
        kept.append(index)
        scales.append(mask_scale(points[inner]))
        areas.append(float(np.count_nonzero(mask)))
    members = np.zeros((len(pixels), len(kept)), bool)
    for place, index in enumerate(kept):
        members[:, place] = masks[index][rows, columns]
    return _sorted(members, np.array(scales), np.array(areas))


def _eroded(mask: np.ndarray) -> np.ndarray:
    """[H,W] bool: the mask without its outermost pixels; only the part of the picture that it lies in is looked at."""
    y, x = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    crop = slice(max(y[0] - 1, 0), y[-1] + 2), slice(max(x[0] - 1, 0), x[-1] + 2)
    out = np.zeros_like(mask)
    out[crop] = binary_erosion(mask[crop])
    return out


def _sorted(members: np.ndarray, scales: np.ndarray, areas: np.ndarray) -> PoolMasks:
    order = np.argsort(scales, kind="stable")
    members = members[:, order]
    words = max(1, -(-members.shape[1] // 64))
    padded = np.zeros((len(members), words * 64), bool)
    padded[:, : members.shape[1]] = members
    bits = np.packbits(padded, axis=1, bitorder="little").view(np.uint64)
    return PoolMasks(bits, scales[order].astype(np.float32), areas[order].astype(np.float32))
