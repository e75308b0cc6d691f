"""A session with a trained toy scene, and clicks on it."""

from __future__ import annotations

import numpy as np
import pytest

from blender_saga.errors import UserError
from blender_saga.gaussians.view import View
from blender_saga.wire.messages import Click, ObjectPoints, Prompt, Selection, SelectOptions, TrainSettings
from saga_backend.serving.session import Session
from tests.helpers.twins import pixel_over, toy_scene, toy_views

SMALL = TrainSettings(steps=300, views=8, width=64, height=48, pixels=96)
CLOUD, TRUTH = toy_scene(np.random.default_rng(0))
N = len(CLOUD)
EYE = np.eye(4)
VIEW = toy_views()[0]


def front(index: int, view: View = VIEW, matrix: np.ndarray = EYE) -> np.ndarray:
    """[1,2] pixel over the nearest Gaussian of ball `index` of an object that stands at `matrix`."""
    seen = view.of_object(matrix)
    depth = CLOUD.means @ seen.viewmat[2, :3] + seen.viewmat[2, 3]
    gaussian = int(np.argmin(np.where(index == TRUTH, depth, np.inf)))
    return pixel_over(CLOUD, seen, gaussian)[None].astype(np.float32)


def a_click(prompts: tuple[Prompt, ...], objects: tuple[ObjectPoints, ...] = (), **options) -> Click:
    return Click("toy", prompts, objects, SelectOptions(**({"scale": 1.0} | options)))


def click_at(pixels: np.ndarray, *objects: ObjectPoints, view: View = VIEW, **options) -> Click:
    return a_click((Prompt(view, pixels),), objects, **options)


def chosen(selection: Selection) -> np.ndarray:
    mask = np.unpackbits(selection.bits, count=selection.total).astype(bool)
    assert len(selection.bits) == -(-selection.total // 8) and mask.sum() == selection.count
    return mask


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / max((a | b).sum(), 1)


def refusal(session: Session, request: Click) -> str:
    with pytest.raises(UserError) as caught:
        session.click(request)
    return caught.value.code
