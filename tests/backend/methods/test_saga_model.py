"""Selection by similarity against loops, and the answers to odd questions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from saga_backend.methods.saga.model import DEFAULT_THRESHOLD, AffinityModel
from saga_backend.rasterizer.contributions import Contributions
from tests.helpers.twins import dense, unit

N, D = 60, 9


@pytest.fixture
def model(rng) -> AffinityModel:
    quantiles = np.sort(rng.uniform(0.1, 3, 17)).astype(np.float32)
    return AffinityModel(unit(rng.normal(size=(N, D))).astype(np.float32), rng.normal(size=(2, D)) * 2, quantiles, 7)


def pixels_of(*ids: int, alpha: float = 0.9) -> Contributions:
    """One pixel per Gaussian, showing only that."""
    return Contributions(np.arange(len(ids) + 1), np.array(ids, np.int32), np.full(len(ids), alpha, np.float32))


def gated_cosine(model: AffinityModel, a: np.ndarray, b: np.ndarray, scale: float) -> float:
    gate = [1 / (1 + np.exp(-(scale * model.gate[0, c] + model.gate[1, c]))) for c in range(D)]
    u, v = [float(x) * g for x, g in zip(a, gate, strict=True)], [float(x) * g for x, g in zip(b, gate, strict=True)]
    return float(np.dot(u, v) / np.sqrt(np.dot(u, u) * np.dot(v, v)))


@pytest.mark.parametrize("scale", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("negatives", [0, 2])
def test_select_by_loops(rng, model, scale, negatives):
    lengths = rng.integers(1, 5, 3 + negatives)
    ids = np.concatenate([rng.permutation(N)[:length] for length in lengths]).astype(np.int32)
    weights = np.concatenate([rng.dirichlet(np.ones(length)) * 0.9 for length in lengths]).astype(np.float32)
    rows = Contributions(np.concatenate([[0], np.cumsum(lengths)]), ids, weights)
    positive = np.arange(len(lengths)) < 3
    answer = model.select(rows, positive, scale, 0.4)
    clicks = dense(rows, N) @ model.features.astype(float)
    for n in range(N):
        similar = [gated_cosine(model, model.features[n], click, scale) for click in clicks]
        best, worst = max(similar[:3]), max(similar[3:], default=-2)
        assert answer.scores[n] == pytest.approx(best, abs=1e-5)
        if min(abs(best - 0.4), abs(best - worst)) > 1e-5:
            assert answer.mask[n] == (best > 0.4 and best > worst)
    assert answer.scale == scale and answer.threshold == 0.4


def test_clicked_gaussian_is_selected_and_a_negative_click_takes_it_out(model):
    assert model.select(pixels_of(4), np.array([True]), 0.5).mask[4]
    answer = model.select(pixels_of(4, 9), np.array([True, False]), 0.5, 0.0)
    assert answer.mask[4] and not answer.mask[9]


def test_a_higher_threshold_selects_less(model):
    masks = [model.select(pixels_of(4), np.array([True]), 0.5, t).mask for t in (0.0, 0.3, 0.6, 0.95)]
    assert all((b <= a).all() for a, b in pairwise(masks))
    assert masks[0].sum() > masks[-1].sum()


def test_defaults(model):
    answer = model.select(pixels_of(4), np.array([True]))
    assert answer.threshold == DEFAULT_THRESHOLD and 0 <= answer.scale <= 1
    again = model.select(pixels_of(4), np.array([True]), answer.scale, answer.threshold)
    np.testing.assert_array_equal(answer.mask, again.mask)


def test_sizes_are_the_quantiles(model):
    for k, size in enumerate(model.quantiles.tolist()):
        assert model.size_of(k / 16) == pytest.approx(size, rel=1e-6)
    middle = (float(model.quantiles[3]) + float(model.quantiles[4])) / 2
    assert model.size_of(3.5 / 16) == pytest.approx(middle)
    assert model.select(pixels_of(0), np.array([True]), 0.25).size_units == pytest.approx(model.size_of(0.25))


@pytest.mark.parametrize(
    ("rows", "positive"),
    [
        (pixels_of(3, alpha=0.05), [True]),
        (pixels_of(3), [False]),
        (pixels_of(3, 4), [False, False]),
        (Contributions(np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32)), [True]),
    ],
    ids=["background", "negative", "negatives", "empty row"],
)
@pytest.mark.parametrize("scale", [None, 0.2])
def test_no_positive_click_is_an_empty_selection_with_a_note(model, rows, positive, scale):
    answer = model.select(rows, np.array(positive), scale)
    assert not answer.mask.any() and answer.mask.shape == (N,) and answer.note
    assert np.isfinite(answer.scores).all() and answer.scores.shape == (N,)
    assert 0 <= answer.scale <= 1 and np.isfinite(answer.size_units)


def test_a_negative_click_on_the_background_changes_nothing(model):
    alone = model.select(pixels_of(4), np.array([True]), 0.5)
    rows = Contributions(np.array([0, 1, 1]), np.array([4], np.int32), np.array([0.9], np.float32))
    np.testing.assert_array_equal(model.select(rows, np.array([True, False]), 0.5).mask, alone.mask)


def test_nothing_similar_is_empty_with_a_note(model):
    features = model.features.copy()
    features[1:] = -features[0]
    lonely = AffinityModel(features, model.gate, model.quantiles)
    rows = Contributions(np.array([0, 1]), np.array([0], np.int32), np.array([0.9], np.float32))
    assert lonely.select(rows, np.array([True]), 0.5).mask.tolist() == [True] + [False] * (N - 1)
    answer = lonely.select(rows, np.array([True]), 0.5, 1.1)
    assert not answer.mask.any() and "threshold" in answer.note


def test_features_of_length_zero_are_not_selected(model):
    features = model.features.copy()
    features[10] = 0
    answer = AffinityModel(features, model.gate, model.quantiles).select(pixels_of(4), np.array([True]), 0.5, 0.1)
    assert np.isfinite(answer.scores).all() and not answer.mask[10]


def test_one_gaussian():
    model = AffinityModel(np.eye(1, D, dtype=np.float32), np.zeros((2, D), np.float32), np.ones(2, np.float32))
    assert model.select(pixels_of(0), np.array([True]), 0.5).mask.all()
    assert 0 <= model.select(pixels_of(0), np.array([True])).scale <= 1
