"""Instant select: what a mask in one picture selects, neighbors that vote, prompts of all kinds, SAM itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from segment_anything import SamPredictor

from blender_saga.errors import UserError
from blender_saga.gaussians.view import View
from blender_saga.wire.messages import (
    Done,
    InstantClick,
    LoadScene,
    LookAhead,
    ObjectPoints,
    Prompt,
    SelectOptions,
)
from saga_backend.common.progress import Control
from saga_backend.evaluation.simulated import MaskDamage
from saga_backend.evaluation.simulated_prompts import SimulatedSegmenter
from saga_backend.masks.sam.model import open_sam
from saga_backend.rasterizer.contributions import Contributions
from saga_backend.rasterizer.cpu import all_pixels, contributions
from saga_backend.rasterizer.select import CPU
from saga_backend.segments.lookup import nearest_by_iou
from saga_backend.segments.segments import from_sets
from saga_backend.selection.click import query_objects
from saga_backend.selection.instant.lift import (
    NEIGHBORS,
    GridView,
    VoteAccumulator,
    agreement,
    grid,
    information_gain,
    inside,
    orbit_views,
)
from saga_backend.selection.instant.segmenter import PixelPrompt, SamSegmenter
from saga_backend.selection.instant.select import LONGEST_SIDE, Instant, fitted_view
from saga_backend.selection.instant.service import affordable
from saga_backend.selection.instant.stage import CloudStage, ObjectStage
from saga_backend.serving.session import Session
from tests.helpers.clicks import CLOUD, TRUTH, VIEW, chosen, front, iou
from tests.helpers.tiny_sam import tiny_sam
from tests.helpers.twins import random_view, toy_views

EXACT = MaskDamage(dropped=0, merged=0, split=0, ragged=(0, 0), smallest=5)
BALLS = np.unique(TRUTH)


def instant(neighbors: int = 8, damage: MaskDamage = EXACT) -> Instant:
    segmenter = SimulatedSegmenter(CLOUD, TRUTH + 1, 0, damage)
    return Instant(segmenter, CloudStage(CLOUD, CPU), CLOUD.means, neighbors)


def seen_from(view: View) -> GridView:
    pixels = grid(view)
    return GridView(view, pixels, contributions(CLOUD, view, pixels))


# --- lifting --------------------------------------------------------------------------------------------------------


def test_votes_are_shares_of_weight(rng):
    view = toy_views()[0]
    seen, mask = seen_from(view), rng.random((view.height, view.width)) < 0.5
    votes = VoteAccumulator(len(CLOUD))
    votes.vote(seen, mask, 0.5)
    votes.vote(seen, ~mask, 0.25)
    inside_, shown = np.zeros(len(CLOUD)), np.zeros(len(CLOUD))
    for number, (column, row) in enumerate(seen.pixels):
        for entry in range(seen.rows.offsets[number], seen.rows.offsets[number + 1]):
            gaussian, weight = seen.rows.ids[entry], seen.rows.weights[entry]
            inside_[gaussian] += weight * (0.5 if mask[row, column] else 0.25)
            shown[gaussian] += weight * 0.75
    np.testing.assert_allclose(votes.inside, inside_, rtol=1e-5)
    np.testing.assert_allclose(votes.shown, shown, rtol=1e-5)
    known = shown > 0.05
    np.testing.assert_array_equal(votes.known, known)
    np.testing.assert_allclose(votes.scores[known], inside_[known] / shown[known], rtol=1e-4)
    assert not votes.scores[~known].any() and not votes.selected[~known].any()


def test_agreement_is_the_iou_of_weights_and_what_is_left_out(rng):
    view = toy_views()[1]
    seen, votes = seen_from(view), VoteAccumulator(len(CLOUD))
    votes.vote(seen, rng.random((view.height, view.width)) < 0.7)
    mask = rng.random((view.height, view.width)) < 0.6
    both = either = wrong = others = 0.0
    for number, (column, row) in enumerate(seen.pixels):
        for entry in range(seen.rows.offsets[number], seen.rows.offsets[number + 1]):
            gaussian, weight = seen.rows.ids[entry], seen.rows.weights[entry]
            picked, known, within = votes.selected[gaussian], votes.known[gaussian], mask[row, column]
            both += weight * (within and picked)
            either += weight * ((within and known) or picked)
            wrong += weight * (within and known and not picked)
            others += weight * (known and not picked)
    assert agreement(seen, votes, mask) == pytest.approx(both / either * (1 - wrong / others), rel=1e-4)
    assert agreement(seen, votes, np.ones_like(mask)) == 0


def test_a_grid_covers_the_picture_evenly():
    view = replace(VIEW, width=1024, height=700)
    pixels = grid(view)
    assert 30_000 < len(pixels) < 80_000 and view.contains(pixels).all()
    assert np.array_equal(grid(replace(VIEW, width=20, height=10)), all_pixels(replace(VIEW, width=20, height=10)))


def test_places_inside_lie_inside(rng):
    view = toy_views()[0]
    seen = seen_from(view)
    for ball in BALLS:
        places = inside(seen, ball == TRUTH)
        drawn = contributions(CLOUD, view, places).blend((ball == TRUTH).astype(np.float32))
        assert (drawn > 0.5).all() and len(np.unique(places, axis=0)) == len(places) <= 3
    assert inside(seen, np.zeros(len(CLOUD), bool)).shape == (0, 2)


@pytest.mark.parametrize("orthographic", [False, True])
def test_neighbors_look_at_the_thing_from_around(orthographic):
    view = toy_views()[0]
    if orthographic:
        view = replace(view, orthographic=True, K=np.array([[20.0, 0, 32], [0, 20.0, 24], [0, 0, 1]]))
    picture = CPU.render(CLOUD, view)
    ball = BALLS[0]
    mask = contributions(CLOUD, view, all_pixels(view)).blend((ball == TRUTH).astype(np.float32)) > 0.5
    mask = mask.reshape(view.height, view.width)
    views = list(orbit_views(view, mask, picture.depth))
    assert len(views) == len(NEIGHBORS)
    for neighbor in views:
        np.testing.assert_allclose(neighbor.viewmat[:3, :3] @ neighbor.viewmat[:3, :3].T, np.eye(3), atol=1e-9)
        center = neighbor.viewmat[:3, :3] @ CLOUD.means[ball == TRUTH].mean(axis=0) + neighbor.viewmat[:3, 3]
        x, y = (neighbor.K @ (np.array([*center[:2], 1]) if orthographic else center / center[2]))[:2]
        assert abs(x - view.width / 2) < 0.25 * view.width and abs(y - view.height / 2) < 0.25 * view.height
        assert center[2] > 0
    up = -view.viewmat[1, :3]
    eyes = [v.camera_position @ up for v in views]
    assert eyes[2] > eyes[0]  # the third one looks from above
    assert list(orbit_views(view, np.zeros_like(mask), picture.depth)) == []


# --- selecting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ball", BALLS)
def test_a_click_selects_the_whole_thing(ball):
    lifted = instant().select([Prompt(VIEW, front(ball))])
    assert iou(lifted.selected, ball == TRUTH) > 0.95 and lifted.votes > 1 and lifted.note == ""
    alone = instant(0).select([Prompt(VIEW, front(ball))])
    assert alone.votes == 1
    front_ones = alone.known & (ball == TRUTH)
    assert alone.selected[front_ones].mean() > 0.9  # what the picture shows of it


def test_boxes_lassos_and_clicks_in_other_views_mean_the_same():
    ball, view = BALLS[0], VIEW
    rows = contributions(CLOUD, view, all_pixels(view)).blend((ball == TRUTH).astype(np.float32)) > 0.5
    y, x = np.nonzero(rows.reshape(view.height, view.width))
    low, high = np.array([x.min(), y.min()], np.float32), np.array([x.max() + 1, y.max() + 1], np.float32)
    corners = np.array([[low[0], low[1]], [high[0], low[1]], [high[0], high[1]], [low[0], high[1]]], np.float32)
    other = toy_views()[2]
    for prompts in (
        [Prompt(view, np.stack([low, high]), "box")],
        [Prompt(view, corners, "lasso")],
        [Prompt(view, front(ball)), Prompt(other, front(ball, other))],
    ):
        assert iou(instant().select(prompts).selected, ball == TRUTH) > 0.95, prompts[0].kind


def test_a_negative_click_takes_away():
    everything = np.ones(len(CLOUD), np.int64)
    both = np.stack([everything, TRUTH + 1], axis=1)  # one thing with the balls as its parts
    segmenter = SimulatedSegmenter(CLOUD, both, 0, EXACT)
    way = Instant(segmenter, CloudStage(CLOUD, CPU), CLOUD.means, 4)
    yes, no = Prompt(VIEW, front(BALLS[0])), Prompt(VIEW, front(BALLS[1]), positive=False)
    whole = way.select([yes], 1.0)
    assert whole.selected[BALLS[1] == TRUTH].mean() > 0.9
    part = way.select([yes, no])
    assert part.selected[BALLS[1] == TRUTH].mean() < 0.1 and part.selected[BALLS[0] == TRUTH].mean() > 0.9
    assert way.select([yes], 0.0).selected.sum() < whole.selected.sum()
    elsewhere = toy_views()[2]
    no = Prompt(elsewhere, front(BALLS[1], elsewhere), positive=False)
    assert way.select([yes, no], 0.0).selected[BALLS[1] == TRUTH].mean() < 0.1


def test_what_selects_nothing_says_why():
    corner = np.array([[0.0, 0.0]], np.float32)
    nothing = instant().select([Prompt(VIEW, corner)])
    assert not nothing.selected.any() and nothing.note == "Nothing is under the click"
    negative = instant().select([Prompt(VIEW, front(BALLS[0]), positive=False)])
    assert not negative.selected.any() and negative.note == "There are only negative clicks"
    with pytest.raises(UserError, match="outside the view"):
        instant().select([Prompt(VIEW, corner - 5)])


def test_wrong_masks_of_neighbors_do_not_vote():
    class Lying(SimulatedSegmenter):
        def encode(self, view, picture):
            found = super().encode(view, picture)
            if np.array_equal(view.viewmat, VIEW.viewmat):
                return found
            return replace(found, candidates=np.ones((1, view.height, view.width), bool))

    way = replace(instant(), segmenter=Lying(CLOUD, TRUTH + 1, 0, EXACT))
    lifted = way.select([Prompt(VIEW, front(BALLS[0]))])
    alone = instant(0).select([Prompt(VIEW, front(BALLS[0]))])
    assert lifted.votes == 1
    np.testing.assert_array_equal(lifted.selected, alone.selected)


def test_one_more_click_asks_the_same_pictures():
    asked = []

    class Watching(SimulatedSegmenter):
        def encode(self, view, picture):
            asked.append(view.viewmat.tobytes())
            return super().encode(view, picture)

    way = replace(instant(), segmenter=Watching(CLOUD, TRUTH + 1, 0, EXACT))
    first = Prompt(VIEW, front(BALLS[0]))
    way.select([first])
    before = set(asked)
    way.select([first, Prompt(VIEW, front(BALLS[1]), positive=False)])
    assert set(asked) == before


def test_what_a_neighbor_adds_by_loops(rng):
    """Weight that nobody voted on, less where little of the selection shows; nothing where next to nothing is new."""
    for new in (0.0, 0.02, 0.5, 1.0):
        votes = VoteAccumulator(40)
        votes.shown[:] = np.where(rng.random(40) < new, 0, 1)
        votes.inside[:] = votes.shown * (rng.random(40) < 0.1)
        offsets = np.arange(0, 61, 2)
        rows = Contributions(
            offsets, rng.integers(40, size=60).astype(np.int32), rng.uniform(0.1, 0.5, 60).astype(np.float32)
        )
        unknown = sum(w for i, w in zip(rows.ids, rows.weights, strict=True) if votes.shown[i] == 0)
        chosen = sum(w for i, w in zip(rows.ids, rows.weights, strict=True) if votes.inside[i] > 0)
        unknown, chosen = unknown / rows.weights.sum(), chosen / rows.weights.sum()
        wanted = unknown * min(1, chosen / 0.15) if unknown > 0.04 else 0
        assert information_gain(rows, votes) == pytest.approx(wanted, abs=1e-5)
    assert (
        information_gain(
            Contributions(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32)), VoteAccumulator(4)
        )
        == 0
    )


def test_few_neighbors_are_asked_where_each_takes_long():
    assert [affordable(seconds) for seconds in (0.0, 0.2, 2.5, 5.0, 60.0)] == [8, 8, 8, 4, 3]


def test_large_views_are_looked_at_smaller():
    view = fitted_view(replace(VIEW, width=2048, height=512, K=4 * VIEW.K))
    assert (view.width, view.height) == (LONGEST_SIDE, 256) and view.K[0, 0] == pytest.approx(2 * VIEW.K[0, 0])
    assert fitted_view(VIEW).width == VIEW.width
    large = VIEW.resized(VIEW.width * 40, VIEW.height * 40)
    pixels = (front(BALLS[0]) + 0.5) * 40
    assert iou(instant(2).select([Prompt(large, pixels)]).selected, BALLS[0] == TRUTH) > 0.8


# --- moved objects --------------------------------------------------------------------------------------------------


def test_a_stage_of_objects_shows_them_where_they_stand(rng):
    turned = np.eye(4)
    turned[:3, 3] = 0.3, -0.2, 0.1
    whole = query_objects(CLOUD, (ObjectPoints(turned),))
    view = toy_views()[0]
    picture = ObjectStage(whole).picture(view)
    wanted = CPU.render(CLOUD, view.of_object(turned))
    np.testing.assert_allclose(picture.rgb, wanted.rgb, atol=1e-4)
    parts = [np.flatnonzero(ball == TRUTH).astype(np.int32) for ball in BALLS]
    apart = query_objects(CLOUD, tuple(ObjectPoints(turned, ids) for ids in parts))
    np.testing.assert_allclose(ObjectStage(apart).picture(view).rgb, wanted.rgb, atol=1e-4)
    pixels = all_pixels(view)[::7]
    ours, theirs = ObjectStage(apart).rows(view, pixels), contributions(CLOUD, view.of_object(turned), pixels)
    np.testing.assert_allclose(ours.total_weight(len(CLOUD)), theirs.total_weight(len(CLOUD)), atol=1e-3)


# --- SAM ------------------------------------------------------------------------------------------------------------


def test_sam_is_asked_as_its_authors_do(rng):
    sam = open_sam(tiny_sam())
    segmenter, view, drawn = SamSegmenter(sam), random_view(rng).resized(64, 48), []
    image = rng.integers(0, 256, (48, 64, 3)).astype(np.uint8)

    def picture() -> np.ndarray:
        drawn.append(1)
        return image

    twin = SamPredictor(sam.model)
    twin.set_image(image)
    point, two = np.array([[20.5, 30.5]]), np.array([[20.5, 30.5], [40.5, 10.5]])
    for pointed, several in (
        (PixelPrompt(point, np.ones(1, bool)), True),
        (PixelPrompt(two, np.array([True, False])), False),
        (PixelPrompt(np.zeros((0, 2)), np.zeros(0, bool), np.array([5.0, 6, 30, 40])), False),
    ):
        masks, quality = segmenter.encode(view, picture).masks(pointed)
        points = (pointed.points, pointed.positive.astype(int)) if len(pointed.points) else (None, None)
        expected, scores, _ = twin.predict(*points, pointed.box, multimask_output=several)
        np.testing.assert_array_equal(masks, expected)
        np.testing.assert_allclose(quality, np.clip(scores, 0, 1), atol=1e-6)
        assert len(masks) == (3 if several else 1)
    assert len(drawn) == 1 and segmenter.has(view) and not segmenter.has(view, ("moved",))
    segmenter.encode(view, picture, ("moved",))
    assert len(drawn) == 2
    nearer = replace(view, near=2 * view.near)  # it shows less
    assert not segmenter.has(nearer)
    segmenter.encode(nearer, picture)
    assert len(drawn) == 3


@pytest.fixture
def untrained() -> Session:
    session = Session("cpu")
    session.load_scene(LoadScene("toy", CLOUD))
    return session


def test_a_scene_without_a_model_answers_instant_clicks(untrained):
    prompts = (Prompt(VIEW, front(BALLS[0])),)
    request = InstantClick("toy", prompts, options=SelectOptions(weights=str(tiny_sam()), scores=True))
    assert isinstance(untrained.look_ahead(LookAhead("toy", VIEW, str(tiny_sam())), Control()), Done)
    answer = untrained.instant_click(request, Control())
    assert answer.total == len(CLOUD) and chosen(answer).sum() == answer.count
    assert (answer.note != "") == (answer.count == 0) and answer.scale == 0.5 and len(answer.scores) == len(CLOUD)
    again = untrained.instant_click(request, Control())
    np.testing.assert_array_equal(again.bits, answer.bits)


def test_a_scene_that_was_sent_anew_is_looked_at_anew(untrained, monkeypatch):
    """Each cloud is given back when the next one comes, which then often lies where an older one lay."""
    drawn, ahead = [], LookAhead("toy", VIEW, str(tiny_sam()))
    monkeypatch.setattr(ObjectStage, "picture", lambda self, view: drawn.append(1) or CPU.render(CLOUD, view))
    for number in range(1, 21):
        untrained.load_scene(LoadScene("toy", replace(CLOUD)))
        for _ in range(2):  # the second time it is known
            untrained.look_ahead(ahead, Control())
        assert len(drawn) == number


INSTANT = SelectOptions(weights=str(tiny_sam()), neighbors=0)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"options": replace(INSTANT, weights="")}, "bad_weights"),
        ({"options": replace(INSTANT, weights="nowhere.pth")}, "bad_weights"),
        ({"options": replace(INSTANT, neighbors=9)}, "bad_settings"),
        ({"options": replace(INSTANT, scale=2.0)}, "bad_settings"),
        ({"prompts": ()}, "bad_click"),
        ({"scene": "other"}, "no_scene"),
    ],
)
def test_instant_clicks_that_cannot_be(untrained, change, code):
    base = InstantClick("toy", (Prompt(VIEW, front(BALLS[0])),), options=INSTANT)
    with pytest.raises(UserError) as caught:
        untrained.instant_click(replace(base, **change), Control())
    assert caught.value.code == code


def test_a_selection_is_snapped_by_what_is_known():
    ball = BALLS[0] == TRUTH
    segments = from_sets([ball, ~ball], CLOUD.means)
    known = np.zeros(len(CLOUD), bool)
    known[::3] = True
    seen_part = ball & known
    np.testing.assert_array_equal(nearest_by_iou(segments, seen_part, known), ball)
    few = np.zeros(len(CLOUD), bool)
    few[np.flatnonzero(seen_part)[:2]] = True
    np.testing.assert_array_equal(nearest_by_iou(segments, few, known), few)
    assert not nearest_by_iou(segments, np.zeros(len(CLOUD), bool), known).any()
