"""Sparse rows against their dense matrix."""

from __future__ import annotations

import numpy as np
import pytest

from saga_backend.rasterizer.contributions import Contributions, concatenate
from tests.helpers.twins import dense

N = 23


@pytest.fixture
def rows(rng) -> Contributions:
    return random_rows(rng, 40)


def random_rows(rng, pixels: int) -> Contributions:
    """Rows of 0 to 6 different Gaussians; first and last are empty, the places where bounds go wrong."""
    lengths = rng.integers(0, 7, pixels)
    lengths[[0, -1]] = 0
    ids = [rng.permutation(N)[:length] for length in lengths]
    weights = rng.random(lengths.sum()).astype(np.float32) / 6
    return Contributions(np.concatenate([[0], np.cumsum(lengths)]), np.concatenate(ids).astype(np.int32), weights)


def test_blend_alphas_and_mass(rng, rows):
    matrix = dense(rows, N)
    values = rng.normal(size=(N, 5))
    np.testing.assert_allclose(rows.blend(values), matrix @ values, atol=1e-5)
    np.testing.assert_allclose(rows.blend(values[:, 0]), matrix @ values[:, 0], atol=1e-5)
    np.testing.assert_allclose(rows.alphas(), matrix.sum(axis=1), atol=1e-6)
    assert rows.alphas().dtype == np.float32
    np.testing.assert_allclose(rows.total_weight(N), matrix.sum(axis=0), atol=1e-6)
    weight = rng.random(len(rows))
    np.testing.assert_allclose(rows.total_weight(N, weight), weight @ matrix, atol=1e-6)


def test_take_and_concatenate(rng, rows):
    matrix = dense(rows, N)
    index = rng.integers(len(rows), size=30)
    np.testing.assert_array_equal(dense(rows.take(index), N), matrix[index])
    some = rng.random(len(rows)) < 0.5
    np.testing.assert_array_equal(dense(rows.take(some), N), matrix[some])
    assert len(rows.take(np.zeros(0, int))) == 0
    other = random_rows(rng, 7)
    joined = concatenate([rows, other.take(np.zeros(0, int)), other])
    np.testing.assert_array_equal(dense(joined, N), np.concatenate([matrix, dense(other, N)]))


def test_strongest_is_the_label_with_most_weight(rng, rows):
    labels = rng.integers(-1, 4, (N, 3)).astype(np.int32)
    matrix, found = dense(rows, N), rows.strongest(labels)
    for p in range(len(rows)):
        for level in range(3):
            votes = {label: matrix[p, labels[:, level] == label].sum() for label in range(4)}
            best = max(votes.values())
            if best == 0:
                assert found[p, level] == -1
            else:
                assert votes[int(found[p, level])] == pytest.approx(best, abs=1e-6)
