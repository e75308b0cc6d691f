"""Recolor as a message: what the backend makes of it, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from blender_saga.errors import Cancelled, UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.sh import C0
from blender_saga.wire.messages import Recolor
from saga_backend.common.progress import Control
from saga_backend.evaluation.synthetic import standard_scene
from saga_backend.serving.session import Session
from saga_backend.text import answers
from saga_backend.text.clip_model import LoadedClip, build
from saga_backend.tools.tiny_clip import TinySettings, fit, save
from tests.backend.text.test_recolor import MeanColor, hue, red_ball
from tests.helpers.twins import CancelsAt

pytestmark = pytest.mark.usefixtures("one_thread")


def request(cloud: GaussianCloud, **other) -> Recolor:
    return Recolor(**({"cloud": cloud, "source": "red ball", "text": "blue ball", "weights": "w.pt"} | other))


@pytest.fixture
def sees_colors(monkeypatch) -> None:
    monkeypatch.setattr(answers, "shared_clip", lambda path, device: MeanColor())


class Hears(Control):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, int, int, float]] = []

    def emit(self, phase: str, step: int, total: int) -> None:
        self.told.append((phase, step, total, self.loss))


def test_a_red_ball_is_answered_with_the_way_to_blue(rng, sees_colors) -> None:
    cloud, control = red_ball(rng), Hears()
    answer = Session("cpu").recolor(request(cloud, steps=40), control)
    assert answer.shift.shape == (400, 3) and answer.shift.dtype == np.float32
    before = (0.5 + C0 * cloud.sh[:, 0]).mean(axis=0)
    assert hue(before) < 10 and 200 < hue(before + answer.shift.mean(axis=0)) < 280
    half = before + 0.5 * answer.shift.mean(axis=0)
    assert half[0] > 0.3 * before[0]  # half of the way is not all of it: there is red in it
    fitted = [told for told in control.told if told[0] == "recoloring"]
    assert [told[1:3] for told in fitted] == [(step, 40) for step in range(40)]
    losses = [told[3] for told in fitted[1:]]
    assert np.isfinite(losses).all() and losses[-1] < losses[0]


def test_what_was_recolored_can_be_recolored_again(rng, sees_colors) -> None:
    cloud, session = red_ball(rng), Session("cpu")
    for source, target, low, high in (("red ball", "blue ball", 200, 280), ("blue ball", "green ball", 80, 160)):
        shift = session.recolor(request(cloud, source=source, text=target, steps=40), Control()).shift
        sh = cloud.sh.copy()
        sh[:, 0] += shift / C0
        cloud = replace(cloud, sh=sh)
        assert low < hue((0.5 + C0 * cloud.sh[:, 0]).mean(axis=0)) < high


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ({"weights": ""}, "bad_weights"),
        ({"weights": "not there.pt"}, "bad_weights"),
        ({"source": " "}, "bad_text"),
        ({"text": ""}, "bad_text"),
        ({"text": "red ball"}, "bad_text"),
        ({"steps": -1}, "bad_settings"),
        ({"steps": 10**9}, "bad_settings"),
        ({"seed": -1}, "bad_settings"),
    ],
)
def test_what_is_refused(rng, monkeypatch, bad: dict, code: str) -> None:
    if "weights" not in bad:
        monkeypatch.setattr(answers, "shared_clip", lambda path, device: MeanColor())
    with pytest.raises(UserError) as caught:
        Session("cpu").recolor(request(red_ball(rng), **bad), Control())
    assert caught.value.code == code


def test_what_nobody_can_see_is_refused(rng, sees_colors) -> None:
    cloud = red_ball(rng)
    hidden = replace(cloud, opacities=np.zeros_like(cloud.opacities))
    sh = cloud.sh.copy()
    sh[3] = np.nan
    none, no_number = cloud.take(np.arange(0)), replace(cloud, sh=sh)
    for bad, why in ((hidden, "transparent"), (none, "0 Gaussians"), (no_number, "not finite")):
        with pytest.raises(UserError, match=why):
            Session("cpu").recolor(request(bad), Control())


@pytest.mark.parametrize("phase", ["opening CLIP", "looking at the selection", "recoloring"])
def test_it_can_be_cancelled_at_any_time(rng, sees_colors, phase: str) -> None:
    with pytest.raises(Cancelled):
        Session("cpu").recolor(request(red_ball(rng)), CancelsAt(phase))


def test_real_classes_with_random_weights(rng, tmp_path: Path) -> None:
    settings = TinySettings(side=32, text_width=16, text_layers=1, embed=16)
    torch.manual_seed(0)
    path = tmp_path / "random.pt"
    save(LoadedClip(build(settings.config()).eval(), settings.config(), ""), path)
    answer = Session("cpu").recolor(request(red_ball(rng), weights=str(path), steps=3), Control())
    assert answer.shift.shape == (400, 3) and np.isfinite(answer.shift).all()


@pytest.mark.steady
def test_a_red_box_turns_blue_for_a_clip_that_was_fitted_to_boxes(rng, monkeypatch) -> None:
    """Barely fitted: it knows what red and blue are. docs/user/edits.md has what a longer fit comes to."""
    settings = TinySettings(side=32, embed=24, text_width=32, text_layers=1, scenes=2, objects=3, views=1, steps=60)
    clip = fit(replace(settings, batch=48, rate=5e-3))
    monkeypatch.setattr(answers, "shared_clip", lambda path, device: clip)
    scene = standard_scene(1, 1, 50)
    box = scene.cloud.take(np.flatnonzero(scene.labels[:, 1] == 1)[::4])
    sh = box.sh.copy()
    sh[:, 0] = (np.array([0.8, 0.12, 0.1]) + rng.normal(0, 0.03, (len(box), 3)) - 0.5) / C0
    box = replace(box, sh=sh)
    shift = Session("cpu").recolor(request(box, source="red box", text="blue box", steps=30), Control()).shift
    before = 0.5 + C0 * sh[:, 0]
    assert hue(before.mean(axis=0)) < 10 and 190 < hue((before + shift).mean(axis=0)) < 280
