"""Segments of a cloud: sets of Gaussians that form an object or a part of one, each with its 3D scale.

Built-in segments come from the cloud itself. Masks of pictures become segments if enough views agree (`consensus`).
A click looks up the segments that contain it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numba
import numpy as np

from ..rasterizer.contributions import Contributions

_QUANTILES = 257
_SIZE_POWER = 0.75  # exponent of the size of a segment for its range on the slider
_END_SHARE = 0.05  # share of the slider beyond the largest scale
_MARGIN = 1.3  # factor above the largest and below the smallest scale
GROWTH = 1.05
"""Minimum ratio of the scale of a segment to the scale of its largest part."""


@dataclass(frozen=True, eq=False)
class Segments:
    """K sets of Gaussians, smallest scale first.

    Attributes:
        offsets: [K+1] int64; ids[offsets[k]:offsets[k+1]] are the Gaussians of segment k, ascending.
        ids: [E] int32.
        scales: [K] float32, 3D scale (SAGA Eq. 2 over its Gaussians), scene units, ascending.
        count: N, number of Gaussians in the cloud.
        prominence: [K] float32 above 0, contrast of a segment to its parts and to the segments that contain it.
    """

    offsets: np.ndarray
    ids: np.ndarray
    scales: np.ndarray
    count: int
    prominence: np.ndarray
    _segments_of: tuple[np.ndarray, np.ndarray] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        order = np.argsort(self.ids, kind="stable")
        number = np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.offsets))
        offsets = np.concatenate([[0], np.cumsum(np.bincount(self.ids, minlength=self.count))])
        object.__setattr__(self, "_segments_of", (offsets, number[order]))

    def __len__(self) -> int:
        return len(self.scales)

    def take(self, kept: np.ndarray) -> Segments:
        """The segments at True in `kept` [K] bool."""
        sizes = self.sizes()
        offsets = np.concatenate([[0], np.cumsum(sizes[kept])])
        ids = self.ids[np.repeat(kept, sizes)]
        return Segments(offsets.astype(np.int64), ids, self.scales[kept], self.count, self.prominence[kept])

    def members(self, segment: int) -> np.ndarray:
        """The Gaussians of a segment, int32."""
        return self.ids[self.offsets[segment] : self.offsets[segment + 1]]

    def mask(self, segments: np.ndarray | list[int]) -> np.ndarray:
        """[N] bool: the union of the given segments."""
        out = np.zeros(self.count, bool)
        for segment in segments:
            out[self.members(segment)] = True
        return out

    def sizes(self) -> np.ndarray:
        """[K] int64: number of Gaussians of every segment."""
        return np.diff(self.offsets)

    def weight_shares(self, rows: Contributions) -> np.ndarray:
        """[P,K] float32: share of each row's blending weight in each segment."""
        offsets, owners = self._segments_of
        out = np.zeros((len(rows), len(self)), np.float32)
        _sum_shares(rows.offsets, rows.ids, rows.weights, offsets, owners, out)
        return out / np.maximum(rows.alphas(), 1e-9)[:, None]

    def overlaps(self, weights: np.ndarray) -> np.ndarray:
        """[K] float32: sum of per-Gaussian weights [N] over every segment."""
        out = np.zeros(len(self), np.float32)
        _overlaps(self.offsets, self.ids, np.ascontiguousarray(weights, np.float32), out)
        return out


def from_levels(labels: np.ndarray, scales: np.ndarray, prominence: np.ndarray) -> Segments:
    """Segments from nested levels.

    Args:
        labels: [N,L] int32, segment of every Gaussian at every level, one numbering for all levels; negative: none.
        scales: 3D scale of every segment number, scene units.
        prominence: prominence of every segment number.
    """
    count, depth = labels.shape
    gaussian = np.repeat(np.arange(count, dtype=np.int32), depth)
    number = labels.ravel()
    is_new = number >= 0
    is_new[1:] &= (number[1:] != number[:-1]) | (gaussian[1:] != gaussian[:-1])  # a segment can span several levels
    used, indices = np.unique(number[is_new], return_inverse=True)
    rank = np.argsort(np.argsort(scales[used], kind="stable"), kind="stable")
    segment = rank[indices]
    order = np.argsort(segment, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(segment, minlength=len(used)))])
    ids = gaussian[is_new][order]
    by_scale = used[np.argsort(scales[used], kind="stable")]
    return Segments(
        offsets.astype(np.int64),
        ids,
        scales[by_scale].astype(np.float32),
        count,
        prominence[by_scale].astype(np.float32),
    )


def scale_table(segments: Segments) -> np.ndarray:
    """[Q] float32: sizes in scene units at the slider positions 0..1.

    A segment gets slider range by its number of Gaussians to the power of _SIZE_POWER: equal shares would leave little
    range for the few objects beside the many small parts. The slider begins below the smallest segment and ends
    beyond the largest one.
    """
    if not len(segments):
        return np.linspace(0, 1, _QUANTILES).astype(np.float32)
    ranges = segments.sizes().astype(np.float64) ** _SIZE_POWER
    ranges = np.append(ranges, ranges.sum() * _END_SHARE / (1 - _END_SHARE))
    scales = np.concatenate([segments.scales[:1] / _MARGIN, segments.scales, segments.scales[-1:] * _MARGIN])
    middles = np.append(0, np.cumsum(ranges) - ranges / 2)
    return np.interp(np.linspace(0, 1, _QUANTILES), middles / ranges.sum(), scales).astype(np.float32)


def from_sets(sets: list[np.ndarray], means: np.ndarray) -> Segments:
    """Segments from sets of Gaussians, all with the same prominence.

    Args:
        sets: [N] bool each.
        means: [N,3] centers, scene units.
    """
    count = len(means)
    members = [np.flatnonzero(s).astype(np.int32) for s in sets if s.any()]
    scales = np.array([2 * np.sqrt(means[m].astype(np.float64).var(axis=0).sum()) for m in members])
    scales = _raise_scales(members, scales, count)
    order = np.argsort(scales, kind="stable")
    members = [members[i] for i in order]
    offsets = np.concatenate([[0], np.cumsum([len(m) for m in members], dtype=np.int64)]).astype(np.int64)
    ids = np.concatenate(members) if members else np.zeros(0, np.int32)
    return Segments(offsets, ids, scales[order].astype(np.float32), count, np.ones(len(scales), np.float32))


def _raise_scales(members: list[np.ndarray], scales: np.ndarray, count: int) -> np.ndarray:
    """The scales, raised where a segment contains most of a smaller segment with a larger scale."""
    scales = scales.copy()
    largest = np.zeros(count)  # per Gaussian: the largest scale of the previous segments that contain it
    for k in sorted(range(len(members)), key=lambda k: len(members[k])):
        parts = largest[members[k]]
        if len(parts):
            scales[k] = max(scales[k], GROWTH * np.quantile(parts, 0.95, method="lower") if parts.any() else 0)
        np.maximum.at(largest, members[k], scales[k])
    return scales


@numba.njit(cache=True, nogil=True)
def _sum_shares(offsets, ids, weights, starts, owners, out):
    for p in range(len(offsets) - 1):
        for e in range(offsets[p], offsets[p + 1]):
            for h in range(starts[ids[e]], starts[ids[e] + 1]):
                out[p, owners[h]] += weights[e]


@numba.njit(parallel=True, cache=True)
def _overlaps(offsets, ids, weights, out):
    for k in numba.prange(len(out)):
        total = 0.0
        for e in range(offsets[k], offsets[k + 1]):
            total += weights[ids[e]]
        out[k] = total
