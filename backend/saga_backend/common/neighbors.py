"""Nearest neighbors among Gaussian centers (pykdtree, parallel).

A tree cannot part points at the same place: a leaf with a million of them is compared with itself for hours. Such heaps
exist: Gaussians that were deleted in Blender all lie where the first one does. Of a heap only a few go into the tree.
"""

from __future__ import annotations

import numpy as np
from pykdtree.kdtree import KDTree

_HEAP = 32  # points at one place that a tree has no trouble with


def nearest(points: np.ndarray, k: int, queries: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The `k` nearest points of each query (default: of each point, itself first, or one at its place).

    Args:
        points: [N,3] float32, scene units.
        k: how many; fewer points than that are repeated to fill.
        queries: [Q,3].

    Returns:
        ids [Q,k] int32 and distances [Q,k] float32 (scene units), nearest first.
    """
    points = np.ascontiguousarray(points, dtype=np.float32)
    stands_for = _heaps(points, max(k, _HEAP))
    if stands_for is None:
        return _query(points, points if queries is None else queries, k)
    kept = np.flatnonzero(stands_for == np.arange(len(points)))
    if queries is not None:
        ids, distances = _query(points[kept], queries, k)
        return kept[ids].astype(np.int32), distances
    ids, distances = _query(points[kept], points[kept], k)
    place = np.searchsorted(kept, stands_for)
    ids, distances = kept[ids].astype(np.int32)[place], distances[place]
    left_out = np.flatnonzero(stands_for != np.arange(len(points)))
    ids[left_out, 0] = left_out
    return ids, distances


def _query(points: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """As `nearest`, by a tree of all points."""
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    found = min(k, len(points))
    distances, ids = KDTree(points).query(queries, k=found)
    distances, ids = distances.reshape(len(queries), found), ids.reshape(len(queries), found)
    ids, distances = ids.astype(np.int32, copy=False), distances.astype(np.float32, copy=False)
    if found == k:
        return ids, distances
    fill = np.arange(k) % found
    return ids[:, fill], distances[:, fill]


def _heaps(points: np.ndarray, most: int) -> np.ndarray | None:
    """[N] int64: for a point beyond the `most` first at one place the first one there, else itself; None: no such heap.

    Args:
        points: [N,D] float32.
        most: of a heap, so many are kept.
    """
    factors = np.random.default_rng(0).integers(1 << 63, size=points.shape[1], dtype=np.uint64) | np.uint64(1)
    keys = points.view(np.uint32) @ factors  # the same for the same place; wraps around
    in_order = np.sort(keys)
    if not (in_order[most:] == in_order[:-most]).any():
        return None
    order = np.argsort(keys, kind="stable")
    begins = np.flatnonzero(np.append(True, np.diff(keys[order]) != 0))
    sizes = np.diff(np.append(begins, len(keys)))
    first, behind = np.repeat(order[begins], sizes), np.arange(len(keys)) - np.repeat(begins, sizes)
    beyond = (behind >= most) & (points[order] == points[first]).all(axis=1)  # keys may meet by chance
    out = np.arange(len(points))
    out[order[beyond]] = first[beyond]
    return out


def nearest_known(means: np.ndarray, known: np.ndarray) -> np.ndarray:
    """[N] int64: every one of N points [N,3] itself where it is known ([N] bool), else the nearest one that is."""
    place = np.arange(len(means))
    if known.any() and not known.all():
        closest, _ = nearest(means[known], 1, means[~known])
        place[~known] = np.flatnonzero(known)[closest[:, 0]]
    return place
