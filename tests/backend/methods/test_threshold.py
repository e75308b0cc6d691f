"""The valley of a click's scores, on drawn mixtures whose valley is known."""

from __future__ import annotations

import numpy as np
import pytest

from saga_backend.methods.saga.threshold import HIGHEST, LOWEST, valley


def mixture(rng: np.random.Generator, like: tuple[float, float, int], rest: tuple[float, float, int]) -> np.ndarray:
    """Scores of two humps, each given by middle, spread and number."""
    drawn = [rng.normal(middle, spread, count) for middle, spread, count in (like, rest)]
    return np.clip(np.concatenate(drawn), -1, 1).astype(np.float32)


@pytest.mark.parametrize("share", [0.002, 0.05, 0.3, 0.9])
def test_two_humps_are_parted_between_them(rng, share):
    n, middle = 60_000, rng.uniform(-0.2, 0.3)
    scores = mixture(rng, (0.95, 0.02, int(share * n)), (middle, 0.05, int((1 - share) * n)))
    found = valley(scores)
    assert middle + 0.2 < found < 0.9 and LOWEST <= found <= HIGHEST
    chosen = np.count_nonzero(scores > found)
    assert chosen == pytest.approx(share * n, rel=0.05)


@pytest.mark.parametrize("middle", [0.55, 0.65, 0.75])
def test_it_follows_the_hump_of_the_rest(rng, middle):
    """A fixed threshold of 0.7 would cut through it or miss it."""
    scores = mixture(rng, (0.97, 0.01, 5_000), (middle, 0.03, 50_000))
    assert middle + 0.06 < valley(scores) < 0.95


def test_in_a_wide_valley_the_usual_threshold_stays(rng):
    scores = mixture(rng, (0.97, 0.01, 5_000), (0.3, 0.02, 5_000))
    for usual in (0.5, 0.7, 0.85):
        assert valley(scores, usual) == pytest.approx(usual)
    assert 0.85 < valley(scores, 0.99) < 0.97  # as near as the valley goes
    assert LOWEST <= valley(scores, 0.0) < 0.5


def test_neither_order_nor_number_nor_a_share_of_the_scores_matters(rng):
    scores = mixture(rng, (0.95, 0.02, 20_000), (0.4, 0.1, 80_000))
    found = valley(scores)
    assert valley(rng.permutation(scores)) == found
    assert valley(np.tile(scores, 3)) == pytest.approx(found, abs=0.05)
    assert valley(scores[rng.random(len(scores)) < 0.1]) == pytest.approx(found, abs=0.08)


def test_what_is_far_below_does_not_matter(rng):
    scores = mixture(rng, (0.95, 0.02, 20_000), (0.4, 0.05, 20_000))
    more = np.concatenate([scores, rng.uniform(-1, 0, 30_000).astype(np.float32)])
    assert valley(more) == pytest.approx(valley(scores), abs=0.011)


@pytest.mark.parametrize("kind", ["even", "falling", "rising", "one hump", "all alike", "few", "one", "none", "NaN"])
def test_no_valley_is_none(rng, kind):
    scores = {
        "even": rng.uniform(-1, 1, 50_000),
        "falling": 1 - 2 * rng.random(50_000) ** 0.5,
        "rising": 2 * rng.random(50_000) ** 0.5 - 1,
        "one hump": rng.normal(0.7, 0.1, 50_000),
        "all alike": np.ones(50_000),
        "few": np.array([0.99] * 20 + [0.1] * 20),
        "one": np.ones(1),
        "none": np.zeros(0),
        "NaN": np.full(1000, np.nan),
    }[kind]
    assert valley(np.clip(scores, -1, 1)) is None


def test_scores_that_are_not_numbers_are_passed_over(rng):
    scores = mixture(rng, (0.95, 0.02, 20_000), (0.4, 0.05, 20_000))
    assert valley(np.concatenate([scores, np.full(500, np.nan, np.float32)])) == valley(scores)
