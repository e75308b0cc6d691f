"""The union-find forest against scipy's connected components."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from saga_backend.common.union_find import find, roots


@pytest.mark.parametrize("edges", [0, 1, 40, 400])
def test_nodes_share_a_root_where_scipy_connects_them(rng, edges):
    count, pairs = 200, rng.integers(0, 200, (edges, 2))
    parent = np.arange(count, dtype=np.int32)
    for a, b in pairs:
        parent[find(parent, b)] = find(parent, a)
    found = roots(parent)
    assert found.dtype == np.int32 and (found[found] == found).all()
    graph = coo_matrix((np.ones(edges), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    expected = connected_components(graph, directed=False)[1]
    np.testing.assert_array_equal(np.unique(np.stack([found, expected]), axis=1).shape[1], expected.max() + 1)
    assert len(np.unique(found)) == expected.max() + 1
