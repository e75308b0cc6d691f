"""Queries of several prompts, boxes and lassos, clean-up, clusters and colors, on the trained toy scene."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blender_saga.errors import Cancelled, UserError
from blender_saga.gaussians.view import View
from blender_saga.wire.messages import (
    CleanUp,
    Click,
    Cluster,
    Color,
    LoadScene,
    ObjectPoints,
    Prompt,
    Selection,
    Train,
)
from saga_backend.common.progress import Control
from saga_backend.methods.saga.model import AffinityModel
from saga_backend.model.scene_model import SceneModel
from saga_backend.segments.segments import from_sets, scale_table
from saga_backend.serving.session import Session
from tests.helpers.clicks import CLOUD, SMALL, TRUTH, VIEW, N, a_click, chosen, front, iou, refusal
from tests.helpers.twins import toy_views

pytestmark = pytest.mark.usefixtures("one_thread")
VIEWS = toy_views()
FLAT = replace(VIEW, K=np.array([[10, 0, 32], [0, 10, 24], [0, 0, 1.0]]), orthographic=True, near=-1e30)


def ask(session: Session, *prompts: Prompt, **options: object) -> Selection:
    return session.click(a_click(prompts, **options))


def at(index: int, view: View = VIEW, positive: bool = True) -> Prompt:
    return Prompt(view, front(index, view), positive=positive)


def box_of(index: int, view: View = VIEW, kind: str = "box", positive: bool = True) -> Prompt:
    """A box or a lasso well around ball `index`."""
    means = CLOUD.means[index == TRUTH]
    camera = means @ view.viewmat[:3, :3].T + view.viewmat[:3, 3]
    depth = np.ones((len(camera), 1)) if view.orthographic else camera[:, 2:]
    pixels = camera[:, :2] / depth * np.diag(view.K)[:2] + view.K[:2, 2]
    (x0, y0), (x1, y1) = pixels.min(axis=0) - 1, pixels.max(axis=0) + 1
    corners = [(x0, y0), (x1, y1)] if kind == "box" else [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    return Prompt(view, np.array(corners, np.float32), kind, positive)


# --- several prompts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", [*VIEWS[1:4], FLAT], ids=["1", "2", "3", "orthographic"])
def test_clicks_in_different_views_count_together(session, second):
    both = ask(session, at(0), at(1, second))
    assert iou(chosen(both), np.ones(N, bool)) > 0.9
    for keep in (0, 1):
        answer = ask(session, at(0, positive=keep == 0), at(1, second, positive=keep == 1))
        assert iou(chosen(answer), keep == TRUTH) > 0.9


def test_the_order_of_the_prompts_does_not_matter(rng, session):
    prompts = [at(0), at(1, VIEWS[2], False), box_of(0, VIEWS[1]), at(0, FLAT)]
    expected = ask(session, *prompts, scores=True)
    shuffled = ask(session, *[prompts[i] for i in rng.permutation(4)], scores=True)
    np.testing.assert_array_equal(expected.bits, shuffled.bits)
    np.testing.assert_allclose(expected.scores, shuffled.scores, atol=1e-6)


def test_a_prompt_of_several_pixels_is_as_many_prompts(session):
    pixels = np.concatenate([front(0), front(1)])
    together = ask(session, Prompt(VIEW, pixels), scores=True)
    apart = ask(session, at(0), at(1), scores=True)
    np.testing.assert_array_equal(together.scores, apart.scores)


def test_a_negative_prompt_never_adds(session):
    alone = chosen(ask(session, at(0), threshold=0.3))
    with_no = chosen(ask(session, at(0), at(1, VIEWS[3], False), threshold=0.3))
    assert (with_no <= alone).all() and iou(with_no, TRUTH == 0) > 0.9


@pytest.mark.parametrize("prompts", [(at(0, positive=False),), (at(0, positive=False), box_of(1, positive=False))])
def test_only_negative_prompts_are_an_empty_selection_with_a_note(session, prompts):
    answer = ask(session, *prompts)
    assert answer.count == 0 and "negative" in answer.note


def test_one_bad_prompt_refuses_them_all(session):
    bad = Prompt(VIEW, np.array([[-5, 3]], np.float32))
    assert refusal(session, Click("toy", (at(0), bad))) == "bad_click"
    assert refusal(session, Click("toy", (at(0), Prompt(VIEW, front(0), "circle")))) == "bad_click"


# --- boxes and lassos -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", [VIEW, VIEWS[2], FLAT], ids=["0", "2", "orthographic"])
@pytest.mark.parametrize("kind", ["box", "lasso"])
@pytest.mark.parametrize("index", [0, 1])
def test_a_region_around_a_thing_selects_it(session, view, kind, index):
    assert iou(chosen(ask(session, box_of(index, view, kind))), index == TRUTH) > 0.9


def test_a_region_around_everything_selects_everything_but_what_is_clicked_away(session):
    whole = Prompt(VIEW, np.array([[-10, -10], [1000, 1000]], np.float32), "box")
    assert iou(chosen(ask(session, whole)), np.ones(N, bool)) > 0.9


def test_a_negative_region_takes_its_thing_away(session):
    answer = ask(session, at(0), box_of(1, VIEWS[1], "lasso", positive=False), threshold=0.0)
    assert iou(chosen(answer), TRUTH == 0) > 0.9


def test_a_region_of_background_is_an_empty_selection_with_a_note(session):
    answer = ask(session, Prompt(VIEW, np.array([[0, 0], [4, 4]], np.float32), "box"))
    assert answer.count == 0 and answer.note


@pytest.mark.parametrize(("kind", "corners"), [("box", [(5, 5), (5, 9)]), ("lasso", [(5, 5), (20, 20)])], ids=str)
def test_regions_without_pixels_are_refused(session, kind, corners):
    assert refusal(session, Click("toy", (Prompt(VIEW, np.array(corners, np.float32), kind),))) == "bad_click"


# --- clean-up ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def alike(session) -> Session:
    """The scene with a model to which everything is alike."""
    same = AffinityModel(np.ones((N, 4), np.float32) / 2, np.zeros((2, 4), np.float32), np.ones(2, np.float32), 1)
    whole = from_sets([np.ones(N, bool)], CLOUD.means)
    session._scenes["toy"].model = SceneModel(whole, scale_table(whole), same)
    return session


def test_the_clicked_part_alone_stays(alike):
    assert ask(alike, at(0)).count == N
    for index in (0, 1):
        answer = ask(alike, at(index), clean_up=CleanUp(connected=True))
        assert iou(chosen(answer), index == TRUTH) > 0.95
        assert answer.cleaned.connected == N - answer.count and answer.cleaned.floaters == 0


def test_everything_that_was_clicked_stays(session):
    clean = ask(session, at(0), at(1, VIEWS[2]), clean_up=CleanUp(connected=True, floaters=True))
    assert iou(chosen(clean), np.ones(N, bool)) > 0.9


def test_visible_gaussians_only(session):
    everything = ask(session, at(0))
    answer = ask(session, at(0), clean_up=CleanUp(visible=True))
    before, after = chosen(everything), chosen(answer)
    assert (after <= before).all() and answer.cleaned.visible == before.sum() - after.sum() > 0
    toward = VIEW.camera_position - CLOUD.means
    facing = (CLOUD.means * toward).sum(axis=1) / np.linalg.norm(toward, axis=1)  # ball 0: radius 1 about the origin
    assert after[before & (facing > 0.5)].mean() > 0.8
    assert after[before & (facing < -0.5)].mean() < 0.4  # its discs leave gaps through which one sees its far side


def test_counts_are_those_of_the_points_that_take_part(alike):
    """Two copies of ball 0, the first of them meant, and a third of ball 1: each point counts where it is dropped."""
    first = np.flatnonzero(TRUTH == 0).astype(np.int32)
    second = np.flatnonzero(TRUTH == 1).astype(np.int32)[::3]
    objects = (ObjectPoints(np.eye(4), first), ObjectPoints(np.eye(4), second), ObjectPoints(np.eye(4), first))
    answer = ask(alike, at(0), objects=objects, clean_up=CleanUp(connected=True))
    assert answer.total == 2 * len(first) + len(second)
    assert answer.count + answer.cleaned.connected == len(first) + len(second)
    assert len(second) <= answer.cleaned.connected < 1.1 * len(second)


def test_clean_up_of_an_empty_selection(session):
    answer = ask(session, Prompt(VIEW, np.zeros((1, 2), np.float32)), clean_up=CleanUp(True, True, True, True))
    assert answer.count == 0 and answer.note and not any(vars(answer.cleaned).values())


def test_all_steps_together_keep_a_good_selection(session):
    answer = ask(session, at(0), clean_up=CleanUp(floaters=True, connected=True, holes=True))
    assert iou(chosen(answer), TRUTH == 0) > 0.9


# --- clusters and colors ---------------------------------------------------------------------------------------------


def test_clusters_of_the_toy_scene(session):
    answer = session.cluster(Cluster("toy"), Control())
    assert answer.labels.shape == (N,)
    tops = np.flatnonzero(answer.parents == -1).tolist()
    assert len(tops) >= 2
    for index in (0, 1):
        best = max(iou(_below(answer, node), index == TRUTH) for node in range(len(answer.parents)))
        assert best > 0.8
    assert session.cluster(Cluster("toy"), Control()) is answer  # kept, as long as
    assert session.cluster(Cluster("toy", smallest=20), Control()) is not answer  # the request and
    session.train(Train("toy", "", SMALL), Control())
    assert session.cluster(Cluster("toy", smallest=20), Control()) is not answer  # the model are the same


def _below(answer, node: int) -> np.ndarray:
    nodes = {node}
    for child, parent in enumerate(answer.parents.tolist()):
        nodes |= {child} if parent in nodes else set()
    return np.isin(answer.labels, list(nodes))


def test_before_features_are_trained_boxes_and_clusters_go_by_the_segments(session):
    scene = session._scenes["toy"]
    scene.model = replace(scene.model, affinity=None)
    for index in (0, 1):
        assert iou(chosen(ask(session, box_of(index), scale=-1.0)), index == TRUTH) > 0.8
    answer = session.cluster(Cluster("toy"), Control())
    for index in (0, 1):
        assert max(iou(_below(answer, node), index == TRUTH) for node in range(len(answer.parents))) > 0.8
    with pytest.raises(UserError) as caught:
        session.color(Color("toy"))
    assert caught.value.code == "no_model"


def test_a_cancelled_clustering_leaves_nothing_behind(session):
    control = Control()
    control.cancel()
    with pytest.raises(Cancelled):
        session.cluster(Cluster("toy"), control)
    assert session.cluster(Cluster("toy"), Control()).labels.shape == (N,)


@pytest.mark.parametrize("scale", [-1.0, 0.0, 0.7, 1.0])
def test_colors_of_the_toy_scene(session, scale):
    answer = session.color(Color("toy", scale))
    assert answer.rgb.shape == (N, 3) and answer.rgb.dtype == np.uint8
    middles = [answer.rgb[index == TRUTH].astype(float).mean(axis=0) for index in (0, 1)]
    assert np.linalg.norm(middles[0] - middles[1]) > 60


def test_clusters_and_colors_need_a_model_and_settings_in_range(session):
    fresh = Session("cpu")
    for work in (lambda s: s.cluster(Cluster("toy"), Control()), lambda s: s.color(Color("toy"))):
        with pytest.raises(UserError) as caught:
            work(fresh)
        assert caught.value.code == "no_scene"
    fresh.load_scene(LoadScene("toy", CLOUD))
    for work in (lambda s: s.cluster(Cluster("toy"), Control()), lambda s: s.color(Color("toy"))):
        with pytest.raises(UserError) as caught:
            work(fresh)
        assert caught.value.code == "no_model"
    for scale in (1.01, np.nan, np.inf):
        with pytest.raises(UserError) as caught:
            session.color(Color("toy", scale))
        assert caught.value.code == "bad_settings"
