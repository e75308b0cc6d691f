"""HDBSCAN (Campello et al. 2013) of a few thousand vectors, in steps with cancellation.

This module finds the minimum spanning tree, and the package `hdbscan` finds the clusters of the tree. The package can
also find the tree, but it would hold Python's global lock for seconds, and every click would wait.
"""

from __future__ import annotations

import numba
import numpy as np
from hdbscan import HDBSCAN
from scipy.sparse import csr_matrix

from .neighbors import nearest
from .progress import Control

_BATCH = 512  # vectors added to the tree between two checks for cancellation
_MIN_LENGTH = 1e-9  # minimum length of an edge: in a sparse graph, length 0 means no edge


def hdbscan(
    vectors: np.ndarray,
    smallest: int,
    control: Control,
    phase: str = "clustering",
    min_distance: float = 0.0,
    epsilon: float = 0.0,
) -> np.ndarray:
    """Cluster vectors by density, with the excess of mass method and without a single cluster of all vectors.

    Args:
        vectors: [n,D] float32, Euclidean.
        smallest: minimum number of vectors in a cluster and of neighbors for the density, the vector included; >= 2.
        control: progress and cancellation.
        phase: name of the progress.
        min_distance: smaller distances (Euclidean) count as this one, so density does not split such vectors.
        epsilon: clusters with a smaller distance (Euclidean) are one (the package's `cluster_selection_epsilon`).

    Returns:
        [n] int32, cluster of each vector, from 0; -1 for noise.

    Raises:
        Cancelled: if the control was cancelled.
    """
    if len(vectors) <= smallest:
        return np.full(len(vectors), -1, np.int32)
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    edges = spanning_tree(vectors, smallest, control, phase)
    edges[:, 2] = np.maximum(edges[:, 2], min_distance)
    return tree_clusters(edges, smallest, epsilon)


def tree_clusters(edges: np.ndarray, smallest: int, epsilon: float = 0.0) -> np.ndarray:
    """[n] int32, the cluster of each vector, -1 for noise, from the edges [n-1,3] of `spanning_tree`.

    With `min_samples` 1, the package keeps the lengths: no edge is shorter than the shortest edge of its ends.
    """
    ends, count = edges[:, :2].astype(np.int32), len(edges) + 1
    lengths = np.maximum(edges[:, 2], _MIN_LENGTH)
    pairs = (np.concatenate([ends[:, 0], ends[:, 1]]), np.concatenate([ends[:, 1], ends[:, 0]]))
    options = {"min_cluster_size": smallest, "min_samples": 1, "cluster_selection_epsilon": float(epsilon)}
    clusterer = HDBSCAN(metric="precomputed", **options)
    return clusterer.fit(csr_matrix((np.tile(lengths, 2), pairs), shape=(count, count))).labels_.astype(np.int32)


def spanning_tree(vectors: np.ndarray, smallest: int, control: Control, phase: str = "clustering") -> np.ndarray:
    """[n-1,3] float64 edges (from, to, length) of a minimum spanning tree of the mutual reachability (Prim 1957).

    The core distance of a vector is the radius with `smallest` vectors around it, itself included. The mutual
    reachability of two vectors is the maximum of their distance and their core distances. `hdbscan` has the same
    arguments and errors; n > smallest.
    """
    n = len(vectors)
    control.progress(phase, 0, n)
    core = nearest(vectors, smallest)[1][:, -1]
    tree, edges = _Prim(n), np.empty((n - 1, 3))
    for begin in range(0, n - 1, _BATCH):
        control.progress(phase, begin, n)
        _prim(vectors, core, tree.state, edges[begin : begin + _BATCH])
    return edges


class _Prim:
    """An incomplete spanning tree.

    Attributes:
        state: arrays for `_prim`: ids of the vectors, those outside the tree first; [1], the number of vectors outside;
            distance of each vector to the tree; the nearest vector in the tree; [1], the newest vector in the tree.
    """

    def __init__(self, n: int) -> None:
        outside = np.arange(1, n, dtype=np.int64)
        distance, source = np.full(n, np.inf, np.float32), np.zeros(n, np.int64)
        self.state = (outside, np.array([n - 1]), distance, source, np.zeros(1, np.int64))


@numba.njit(cache=True, nogil=True, fastmath=True)
def _prim(vectors, core, state, edges):
    """Add one vector per row of `edges` to the tree; a row is (vector in the tree, new vector, distance)."""
    outside, count, distance, source, last = state
    for row in range(len(edges)):
        new, best = last[0], 0
        for index in range(count[0]):
            i = outside[index]
            total = np.float32(0.0)
            for c in range(vectors.shape[1]):
                step = vectors[i, c] - vectors[new, c]
                total += step * step
            reach = max(np.sqrt(total), core[i], core[new])
            if reach < distance[i]:
                distance[i], source[i] = reach, new
            if distance[i] < distance[outside[best]]:
                best = index
        nearest_id = outside[best]
        edges[row, 0], edges[row, 1], edges[row, 2] = source[nearest_id], nearest_id, distance[nearest_id]
        count[0] -= 1
        outside[best] = outside[count[0]]
        last[0] = nearest_id
