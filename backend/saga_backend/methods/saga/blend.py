"""Smoothed unit features blended into pixels (Eq. 10 and local feature smoothing), on the CPU: value and gradient.

Only the Gaussians that the sampled pixels see are smoothed, and only their neighbors get a gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from ...rasterizer.contributions import Contributions


@dataclass(frozen=True, eq=False)
class Blended:
    """Result of `blend`, with what the way back needs.

    Attributes:
        pixels: [P,D] float32, blended features F(p).
        seen: [U] int32, Gaussians in the rows, each once.
        local: [nnz] int32, position in `seen` of every row entry.
        units: [U,D] float32, their smoothed unit features.
        norms: [U] float32, lengths before normalizing.
    """

    pixels: np.ndarray
    seen: np.ndarray
    local: np.ndarray
    units: np.ndarray
    norms: np.ndarray


def smooth(features: np.ndarray, neighbors: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the neighbors [N,K] of the Gaussians `ids` [U], as unit vectors [U,D] and their former lengths [U]."""
    units, norms = np.empty((len(ids), features.shape[1]), np.float32), np.empty(len(ids), np.float32)
    _smooth(features, neighbors, ids, units, norms)
    return units, norms


def blend(features: np.ndarray, neighbors: np.ndarray, rows: Contributions) -> Blended:
    """Render features [N,D] at the rows' pixels."""
    seen, local = np.unique(rows.ids, return_inverse=True)
    seen, local = seen.astype(np.int32), local.astype(np.int32)
    units, norms = smooth(features, neighbors, seen)
    pixels = Contributions(rows.offsets, local, rows.weights).blend(units)
    return Blended(pixels, seen, local, units, norms)


def blend_gradient(
    blended: Blended, neighbors: np.ndarray, rows: Contributions, upstream: np.ndarray, out: np.ndarray
) -> np.ndarray:
    """Add d loss / d features to `out` [N,D], given d loss / d pixels `upstream` [P,D].

    Returns:
        [T] int32: the Gaussians whose gradient was touched, each once.
    """
    inner = np.zeros_like(blended.units)
    scatter_rows(rows.offsets, blended.local, rows.weights, upstream, inner)
    along = (inner * blended.units).sum(axis=1, keepdims=True)
    inner = (inner - along * blended.units) / (blended.norms[:, None] * neighbors.shape[1])
    around = neighbors[blended.seen]
    _scatter_neighbors(around, inner, out)
    touched = np.zeros(len(neighbors), bool)
    touched[around.ravel()] = True
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
def scatter_rows(offsets, local, weights, upstream, out):
    """out[local] += w upstream[pixel]; threads share out the channels, so that no two write the same number."""
    channels = out.shape[1]
    parts = 4
    for part in numba.prange(parts):
        begin, end = part * channels // parts, (part + 1) * channels // parts
        for p in range(len(offsets) - 1):
            for e in range(offsets[p], offsets[p + 1]):
                for c in range(begin, end):
                    out[local[e], c] += weights[e] * upstream[p, c]


@numba.njit(parallel=True, cache=True)
def _scatter_neighbors(around, inner, out):
    channels = out.shape[1]
    parts = 4
    for part in numba.prange(parts):
        begin, end = part * channels // parts, (part + 1) * channels // parts
        for u in range(len(around)):
            for n in range(around.shape[1]):
                target = around[u, n]
                for c in range(begin, end):
                    out[target, c] += inner[u, c]
