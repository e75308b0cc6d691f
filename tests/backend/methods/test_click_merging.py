"""Clusters that most masks hold together become one; others stay, however alike, and no click means two of them."""

from __future__ import annotations

import numpy as np
import pytest

from saga_backend.methods.click_gaussian.merging import merge_clusters
from saga_backend.methods.click_gaussian.model import model_of
from saga_backend.rasterizer.contributions import Contributions
from tests.helpers.twins import unit


def near(rng: np.random.Generator, count: int, cosine: float) -> np.ndarray:
    """[count,12] unit vectors, every two of which have about this cosine."""
    aside = np.linalg.qr(rng.standard_normal((12, count + 1)))[0].T
    return (np.sqrt(cosine) * aside[0] + np.sqrt(1 - cosine) * aside[1:]).astype(np.float32)


def views(centers: np.ndarray, plans: list[list[tuple[int, int, int]]]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pixels of views: each plan has (cluster, mask, how many pixels)."""
    shown = []
    for plan in plans:
        clusters, masks, counts = map(np.array, zip(*plan, strict=True))
        shown.append((np.repeat(centers[clusters], counts, axis=0), np.repeat(masks, counts)))
    return shown


@pytest.mark.parametrize(("often", "left"), [(8, 1), (3, 2)])
def test_what_most_masks_hold_together_is_one(rng, often: int, left: int) -> None:
    centers = near(rng, 2, 0.95)
    together, apart = [(0, 1, 30), (1, 1, 10)], [(0, 1, 30), (1, 2, 10)]
    found = merge_clusters(centers, views(centers, often * [together] + (10 - often) * [apart]))
    assert len(found) == left
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    if left == 1:  # by their pixels
        np.testing.assert_allclose(found[0], unit(3 * centers[0] + centers[1]), atol=1e-6)


def test_what_is_not_alike_is_never_one(rng) -> None:
    centers = near(rng, 2, 0.85)
    shown = views(centers, 5 * [[(0, 1, 30), (1, 1, 10)]])
    np.testing.assert_allclose(merge_clusters(centers, shown), centers, atol=1e-6)
    assert len(merge_clusters(centers, shown, 0.8)) == 1


def test_what_lies_between_two_things_does_not_join_them(rng) -> None:
    """The rim of both, half of it in the mask of each: with one it is more often than not, the other stays."""
    centers = near(rng, 3, 0.95)
    usual = [(0, 1, 100), (1, 2, 100), (2, 1, 5), (2, 2, 5)]
    merged = [(0, 1, 100), (1, 1, 100), (2, 1, 10)]
    found = merge_clusters(centers, views(centers, 8 * [usual] + 2 * [merged]))
    assert len(found) == 2
    assert (found @ centers[:2].T).max(axis=0).min() > 0.999


def test_pixels_that_no_mask_covers_say_nothing(rng) -> None:
    centers = near(rng, 2, 0.95)
    shown = views(centers, 9 * [[(0, 0, 30), (1, 0, 30)]] + [[(0, 1, 5), (1, 2, 5)]])
    assert len(merge_clusters(centers, shown)) == 2


def test_the_order_of_views_and_clusters_does_not_matter(rng) -> None:
    centers = near(rng, 5, 0.95)
    plan = [[(int(c), int(rng.integers(3)), int(rng.integers(1, 40))) for c in range(5)] for _ in range(12)]
    shown = views(centers, plan)
    found = merge_clusters(centers, shown)
    order = rng.permutation(5)
    other = merge_clusters(np.ascontiguousarray(centers[order]), [shown[v] for v in rng.permutation(12)])
    assert len(other) == len(found)
    np.testing.assert_allclose((other @ found.T).max(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(("apart", "meant"), [(True, 1), (False, 2)])
def test_clusters_of_different_things_are_never_meant_together(rng, apart: bool, meant: int) -> None:
    """Centers at a cosine of 0.95, and a third far away."""
    centers = np.zeros((3, 12), np.float32)
    centers[0, 0], centers[1, :2], centers[2, 5] = 1, (0.95, np.sqrt(1 - 0.95**2)), 1
    which = np.repeat(np.arange(3), 40)
    model = model_of(centers[which], [centers], [slice(0, 12)], rng.standard_normal((120, 3)), 1, apart)
    assert model.levels[0].like == pytest.approx(0.95 if apart else 0.9)
    pixel = Contributions(np.array([0, 1]), np.zeros(1, np.int32), np.ones(1, np.float32))  # shows Gaussian 0 alone
    found = model.select(pixel, np.ones(1, bool))
    np.testing.assert_array_equal(found.mask, which < meant)
    assert found.threshold == model.levels[0].like
    np.testing.assert_array_equal(model.select(pixel, np.ones(1, bool), threshold=0.94).mask, which < 2)
