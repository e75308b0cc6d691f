"""Contribution rows: the Gaussians of each pixel and their blending weights. Geometry is frozen, so they stay valid."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

SHOWN_ALPHA = 0.3
"""A pixel less opaque than this shows the background."""


@dataclass(frozen=True, eq=False)
class Contributions:
    """A sparse [P,N] matrix in CSR form; entry (p, i) is w = alpha_i T_i of Gaussian i at pixel p, nearest first.

    Attributes:
        offsets: [P+1] int64.
        ids: [nnz] int32, Gaussian indices.
        weights: [nnz] float32, each row sums to the pixel's alpha.
    """

    offsets: np.ndarray
    ids: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def blend(self, values: np.ndarray) -> np.ndarray:
        """[P,C] float32: per-Gaussian `values` [N,C] blended at each pixel ([P] for values [N])."""
        if values.ndim == 1:
            return self.blend(values[:, None])[:, 0]
        out = np.empty((len(self), values.shape[1]), np.float32)
        _blend(self.offsets, self.ids, self.weights, np.ascontiguousarray(values, dtype=np.float32), out)
        return out

    def alphas(self) -> np.ndarray:
        """[P] float32: the alpha of each pixel."""
        return np.add.reduceat(np.append(self.weights, np.float32(0)), self.offsets[:-1]) * (np.diff(self.offsets) > 0)

    def total_weight(self, count: int, pixel_weights: np.ndarray | None = None) -> np.ndarray:
        """[N] float64: each Gaussian's blending weight summed over all pixels (times [P] `pixel_weights`)."""
        weights = self.weights
        if pixel_weights is not None:
            weights = weights * np.repeat(pixel_weights, np.diff(self.offsets))
        return np.bincount(self.ids, weights, minlength=count)

    def take(self, pixels: np.ndarray) -> Contributions:
        """The rows of the given pixels (index array or boolean mask), in that order."""
        pixels = np.flatnonzero(pixels) if pixels.dtype == bool else pixels
        lengths = np.diff(self.offsets)[pixels]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        source = np.repeat(self.offsets[pixels] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Contributions(offsets, self.ids[source], self.weights[source])

    def strongest(self, labels: np.ndarray) -> np.ndarray:
        """[P,L] int32: the label with the largest blending weight at each pixel; -1 without a label.

        Args:
            labels: [N,L] int32, L labelings of the Gaussians; negative: unlabeled.
        """
        out = np.full((len(self), labels.shape[1]), -1, np.int32)
        _strongest(self.offsets, self.ids, self.weights, np.ascontiguousarray(labels, dtype=np.int32), out)
        return out


def concatenate(parts: list[Contributions]) -> Contributions:
    """The rows of all parts, one part after another."""
    shifts = np.concatenate([[0], np.cumsum([len(p.ids) for p in parts])])
    offsets = [p.offsets[:-1] + s for p, s in zip(parts, shifts, strict=False)]
    return Contributions(
        np.concatenate([*offsets, shifts[-1:]]),
        np.concatenate([p.ids for p in parts]),
        np.concatenate([p.weights for p in parts]),
    )


@numba.njit(parallel=True, cache=True)
def _blend(offsets, ids, weights, values, out):
    channels = values.shape[1]
    for p in numba.prange(len(offsets) - 1):
        total = np.zeros(channels, np.float32)
        for k in range(offsets[p], offsets[p + 1]):
            w = weights[k]
            i = ids[k]
            for c in range(channels):
                total[c] += w * values[i, c]
        out[p] = total


@numba.njit(parallel=True, cache=True)
def _strongest(offsets, ids, weights, labels, out):
    for p in numba.prange(len(offsets) - 1):
        begin, end = offsets[p], offsets[p + 1]
        candidates = np.empty(end - begin, np.int32)
        votes = np.empty(end - begin, np.float32)
        for level in range(labels.shape[1]):
            count = 0
            for k in range(begin, end):
                label = labels[ids[k], level]
                if label < 0:
                    continue
                slot = 0
                while slot < count and candidates[slot] != label:
                    slot += 1
                if slot == count:
                    candidates[count], votes[count] = label, 0.0
                    count += 1
                votes[slot] += weights[k]
            if count:
                out[p, level] = candidates[np.argmax(votes[:count])]
