"""Blending weight of every Gaussian in every mask of every view, as sparse rows: B_v = M_v W_v and Vis_v = 1 W_v."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from scipy import sparse

from ...masks.sampled import SampledMasks
from ...rasterizer.contributions import Contributions


@dataclass(frozen=True, eq=False)
class Incidence:
    """The M masks of V views against N Gaussians; masks are ordered by view.

    Attributes:
        inside: [M,N] sparse float32 (CSR): blending weight of a Gaussian inside a mask, summed over its pixels.
        shown: [V,N] sparse float32 (CSR): the same over all sampled pixels of a view.
        first: [V+1] int64: masks first[v] to first[v+1] are view v's.
        scales: [M] float32, 3D scale of every mask (SAGA Eq. 2), scene units.
    """

    inside: sparse.csr_matrix
    shown: sparse.csr_matrix
    first: np.ndarray
    scales: np.ndarray

    @property
    def view_of(self) -> np.ndarray:
        """[M] int64: the view of every mask."""
        return np.repeat(np.arange(len(self.first) - 1), np.diff(self.first))

    def shows(self) -> np.ndarray:
        """[N] bool: Gaussians with weight in at least one view."""
        return np.bincount(self.shown.indices, minlength=self.inside.shape[1]) > 0


class IncidenceBuilder:
    """Accumulates views one by one; only the sums of a view's rows are kept.

    Args:
        count: N, number of Gaussians.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._inside, self._shown = _Stack(), _Stack()
        self._scales: list[np.ndarray] = []

    def add(self, rows: Contributions, masks: SampledMasks) -> None:
        """Add a view: the rows of its pixels and its masks over the same pixels."""
        whole = rows.total_weight(self._count).astype(np.float32)
        ids = np.flatnonzero(whole).astype(np.int32)
        self._shown.add(ids, whole[ids], np.array([len(ids)]))
        self._inside.add(*_inside(rows, masks, self._count, len(ids)))
        self._scales.append(masks.scales)

    def build(self) -> Incidence:
        """The incidence of all added views."""
        first = np.concatenate([[0], np.cumsum([len(s) for s in self._scales])]).astype(np.int64)
        scales = np.concatenate([*self._scales, np.zeros(0, np.float32)]).astype(np.float32)
        return Incidence(self._inside.matrix(self._count), self._shown.matrix(self._count), first, scales)


class _Stack:
    """Stacked sparse rows. The arrays grow in place, because a final concatenation would need twice the memory."""

    def __init__(self) -> None:
        self._values, self._ids = np.empty(0, np.float32), np.empty(0, np.int32)
        self._lengths: list[np.ndarray] = []

    def add(self, ids: np.ndarray, values: np.ndarray, lengths: np.ndarray) -> None:
        start, end = len(self._values), len(self._values) + len(values)
        for array, more in ((self._values, values), (self._ids, ids)):
            array.resize(end, refcheck=False)  # no other reference exists before `matrix`
            array[start:] = more
        self._lengths.append(lengths)

    def matrix(self, count: int) -> sparse.csr_matrix:
        """All rows, of `count` columns."""
        lengths = np.concatenate([*self._lengths, np.zeros(0, np.int32)])
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        return sparse.csr_matrix((self._values, self._ids, offsets), shape=(len(lengths), count))


def _inside(
    rows: Contributions, masks: SampledMasks, count: int, shown: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The weight of Gaussians in every mask of a view, as sparse rows: ids, weights and lengths [M].

    Args:
        rows: of the view's pixels.
        masks: over the same pixels.
        count: N, Gaussians.
        shown: number of Gaussians that the view shows, an upper limit for each mask.
    """
    total = len(masks.scales)
    most = np.zeros(total, np.int64)
    _count_entries(rows.offsets, masks.bits, most)
    starts = np.concatenate([[0], np.cumsum(np.minimum(most, shown))])
    ids, values = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.float32)
    lengths = np.zeros(total, np.int64)
    parts = min(4 * numba.get_num_threads(), max(total, 1))
    _sum_masks(parts, (rows.offsets, rows.ids, rows.weights), masks.bits, count, (starts, ids, values, lengths))
    kept = np.arange(starts[-1]) - np.repeat(starts[:-1], np.diff(starts)) < np.repeat(lengths, np.diff(starts))
    return ids[kept], values[kept], lengths


@numba.njit(inline="always")
def _covers(bits, p, m):
    return (bits[p, m // 64] >> np.uint64(m % 64)) & np.uint64(1) != 0


@numba.njit(cache=True, nogil=True)
def _count_entries(offsets, bits, out):
    for m in range(len(out)):
        total = 0
        for p in range(len(bits)):
            if _covers(bits, p, m):
                total += offsets[p + 1] - offsets[p]
        out[m] = total


@numba.njit(parallel=True, cache=True)
def _sum_masks(parts, rows, bits, count, out):
    for part in numba.prange(parts):  # masks are sorted by size, so every part gets some large ones
        _sum_part(part, parts, rows, bits, count, out)


@numba.njit(cache=True, nogil=True)
def _sum_part(part, parts, rows, bits, count, out):
    offsets, ids, weights = rows
    starts, touched, values, lengths = out
    sums = np.zeros(count, np.float32)
    for m in range(part, len(lengths), parts):
        end = starts[m]
        for p in range(len(bits)):
            if not _covers(bits, p, m):
                continue
            for k in range(offsets[p], offsets[p + 1]):
                if weights[k] > 0.0:
                    if sums[ids[k]] == 0.0:
                        touched[end] = ids[k]
                        end += 1
                    sums[ids[k]] += weights[k]
        for at in range(starts[m], end):
            values[at] = sums[touched[at]]
            sums[touched[at]] = 0.0
        lengths[m] = end - starts[m]
