"""Messages and their answers, without a server: clicks on objects where they stand, and everything that is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blender_saga.errors import UserError
from blender_saga.wire.messages import CleanUp, Click, LoadScene, ObjectPoints, Prompt, Train, Unload
from saga_backend.common.progress import Control
from saga_backend.serving.session import Session
from tests.helpers.clicks import CLOUD, EYE, SMALL, TRUTH, VIEW, N, chosen, click_at, front, iou, refusal
from tests.helpers.twins import pixel_over, rotation

pytestmark = pytest.mark.usefixtures("one_thread")


def affine(rng, linear: np.ndarray) -> np.ndarray:
    out = np.eye(4)
    out[:3, :3] = linear
    out[:3, 3] = rng.uniform(-0.3, 0.3, 3)
    return out


# --- answers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("objects", [(), (ObjectPoints(EYE),), (ObjectPoints(EYE, np.arange(N, dtype=np.int32)),)])
def test_click_selects_the_ball(session, index, objects):
    answer = session.click(click_at(front(index), *objects))
    assert answer.total == N and answer.scale == 1.0 and answer.note == "" and len(answer.scores) == 0
    assert iou(chosen(answer), index == TRUTH) > 0.9


def test_fractions_of_a_pixel_do_not_matter(session):
    a = session.click(click_at(front(0)))
    b = session.click(click_at(front(0) + np.float32(0.999)))
    np.testing.assert_array_equal(a.bits, b.bits)


def test_scores_on_request(session):
    by_features = session.click(click_at(front(0), scores=True, threshold=0.6, method="saga", snap=False))
    np.testing.assert_array_equal(by_features.scores > 0.6, chosen(by_features))
    assert by_features.threshold == pytest.approx(0.6) and by_features.scores.dtype == np.float32
    for method in ("auto", "segments"):  # the segments decide what is selected; the scores stay those of the features
        answer = session.click(click_at(front(0), scores=True, threshold=0.6, method=method))
        np.testing.assert_array_equal(answer.scores, by_features.scores)


@pytest.mark.parametrize("options", [{"method": "segments"}, {"method": "saga"}, {"method": "saga", "snap": False}])
@pytest.mark.parametrize("index", [0, 1])
def test_every_method_selects_the_ball(session, index, options):
    assert iou(chosen(session.click(click_at(front(index), **options))), index == TRUTH) > 0.9


def test_an_unknown_method_is_refused(session):
    assert refusal(session, click_at(front(0), method="magic")) == "bad_settings"


def test_scale_and_threshold_not_given_are_chosen(session):
    answer = session.click(click_at(front(0), scale=-1.0, threshold=-1.0))
    assert 0 <= answer.scale <= 1 and 0 < answer.threshold < 1 and answer.size_units > 0 and answer.count > 0


def test_negative_click_takes_its_ball_away(session):
    both = np.concatenate([front(0), front(1)])
    for keep in (0, 1):
        prompts = tuple(Prompt(VIEW, front(i), positive=i == keep) for i in (0, 1))
        request = replace(click_at(both), prompts=prompts)
        assert iou(chosen(session.click(request)), keep == TRUTH) > 0.9
    assert iou(chosen(session.click(click_at(both))), np.ones(N, bool)) > 0.9


@pytest.mark.parametrize("how", ["moved", "rotated", "scaled", "mirrored", "sheared"])
def test_object_is_clicked_where_it_stands(rng, session, how):
    linear = {
        "moved": np.eye(3),
        "rotated": rotation(rng.normal(size=4)),
        "scaled": np.eye(3) * 0.6,
        "mirrored": np.diag([-1.0, 1, 1]),
        "sheared": np.eye(3) + rng.uniform(-0.2, 0.2, (3, 3)),
    }[how]
    center = np.array([1.5, 0, 0])
    matrix = affine(rng, linear)
    matrix[:3, 3] += center - linear @ center  # turned about the middle of the picture
    view = replace(VIEW, viewmat=VIEW.viewmat @ affine(rng, np.eye(3)))
    for index in (0, 1):
        pixel = front(index, view, matrix)
        if not view.contains(pixel).all():
            continue
        # What the nearest Gaussian belongs to may still be covered by the other ball in a turned object.
        answer = session.click(click_at(pixel, ObjectPoints(matrix), view=view))
        same = session.click(click_at(pixel, ObjectPoints(EYE), view=view.of_object(matrix)))
        np.testing.assert_array_equal(answer.bits, same.bits)
        assert max(iou(chosen(answer), index == TRUTH), iou(chosen(answer), index != TRUTH)) > 0.9


def test_split_objects_answer_in_their_own_points(rng, session):
    """Each ball its own object, its points in another order, the second one moved to where the first was."""
    first, second = (rng.permutation(np.flatnonzero(index == TRUTH)).astype(np.int32) for index in (0, 1))
    moved = EYE.copy()
    moved[:3, 3] = (-3, 0, 0)
    away = EYE.copy()
    away[:3, 3] = (0, 0, 100)
    objects = (ObjectPoints(away, first), ObjectPoints(moved, second))
    answer = session.click(click_at(front(1, VIEW, moved), *objects))
    assert answer.total == N
    mask = chosen(answer)
    assert not mask[: len(first)].any() and mask[len(first) :].mean() > 0.9
    alone = session.click(click_at(front(1, VIEW, moved), objects[1]))
    np.testing.assert_array_equal(chosen(alone), mask[len(first) :])


def test_what_does_not_take_part_is_clicked_through(session):
    only = np.flatnonzero(TRUTH == 1).astype(np.int32)
    answer = session.click(click_at(front(0), ObjectPoints(EYE, only)))
    assert answer.count == 0 and answer.total == len(only) and answer.note


def test_copies_that_were_moved_by_themselves_are_clicked_where_they_stand(session):
    """One object holds ball 1 twice, the copies over the left border of where everything was."""
    copies = np.flatnonzero(TRUTH == 1).astype(np.int32)
    ids = np.concatenate([np.arange(N, dtype=np.int32), copies])
    shift = np.array([-6, 0, 0], np.float32)
    there = replace(CLOUD.take(copies), means=CLOUD.means[copies] + shift)
    part = ObjectPoints(EYE, ids, np.arange(N, len(ids), dtype=np.int32), there.with_degree(0))
    matrix = EYE.copy()
    matrix[:3, 3] = shift
    view = replace(VIEW, viewmat=VIEW.viewmat @ np.linalg.inv(matrix))  # ball 1 of the copies is where ball 1 was
    pixel = front(1, view, matrix)
    mask = chosen(session.click(click_at(pixel, part, view=view)))
    assert mask[N:].mean() > 0.9  # by ids alone there is nothing in this view
    assert not session.click(click_at(pixel, ObjectPoints(EYE, ids), view=view)).count
    seen = chosen(session.click(click_at(pixel, part, view=view, clean_up=CleanUp(visible=True))))
    assert seen[N:].any() and not seen[:N].any()


@pytest.mark.parametrize("moved", [[N], [-1], [0, 1]])
def test_moved_points_that_do_not_fit_are_refused(session, moved):
    part = ObjectPoints(EYE, moved=np.array(moved, np.int32), cloud=CLOUD.take(np.arange(1)).with_degree(0))
    assert refusal(session, click_at(front(0), part)) == "bad_ids"


def test_nearer_object_hides_the_farther(session):
    """Ball 1 as an object of its own, put between the camera and ball 0."""
    ids = [np.flatnonzero(index == TRUTH).astype(np.int32) for index in (0, 1)]
    between = EYE.copy()
    between[:3, 3] = (-3, -2, 0)
    answer = session.click(click_at(front(1, VIEW, between), ObjectPoints(EYE, ids[0]), ObjectPoints(between, ids[1])))
    mask = chosen(answer)
    assert mask[len(ids[0]) :].mean() > 0.9 and not mask[: len(ids[0])].any()


def test_orthographic_view(session):
    K = np.array([[10, 0, 32], [0, 10, 24], [0, 0, 1.0]])
    flat = replace(VIEW, K=K, orthographic=True, near=-1e30)
    for index in (0, 1):
        assert iou(chosen(session.click(click_at(front(index, flat), view=flat))), index == TRUTH) > 0.9


@pytest.mark.parametrize("gone", [0, 37])
def test_geometry_sent_with_ids(rng, session, saga_file, gone):
    """Points in another order and some deleted: the same answer for those that are there."""
    ids = rng.permutation(N)[gone:].astype(np.int32)
    other = Session("cpu")
    state = other.load_scene(LoadScene("toy", CLOUD.take(ids), ids, N, str(saga_file)))
    assert state.count == N and state.model_steps == SMALL.steps
    pixel = pixel_over(CLOUD, VIEW, front_of(ids))[None].astype(np.float32)
    answer = other.click(click_at(pixel, ObjectPoints(EYE, ids)))
    assert iou(chosen(answer), TRUTH[ids] == TRUTH[front_of(ids)]) > 0.9
    if not gone:
        whole = session.click(click_at(pixel))
        np.testing.assert_array_equal(chosen(answer), chosen(whole)[ids])


def front_of(ids: np.ndarray) -> int:
    depth = CLOUD.means[ids] @ VIEW.viewmat[2, :3]
    return int(ids[np.argmin(depth)])


def test_deleted_points_are_not_seen(session, saga_file):
    """Without ball 0 a click there hits the background, even when the object does not say which points it has."""
    ids = np.flatnonzero(TRUTH == 1).astype(np.int32)
    session.load_scene(LoadScene("toy", CLOUD.take(ids), ids, N, str(saga_file)))
    answer = session.click(click_at(front(0)))
    assert answer.count == 0 and answer.note


def test_deleted_points_leave_nothing_in_their_place(session, saga_file):
    """All but one faint point are deleted: there is too little to see, and nothing to click."""
    faint = front_of(np.arange(N))
    opacities = CLOUD.opacities.copy()
    opacities[faint] = 0.2
    part = replace(CLOUD, opacities=opacities).take(np.array([faint]))
    session.load_scene(LoadScene("toy", part, np.array([faint], np.int32), N, str(saga_file)))
    assert session.click(click_at(pixel_over(CLOUD, VIEW, faint)[None].astype(np.float32))).count == 0


# --- empty and refused ----------------------------------------------------------------------------------------------


def test_background_is_an_empty_selection_with_a_note(session):
    answer = session.click(click_at(np.zeros((1, 2), np.float32)))
    assert answer.count == 0 and answer.total == N and not answer.bits.any() and answer.note


def test_only_negative_clicks_are_an_empty_selection_with_a_note(session):
    answer = session.click(replace(click_at(front(0)), prompts=(Prompt(VIEW, front(0), positive=False),)))
    assert answer.count == 0 and answer.note


@pytest.mark.parametrize(
    "pixel", [(-1, 5), (64, 5), (5, -0.5), (5, 48), (np.nan, 5), (5, np.inf), (-np.inf, 5), (1e30, 5)], ids=str
)
def test_click_outside_the_picture(session, pixel):
    assert refusal(session, click_at(np.array([pixel], np.float32))) == "bad_click"
    both = np.concatenate([front(0), np.array([pixel], np.float32)])
    assert refusal(session, click_at(both)) == "bad_click"


@pytest.mark.parametrize("pixels", [np.zeros((0, 2)), np.zeros(2), np.zeros((1, 3)), np.zeros((2, 2, 2))])
def test_clicks_of_the_wrong_shape(session, pixels):
    assert refusal(session, click_at(pixels.astype(np.float32))) == "bad_click"


def test_a_click_without_prompts(session):
    assert refusal(session, Click("toy", ())) == "bad_click"


@pytest.mark.parametrize("value", [1.01, 7.0, np.inf, np.nan])
@pytest.mark.parametrize("name", ["scale", "threshold"])
def test_scale_and_threshold_out_of_range(session, name, value):
    assert refusal(session, click_at(front(0), **{name: value})) == "bad_settings"


@pytest.mark.parametrize("ids", [[N], [-1], [0, 1, 10**6]])
def test_ids_out_of_range(session, ids):
    bad = ObjectPoints(EYE, np.array(ids, np.int32))
    assert refusal(session, click_at(front(0), bad)) == "bad_ids"
    assert refusal(session, click_at(front(0), ObjectPoints(EYE), bad)) == "bad_ids"


def test_matrix_that_is_not_finite(session):
    assert refusal(session, click_at(front(0), ObjectPoints(np.full((4, 4), np.nan)))) == "bad_view"


def test_flattened_object_does_not_break(session):
    session.click(click_at(front(0), ObjectPoints(np.diag([1.0, 1, 0, 1]))))
    session.click(click_at(front(0), ObjectPoints(np.diag([0.0, 0, 0, 1]))))


def test_click_before_training_and_on_an_unknown_scene(session):
    fresh = Session("cpu")
    assert refusal(fresh, click_at(front(0))) == "no_scene"
    fresh.load_scene(LoadScene("toy", CLOUD))
    assert refusal(fresh, click_at(front(0))) == "no_model"
    session.unload(Unload("toy"))
    assert refusal(session, click_at(front(0))) == "no_scene"
    session.unload(Unload("toy"))  # twice does no harm


def test_train_an_unknown_scene():
    with pytest.raises(UserError) as caught:
        Session("cpu").train(Train("none", "", SMALL), Control())
    assert caught.value.code == "no_scene"


@pytest.mark.parametrize(
    ("ids", "count"), [([0, 1], N), (range(N + 1), N + 1), ([*range(N - 1), N], N), ([-1, *range(1, N)], N)], ids=str
)
def test_ids_that_do_not_fit_the_points(ids, count):
    with pytest.raises(UserError) as caught:
        Session("cpu").load_scene(LoadScene("toy", CLOUD, np.array(ids, np.int32), count))
    assert caught.value.code == "bad_scene"


def test_unusable_model_file_leaves_a_usable_scene(tmp_path, saga_file):
    broken = tmp_path / "broken.saga"
    broken.write_bytes(saga_file.read_bytes()[:100])
    session = Session("cpu")
    state = session.load_scene(LoadScene("toy", CLOUD, model_file=str(broken)))
    assert state.model_steps == 0 and state.note
    state = session.load_scene(LoadScene("another", CLOUD, model_file=str(saga_file)))
    assert state.model_steps == 0 and "another cloud" in state.note
    state = session.load_scene(LoadScene("toy", CLOUD, model_file=str(tmp_path / "none.saga")))
    assert state.model_steps == 0 and state.note == ""


def test_model_of_another_size_is_not_taken(tmp_path, saga_file):
    """The name fits, the number of Gaussians does not: a click would read features that are not there."""
    session = Session("cpu")
    few = CLOUD.take(np.arange(50))
    state = session.load_scene(LoadScene("toy", few, model_file=str(saga_file)))
    assert state.model_steps == 0 and state.note
    assert refusal(session, click_at(front(0))) == "no_model"
