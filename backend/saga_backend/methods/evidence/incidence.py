"""How much of every Gaussian lies in every mask of every view, as sparse rows: B_v = M_v W_v and Vis_v = 1 W_v."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from scipy import sparse

from ...masks.pool import PoolMasks
from ...rows import Rows


@dataclass(frozen=True, eq=False)
class Incidence:
    """Masks of V views, M in all, against N Gaussians; masks are ordered by view.

    Attributes:
        inside: [M,N] sparse float32 (CSR): blending weight that a Gaussian has inside a mask, summed over its pixels.
        shown: [V,N] sparse float32 (CSR): the same over all pixels of a view's pool.
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

    def masses(self) -> np.ndarray:
        """[M] float32: blending weight inside every mask."""
        return np.asarray(self.inside.sum(axis=1), np.float32).ravel()

    def shows(self) -> np.ndarray:
        """[N] bool: Gaussians that have weight in some view."""
        return np.bincount(self.shown.indices, minlength=self.inside.shape[1]) > 0

    def overlaps(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Blending weight of some Gaussians in every mask [M] and in every view [V].

        Args:
            chosen: [N] float32, how much each Gaussian counts (0 or 1 for a selection).
        """
        chosen = np.ascontiguousarray(chosen, np.float32)
        return _product(self.inside, chosen), _product(self.shown, chosen)

    def columns(self, ids: np.ndarray) -> Incidence:
        """The same masks over some Gaussians only, renumbered in the order of `ids`."""
        return Incidence(self.inside[:, ids].tocsr(), self.shown[:, ids].tocsr(), self.first, self.scales)


class IncidenceBuilder:
    """Takes in one view after another; of a view's rows only the sums stay.

    Args:
        count: N, Gaussians.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._inside, self._shown = _Stack(), _Stack()
        self._scales: list[np.ndarray] = []

    def add(self, rows: Rows, masks: PoolMasks) -> None:
        """Take a view in: the rows of its pixels and its masks over the same pixels."""
        weights = sparse.csr_matrix((rows.weights, rows.ids, rows.offsets), shape=(len(rows), self._count))
        members = sparse.csr_matrix(masks.members().T.astype(np.float32))
        self._inside.add((members @ weights).tocsr())
        self._shown.add(sparse.csr_matrix(rows.mass(self._count).astype(np.float32)[None]))
        self._scales.append(masks.scales)

    def build(self) -> Incidence:
        """The incidence of all views taken in."""
        first = np.concatenate([[0], np.cumsum([len(s) for s in self._scales])]).astype(np.int64)
        scales = np.concatenate([*self._scales, np.zeros(0, np.float32)]).astype(np.float32)
        return Incidence(self._inside.matrix(self._count), self._shown.matrix(self._count), first, scales)


class _Stack:
    """Sparse rows below each other. Arrays that grow where they lie: joined at the end, they would be there twice."""

    def __init__(self) -> None:
        self._values, self._ids = np.empty(0, np.float32), np.empty(0, np.int32)
        self._lengths: list[np.ndarray] = []

    def add(self, part: sparse.csr_matrix) -> None:
        start, end = len(self._values), len(self._values) + part.nnz
        for array, more in ((self._values, part.data), (self._ids, part.indices)):
            array.resize(end, refcheck=False)  # nobody else has it before `matrix`
            array[start:] = more
        self._lengths.append(np.diff(part.indptr))

    def matrix(self, count: int) -> sparse.csr_matrix:
        """All rows, of `count` columns."""
        lengths = np.concatenate([*self._lengths, np.zeros(0, np.int32)])
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        return sparse.csr_matrix((self._values, self._ids, offsets), shape=(len(lengths), count))


def _product(matrix: sparse.csr_matrix, vector: np.ndarray) -> np.ndarray:
    out = np.empty(matrix.shape[0], np.float32)
    _times(matrix.indptr, matrix.indices, matrix.data, vector, out)
    return out


@numba.njit(parallel=True, cache=True)
def _times(offsets, ids, values, vector, out):
    for row in numba.prange(len(offsets) - 1):
        total = np.float32(0.0)
        for k in range(offsets[row], offsets[row + 1]):
            total += values[k] * vector[ids[k]]
        out[row] = total
