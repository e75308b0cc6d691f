"""Nearest neighbours among Gaussian centres (pykdtree, parallel)."""

from __future__ import annotations

import numpy as np
from pykdtree.kdtree import KDTree


def nearest(points: np.ndarray, k: int, queries: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The `k` nearest points of each query (default: of each point, itself first).

    Args:
        points: [N,3] float32, scene units.
        k: how many; fewer points than that are repeated to fill.
        queries: [Q,3].

    Returns:
        ids [Q,k] int32 and distances [Q,k] float32 (scene units), nearest first.
    """
    points = np.ascontiguousarray(points, dtype=np.float32)
    queries = points if queries is None else np.ascontiguousarray(queries, dtype=np.float32)
    found = min(k, len(points))
    distances, ids = KDTree(points).query(queries, k=found)
    distances, ids = distances.reshape(len(queries), found), ids.reshape(len(queries), found)
    ids, distances = ids.astype(np.int32, copy=False), distances.astype(np.float32, copy=False)
    if found == k:
        return ids, distances
    fill = np.arange(k) % found
    return ids[:, fill], distances[:, fill]


def nearest_known(means: np.ndarray, known: np.ndarray) -> np.ndarray:
    """[N] int64: every one of N points [N,3] itself where it is known ([N] bool), else the nearest one that is."""
    place = np.arange(len(means))
    if known.any() and not known.all():
        closest, _ = nearest(means[known], 1, means[~known])
        place[~known] = np.flatnonzero(known)[closest[:, 0]]
    return place
