"""The contrastive loss over pixel pairs (Eq. 3 to 5) on the CPU: value and gradient, one level at a time.

The cosines of all pairs in one mask add up to the squared length of the sum of its unit features. So only the pairs of
different masks take a loop.
"""

from __future__ import annotations

import numba
import numpy as np

_BLOCK = 32
"""Pixels per matrix product of cosines: 1.3 MB for 10,000 pixels, which fits into a core's cache."""


def contrast(
    pixels: np.ndarray, labels: np.ndarray, margin: float, weight: float, frozen: int = 0
) -> tuple[float, np.ndarray]:
    """Loss of a level and its gradient with respect to the features of the pixels.

    Args:
        pixels: [P,D] float32, blended features of the level.
        labels: [P] int32, the mask of each pixel, from 0.
        margin: tau; pixels of different masks count if their cosine exceeds it.
        weight: lambda_neg.
        frozen: number of first channels without a gradient from pixels of different masks (stop-gradient).
    """
    lengths = np.maximum(np.linalg.norm(pixels, axis=1, keepdims=True), 1e-8)
    units = pixels / lengths
    pairs = len(pixels) ** 2
    sums = np.zeros((labels.max(initial=0) + 1, units.shape[1]), np.float32)
    np.add.at(sums, labels, units)
    loss = -float(np.square(sums, dtype=np.float64).sum()) / pairs
    gradient = _along_sphere(-2 / pairs * sums[labels], units, lengths)
    if weight:
        cosine_sum, partners = _sum_negative_pairs(units, labels, margin)
        push = _along_sphere(np.float32(2 * weight / pairs) * partners, units, lengths)
        push[:, :frozen] = 0
        loss, gradient = loss + weight * cosine_sum / pairs, gradient + push
    return (loss, gradient) if np.isfinite(lengths).all() else (float("nan"), gradient)


def _along_sphere(upstream: np.ndarray, units: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Turn the gradient with respect to unit vectors into the gradient with respect to the vectors."""
    return (upstream - (upstream * units).sum(axis=1, keepdims=True) * units) / lengths


def _sum_negative_pairs(units: np.ndarray, labels: np.ndarray, margin: float) -> tuple[float, np.ndarray]:
    """Sum of the cosines above the margin over pairs of different masks, and [P,D] sum of each pixel's partners."""
    partners = np.zeros_like(units)
    return _sum_pairs(units, np.ascontiguousarray(units.T), labels, np.float32(margin), partners), partners


@numba.njit(parallel=True, cache=True)
def _sum_pairs(units, columns, labels, margin, partners):
    total = 0.0
    for block in numba.prange(-(-len(units) // _BLOCK)):
        total += _sum_block(block * _BLOCK, (units, columns, labels, margin), partners)
    return total


@numba.njit(cache=True, nogil=True)
def _sum_block(first, pixels, partners):
    units, columns, labels, margin = pixels
    cosines = np.dot(units[first : first + _BLOCK], columns)
    total = 0.0
    for row in range(len(cosines)):
        i = first + row
        for j in range(len(units)):
            if cosines[row, j] > margin and labels[j] != labels[i]:
                total += cosines[row, j]
                for c in range(len(columns)):
                    partners[i, c] += units[j, c]
    return total
