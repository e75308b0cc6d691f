"""Segments against plain Python sets: who is in them, how much of a click or a selection they hold, their scales."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga_backend.masks.sampled import mask_scale
from saga_backend.model import saga_file
from saga_backend.model.scene_model import SceneModel
from saga_backend.rasterizer.contributions import Contributions
from saga_backend.segments.segments import GROWTH, Segments, from_levels, from_sets, scale_table
from tests.helpers.twins import dense

N = 40


def random_sets(rng, count: int = N, number: int = 12) -> list[np.ndarray]:
    """Some crossing, some nested, one empty, one of everything."""
    sets = [rng.random(count) < share for share in rng.uniform(0.05, 0.6, number)]
    sets += [sets[0] & sets[1], np.zeros(count, bool), np.ones(count, bool)]
    return sets


def random_rows(rng, pixels: int = 25, count: int = N) -> Contributions:
    """Rows of up to six Gaussians, some empty, a Gaussian twice in some (two copies of an object)."""
    lengths = rng.integers(0, 7, pixels)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    weights = np.concatenate([rng.dirichlet(np.ones(n)) * rng.uniform(0.3, 1) for n in lengths if n] or [[]])
    return Contributions(offsets, rng.integers(count, size=offsets[-1]).astype(np.int32), weights.astype(np.float32))


def members_of(segments: Segments) -> list[frozenset[int]]:
    return [frozenset(segments.members(k).tolist()) for k in range(len(segments))]


def test_sets_come_back_smallest_scale_first(rng):
    sets, means = random_sets(rng), rng.normal(size=(N, 3))
    segments = from_sets(sets, means)
    wanted = [frozenset(np.flatnonzero(s).tolist()) for s in sets if s.any()]
    assert sorted(map(sorted, members_of(segments))) == sorted(map(sorted, wanted))
    assert (np.diff(segments.scales) >= 0).all() and segments.count == N
    assert segments.sizes().tolist() == [len(m) for m in members_of(segments)]
    for k in range(len(segments)):
        assert (np.diff(segments.members(k)) > 0).all()
        np.testing.assert_array_equal(segments.mask([k]), np.isin(np.arange(N), segments.members(k)))
    several = [0, 3, 5]
    np.testing.assert_array_equal(segments.mask(several), np.any([segments.mask([k]) for k in several], axis=0))
    assert not segments.mask([]).any()


def test_some_of_the_segments(rng):
    segments = from_sets(random_sets(rng), rng.normal(size=(N, 3)))
    kept = rng.random(len(segments)) < 0.5
    some = segments.take(kept)
    numbers = np.flatnonzero(kept)
    assert members_of(some) == [members_of(segments)[k] for k in numbers] and some.count == N
    np.testing.assert_array_equal(some.scales, segments.scales[numbers])
    np.testing.assert_array_equal(some.prominence, segments.prominence[numbers])
    rows = random_rows(rng)
    np.testing.assert_array_equal(some.weight_shares(rows), segments.weight_shares(rows)[:, numbers])


def test_holding_and_overlaps_by_loops(rng):
    segments, rows = from_sets(random_sets(rng), rng.normal(size=(N, 3))), random_rows(rng)
    held, matrix = segments.weight_shares(rows), dense(rows, N)
    assert held.shape == (len(rows), len(segments))
    for p in range(len(rows)):
        for k, members in enumerate(members_of(segments)):
            share = sum(matrix[p, i] for i in members) / max(matrix[p].sum(), 1e-9)
            assert held[p, k] == pytest.approx(share, abs=1e-6)
    weights = rng.random(N)
    for k, total in enumerate(segments.overlaps(weights).tolist()):
        assert total == pytest.approx(sum(weights[i] for i in members_of(segments)[k]), rel=1e-5)
    assert segments.overlaps(weights > 0.5).tolist() == [sum(weights[i] > 0.5 for i in m) for m in members_of(segments)]


def test_scales_are_eq_2_raised_over_what_lies_inside(rng):
    """A ring of few points around many: their spread together is less than the ring's, the whole is larger still."""
    angle = rng.uniform(0, 2 * np.pi, 20)
    ring = np.stack([np.cos(angle), np.sin(angle), np.zeros(20)], axis=1)
    means = np.concatenate([ring, 0.01 * rng.normal(size=(200, 3))])
    outer = np.arange(220) < 20
    segments = from_sets([np.ones(220, bool), outer, ~outer], means)
    plain = {name: mask_scale(means[s]) for name, s in (("inner", ~outer), ("ring", outer), ("all", outer | True))}
    assert plain["all"] < plain["ring"]
    np.testing.assert_allclose(segments.scales, [plain["inner"], plain["ring"], GROWTH * plain["ring"]], rtol=1e-5)
    assert segments.sizes().tolist() == [200, 20, 220]


def test_scales_of_crossing_sets_are_never_below_eq_2(rng):
    sets, means = random_sets(rng), rng.normal(size=(N, 3))
    segments = from_sets(sets, means)
    for k in range(len(segments)):
        assert segments.scales[k] >= mask_scale(means[segments.members(k)]) * (1 - 1e-6)


def levels_by_loops(labels: np.ndarray) -> dict[int, frozenset[int]]:
    out: dict[int, set[int]] = {}
    for gaussian, numbers in enumerate(labels.tolist()):
        for number in numbers:
            if number >= 0:
                out.setdefault(number, set()).add(gaussian)
    return {number: frozenset(members) for number, members in out.items()}


@st.composite
def nested(draw) -> np.ndarray:
    """[N,L] labels: each level joins segments of the one before or leaves them; some points have none from some level
    on, and some none at all."""
    count = draw(st.integers(0, 30))
    finest = draw(st.lists(st.integers(-1, 6), min_size=count, max_size=count))
    levels, fresh = [np.array(finest, np.int32).reshape(count)], 7
    for _ in range(draw(st.integers(0, 3))):
        level = levels[-1].copy()
        names = np.unique(level[level >= 0]).tolist()
        for _ in range(draw(st.integers(0, 2))):
            some = draw(st.sets(st.sampled_from(names), min_size=1, max_size=3)) if names else set()
            level[np.isin(level, list(some))] = fresh if draw(st.booleans()) else -1
            names, fresh = [n for n in names if n not in some], fresh + 1
        levels.append(level)
    return np.stack(levels, axis=1)


@given(nested(), st.integers(0, 2**31))
def test_levels_by_loops(labels, seed):
    scales = np.random.default_rng(seed).uniform(0.1, 3, max(labels.max(initial=-1) + 1, 1))
    prominence = scales[::-1] + 1
    segments = from_levels(labels, scales, prominence)
    wanted = levels_by_loops(labels)
    found = members_of(segments)
    assert segments.count == len(labels) and len(found) == len(wanted)
    number_of = {members: number for number, members in wanted.items()}
    by_scale = sorted(wanted, key=lambda number: scales[number])
    assert [wanted[number] for number in by_scale] == found or len(number_of) < len(wanted)
    assert sorted(map(sorted, found)) == sorted(map(sorted, wanted.values()))
    np.testing.assert_allclose(segments.scales, [scales[number] for number in by_scale], rtol=1e-6)
    np.testing.assert_allclose(segments.prominence, [prominence[number] for number in by_scale], rtol=1e-6)


def shells(number: int) -> Segments:
    """The first 3, 6, 9 ... of some points on a line: no two scales are close."""
    count = 3 * number
    means = np.arange(count)[:, None] * np.eye(3)[:1]
    return from_sets([np.arange(count) < 3 * (k + 1) for k in range(number)], means)


@pytest.mark.parametrize("number", [1, 2, 13, 30])
def test_the_slider_reaches_every_segment_and_beyond(number):
    """Segment k is meant by the positions whose size is nearest to its scale."""
    segments = shells(number)
    table = scale_table(segments)
    assert (np.diff(table) >= 0).all() and table[0] == pytest.approx(segments.scales[0] / 1.3)
    assert table[-1] == pytest.approx(1.3 * segments.scales[-1])  # there all of it belongs together
    nearest = np.argmin(np.abs(np.log(table[:, None] / segments.scales)), axis=1)
    assert (np.diff(nearest) >= 0).all() and set(nearest.tolist()) == set(range(number))


def test_no_segments(tmp_path):
    segments = from_sets([], np.zeros((3, 3)))
    assert len(segments) == 0 and segments.weight_shares(
        Contributions(np.arange(3), np.arange(2, dtype=np.int32), np.ones(2, "f4"))
    ).shape == (2, 0)
    assert segments.overlaps(np.ones(3)).shape == (0,) and not segments.mask([]).any()
    table = scale_table(segments)
    assert (np.diff(table) > 0).all() and np.isfinite(table).all()
    assert len(from_levels(np.full((4, 2), -1, np.int32), np.zeros(0), np.zeros(0))) == 0


def test_one_gaussian_and_all_in_one_point():
    for count in (1, 50):
        segments = from_sets([np.ones(count, bool), np.arange(count) == 0], np.zeros((count, 3)))
        assert segments.scales.tolist() == [0.0, 0.0] and sorted(segments.sizes().tolist()) == [1, count]
        table = scale_table(segments)
        assert (table == 0).all()
        assert SceneModel(segments, table).size_of(0.5) == 0.0 and 0 <= SceneModel(segments, table).scale_of(0.0) <= 1


def test_positions_and_sizes_of_the_slider_are_each_others_inverse(rng):
    segments = shells(20)
    model = SceneModel(segments, scale_table(segments))
    for scale in rng.random(20) * 19 / 20:  # beyond the largest segment all sizes mean the same
        assert model.scale_of(model.size_of(scale)) == pytest.approx(scale, abs=1e-3)
    assert model.scale_of(0.0) == 0 and model.scale_of(1e9) == 1


def test_the_file_keeps_them(rng, tmp_path):
    segments = from_sets(random_sets(rng), rng.normal(size=(N, 3)))
    saga_file.save(tmp_path / "a.saga", SceneModel(segments, scale_table(segments)), saga_file.Header("f"))
    read = saga_file.load(tmp_path / "a.saga", "f")[0].segments
    rows = random_rows(rng)
    assert members_of(read) == members_of(segments) and read.count == N
    np.testing.assert_array_equal(read.weight_shares(rows), segments.weight_shares(rows))
