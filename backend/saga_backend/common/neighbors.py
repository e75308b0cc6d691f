"""Nearest neighbors among Gaussian centers (pykdtree, parallel).

A k-d tree cannot split coincident points: a leaf with a million of them is compared with itself for hours. Such points
exist: deleted Gaussians share one position in Blender. Only a few points of each position enter the tree.
"""

from __future__ import annotations

import numpy as np
from pykdtree.kdtree import KDTree

_MAX_COINCIDENT = 32  # points at one position that the tree handles without trouble


def nearest(points: np.ndarray, k: int, queries: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The `k` nearest points of each query.

    By default the points themselves are queried: each finds itself first, or a coincident point.

    Args:
        points: [N,3] float32, scene units.
        k: number of neighbors; if there are fewer points, they repeat.
        queries: [Q,3].

    Returns:
        ids [Q,k] int32 and distances [Q,k] float32 (scene units), nearest first.
    """
    points = np.ascontiguousarray(points, dtype=np.float32)
    representative = _representatives(points, max(k, _MAX_COINCIDENT))
    if representative is None:
        return _query(points, points if queries is None else queries, k)
    kept = np.flatnonzero(representative == np.arange(len(points)))
    if queries is not None:
        ids, distances = _query(points[kept], queries, k)
        return kept[ids].astype(np.int32), distances
    ids, distances = _query(points[kept], points[kept], k)
    place = np.searchsorted(kept, representative)
    ids, distances = kept[ids].astype(np.int32)[place], distances[place]
    others = np.flatnonzero(representative != np.arange(len(points)))
    ids[others, 0] = others
    return ids, distances


def _query(points: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """`nearest` with a tree of all points."""
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    count = min(k, len(points))
    distances, ids = KDTree(points).query(queries, k=count)
    distances, ids = distances.reshape(len(queries), count), ids.reshape(len(queries), count)
    ids, distances = ids.astype(np.int32, copy=False), distances.astype(np.float32, copy=False)
    if count == k:
        return ids, distances
    fill = np.arange(k) % count
    return ids[:, fill], distances[:, fill]


def _representatives(points: np.ndarray, limit: int) -> np.ndarray | None:
    """[N] int64, the point that represents each point in the tree; None if every point represents itself.

    The first `limit` points of a position represent themselves; the first one represents the others.

    Args:
        points: [N,D] float32.
        limit: points of one position that enter the tree.
    """
    factors = np.random.default_rng(0).integers(1 << 63, size=points.shape[1], dtype=np.uint64) | np.uint64(1)
    keys = points.view(np.uint32) @ factors  # equal for equal points; the product wraps around
    in_order = np.sort(keys)
    if not (in_order[limit:] == in_order[:-limit]).any():
        return None
    order = np.argsort(keys, kind="stable")
    begins = np.flatnonzero(np.append(True, np.diff(keys[order]) != 0))
    sizes = np.diff(np.append(begins, len(keys)))
    first, behind = np.repeat(order[begins], sizes), np.arange(len(keys)) - np.repeat(begins, sizes)
    beyond = (behind >= limit) & (points[order] == points[first]).all(axis=1)  # different points may have equal keys
    out = np.arange(len(points))
    out[order[beyond]] = first[beyond]
    return out


def nearest_known(means: np.ndarray, known: np.ndarray) -> np.ndarray:
    """[N] int64: each of N points [N,3] if it is known ([N] bool), otherwise the nearest known point."""
    place = np.arange(len(means))
    if known.any() and not known.all():
        closest, _ = nearest(means[known], 1, means[~known])
        place[~known] = np.flatnonzero(known)[closest[:, 0]]
    return place
