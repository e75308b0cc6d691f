"""Text-driven edit: a red box asked to be blue turns blue, in hue; its form and what is drawn on it stay."""

from __future__ import annotations

import colorsys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from blender_saga.errors import Cancelled, UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.sh import C0
from saga_backend.common.progress import Control
from saga_backend.rasterizer.select import rasterizer
from saga_backend.text.cluster_renders import ClipRenderer
from saga_backend.text.recolor import RecolorSettings, recolor
from tests.helpers.twins import ball

WORDS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}
UP = (0.0, -1.0, 0.0)
FEW = RecolorSettings(steps=60)


class MeanColor:
    """In place of CLIP: a picture is its mean color, a text the color it names."""

    side, device = 32, "cpu"
    config = SimpleNamespace(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))

    @property
    def model(self) -> MeanColor:
        return self

    def encode_image(self, pictures: torch.Tensor, normalize: bool) -> torch.Tensor:
        assert normalize and pictures.shape[1:] == (3, self.side, self.side)
        return torch.nn.functional.normalize((pictures * 0.25 + 0.5).mean(dim=(2, 3)) + 0.01, dim=1)

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        return np.array([WORDS[text.split()[0]] for text in texts], np.float32)


def red_ball(rng) -> GaussianCloud:
    """Half of it darker, as if something were drawn on it."""
    cloud = ball(rng, (0.3, 0.1, 2.0), 0.5, 400, (0.8, 0.25, 0.25))
    sh = cloud.sh.copy()
    sh[:200] -= 0.15 / C0
    return GaussianCloud(cloud.means, cloud.quats, cloud.scales, cloud.opacities, sh)


def changed(cloud: GaussianCloud, texts: tuple[str, str], **more) -> np.ndarray:
    return recolor(cloud, texts, ClipRenderer(MeanColor(), rasterizer("cpu"), UP), Control(), **more)


def hue(color: np.ndarray) -> float:
    return 360 * colorsys.rgb_to_hsv(*np.clip(color, 0, 1))[0]


def test_a_red_ball_turns_blue(rng) -> None:
    cloud = red_ball(rng)
    before = 0.5 + C0 * cloud.sh[:, 0]
    shift = changed(cloud, ("red ball", "blue ball"), settings=FEW)
    assert shift.shape == (400, 3) and shift.dtype == np.float32 and np.isfinite(shift).all()
    assert hue(before.mean(axis=0)) < 10
    assert 200 < hue((before + shift).mean(axis=0)) < 280
    assert (before + shift).min() >= -1e-5 and (before + shift).max() <= 1 + 1e-5
    lighter, darker = (before + shift)[200:].mean(), (before + shift)[:200].mean()
    assert lighter - darker > 0.03  # what was drawn on it is still to be seen


def test_same_seed_same_colors(rng) -> None:
    cloud = red_ball(rng)
    some = RecolorSettings(steps=5, seed=3)
    first, again = (changed(cloud, ("red ball", "green ball"), settings=some) for _ in range(2))
    np.testing.assert_allclose(first, again, atol=1e-3)


@pytest.mark.parametrize("texts", [("", "blue ball"), ("red ball", " "), ("red ball", "red box")])
def test_texts_that_say_nothing_are_refused(rng, texts: tuple[str, str]) -> None:
    with pytest.raises(UserError) as caught:
        changed(red_ball(rng), texts)
    assert caught.value.code == "bad_text"


def test_next_to_nothing_is_refused(rng) -> None:
    with pytest.raises(UserError, match="too little"):
        changed(red_ball(rng).take(np.arange(3)), ("red ball", "blue ball"))


def test_it_can_be_cancelled(rng) -> None:
    control = Control()
    control.cancel()
    with pytest.raises(Cancelled):
        recolor(red_ball(rng), ("red ball", "blue ball"), ClipRenderer(MeanColor(), rasterizer("cpu"), UP), control)
