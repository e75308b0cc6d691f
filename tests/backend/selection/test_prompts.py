"""Boxes and lassos as pixels against a slow point-in-polygon test; prototypes against what they have to keep."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blender_saga.errors import UserError
from blender_saga.gaussians.view import View
from blender_saga.wire.messages import Prompt
from saga_backend.rasterizer.contributions import Contributions
from saga_backend.selection.prompts import PROTOTYPES, REGION_PIXELS, group_pixels, inside, merge, prototypes, sample
from tests.helpers.twins import dense, unit

WIDTH, HEIGHT = 23, 17
VIEW = View(np.eye(4), np.eye(3), WIDTH, HEIGHT)
LARGE = View(np.eye(4), np.eye(3), 1920, 1080)


def a_prompt(corners: object, kind: str, view: View = VIEW) -> Prompt:
    return Prompt(view, np.array(corners, np.float32), kind)


def within(polygon: np.ndarray, x: float, y: float) -> bool:
    """Even-odd rule by winding a ray upwards; the product form of Franklin's crossing test, no divisions."""
    odd = False
    for (xa, ya), (xb, yb) in zip(np.roll(polygon, 1, axis=0).tolist(), polygon.tolist(), strict=True):
        if (ya <= y) != (yb <= y):
            side = (xb - xa) * (y - ya) - (yb - ya) * (x - xa)
            odd ^= (side > 0) == (yb > ya)
    return odd


# --- pixels -----------------------------------------------------------------------------------------------------------

CORNERS = st.lists(st.tuples(st.integers(-40, 40), st.integers(-40, 40)), min_size=3, max_size=9)


@given(CORNERS)
@settings(max_examples=60)
def test_the_pixels_inside_a_polygon_by_loops(corners: list[tuple[int, int]]) -> None:
    # Irrational, so that no pixel center lies on an edge.
    polygon = np.array(corners, float) * (np.sqrt(2), np.sqrt(3)) + (np.pi / 10, np.e / 10)
    expected = [[within(polygon, c + 0.5, r + 0.5) for c in range(WIDTH)] for r in range(HEIGHT)]
    np.testing.assert_array_equal(inside(polygon, VIEW), expected)


@pytest.mark.parametrize("kind", ["box", "lasso"])
def test_small_regions_are_taken_whole(rng, kind):
    x0, y0 = rng.integers(0, 10, 2)
    x1, y1 = x0 + rng.integers(1, 12), y0 + rng.integers(1, 6)
    corners = [(x1, y0), (x0, y1)] if kind == "box" else [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    found = {tuple(p) for p in sample(a_prompt(corners, kind)).pixels.tolist()}
    assert found == {(c, r) for c in range(x0, x1) for r in range(y0, y1)}


def test_what_reaches_over_the_edge_is_cut_off():
    found = sample(a_prompt([(-1e30, -50), (1e30, 3)], "box")).pixels
    assert {tuple(p) for p in found.tolist()} == {(c, r) for c in range(WIDTH) for r in range(3)}


@pytest.mark.parametrize("kind", ["box", "lasso"])
def test_large_regions_are_sampled_evenly_and_always_the_same(rng, kind):
    """Every ninth of a region gets its share of the pixels, and all of them lie inside."""
    x0, y0, side = *rng.integers(0, 300, 2), rng.integers(200, 700)
    corners = [(x0, y0), (x0 + side, y0 + side)]
    if kind == "lasso":
        corners = [(x0, y0), (x0 + side, y0), (x0 + side, y0 + side), (x0, y0 + side)]
    prompt = a_prompt(corners, kind, LARGE)
    found = sample(prompt)
    assert REGION_PIXELS / 2 <= len(found.pixels) <= REGION_PIXELS * 1.3
    cell = (found.pixels - (x0, y0)) * 3 // side
    assert ((cell >= 0) & (cell < 3)).all()
    shares = np.bincount(cell[:, 0] * 3 + cell[:, 1], minlength=9) / len(cell)
    assert shares.min() > 1 / 9 - 0.06 and shares.max() < 1 / 9 + 0.06
    np.testing.assert_array_equal(sample(prompt).pixels, found.pixels)


def test_the_pixels_around_a_region_lie_close_and_outside(rng):
    first, side = rng.integers(200, 300, 2), rng.integers(200, 400)
    around = sample(a_prompt([first, first + side], "box", LARGE)).around
    beyond = np.maximum(first - around, around - (first + side - 1)).max(axis=1)
    assert len(around) > 20 and (beyond >= 1).all() and (beyond < side / 8).all()


def test_a_hair_thin_lasso_still_has_pixels():
    """It holds one pixel center in ten columns; a grid would miss nearly all of them."""
    prompt = a_prompt([(0, 100.2), (1920, 700.2), (1920, 700.3), (0, 100.3)], "lasso", LARGE)
    found = sample(prompt).pixels
    assert 64 <= len(found) <= REGION_PIXELS
    line = 100.25 + (found[:, 0] + 0.5) * 600 / 1920
    assert (np.abs(found[:, 1] + 0.5 - line) < 1).all() and np.ptp(found[:, 0]) > 1800


@pytest.mark.parametrize(
    ("kind", "corners"),
    [
        ("box", [(3.6, 3.6), (4.4, 9)]),  # between two columns of pixel centers
        ("box", [(5, 5), (5, 5)]),
        ("box", [(-9, -9), (-1, 30)]),
        ("box", [(WIDTH, 0), (WIDTH + 50, HEIGHT)]),
        ("box", [(1, 1)]),
        ("box", [(1, 1), (2, 2), (3, 3)]),
        ("box", [(np.nan, 1), (5, 5)]),
        ("lasso", [(1, 1), (9, 9)]),
        ("lasso", [(1, 1), (5, 5), (9, 9)]),  # no area
        ("lasso", [(1, 1), (np.inf, 5), (9, 0)]),
        ("lasso", [(99, 99), (150, 99), (99, 150)]),
        ("star", [(1, 1), (5, 5)]),
        ("points", [(1, 1), (-1, 5)]),
        ("points", [(WIDTH, 1)]),
    ],
    ids=str,
)
def test_regions_without_pixels_are_refused(kind, corners):
    with pytest.raises(UserError) as caught:
        sample(a_prompt(corners, kind))
    assert caught.value.code == "bad_click"


# --- prototypes -------------------------------------------------------------------------------------------------------


def test_groups_hold_like_features(rng):
    """Well separated directions come apart, each whole, in any order and length of the vectors."""
    truth = rng.integers(0, 5, 300)
    truth[:5] = range(5)
    features = np.eye(8)[truth] + 0.02 * rng.normal(size=(300, 8))
    found = group_pixels(features * rng.uniform(0.1, 3, (300, 1)))
    assert found.max() == 4
    assert len(set(zip(found.tolist(), truth.tolist(), strict=True))) == 5


def test_like_pixels_are_one_group_and_there_are_never_more_than_asked_for(rng):
    assert group_pixels(np.ones((40, 3)) + 1e-3 * rng.normal(size=(40, 3))).max() == 0
    many = group_pixels(unit(rng.normal(size=(400, 16))), 7)
    assert set(many.tolist()) == set(range(7))
    assert group_pixels(np.zeros((3, 4))).shape == (3,)


def test_merged_rows_are_means(rng):
    counts = rng.integers(0, 6, 30)
    ids = np.concatenate([rng.permutation(11)[:n] for n in counts]).astype(np.int32)
    rows = Contributions(np.concatenate([[0], np.cumsum(counts)]), ids, rng.random(len(ids)).astype(np.float32))
    group = np.concatenate([np.arange(6), rng.integers(0, 6, 24)])
    merged = merge(rows, group)
    expected = np.stack([dense(rows, 11)[group == g].mean(axis=0) for g in range(6)])
    np.testing.assert_allclose(dense(merged, 11), expected, atol=1e-6)
    assert merged.ids.dtype == np.int32 and merged.weights.dtype == np.float32


def test_empty_rows_merge_to_an_empty_row():
    empty = Contributions(np.zeros(4, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    merged = merge(empty, np.array([0, 1, 0]))
    assert len(merged) == 2 and not len(merged.ids)


def blend_of(features: np.ndarray) -> Callable[[Contributions], np.ndarray]:
    return lambda rows: rows.blend(features)


def showing(*ids: int) -> Contributions:
    """One pixel for each Gaussian, showing only that."""
    return Contributions(np.arange(len(ids) + 1), np.array(ids, np.int32), np.ones(len(ids), np.float32))


def test_a_region_becomes_few_prototypes_and_rims_are_left_out(rng):
    """Two things of 100 pixels each, three pixels on their rim: two prototypes, each purely of one thing."""
    features = np.eye(4, dtype=np.float32)
    of_pixel = np.concatenate([np.zeros(100, int), np.ones(100, int)])
    ids = np.concatenate([of_pixel, [0, 1, 0, 1, 0, 1]]).astype(np.int32)
    weights = np.concatenate([np.ones(200), [0.5] * 6]).astype(np.float32)
    rows = Contributions(np.concatenate([np.arange(201), [202, 204, 206]]), ids, weights)
    few = prototypes(rows.take(rng.permutation(203)), showing(2, 3, 3), blend_of(features))
    np.testing.assert_allclose(sorted(few.blend(features).tolist()), [[0, 1, 0, 0], [1, 0, 0, 0]], atol=1e-6)


def test_what_is_commoner_around_the_region_is_not_meant(rng):
    """Half of the region shows the floor, as does nearly all around it, where one pixel of the thing shows too."""
    inside, around = [0] * 100 + [1] * 100, [1] * 60 + [0]
    few = prototypes(showing(*rng.permutation(inside)), showing(*around), blend_of(np.eye(4)))
    np.testing.assert_allclose(few.blend(np.eye(4, dtype=np.float32)), [[1, 0, 0, 0]], atol=1e-6)


@pytest.mark.parametrize("around", [[0] * 60, []], ids=["within a thing", "all of the picture"])
def test_a_region_within_one_thing_means_that_thing(around):
    few = prototypes(showing(*[0] * 190, *[1] * 10), showing(*around), blend_of(np.eye(4)))
    assert [1, 0, 0, 0] in few.blend(np.eye(4, dtype=np.float32)).round(6).tolist()


def test_few_pixels_stay_as_they_are(rng):
    rows = showing(*range(PROTOTYPES))
    assert prototypes(rows, showing(3), blend_of(rng.normal(size=(PROTOTYPES, 4)))) is rows


def test_noise_is_at_most_the_allowed_prototypes(rng):
    few = prototypes(showing(*range(400)), showing(), blend_of(unit(rng.normal(size=(400, 16)))))
    assert 1 <= len(few) <= PROTOTYPES
