"""The rules by which clicks choose segments, written out once more in plain Python."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from saga_backend.rasterizer.contributions import Contributions
from saga_backend.segments.lookup import choose, default_choice, nearest_scale, snap_to_segment
from saga_backend.segments.segments import Segments, from_sets
from tests.backend.segments.test_segments import N, members_of, random_rows, random_sets
from tests.helpers.twins import dense


def of_members(*members: tuple[float, list[int]], count: int = N) -> Segments:
    """Segments of given scales (rising) and Gaussians."""
    offsets = np.concatenate([[0], np.cumsum([len(m) for _, m in members])]).astype(np.int64)
    ids = np.concatenate([m for _, m in members]).astype(np.int32)
    scales = np.array([scale for scale, _ in members], np.float32)
    return Segments(offsets, ids, scales, count, np.ones(len(scales), np.float32))


def clicks_on(*gaussians: int) -> Contributions:
    return Contributions(
        np.arange(len(gaussians) + 1), np.array(gaussians, np.int32), np.full(len(gaussians), 0.9, np.float32)
    )


# a thing of two parts, another thing, and the ground on which both stand
SCENE = of_members(
    (0.5, [0, 1, 2]),
    (0.6, [3, 4, 5]),
    (1.0, [0, 1, 2, 3, 4, 5]),
    (1.1, [10, 11, 12]),
    (4.0, [0, 1, 2, 3, 4, 5, 10, 11, 12, *range(20, 30)]),
)
YES, NO = True, False


@pytest.mark.parametrize(
    ("wanted", "chosen"), [(0.01, 0), (0.5, 0), (0.6, 0), (0.8, 2), (1.9, 2), (2.1, 4), (1e6, 4), (0.0, 0)]
)
def test_the_nearest_scale_by_ratio_is_meant(wanted, chosen):
    result = choose(SCENE, clicks_on(1), np.array([YES]), wanted)
    assert (result.added, result.removed, result.missed) == ([chosen], [], 0)


def test_without_a_scale_the_largest_thing_is_meant():
    """Of what holds the click the largest, as long as it is not most of the scene."""
    assert choose(SCENE, clicks_on(1), np.array([YES]), None).added == [4]
    small = of_members((0.5, [0]), (1.0, [0, 1]), (4.0, [0, 1, 2, 3, 4, 5, 6, 7]), count=10)
    assert choose(small, clicks_on(0), np.array([YES]), None).added == [1]  # eight of ten are the scene
    assert default_choice(small, np.array([0, 1, 2])) == 1 and default_choice(small, np.array([2])) == 2


@pytest.mark.parametrize(
    ("clicks", "signs", "wanted", "added", "removed"),
    [
        ([1, 4], [YES, YES], 0.5, [0, 1], []),  # each click its own
        ([1, 11], [YES, YES], 1.0, [2, 3], []),
        ([1, 4], [YES, NO], 4.0, [0], [1]),  # what holds the negative click is not meant, however near its scale
        ([1, 11], [YES, NO], 4.0, [2], [3]),  # and the largest that holds it and no positive click goes
        ([25, 1], [YES, NO], 4.0, [], [2]),  # all that holds the positive click holds the negative one too
        ([1, 2], [YES, NO], 0.5, [], []),  # both in the same part
        ([1, 35], [YES, NO], 1.0, [2], []),  # a negative click in no segment changes nothing
        ([1, 4, 11], [YES, NO, NO], 4.0, [0], [1, 3]),
    ],
    ids=str,
)
def test_negative_clicks_deny_and_take_away(clicks, signs, wanted, added, removed):
    result = choose(SCENE, clicks_on(*clicks), np.array(signs), wanted)
    assert (result.added, result.removed, result.missed) == (added, removed, 0)
    mask = result.mask(SCENE)
    inside = {i for k in added for i in members_of(SCENE)[k]} - {i for k in removed for i in members_of(SCENE)[k]}
    assert set(np.flatnonzero(mask).tolist()) == inside
    assert not any(mask[click] for click, sign in zip(clicks, signs, strict=True) if not sign)


def test_the_order_of_the_clicks_does_not_matter(rng):
    clicks, signs = np.array([1, 4, 11, 25, 35]), np.array([YES, NO, YES, NO, YES])
    expected = choose(SCENE, clicks_on(*clicks), signs, 1.0)
    order = rng.permutation(5)
    shuffled = choose(SCENE, clicks_on(*clicks[order]), signs[order], 1.0)
    assert (shuffled.added, shuffled.removed, shuffled.missed) == (expected.added, expected.removed, expected.missed)
    assert expected.missed == 1


def test_a_click_between_two_things_is_held_by_what_holds_most_of_its_weight():
    rows = Contributions(np.array([0, 2]), np.array([1, 11], np.int32), np.array([0.55, 0.4], np.float32))
    assert choose(SCENE, rows, np.array([YES]), 1.0).added == [2]
    even = Contributions(np.array([0, 2]), np.array([1, 11], np.int32), np.array([0.45, 0.45], np.float32))
    assert choose(SCENE, even, np.array([YES]), 1.0).added == [4]  # more than half of it: neither thing, but the ground


def chosen_by_loops(
    segments: Segments, rows: Contributions, positive: np.ndarray, wanted: float
) -> tuple[list[int], list[int]]:
    matrix, members = dense(rows, segments.count), members_of(segments)
    holds = [{k for k, m in enumerate(members) if sum(row[i] for i in m) > 0.5 * row.sum() > 0} for row in matrix]
    denied = set().union(*(h for h, p in zip(holds, positive, strict=True) if not p))
    claimed = set().union(*(h for h, p in zip(holds, positive, strict=True) if p))
    added, removed = set(), set()
    for held, sign in zip(holds, positive, strict=True):
        if sign and held - denied:
            scales = {
                k: max(float(segments.scales[k]), 1e-12) for k in sorted(held - denied)
            }  # one Gaussian has no size
            added.add(min(scales, key=lambda k: abs(math.log(scales[k] / wanted))))
        if not sign and held - claimed:
            removed.add(max(held - claimed))
    return sorted(added), sorted(removed)


def test_random_clicks_by_loops(rng):
    segments = from_sets(random_sets(rng), rng.normal(size=(N, 3)))
    rows = random_rows(rng)
    positive = rng.random(len(rows)) < 0.7
    for wanted in (0.5, 2.0, 5.0):
        for some in (slice(0, 3), slice(3, 5), slice(5, 25)):
            part, signs = rows.take(np.arange(25)[some]), positive[some]
            if (np.abs(segments.weight_shares(part) - 0.5) < 1e-5).any():
                continue  # too close to call in float32
            result = choose(segments, part, signs, wanted)
            assert (result.added, result.removed) == chosen_by_loops(segments, part, signs, wanted)


def test_no_segments_and_no_clicks():
    none = from_sets([], np.zeros((N, 3)))
    result = choose(none, clicks_on(1, 2), np.array([YES, NO]), 1.0)
    assert (result.added, result.removed, result.missed) == ([], [], 1)
    assert not result.mask(none).any() and result.mask(none).shape == (N,)
    assert choose(SCENE, clicks_on(), np.zeros(0, bool), 1.0).added == []


def test_scales_of_nothing():
    points = of_members((0.0, [0]), (0.0, [0, 1]))
    assert nearest_scale(points, np.array([0, 1]), 0.0) == 0 and nearest_scale(points, np.array([1]), 3.0) == 1


def test_snapped_is_the_most_alike_segment_by_loops(rng):
    segments = from_sets(random_sets(rng), rng.normal(size=(N, 3)))
    members = members_of(segments)
    for share in (0.02, 0.1, 0.3, 0.6):
        k = int(rng.integers(len(segments)))
        selected = segments.mask([k]) ^ (rng.random(N) < share)
        chosen = set(np.flatnonzero(selected).tolist())
        ious = [len(chosen & m) / max(len(chosen | m), 1) for m in members]
        result = set(np.flatnonzero(snap_to_segment(segments, selected)).tolist())
        assert result == (members[int(np.argmax(ious))] if max(ious) > 0.5 else chosen)


def test_snapping_leaves_what_is_like_nothing(rng):
    nothing, lone = np.zeros(N, bool), np.arange(N) == 35
    assert not snap_to_segment(SCENE, nothing).any()
    np.testing.assert_array_equal(snap_to_segment(SCENE, lone), lone)
    none = from_sets([], np.zeros((N, 3)))
    np.testing.assert_array_equal(snap_to_segment(none, lone), lone)
    for k in range(len(SCENE)):
        np.testing.assert_array_equal(snap_to_segment(SCENE, SCENE.mask([k])), SCENE.mask([k]))


def test_what_stands_out_wins_over_what_is_a_little_larger():
    """A thing that is hard to join further, the group it is in, and its part."""
    sets = [(1.0, list(range(4))), (2.0, list(range(10))), (3.0, list(range(14)))]
    members = of_members(*sets, count=40)
    every = np.arange(3)
    assert default_choice(members, every) == 2  # nothing known: the largest
    clear = replace(members, prominence=np.array([0.5, 3.0, 0.5], np.float32))
    assert default_choice(clear, every) == 1
    scene = of_members(*sets[:2], (3.0, list(range(40))), count=40)
    assert default_choice(scene, every) == 1  # the third is the scene
