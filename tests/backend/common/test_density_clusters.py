"""HDBSCAN on our spanning tree against the package's own, whole."""

from __future__ import annotations

import numpy as np
import pytest
from hdbscan import HDBSCAN
from scipy.sparse.csgraph import minimum_spanning_tree
from sklearn.metrics import adjusted_rand_score

from blender_saga.errors import Cancelled
from saga_backend.common.density_clusters import hdbscan, spanning_tree
from saga_backend.common.progress import Control
from tests.helpers.twins import unit


def blobs(rng: np.random.Generator, n: int, k: int = 6, dimensions: int = 16) -> np.ndarray:
    """k tight directions of different size, and a tenth of noise."""
    centers = unit(rng.normal(size=(k, dimensions)))
    drawn = centers[rng.choice(k, n, p=rng.dirichlet(np.full(k, 5)))] + 0.06 * rng.normal(size=(n, dimensions))
    noise = rng.random(n) < 0.1
    drawn[noise] = rng.normal(size=(noise.sum(), dimensions))
    return unit(drawn).astype(np.float32)


@pytest.mark.parametrize("smallest", [2, 5, 20])
def test_the_spanning_tree_is_as_short_as_scipys(rng, smallest):
    vectors = blobs(rng, 300)
    distance = np.linalg.norm(vectors[:, None].astype(float) - vectors, axis=2)
    core = np.sort(distance, axis=1)[:, smallest - 1]
    reach = np.maximum(np.maximum(distance, core), core[:, None])
    np.fill_diagonal(reach, 0)
    edges = spanning_tree(vectors, smallest, Control())
    assert edges[:, 2].sum() == pytest.approx(minimum_spanning_tree(reach).sum(), rel=1e-5)
    np.testing.assert_allclose(edges[:, 2], reach[edges[:, 0].astype(int), edges[:, 1].astype(int)], rtol=1e-3)
    assert sorted(edges[:, 1].astype(int).tolist()) == list(range(1, 300))  # every vector joins once


@pytest.mark.steady
@pytest.mark.parametrize("n", [300, 1500])
@pytest.mark.parametrize("smallest", [5, 20])
def test_the_clusters_are_those_of_the_package(rng, n, smallest):
    """Up to edges of equal length, of which mutual reachability has many: they may be joined in any order."""
    vectors = blobs(rng, n)
    found = hdbscan(vectors, smallest, Control())
    options = {"min_cluster_size": smallest, "min_samples": smallest - 1, "algorithm": "generic"}
    expected = HDBSCAN(**options).fit_predict(vectors.astype(float))
    assert adjusted_rand_score(expected, found) > 0.95


@pytest.mark.parametrize(("n", "smallest"), [(0, 5), (1, 5), (2, 5), (5, 5), (6, 5), (10, 5)])
def test_few_vectors_are_noise_unless_they_are_two_groups(rng, n, smallest):
    found = hdbscan(unit(rng.normal(size=(n, 3))).astype(np.float32), smallest, Control())
    assert found.shape == (n,) and found.dtype == np.int32
    two = np.repeat(np.eye(3, dtype=np.float32)[:2], 5, axis=0)
    assert len(set(hdbscan(two, 5, Control()).tolist())) == 2


def test_equal_vectors_are_no_clusters():
    assert (hdbscan(np.ones((100, 4), np.float32), 5, Control()) >= -1).all()


def test_progress_rises_and_a_cancel_is_heeded(rng):
    class Steps(Control):
        def __init__(self, stop_at: int) -> None:
            super().__init__()
            self.steps: list[int] = []
            self.stop_at = stop_at

        def emit(self, phase: str, step: int, total: int) -> None:
            self.steps.append(step)
            if step >= self.stop_at:
                self.cancel()

    vectors = blobs(rng, 3000)
    whole = Steps(10**9)
    hdbscan(vectors, 10, whole)
    assert whole.steps == sorted(whole.steps) and len(whole.steps) > 4
    half = Steps(1500)
    with pytest.raises(Cancelled):
        hdbscan(vectors, 10, half)
    assert half.steps[-1] < 2600


def test_what_is_alike_is_not_parted_by_its_density(rng):
    """Two directions; the first in knots of equal vectors with hardly anything between, as segments make them."""
    knots = unit(np.repeat(np.eye(8)[:1] + 0.02 * rng.normal(size=(6, 8)), 50, axis=0))
    other = unit(np.eye(8)[1:2] + 0.02 * rng.normal(size=(150, 8)))
    vectors = np.concatenate([knots, other]).astype(np.float32)
    truth = np.repeat([0, 1], [300, 150])
    assert len(set(hdbscan(vectors, 20, Control())[:300].tolist())) > 1
    assert adjusted_rand_score(hdbscan(vectors, 20, Control(), min_distance=0.15), truth) == 1
