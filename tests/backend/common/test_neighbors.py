"""Nearest neighbors, also of points that lie in heaps, against all distances."""

from __future__ import annotations

import numpy as np
import pytest

from saga_backend.common.neighbors import nearest


def check(points: np.ndarray, k: int, queries: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Hold the distances against all of them, and the ids against their distances."""
    asked = points if queries is None else queries
    ids, distances = nearest(points, k, queries)
    every = np.linalg.norm(asked[:, None].astype(np.float64) - points[None], axis=2)
    assert ids.shape == distances.shape == (len(asked), k) and ids.dtype == np.int32
    np.testing.assert_allclose(distances, np.sort(every, axis=1)[:, :k], atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(every, ids.astype(np.int64), axis=1), distances, atol=1e-5)
    assert all(len(set(row)) == k for row in ids.tolist())
    return ids, distances


@pytest.mark.parametrize("dimensions", [3, 12])
@pytest.mark.parametrize("heaps", [(), (40,), (33, 200), (31, 32, 33)])
def test_they_are_the_nearest(rng, dimensions: int, heaps: tuple[int, ...]) -> None:
    points = rng.standard_normal((400, dimensions)).astype(np.float32)
    for place, size in enumerate(heaps):
        points[place : place + size * len(heaps) : len(heaps)] = points[place]
    points = points[rng.permutation(len(points))]
    check(points, 1)
    ids, distances = check(points, 17)
    assert not distances[:, 0].any() and np.array_equal(points[ids[:, 0]], points)
    check(points, 5, rng.standard_normal((60, dimensions)).astype(np.float32))
    check(points, 5, points[:60])


def test_more_than_a_heap_has_are_found_elsewhere(rng) -> None:
    points = np.repeat(rng.standard_normal((3, 3)).astype(np.float32), 50, axis=0)
    check(points, 120)


def test_fewer_points_than_asked_for_are_repeated(rng) -> None:
    points = rng.standard_normal((3, 3)).astype(np.float32)
    ids, distances = nearest(points, 7)
    np.testing.assert_array_equal(ids[:, :3], check(points, 3)[0])
    np.testing.assert_array_equal(ids, ids[:, np.arange(7) % 3])
    np.testing.assert_array_equal(distances, distances[:, np.arange(7) % 3])


def test_all_at_one_place() -> None:
    ids, distances = nearest(np.ones((3000, 3)), 8)
    assert not distances.any() and ids.min() >= 0 and ids.max() < 3000


def test_half_a_million_at_one_place_are_no_trouble(rng) -> None:
    """Each compared with each would take an hour."""
    points = rng.standard_normal((501_000, 3)).astype(np.float32)
    points[1000:] = points[0]
    ids, distances = nearest(points, 16)
    assert not distances[1000:].any() and (ids[1040:, 0] == np.arange(1040, 501_000)).mean() > 0.999
    alone = nearest(points[:1000], 2)[1][1:, 1]
    np.testing.assert_allclose(distances[1:1000, 1], alone)
