"""HDBSCAN (Campello et al. 2013) of some thousand vectors, in steps that can be cancelled.

The package `hdbscan` makes the clusters from a graph of distances. It is given the minimum spanning tree, which is
found here: the package holds Python's lock for seconds while it finds one, and every click would wait for it.
"""

from __future__ import annotations

import numba
import numpy as np
from hdbscan import HDBSCAN
from scipy.sparse import csr_matrix

from .neighbors import nearest
from .progress import Control

_STEPS = 512  # vectors joined to the tree between two looks at the control
_SHORTEST = 1e-9  # length of an edge: in a sparse graph, 0 would be no edge


def hdbscan(
    vectors: np.ndarray,
    smallest: int,
    control: Control,
    phase: str = "clustering",
    alike: float = 0.0,
    epsilon: float = 0.0,
) -> np.ndarray:
    """Cluster by density, excess of mass; no single cluster of everything.

    Args:
        vectors: [n,D] float32, Euclidean.
        smallest: vectors that a cluster holds at least, and that count for the density, itself among them; 2 or more.
        control: told the progress as `phase`.
        alike: vectors no farther apart than this (Euclidean) are as near as can be; density does not part them.
        epsilon: clusters nearer than this (Euclidean) are one (the package's `cluster_selection_epsilon`).

    Returns:
        [n] int32, cluster of each vector, from 0; -1 for noise.

    Raises:
        Cancelled: if the control was cancelled.
    """
    if len(vectors) <= smallest:
        return np.full(len(vectors), -1, np.int32)
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    edges = spanning_tree(vectors, smallest, control, phase)
    edges[:, 2] = np.maximum(edges[:, 2], alike)
    return tree_clusters(edges, smallest, epsilon)


def tree_clusters(edges: np.ndarray, smallest: int, epsilon: float = 0.0) -> np.ndarray:
    """[n] int32, the cluster of each vector, -1 for noise, from the edges [n-1,3] of a spanning tree (spanning_tree).

    With one sample a core, the package takes the lengths as they are: no edge is shorter than the shortest at its ends.
    """
    ends, count = edges[:, :2].astype(np.int32), len(edges) + 1
    lengths = np.maximum(edges[:, 2], _SHORTEST)
    both = (np.tile(lengths, 2), (np.concatenate([ends[:, 0], ends[:, 1]]), np.concatenate([ends[:, 1], ends[:, 0]])))
    options = {"min_cluster_size": smallest, "min_samples": 1, "cluster_selection_epsilon": float(epsilon)}
    clusterer = HDBSCAN(metric="precomputed", **options)
    return clusterer.fit(csr_matrix(both, shape=(count, count))).labels_.astype(np.int32)


def spanning_tree(vectors: np.ndarray, smallest: int, control: Control, phase: str = "clustering") -> np.ndarray:
    """[n-1,3] float64 edges (from, to, length) of a minimum spanning tree of the mutual reachability (Prim 1957).

    The mutual reachability of two vectors is the largest of their distance and of the distances in which each has
    `smallest` vectors about it, itself among them. Arguments and errors as for `hdbscan`, n > smallest.
    """
    n = len(vectors)
    control.progress(phase, 0, n)
    core = nearest(vectors, smallest)[1][:, -1]
    joined, edges = _Prim(n), np.empty((n - 1, 3))
    for begin in range(0, n - 1, _STEPS):
        control.progress(phase, begin, n)
        _prim(vectors, core, joined.state, edges[begin : begin + _STEPS])
    return edges


class _Prim:
    """A spanning tree in the making.

    Attributes:
        state: ids of the vectors outside the tree first, then the others; their number in a [1] array; the distance
            of each vector to the tree, and from which vector of it; the vector that came last, in a [1] array.
    """

    def __init__(self, n: int) -> None:
        outside = np.arange(1, n, dtype=np.int64)
        distance, source = np.full(n, np.inf, np.float32), np.zeros(n, np.int64)
        self.state = (outside, np.array([n - 1]), distance, source, np.zeros(1, np.int64))


@numba.njit(cache=True, nogil=True, fastmath=True)
def _prim(vectors, core, state, edges):
    """Join as many vectors as there are rows of `edges`; each row: a vector, the one it joins to, their distance."""
    outside, count, distance, source, last = state
    for row in range(len(edges)):
        new, best = last[0], 0
        for place in range(count[0]):
            i = outside[place]
            total = np.float32(0.0)
            for c in range(vectors.shape[1]):
                step = vectors[i, c] - vectors[new, c]
                total += step * step
            reach = max(np.sqrt(total), core[i], core[new])
            if reach < distance[i]:
                distance[i], source[i] = reach, new
            if distance[i] < distance[outside[best]]:
                best = place
        taken = outside[best]
        edges[row, 0], edges[row, 1], edges[row, 2] = source[taken], taken, distance[taken]
        count[0] -= 1
        outside[best] = outside[count[0]]
        last[0] = taken
