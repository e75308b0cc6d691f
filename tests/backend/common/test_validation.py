"""Values that no scene, view or click has are refused by their code before anything is computed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blender_saga.errors import UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View
from blender_saga.wire.messages import Click, LoadScene, ObjectPoints, Prompt
from saga_backend.common.validation import (
    MAX_PIXELS,
    check_click,
    check_cloud,
    check_scene,
    check_shape,
    check_view,
)

N = 6
CLOUD = GaussianCloud(*(np.full((N, *s), 0.5, np.float32) for s in [(3,), (4,), (3,), (), (1, 3)]))
IDS = np.arange(N, dtype=np.int32)
VIEW = View(np.eye(4), np.diag([40.0, 40.0, 1.0]), 48, 36)
PIXEL = np.array([[3.0, 4.0]], np.float32)


def code_of(check, *given: object) -> str:
    with pytest.raises(UserError) as caught:
        check(*given)
    assert caught.value.why and "nan" not in caught.value.sentence()
    return caught.value.code


def test_honest_values_are_let_through() -> None:
    check_scene(LoadScene("s", CLOUD))
    check_scene(LoadScene("s", CLOUD, IDS, 10_000_000))  # most of a large cloud was deleted
    check_view(VIEW)
    check_view(replace(VIEW, near=float(-np.finfo(np.float32).max), orthographic=True))  # as Blender's are
    part = ObjectPoints(np.diag([1.0, 1, 0, 1]), IDS)  # flattened
    check_click(Click("s", (Prompt(VIEW, PIXEL), Prompt(VIEW, PIXEL.astype(np.int64))), (part,)), N)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e20])
@pytest.mark.parametrize("name", ["means", "quats", "scales", "opacities", "sh"])
def test_numbers_that_are_none(name: str, value: float) -> None:
    array = getattr(CLOUD, name).copy()
    array.flat[3] = value
    assert code_of(check_cloud, replace(CLOUD, **{name: array})) == "bad_scene"


@pytest.mark.parametrize("count", [N - 1, -1, 10**8, 2**62])
def test_counts_that_cannot_be(count: int) -> None:
    assert code_of(check_scene, LoadScene("s", CLOUD, IDS, count)) == "bad_scene"


@pytest.mark.parametrize("ids", [IDS.astype(np.float32), IDS > 2, IDS[None], np.array(3, np.int32)])
def test_ids_that_are_none(ids: np.ndarray) -> None:
    assert code_of(check_scene, LoadScene("s", CLOUD, ids, N)) == "bad_scene"
    assert code_of(check_click, Click("s", (), (ObjectPoints(np.eye(4), ids),)), N) == "bad_ids"
    assert code_of(check_click, Click("s", (), (ObjectPoints(np.eye(4), IDS, ids),)), N) == "bad_ids"


def test_more_points_than_a_query_can_have() -> None:
    everything = ObjectPoints(np.eye(4))  # a few bytes of a message stand for all points of a scene
    assert code_of(check_click, Click("s", (), (everything,) * 100), 5_000_000) == "bad_ids"


@pytest.mark.parametrize("matrix", [np.eye(3), np.full((4, 4), np.nan), np.eye(4) * 1e300, np.eye(4, dtype=bool)])
def test_matrices_that_are_none(matrix: np.ndarray) -> None:
    assert code_of(check_click, Click("s", (), (ObjectPoints(matrix, IDS),)), N) == "bad_view"


@pytest.mark.parametrize(
    "change",
    [
        {"width": MAX_PIXELS, "height": 2},
        {"width": 2**62, "height": 2**62},
        {"viewmat": np.zeros((4, 4))},
        {"viewmat": np.eye(4) * 1e300},
        {"K": np.diag([1e300, 1.0, 1.0])},
        {"near": float("nan")},
    ],
)
def test_views_that_no_camera_has(change: dict) -> None:
    view = replace(VIEW, **change)
    assert code_of(check_view, view) == "bad_view"
    assert code_of(check_click, Click("s", (Prompt(view, PIXEL),)), N) == "bad_view"


def test_pixels_that_are_no_numbers() -> None:
    assert code_of(check_click, Click("s", (Prompt(VIEW, PIXEL > 0),)), N) == "bad_click"


def test_strips_that_nothing_is_left_of() -> None:
    check_shape(replace(VIEW, width=3840, height=100))
    assert code_of(check_shape, replace(VIEW, width=65536)) == "bad_view"
    assert code_of(check_shape, replace(VIEW, height=65536)) == "bad_view"


def test_a_camera_seen_from_a_flat_space_is_at_the_nearest_point() -> None:
    """What an artist gets by scaling an object to 0 along an axis: instant clicks look from there."""
    viewmat = np.eye(4)
    viewmat[:3, 3] = 2, 3, 5
    seen = replace(VIEW, viewmat=viewmat).of_object(np.diag([1.0, 1, 0, 1]))
    np.testing.assert_allclose(seen.camera_position, [-2, -3, 0], atol=1e-12)
    np.testing.assert_allclose(replace(VIEW, viewmat=viewmat).camera_position, [-2, -3, -5])
    assert np.isfinite(VIEW.of_object(np.diag([0.0, 0, 0, 1])).camera_position).all()
