"""The regularization losses (Eq. 10 to 12) on the CPU: value and gradient."""

from __future__ import annotations

import numba
import numpy as np


def sphere_loss(features: np.ndarray, parts: int, weight: float, out: np.ndarray) -> float:
    """Pull every part of every feature to length 1 (Eq. 10); returns the loss.

    Args:
        features: [N,D] float32.
        parts: number of equal parts of the channels.
        weight: weight of the loss.
        out: [N,D], receives the gradient as a sum.
    """
    return weight * _sphere(features, parts, np.float32(weight), out)


def rendered_loss(pixels: np.ndarray, radius: float, weight: float) -> tuple[float, np.ndarray]:
    """Pull features of sampled pixels [P,D] to the length of a level (Eq. 11); returns loss and gradient [P,D]."""
    lengths = np.maximum(np.linalg.norm(pixels, axis=1, keepdims=True), 1e-8)
    errors = lengths - np.float32(radius)
    loss = weight * float(np.square(errors, dtype=np.float64).mean())
    return loss, np.float32(2 * weight / len(pixels)) * errors * pixels / lengths


def spatial_loss(features: np.ndarray, ids: np.ndarray, neighbors: np.ndarray, weight: float, out: np.ndarray) -> float:
    """Pull sampled Gaussians and their neighbors together (Eq. 12); returns the loss.

    Args:
        features: [N,D] float32.
        ids: [S] int32 sampled Gaussians.
        neighbors: [N,K] int32, neighbors of every Gaussian, without itself.
        weight: weight of the loss.
        out: [N,D], receives the gradient as a sum.
    """
    cosines, inverse = np.empty((len(ids), neighbors.shape[1]), np.float32), np.empty(len(features), np.float32)
    _cosines(features, ids, neighbors, inverse, cosines)
    _pull(features, (inverse, cosines), ids, neighbors, np.float32(weight / cosines.size), out)
    return -weight * float(cosines.mean(dtype=np.float64))


@numba.njit(parallel=True, cache=True)
def _sphere(features, parts, weight, out):
    total = 0.0
    count, channels = features.shape
    width = channels // parts
    for n in numba.prange(count):
        loss = np.float32(0.0)
        for part in range(parts):
            square = np.float32(0.0)
            for c in range(part * width, (part + 1) * width):
                square += features[n, c] * features[n, c]
            length = max(np.sqrt(square), np.float32(1e-8))
            error = length - np.float32(1.0)
            loss += error * error
            factor = np.float32(2.0) * weight * error / (length * count)
            for c in range(part * width, (part + 1) * width):
                out[n, c] += factor * features[n, c]
        total += loss
    return total / count


@numba.njit(cache=True, nogil=True)
def _inverse_length(feature):
    square = np.float32(0.0)
    for c in range(len(feature)):
        square += feature[c] * feature[c]
    return np.float32(1.0) / max(np.sqrt(square), np.float32(1e-8))


@numba.njit(parallel=True, cache=True)
def _cosines(features, ids, neighbors, inverse, out):
    """Cosines [S,K], and 1 / length of these Gaussians; threads write the same number if they share a Gaussian."""
    for s in numba.prange(len(ids)):
        i = ids[s]
        inverse[i] = _inverse_length(features[i])
        for k in range(neighbors.shape[1]):
            j = neighbors[i, k]
            inverse[j] = _inverse_length(features[j])
            dot = np.float32(0.0)
            for c in range(features.shape[1]):
                dot += features[i, c] * features[j, c]
            out[s, k] = dot * inverse[i] * inverse[j]


@numba.njit(parallel=True, cache=True)
def _pull(features, factors, ids, neighbors, weight, out):
    """Add the gradient to `out`; each thread has its own channels, so no two write to the same place."""
    inverse, cosines = factors
    channels = features.shape[1]
    parts = 4
    for part in numba.prange(parts):
        begin, end = part * channels // parts, (part + 1) * channels // parts
        for s in range(len(ids)):
            i = ids[s]
            for k in range(neighbors.shape[1]):
                j = neighbors[i, k]
                both = weight * inverse[i] * inverse[j]
                on_i = weight * cosines[s, k] * inverse[i] * inverse[i]
                on_j = weight * cosines[s, k] * inverse[j] * inverse[j]
                for c in range(begin, end):
                    fi, fj = features[i, c], features[j, c]
                    out[i, c] -= both * fj - on_i * fi
                    out[j, c] -= both * fi - on_j * fj
