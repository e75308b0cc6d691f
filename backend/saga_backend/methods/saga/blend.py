"""Smoothed unit features blended into pixels (Eq. 10 and local feature smoothing), on the CPU: value and gradient.

Only the Gaussians in the rows of the sampled pixels are smoothed, and only their neighbors get a gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from ...rasterizer.contributions import Contributions


@dataclass(frozen=True, eq=False)
class BlendResult:
    """Result of `blend`, with the values that `blend_gradient` needs.

    Attributes:
        pixels: [P,D] float32, blended features F(p).
        ids: [U] int32, Gaussians in the rows, each once.
        positions: [nnz] int32, position in `ids` of every row entry.
        units: [U,D] float32, smoothed unit features of these Gaussians.
        norms: [U] float32, lengths before normalizing.
    """

    pixels: np.ndarray
    ids: np.ndarray
    positions: np.ndarray
    units: np.ndarray
    norms: np.ndarray


def smooth(features: np.ndarray, neighbors: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the neighbors [N,K] of the Gaussians `ids` [U]: unit vectors [U,D] and former lengths [U]."""
    units, norms = np.empty((len(ids), features.shape[1]), np.float32), np.empty(len(ids), np.float32)
    _smooth(features, neighbors, ids, units, norms)
    return units, norms


def blend(features: np.ndarray, neighbors: np.ndarray, rows: Contributions) -> BlendResult:
    """Render features [N,D] at the rows' pixels."""
    ids, positions = np.unique(rows.ids, return_inverse=True)
    ids, positions = ids.astype(np.int32), positions.astype(np.int32)
    units, norms = smooth(features, neighbors, ids)
    pixels = Contributions(rows.offsets, positions, rows.weights).blend(units)
    return BlendResult(pixels, ids, positions, units, norms)


def blend_gradient(
    blended: BlendResult, neighbors: np.ndarray, rows: Contributions, upstream: np.ndarray, out: np.ndarray
) -> np.ndarray:
    """Add d loss / d features to `out` [N,D], given d loss / d pixels `upstream` [P,D].

    Returns:
        [T] int32: the Gaussians with a changed gradient, each once.
    """
    inner = np.zeros_like(blended.units)
    scatter_rows(rows.offsets, blended.positions, rows.weights, upstream, inner)
    radial = (inner * blended.units).sum(axis=1, keepdims=True)
    inner = (inner - radial * blended.units) / (blended.norms[:, None] * neighbors.shape[1])
    neighborhoods = neighbors[blended.ids]
    _scatter_neighbors(neighborhoods, inner, out)
    touched = np.zeros(len(neighbors), bool)
    touched[neighborhoods.ravel()] = True
    return np.flatnonzero(touched).astype(np.int32)


@numba.njit(parallel=True, cache=True)
def _smooth(features, neighbors, ids, units, norms):
    k, channels = neighbors.shape[1], features.shape[1]
    for u in numba.prange(len(ids)):
        total = np.zeros(channels, np.float32)
        for n in range(k):
            source = neighbors[ids[u], n]
            for c in range(channels):
                total[c] += features[source, c]
        square = np.float32(0.0)
        for c in range(channels):
            total[c] /= k
            square += total[c] * total[c]
        norm = max(np.sqrt(square), np.float32(1e-8))
        norms[u] = norm
        for c in range(channels):
            units[u, c] = total[c] / norm


@numba.njit(parallel=True, cache=True)
def scatter_rows(offsets, ids, weights, upstream, out):
    """out[id] += weight * upstream[pixel]; each thread has its own channels, so no two write to the same place."""
    channels = out.shape[1]
    parts = 4
    for part in numba.prange(parts):
        begin, end = part * channels // parts, (part + 1) * channels // parts
        for p in range(len(offsets) - 1):
            for e in range(offsets[p], offsets[p + 1]):
                for c in range(begin, end):
                    out[ids[e], c] += weights[e] * upstream[p, c]


@numba.njit(parallel=True, cache=True)
def _scatter_neighbors(neighborhoods, inner, out):
    channels = out.shape[1]
    parts = 4
    for part in numba.prange(parts):
        begin, end = part * channels // parts, (part + 1) * channels // parts
        for u in range(len(neighborhoods)):
            for n in range(neighborhoods.shape[1]):
                target = neighborhoods[u, n]
                for c in range(begin, end):
                    out[target, c] += inner[u, c]
