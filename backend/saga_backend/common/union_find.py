"""Union-find forests for compiled loops: every node names its parent, and a root names itself."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def find(parent, node):
    """The root of a node. The path to it becomes shorter in `parent` [N]."""
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@numba.njit(cache=True, nogil=True)
def roots(parent):
    """[N], the root of every node."""
    out = np.empty_like(parent)
    for n in range(len(parent)):
        out[n] = find(parent, n)
    return out
