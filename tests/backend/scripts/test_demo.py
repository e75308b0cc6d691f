"""The demo's own judgment: where it clicks, and that it notices an export that is not right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import demo_blender
import demo_scene
from blender_saga.errors import UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.ply import write_ply
from blender_saga.gaussians.transforms import RDF_TO_BLENDER
from blender_saga.gaussians.view import view_from_opengl


def ball(center: tuple[float, float, float], radius: float, count: int, random: np.random.Generator) -> np.ndarray:
    points = random.normal(size=(count, 3))
    return np.array(center) + radius * points / np.linalg.norm(points, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def scene() -> demo_scene.Scene:
    """A large ball (label 1) beside a small one (label 2), file axes: y down."""
    random = np.random.default_rng(1)
    means = np.concatenate([ball((-1, 0, 0), 0.8, 3000, random), ball((1.2, 0, 0), 0.3, 1500, random)])
    n = len(means)
    cloud = GaussianCloud(
        means,
        np.tile([1.0, 0, 0, 0], (n, 1)),
        np.full((n, 3), 0.05),
        np.full(n, 0.9),
        random.normal(scale=0.1, size=(n, 9, 3)),
    )
    labels = np.repeat([1, 2], [3000, 1500])[:, None].astype(np.int32)
    return demo_scene.Scene(Path("balls.ply"), cloud, labels, ({1: "large ball"},))


def test_it_clicks_in_the_middle_of_what_shows_best(scene: demo_scene.Scene) -> None:
    aim = demo_scene.choose_click(scene)
    assert aim.truth is not None and aim.truth.tolist() == [1]
    assert aim.on == ", on the large ball"
    center = RDF_TO_BLENDER @ [-1, 0, 0, 1]
    seen = aim.view.K @ (aim.view.viewmat @ center)[:3]
    assert np.hypot(*(seen[:2] / seen[2] - [aim.x, aim.y])) < 0.1 * aim.view.width


def test_without_labels_it_clicks_where_something_is(scene: demo_scene.Scene) -> None:
    aim = demo_scene.choose_click(replace(scene, labels=None))
    assert aim.truth is None
    rows = demo_scene.contributions(
        demo_scene.transform_cloud(scene.cloud, RDF_TO_BLENDER), aim.view, np.array([[aim.x, aim.y]])
    )
    assert rows.alphas()[0] > 0.9


def test_labels_of_nothing_large_enough_are_refused(scene: demo_scene.Scene) -> None:
    labels = np.zeros_like(scene.labels)
    labels[0] = 1
    with pytest.raises(UserError, match="large enough"):
        demo_scene.choose_click(replace(scene, labels=labels))


def test_the_projection_is_the_one_that_makes_the_view(scene: demo_scene.Scene) -> None:
    view = demo_scene.choose_click(scene).view
    opengl = demo_blender._OPENCV_TO_OPENGL @ view.viewmat
    back = view_from_opengl(opengl, demo_blender._projection(view), view.width, view.height)
    assert np.allclose(back.K, view.K) and np.allclose(back.viewmat, view.viewmat)


def test_an_export_is_right_only_if_it_holds_what_was_selected(scene: demo_scene.Scene, tmp_path: Path) -> None:
    mask = scene.labels[:, 0] == 2
    part, path = scene.cloud.take(mask), tmp_path / "part.ply"
    write_ply(path, part)
    assert demo_scene.check_export(scene, mask, path) == ""
    wrong = {
        "Gaussians instead of": part.take(np.arange(len(part) - 1)),
        "SH coefficients": replace(part, sh=part.sh[:, :4]),
        "means": replace(part, means=part.means + 0.01),
        "sh": replace(part, sh=part.sh * 1.05),
    }
    for complaint, cloud in wrong.items():
        write_ply(path, cloud)
        assert complaint in demo_scene.check_export(scene, mask, path)
