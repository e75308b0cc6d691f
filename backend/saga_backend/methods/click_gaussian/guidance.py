"""Global Feature-guided Learning (section 3.4): clusters of the mean features of all masks, and their loss."""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
from scipy import sparse

from ...common.density_clusters import hdbscan
from ...common.progress import Control
from .levels import LevelView
from .settings import ClickSettings

_BLOCK = 1024  # Gaussians that share a thread's buffers
_MIN_FEATURES = 4  # minimum number of mask features of a cluster, even with few views


def global_clusters(
    features: np.ndarray, views: Sequence[LevelView], settings: ClickSettings, control: Control
) -> list[np.ndarray]:
    """Find the clusters of every level, [C,D_l] float32 unit vectors: the global feature candidates.

    Args:
        features: [N,D].
        views: all views.
        settings: levels, epsilons and share.
        control: progress and cancellation.
    """
    means: list[list[np.ndarray]] = [[] for _ in range(settings.levels)]
    for index, view in enumerate(views):
        control.progress("finding clusters", index, len(views))
        pixels = view.rows.blend(features)
        for level, labels in enumerate(view.labels):
            means[level].append(_unit(_mask_means(pixels[:, settings.span(level)], labels)))
    smallest = max(_MIN_FEATURES, round(settings.share * len(views)))
    return [
        _find_clusters(np.concatenate(level), smallest, epsilon, control)
        for level, epsilon in zip(means, settings.epsilons, strict=True)
    ]


def _mask_means(pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """[M,D] mean feature of the pixels of every mask (Eq. 6)."""
    _, masks, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weights = sparse.csr_matrix((1 / counts[masks], (masks, np.arange(len(labels)))))
    return np.asarray(weights @ pixels, np.float32)


def _find_clusters(vectors: np.ndarray, smallest: int, epsilon: float, control: Control) -> np.ndarray:
    labels = hdbscan(vectors, smallest, control, "finding clusters", epsilon=epsilon)
    number = labels.max(initial=-1) + 1
    centers = [vectors[labels == index].mean(axis=0) for index in range(number)] or [vectors.mean(axis=0)]
    return _unit(np.stack(centers))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def guide(
    features: np.ndarray, clusters: np.ndarray, span: slice, settings: tuple[float, ...], out: np.ndarray
) -> float:
    """Loss of one level: it pulls every Gaussian to its most similar cluster and away from the others (Eq. 7 to 9).

    Args:
        features: [N,D] float32.
        clusters: [C,D_l] float32 unit vectors.
        span: channels of the level.
        settings: (weight of the loss, tau_g, margin of the level).
        out: [N,D], receives the gradient as a sum.
    """
    weight, belongs, margin = map(np.float32, settings)
    layouts = clusters, np.ascontiguousarray(clusters.T)
    return float(weight) * _guide(features, layouts, (span.start, span.stop), (weight, belongs, margin), out)


def nearest_cluster(features: np.ndarray, clusters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The most similar cluster of each feature, [N] int32, and its cosine, [N] float32."""
    labels, cosines = np.empty(len(features), np.int32), np.empty(len(features), np.float32)
    _nearest(np.ascontiguousarray(features), clusters, labels, cosines)
    return labels, cosines


@numba.njit(parallel=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def _nearest(features, clusters, labels, cosines):
    for n in numba.prange(len(features)):
        square = np.float32(0.0)
        for c in range(features.shape[1]):
            square += features[n, c] * features[n, c]
        best, which = np.float32(-2.0), 0
        for k in range(len(clusters)):
            dot = np.float32(0.0)
            for c in range(features.shape[1]):
                dot += features[n, c] * clusters[k, c]
            if dot > best * max(np.sqrt(square), np.float32(1e-8)):
                best, which = dot / max(np.sqrt(square), np.float32(1e-8)), k
        labels[n], cosines[n] = which, best


@numba.njit(parallel=True, cache=True)
def _guide(features, layouts, span, settings, out):
    total = 0.0
    for block in numba.prange(-(-len(features) // _BLOCK)):
        total += _guide_block(features, layouts, (block * _BLOCK, *span), settings, out)
    return total / len(features)


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def _guide_block(features, layouts, bounds, settings, out):
    clusters, columns = layouts
    first, begin, end = bounds
    weight, belongs, margin = settings
    factors, pull = np.empty(len(clusters), np.float32), np.empty(end - begin, np.float32)
    total = 0.0
    for n in range(first, min(first + _BLOCK, len(features))):
        square = np.float32(0.0)
        for c in range(begin, end):
            square += features[n, c] * features[n, c]
        length = max(np.sqrt(square), np.float32(1e-8))
        loss = _factors(features[n, begin:end], columns, length, (belongs, margin), factors)
        pull[:] = 0
        for k in range(len(clusters)):
            if factors[k] != 0:
                for c in range(end - begin):
                    pull[c] += factors[k] * clusters[k, c]
        for c in range(begin, end):
            out[n, c] += weight / len(features) * (pull[c - begin] - loss * features[n, c] / length) / length
        total += loss
    return total


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def _factors(feature, columns, length, limits, out):
    """Write the factor of the cosine of each cluster to `out`; returns the loss, the weighted sum of the cosines."""
    belongs, margin = limits
    number = columns.shape[1]
    out[:] = 0
    for c in range(len(feature)):
        channel = feature[c] / length
        for k in range(number):  # contiguous memory, for vector instructions
            out[k] += channel * columns[c, k]
    best = np.argmax(out)
    highest, total = out[best], np.float32(0.0)
    for k in range(number):
        cosine = out[k]
        out[k] = np.float32(1.0) / np.float32(number) if cosine > margin and k != best else np.float32(0.0)
        total += out[k] * cosine
    if highest > belongs:
        out[best] = np.float32(-1.0)
        total -= highest
    return total
