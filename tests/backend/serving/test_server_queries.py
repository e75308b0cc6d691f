"""Queries of every kind, and bad input of every kind, through a real backend process with a trained toy scene."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from blender_saga.client.backend import Backend
from blender_saga.client.connection.jobs import JobState
from blender_saga.client.connection.process import Launch
from blender_saga.errors import Cancelled, UserError
from blender_saga.wire.messages import (
    CleanUp,
    Click,
    Cluster,
    Color,
    LoadScene,
    Prompt,
    Recolor,
    SelectOptions,
    Status,
    Train,
    TrainSettings,
)
from saga_backend.methods.saga.model import AffinityModel
from saga_backend.model import saga_file as model_file
from saga_backend.model.scene_model import SceneModel
from saga_backend.segments.segments import from_sets, scale_table
from saga_backend.text.clip_model import LoadedClip, build
from saga_backend.tools.tiny_clip import TinySettings, save
from tests.helpers.clicks import CLOUD, SMALL, TRUTH, VIEW, N, a_click, chosen, front, iou
from tests.helpers.twins import toy_views
from tests.paths import ROOT

SECONDS = 180
"""Limit of a test that hangs."""
SIDE = toy_views()[2]


@pytest.fixture(scope="module")
def backend(tmp_path_factory, saga_file) -> Iterator[Backend]:
    log = tmp_path_factory.mktemp("server") / "backend.log"
    backend = Backend(Launch(Path(sys.executable), ROOT / "backend" / "launch.py", ROOT / "blender_saga", log, "cpu"))
    backend.start()
    try:
        backend.wait_connected(SECONDS)
        assert answered(backend, LoadScene("toy", CLOUD, model_file=str(saga_file))).model_steps == SMALL.steps
        yield backend
    finally:
        backend.stop()


def answered(backend: Backend, request: object) -> object:
    return backend.wait(backend.submit(request), SECONDS).outcome()


def click(*prompts: Prompt, **options: object) -> Click:
    return a_click(prompts, **options)


def region(corners: list, kind: str = "box") -> Prompt:
    return Prompt(VIEW, np.array(corners, np.float32), kind)


YES, NO = Prompt(VIEW, front(0)), Prompt(SIDE, front(1, SIDE), positive=False)
OUTSIDE = Prompt(VIEW, np.array([[64, 5]], np.float32))


def test_clicks_in_two_views_with_clean_up(backend):
    wish = CleanUp(floaters=True, connected=True, holes=True, visible=False)
    answer = answered(backend, click(YES, NO, clean_up=wish))
    assert iou(chosen(answer), TRUTH == 0) > 0.9


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (click(OUTSIDE), "bad_click"),
        (click(YES, OUTSIDE), "bad_click"),
        (click(), "bad_click"),
        (click(region([(5, 5), (5, 9)])), "bad_click"),
        (click(region([(-9, -9), (-2, -2)])), "bad_click"),
        (click(region([(1, 1), (9, 9)], "lasso")), "bad_click"),
        (click(region([(np.nan, 1), (9, 9)])), "bad_click"),
        (click(YES, scale=1.5), "bad_settings"),
        (click(YES, scale=np.nan), "bad_settings"),
        (click(YES, threshold=7.0), "bad_settings"),
        (Cluster("toy", np.array([2], np.float32)), "bad_settings"),
        (Cluster("toy", smallest=-5), "bad_settings"),
        (Color("toy", 3.0), "bad_settings"),
        (Cluster("none"), "no_scene"),
        (Color("none"), "no_scene"),
        (Click("none", (YES,)), "no_scene"),
    ],
)
def test_bad_input_is_one_sentence_and_the_next_request_is_answered(backend, request_, code):
    with pytest.raises(UserError) as caught:
        answered(backend, request_)
    assert caught.value.code == code
    assert answered(backend, click(YES)).count > 0


@pytest.mark.parametrize("prompts", [(NO,), (NO, NO), (region([(0, 0), (4, 4)]),)], ids=["no", "twice no", "empty"])
def test_nothing_selected_is_said(backend, prompts):
    answer = answered(backend, click(*prompts, clean_up=CleanUp(True, True, True, True)))
    assert answer.count == 0 and answer.note


def test_everything_at_once(backend):
    answer = answered(backend, Cluster("toy"))
    assert answer.labels.shape == (N,) and len(answer.parents) >= 2
    assert answered(backend, Color("toy", 0.5)).rgb.shape == (N, 3)


def test_everything_at_once_tells_how_far_it_is_and_can_be_cancelled(backend):
    """At far more scales than there is time for: the answer of a quick one may overtake all that it tells."""
    told = []
    job = backend.submit(Cluster("toy", np.linspace(0, 1, 50_000, dtype=np.float32)))

    def cancel(progress: object) -> None:
        told.append(progress.phase)
        backend.cancel(job)

    assert backend.wait(job, SECONDS, on_progress=cancel).state is JobState.cancelled
    assert all(phase.startswith("clustering at scale 0.") for phase in told)


@pytest.mark.parametrize("count", [10, 1])
def test_clusters_of_ten_gaussians_and_of_one(backend, tmp_path, count):
    """All of them alike: an empty tree that says so, and everything else still answers."""
    features = AffinityModel(np.ones((count, 4), np.float32) / 2, np.zeros((2, 4)), np.ones(2, np.float32), 1)
    whole = from_sets([np.ones(count, bool)], CLOUD.means[:count])
    model = SceneModel(whole, scale_table(whole), features)
    path, name = str(tmp_path / "few.saga"), f"{count} Gaussians"
    model_file.save(path, model, model_file.Header(name))
    assert answered(backend, LoadScene(name, CLOUD.take(np.arange(count)), model_file=path)).model_steps == 1
    answer = answered(backend, Cluster(name))
    assert answer.labels.tolist() == [-1] * count and len(answer.parents) == 0 and answer.note
    assert (answered(backend, Color(name)).rgb == 128).all()
    whole = Prompt(VIEW, np.array([(0, 0), (64, 48)], np.float32), "box")
    selection = answered(
        backend, Click(name, (whole,), options=SelectOptions(clean_up=CleanUp(True, True, True, True)))
    )
    assert selection.total == count and (selection.count > 0) != bool(selection.note)


def test_everything_is_answered_while_training_runs(backend):
    """And the training is cancelled in the end; the model from before stays."""
    before = answered(backend, click(YES))
    slow = TrainSettings(steps=100_000, views=4, width=64, height=48, pixels=128, recipe="paper")  # half an hour
    train = backend.submit(Train("toy", settings=slow))
    while train.progress is None and not train.ended:
        backend.wait(backend.submit(Color("toy")), SECONDS)
    for request in (click(YES, NO), Cluster("toy", np.array([0.5], np.float32)), Color("toy")):
        assert answered(backend, request) is not None
    status = answered(backend, Status())
    assert 50 < status.memory < 16_000 and status.available > 0 and status.device == "CPU"
    assert not train.ended, train.error
    backend.cancel(train)
    assert backend.wait(train, SECONDS).state is JobState.cancelled
    np.testing.assert_array_equal(answered(backend, click(YES)).bits, before.bits)


def test_clicks_are_answered_while_it_recolors(backend, tmp_path):
    settings = TinySettings(side=32, text_width=16, text_layers=1, embed=16)
    path = tmp_path / "random.pt"
    save(LoadedClip(build(settings.config()).eval(), settings.config(), ""), path)
    ball = CLOUD.take(np.flatnonzero(TRUTH == 0))
    job = backend.submit(Recolor(ball, "red ball", "blue ball", str(path), steps=10_000))
    answers = []

    def clicks(progress: object) -> None:
        if progress.phase == "recoloring" and progress.step and not answers:
            answers.append(answered(backend, click(YES)))
            assert np.isfinite(progress.loss) and progress.total == 10_000
            backend.cancel(job)

    with pytest.raises(Cancelled):
        backend.wait(job, SECONDS, on_progress=clicks).outcome()
    assert iou(chosen(answers[0]), TRUTH == 0) > 0.8
    shift = answered(backend, Recolor(ball, "red ball", "blue ball", str(path), steps=1)).shift
    assert shift.shape == (len(ball), 3)
