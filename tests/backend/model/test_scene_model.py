"""Clicks on a scene's segments and features: which of them answers, and what is said where there is nothing."""

from __future__ import annotations

import numpy as np
import pytest

from blender_saga.errors import UserError
from blender_saga.wire.messages import AUTOMATIC, SelectOptions
from saga_backend.methods.saga.model import DEFAULT_THRESHOLD, AffinityModel
from saga_backend.model.scene_model import METHODS, SceneModel
from saga_backend.rasterizer.contributions import Contributions
from saga_backend.segments.segments import from_sets, scale_table
from tests.helpers.twins import unit

N, D = 60, 8
THING = np.arange(N) // 20  # three things; the third is in no segment
PART = np.arange(N) // 10
YES, NO = np.array([True]), np.array([True, False])

HERE = [method for method in METHODS if method != "click-gaussian"]  # that one: test_click_gaussian.py


def clicks_on(*gaussians: int, alpha: float = 0.9) -> Contributions:
    weights = np.full(len(gaussians), alpha, np.float32)
    return Contributions(np.arange(len(gaussians) + 1), np.array(gaussians, np.int32), weights)


@pytest.fixture
def untrained(rng) -> SceneModel:
    """Segments of the first two things and of the parts of the first."""
    means = np.stack([10.0 * THING + 2.0 * (PART % 2), *rng.normal(size=(2, N)) * 0.1], axis=1)
    segments = from_sets([THING == 0, THING == 1, PART == 0, PART == 1], means)
    return SceneModel(segments, scale_table(segments))


@pytest.fixture
def trained(rng, untrained) -> SceneModel:
    """The same with features that tell all things apart, and parts at small scales, with five odd ones."""
    features = np.zeros((N, D))
    features[np.arange(N), THING] = 1
    features[np.arange(N), 4 + PART % 2] = 0.9
    features[15:20] = -1  # of the first thing, but not like it
    gate = np.concatenate([np.tile([[0.0], [9.0]], (1, 4)), np.tile([[-60.0], [20.0]], (1, 4))], axis=1)
    affinity = AffinityModel(unit(features).astype(np.float32), gate, untrained.quantiles, 7)
    return SceneModel(untrained.segments, untrained.quantiles, affinity)


def refusal(model: SceneModel, how: SelectOptions) -> UserError:
    with pytest.raises(UserError) as caught:
        model.select(clicks_on(1), YES, how)
    return caught.value


def test_segments_answer_before_anything_is_trained(untrained):
    for method in ("auto", "segments"):
        answer = untrained.select(clicks_on(1), YES, SelectOptions(method, 1.0))
        np.testing.assert_array_equal(answer.mask, THING == 0)
        assert answer.note == "" and answer.scale == 1.0 and answer.threshold == DEFAULT_THRESHOLD
        assert answer.size_units == untrained.segments.scales[-1] or answer.size_units in untrained.segments.scales
        np.testing.assert_array_equal(answer.mask, answer.scores > 0.5)  # in or not: there is no similarity yet
        part = untrained.select(clicks_on(1), YES, SelectOptions(method, 0.0))
        np.testing.assert_array_equal(part.mask, PART == 0)
        assert part.size_units < answer.size_units
    assert untrained.count == N and untrained.steps == 0


def test_features_alone_and_snapped(trained):
    odd = (np.arange(N) >= 15) & (np.arange(N) < 20)
    alone = trained.select(clicks_on(1), YES, SelectOptions("saga", 1.0, snap=False))
    np.testing.assert_array_equal(alone.mask, (THING == 0) & ~odd)
    same = trained.features().select(clicks_on(1), YES, 1.0)
    np.testing.assert_array_equal(alone.mask, same.mask)
    np.testing.assert_array_equal(alone.scores, same.scores)
    whole = trained.select(clicks_on(1), YES, SelectOptions("saga", 1.0))
    np.testing.assert_array_equal(whole.mask, THING == 0)  # the segment that is much like it
    np.testing.assert_array_equal(whole.scores, same.scores)
    lone = trained.select(clicks_on(45), YES, SelectOptions("saga", 1.0))
    np.testing.assert_array_equal(lone.mask, THING == 2)  # no segment is like it
    assert trained.steps == 7


def test_auto_asks_features_only_where_no_segment_holds_the_click(trained, untrained):
    by_segment = trained.select(clicks_on(1), YES, SelectOptions(scale=1.0, snap=False))
    np.testing.assert_array_equal(by_segment.mask, THING == 0)  # the odd ones too: features were not asked
    by_features = trained.select(clicks_on(45), YES, SelectOptions(scale=1.0))
    np.testing.assert_array_equal(by_features.mask, THING == 2)
    both = trained.select(clicks_on(45, 25), np.ones(2, bool), SelectOptions(scale=1.0))
    np.testing.assert_array_equal(both.mask, THING != 0)
    none = untrained.select(clicks_on(45), YES, SelectOptions(scale=1.0))
    assert not none.mask.any() and "No mask covers" in none.note
    told = trained.select(clicks_on(45), YES, SelectOptions("segments", 1.0))
    assert not told.mask.any() and "No mask covers" in told.note
    some = trained.select(clicks_on(45, 25), np.ones(2, bool), SelectOptions("segments", 1.0))
    np.testing.assert_array_equal(some.mask, THING == 1)
    assert "left out" in some.note


def test_evidence_does_without_features(trained, untrained):
    for clicks, positive in ((clicks_on(1), YES), (clicks_on(1, 12), NO), (clicks_on(45), YES)):
        for scale in (AUTOMATIC, 0.0, 0.4, 1.0):
            with_, without = (
                m.select(clicks, positive, SelectOptions("segments", scale)) for m in (trained, untrained)
            )
            np.testing.assert_array_equal(with_.mask, without.mask)
            assert (with_.scale, with_.size_units, with_.note) == (without.scale, without.size_units, without.note)


def test_features_that_are_not_there_are_said_to_be_missing(untrained):
    error = refusal(untrained, SelectOptions("saga"))
    assert error.code == "no_model" and "no trained features" in str(error) and error.fix
    with pytest.raises(UserError, match="no trained features"):
        untrained.features()


@pytest.mark.parametrize("method", ["", "magic", "Saga"])
def test_unknown_methods_are_refused(trained, method):
    error = refusal(trained, SelectOptions(method))
    assert error.code == "bad_settings" and all(known in str(error) for known in METHODS)


@pytest.mark.parametrize("method", HERE)
@pytest.mark.parametrize("scale", [AUTOMATIC, 0.0, 0.3])
def test_nothing_to_select_is_an_empty_answer_with_a_reason(trained, method, scale):
    empty = Contributions(np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    for rows, positive, reason in (
        (clicks_on(1), [False], "only negative"),
        (clicks_on(1, 25), [False, False], "only negative"),
        (clicks_on(1, alpha=0.1), [True], "Nothing is under"),
        (empty, [True], "Nothing is under"),
        (
            Contributions(np.array([0, 0, 1]), np.array([1], np.int32), np.ones(1, np.float32)),
            [True, False],
            "Nothing is under",
        ),
    ):
        answer = trained.select(rows, positive, SelectOptions(method, scale))
        assert not answer.mask.any() and answer.mask.shape == (N,) and reason in answer.note
        assert answer.scores.shape == (N,) and not answer.scores.any()
        assert answer.scale == (1.0 if scale < 0 else scale)
        assert answer.size_units == pytest.approx(trained.size_of(answer.scale), rel=1e-5)


@pytest.mark.parametrize("method", HERE)
def test_a_negative_click_takes_its_part_away(trained, method):
    how = SelectOptions(method, 0.0, 0.5) if method == "saga" else SelectOptions(method, 1.0)
    answer = trained.select(clicks_on(1, 11), NO, how)
    assert answer.mask[1] and not answer.mask[11] and (answer.mask <= (THING == 0)).all()


def test_a_negative_click_beside_the_positive_removes_all_of_it(trained, untrained):
    for model in (trained, untrained):
        for method in ("auto", "segments"):
            answer = model.select(clicks_on(25, 26), NO, SelectOptions(method, 1.0))
            assert not answer.mask.any() and "negative clicks remove" in answer.note


def test_negative_clicks_on_the_background_change_nothing(trained):
    rows = Contributions(np.array([0, 1, 1]), np.array([1], np.int32), np.array([0.9], np.float32))
    for method in HERE:
        alone, with_ = (
            trained.select(clicks_on(1), YES, SelectOptions(method)),
            trained.select(rows, NO, SelectOptions(method)),
        )
        np.testing.assert_array_equal(alone.mask, with_.mask)
        assert alone.scale == with_.scale


def test_scores_are_those_of_the_features_where_there_are(trained, untrained):
    for method in HERE:
        answer = trained.select(clicks_on(1), YES, SelectOptions(method, 0.6, scores=True))
        np.testing.assert_array_equal(answer.scores, trained.features().select(clicks_on(1), YES, 0.6).scores)
    plain = untrained.select(clicks_on(1), YES, SelectOptions(scale=0.6, scores=True))
    np.testing.assert_array_equal(plain.scores, plain.mask.astype(np.float32))


def test_a_scale_not_given_is_that_of_the_thing_under_the_click(trained):
    sizes = set()
    for method in HERE:
        answer = trained.select(clicks_on(1), YES, SelectOptions(method, snap=False))
        sizes.add(round(answer.size_units, 3))
        assert answer.scale == pytest.approx(trained.scale_of(answer.size_units), abs=1e-3)
        assert answer.mask[1] and (answer.mask <= (THING == 0)).all() and answer.mask.sum() >= 15
    assert len(sizes) == 1  # the same thing, whoever answers
    elsewhere = trained.select(
        clicks_on(45), YES, SelectOptions("saga")
    )  # no segment says which scale: the features do
    assert 0 <= elsewhere.scale <= 1 and elsewhere.mask[45] and not elsewhere.mask[THING != 2].any()


def test_a_threshold_asks_for_similarity(trained, untrained):
    """Segments know none: who sets one gets what features select, as it is."""
    for t in (0.9, 0.2):
        by_features = trained.select(clicks_on(1), YES, SelectOptions("saga", 0.0, t, snap=False))
        answer = trained.select(clicks_on(1), YES, SelectOptions("auto", 0.0, t))
        np.testing.assert_array_equal(answer.mask, by_features.mask)
        assert answer.threshold == t
        for model, method in ((trained, "segments"), (untrained, "auto")):
            answer = model.select(clicks_on(1), YES, SelectOptions(method, 1.0, t))
            np.testing.assert_array_equal(answer.mask, THING == 0)
    few, many = (trained.select(clicks_on(1), YES, SelectOptions("saga", 0.0, t, snap=False)).mask for t in (0.9, 0.2))
    assert (few <= many).all() and few.sum() < many.sum()


def test_a_given_threshold_asks_for_similarity_as_it_is(trained):
    """Segments know no threshold: with one, `auto` answers by features and does not snap."""
    clicks, one = clicks_on(1), np.ones(1, bool)
    for threshold in (0.3, 0.9):
        by_features = trained.select(clicks, one, SelectOptions("saga", 0.5, threshold, snap=False))
        automatic = trained.select(clicks, one, SelectOptions("auto", 0.5, threshold))
        np.testing.assert_array_equal(automatic.mask, by_features.mask)
        np.testing.assert_array_equal(automatic.mask, automatic.scores > threshold)
