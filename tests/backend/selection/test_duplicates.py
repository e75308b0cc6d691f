"""A click among duplicates means the copy that it hits: whoever duplicates a thing wants two, not one in two places.

(Until then a click selected a thing in all its copies, which nobody could tell apart but by hiding some.)
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blender_saga.gaussians.view import View
from blender_saga.wire.messages import CleanUp, ObjectPoints, Prompt
from saga_backend.rasterizer.contributions import Contributions
from saga_backend.selection.duplicates import group_points, interpretations
from tests.helpers.clicks import CLOUD, EYE, TRUTH, VIEW, N, a_click, chosen, click_at, front, iou
from tests.helpers.twins import pixel_over

BALLS = [np.flatnonzero(index == TRUTH).astype(np.int32) for index in (0, 1)]


def rows_of(pixels: list[list[tuple[int, float]]]) -> Contributions:
    """Rows of (place, weight) pairs."""
    flat = [pair for pixel in pixels for pair in pixel]
    offsets = np.cumsum([0, *map(len, pixels)])
    return Contributions(offsets, np.array([i for i, _ in flat], np.int32), np.array([w for _, w in flat], np.float32))


def standing(*shift: float) -> np.ndarray:
    matrix = EYE.copy()
    matrix[:3, 3] = shift
    return matrix


ASIDE = standing(0, 0, -1.5)  # above the first: both are seen


def ask(session, objects, *prompts: Prompt, **more) -> list[np.ndarray]:
    """The selection of each object."""
    mask = chosen(session.click(a_click(prompts, tuple(objects), **more)))
    sizes = [len(part.ids) or N for part in objects]
    return np.split(mask, np.cumsum(sizes)[:-1])


def at(ball: int, matrix: np.ndarray, positive: bool = True, view: View = VIEW) -> Prompt:
    return Prompt(view, front(ball, view, matrix), positive=positive)


def test_a_click_selects_the_copy_that_it_hits(session):
    objects = ObjectPoints(EYE), ObjectPoints(ASIDE)
    for place, matrix in enumerate((EYE, ASIDE)):
        found = ask(session, objects, at(0, matrix))
        assert iou(found[place], TRUTH == 0) > 0.9 and not found[1 - place].any()
        alone = ask(session, [objects[place]], at(0, matrix))[0]
        np.testing.assert_array_equal(found[place], alone)


def test_another_click_adds_the_other_copy_and_takes_it_away_again(session):
    objects = ObjectPoints(EYE), ObjectPoints(ASIDE)
    both = ask(session, objects, at(0, EYE), at(0, ASIDE))
    assert all(iou(mask, TRUTH == 0) > 0.9 for mask in both)
    one = ask(session, objects, at(0, EYE), at(0, ASIDE), at(0, ASIDE, positive=False))
    np.testing.assert_array_equal(one[0], both[0])
    assert not one[1].any()
    same = ask(session, objects, at(0, EYE), at(0, ASIDE, positive=False))  # it was not selected there
    np.testing.assert_array_equal(same[0], both[0])


def test_each_copy_has_a_thing_of_its_own(session):
    away = standing(0, 0, -3)  # so far that no ball hides another
    wide = replace(VIEW, K=VIEW.K * np.array([[0.5, 1, 1], [1, 0.5, 1], [1, 1, 1]]))
    prompts = at(0, EYE, view=wide), at(1, away, view=wide)
    found = ask(session, (ObjectPoints(EYE), ObjectPoints(away)), *prompts)
    assert iou(found[0], TRUTH == 0) > 0.9 and iou(found[1], TRUTH == 1) > 0.9


def test_a_box_around_both_means_both(session):
    pixels = np.concatenate([front(0), front(0, VIEW, ASIDE)])
    box = Prompt(VIEW, np.stack([pixels.min(axis=0) - 4, pixels.max(axis=0) + 4]), "box")
    found = ask(session, (ObjectPoints(EYE), ObjectPoints(ASIDE)), box)
    assert all(iou(mask, TRUTH == 0) > 0.8 for mask in found)


def test_pieces_of_a_scene_are_selected_across_all_of_them_but_not_their_copies(session):
    """Ball 0 in two halves, each an object, and both duplicated and moved together."""
    halves = BALLS[0][::2], BALLS[0][1::2]
    objects = [ObjectPoints(at, half) for at in (EYE, ASIDE) for half in halves]
    for first, matrix in ((0, EYE), (2, ASIDE)):
        found = ask(session, objects, at(0, matrix))
        wanted = [i in (first, first + 1) for i in range(4)]
        assert [mask.mean() > 0.9 for mask in found] == wanted
        assert [mask.any() for mask in found] == wanted


def test_a_copy_of_a_part_leaves_the_rest_of_the_thing_to_the_original(session):
    """Half of ball 0 was duplicated: a click on the copy selects it and, of what it lacks, the original's rest."""
    half = BALLS[0][: len(BALLS[0]) // 2]
    top = half[np.argmin(CLOUD.means[half] @ VIEW.viewmat[2, :3])]
    prompt = Prompt(VIEW, pixel_over(CLOUD, VIEW.of_object(ASIDE), int(top))[None].astype(np.float32))
    whole, copy = ask(session, (ObjectPoints(EYE), ObjectPoints(ASIDE, half)), prompt)
    if copy.any():  # the pixel may look through the half to the original
        assert not whole[half[copy]].any() and not whole[half].any()


def test_copies_that_were_moved_within_one_object(session):
    ids = np.concatenate([np.arange(N, dtype=np.int32), BALLS[1]])
    shift = np.array([0, 0, -2.5], np.float32)
    there = replace(CLOUD.take(BALLS[1]), means=CLOUD.means[BALLS[1]] + shift).with_degree(0)
    part = ObjectPoints(EYE, ids, np.arange(N, len(ids), dtype=np.int32), there)
    for matrix, in_copy in ((EYE, False), (standing(*shift), True)):
        mask = ask(session, [part], at(1, matrix))[0]
        original, copy = mask[:N], mask[N:]
        assert (copy.mean() > 0.9, copy.any()) == (in_copy, in_copy)
        assert (iou(original, TRUTH == 1) > 0.9, original.any()) == (not in_copy, not in_copy)


def test_clean_up_speaks_of_the_copy_alone(session):
    objects = ObjectPoints(EYE), ObjectPoints(ASIDE)
    wish = CleanUp(floaters=True, connected=True, holes=True)
    both = session.click(a_click((at(0, EYE),), objects, clean_up=wish))
    alone = session.click(a_click((at(0, EYE),), objects[:1], clean_up=wish))
    np.testing.assert_array_equal(chosen(both)[:N], chosen(alone))
    assert both.cleaned == alone.cleaned and both.count == alone.count


def test_the_background_is_nothing_for_any_copy(session):
    answer = session.click(click_at(np.zeros((1, 2), np.float32), ObjectPoints(EYE), ObjectPoints(ASIDE)))
    assert answer.count == 0 and answer.total == 2 * N and answer.note


def test_similarity_is_told_for_every_copy(session):
    answer = session.click(click_at(front(0), ObjectPoints(EYE), ObjectPoints(ASIDE), scores=True))
    np.testing.assert_array_equal(answer.scores[:N], answer.scores[N:])


# --- by themselves ----------------------------------------------------------------------------------------------------


def test_without_copies_there_is_nothing_to_tell_apart():
    assert group_points([ObjectPoints(EYE)], [np.arange(5)], 5) is None
    assert group_points([ObjectPoints(EYE), ObjectPoints(EYE)], [np.arange(3), np.arange(3, 5)], 5) is None
    assert group_points([ObjectPoints(EYE), ObjectPoints(EYE)], [np.arange(0), np.arange(0)], 5) is None
    assert group_points([ObjectPoints(EYE), ObjectPoints(EYE)], [np.arange(3), np.arange(2, 5)], 5) is not None


COUNT = 6
PARTS = st.lists(
    st.tuples(st.lists(st.integers(0, COUNT - 1), min_size=1, max_size=6, unique=True), st.integers(0, 1)),
    min_size=2,
    max_size=4,
)


@given(PARTS, st.data())
def test_a_reading_has_each_id_once_unless_both_are_as_near(parts, data) -> None:
    """Of the click's copy all points; of an id that it lacks, those of a piece beside it before any elsewhere."""
    objects = [ObjectPoints(standing(5.0 * place, 0, 0)) for _, place in parts]
    ids = [np.array(own, np.int32) for own, _ in parts]
    there = group_points(objects, ids, COUNT)
    if there is None:
        assert len({i for own, _ in parts for i in own}) == sum(len(own) for own, _ in parts)
        return
    hit = data.draw(st.integers(0, len(parts) - 1))
    (reading,) = interpretations(there, [np.array([2 * hit])], [True])
    assert reading.prompts == (0,)
    start = 0
    for number, (own, place) in enumerate(parts):
        inside = reading.scope[start : start + len(own)]
        start += len(own)
        for i, kept in zip(own, inside, strict=True):
            in_hit = i in parts[hit][0]
            beside = any(i in other and at == parts[hit][1] for other, at in parts)
            wanted = number == hit if in_hit else (place == parts[hit][1] or not beside)
            assert kept == wanted


@given(PARTS, st.data())
def test_several_hits_leave_out_no_copy_that_was_hit(parts, data) -> None:
    objects = [ObjectPoints(standing(5.0 * place, 0, 0)) for _, place in parts]
    there = group_points(objects, [np.array(own, np.int32) for own, _ in parts], COUNT)
    if there is None:
        return
    hits = data.draw(st.lists(st.integers(0, len(parts) - 1), min_size=1, max_size=3))
    found = interpretations(there, [np.array([2 * h]) for h in hits], [True] * len(hits))
    covered = np.any([reading.scope for reading in found], axis=0)
    for hit in hits:
        assert covered[there.of == 2 * hit].all()
        assert any(hits.index(hit) in r.prompts and r.scope[there.of == 2 * hit].all() for r in found)


@pytest.mark.parametrize("shown", [1, 2])
def test_what_a_prompt_hits(shown: int) -> None:
    """Pixel 0 shows the second object before the first, pixel 1 the first, pixel 2 next to nothing."""
    there = group_points([ObjectPoints(EYE), ObjectPoints(EYE)], [np.arange(2), np.arange(2)], 2)
    rows = rows_of([[(2, 0.6), (0, 0.3)], [(1, 0.9)], [(3, 0.1)]])
    np.testing.assert_array_equal(there.hit(rows, shown), [2] if shown == 1 else [0, 2])
    assert not len(there.hit(rows.take(np.array([2])), 1))
