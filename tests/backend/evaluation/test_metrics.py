"""Metrics and the protocol on rows made by hand: each pixel shows one Gaussian, so every number can be counted."""

from __future__ import annotations

import numpy as np
import pytest

from blender_saga.gaussians.view import View
from saga_backend.evaluation.metrics import (
    accuracy,
    deepest_pixel,
    iou,
    next_click,
    selected_pixels,
    true_map,
    update_largest_weights,
)
from saga_backend.evaluation.protocol import ProtocolSettings, Sight, Task, evaluate, observe
from saga_backend.evaluation.synthetic import standard_scene
from saga_backend.rasterizer.contributions import Contributions

WIDTH, HEIGHT = 24, 16
SETTINGS = ProtocolSettings(clicks=2, scales=(0.0, 0.5, 1.0), cap=20, smallest=5)


def test_iou_and_accuracy():
    a, b = np.array([1, 1, 1, 0, 0], bool), np.array([0, 1, 1, 1, 0], bool)
    assert iou(a, b) == 0.5 and accuracy(a, b) == 0.6
    assert iou(a, ~a) == 0 and iou(a & False, b & False) == 1 and iou(a & False, b) == 0


def test_true_map_and_selection_need_more_than_half_of_the_pixel():
    rows = Contributions(
        np.array([0, 2, 4, 6, 6]),
        np.array([0, 1, 0, 1, 1, 2], np.int32),
        np.array([0.6, 0.3, 0.4, 0.4, 0.3, 0.3], np.float32),
    )
    np.testing.assert_array_equal(true_map(rows, np.array([7, 8, 8])), [7, 0, 8, 0])
    np.testing.assert_array_equal(true_map(rows, np.array([7, 0, 8])), [7, 0, 0, 0])
    masks = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 1]], bool)
    np.testing.assert_array_equal(
        selected_pixels(rows, masks), np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0]], bool)
    )
    largest = np.zeros(4, np.float32)
    update_largest_weights(largest, rows)
    np.testing.assert_allclose(largest, [0.6, 0.4, 0.3, 0])


def test_deepest_pixel_and_next_click():
    region = np.zeros((9, 12), bool)
    region[2:7, 3:8] = True
    assert deepest_pixel(region).tolist() == [5, 4]
    edge = np.ones((5, 5), bool)  # the edge of the picture is a border too
    assert deepest_pixel(edge).tolist() == [2, 2]
    with pytest.raises(ValueError):
        deepest_pixel(edge & False)
    true = np.zeros((9, 12), bool)
    true[1:4, 1:4] = True  # 9 pixels missing
    selected = np.zeros_like(true)
    selected[4:9, 7:12] = True  # 25 too many
    pixel, positive = next_click(selected, true)
    assert pixel.tolist() == [9, 6] and positive is False
    pixel, positive = next_click(selected & False, true)
    assert pixel.tolist() == [2, 2] and positive is True
    assert next_click(true, true) is None


def sight(order: np.ndarray, hidden: int | None = None) -> Sight:
    """A view in which pixel p shows Gaussian order[p] with weight 1 (none where it is `hidden`)."""
    lengths = order != hidden if hidden is not None else np.ones(len(order), bool)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    K = np.array([[10.0, 0, WIDTH / 2], [0, 10, HEIGHT / 2], [0, 0, 1]])
    rows = Contributions(offsets, order[lengths].astype(np.int32), np.ones(int(lengths.sum()), np.float32))
    return Sight(View(np.eye(4), K, WIDTH, HEIGHT), rows)


@pytest.fixture
def task() -> Task:
    """384 Gaussians, one a pixel; object 1 is 8 x 8 with parts 1 and 2, object 2 is 6 x 6 (part 3), the rest is 0.

    The second view is the first one mirrored. 16 further Gaussians of object 1 are never seen, object 3 neither.
    """
    objects, parts = np.zeros((2, HEIGHT, WIDTH), int)
    objects[4:12, 2:10], parts[4:12, 2:6], parts[4:12, 6:10] = 1, 1, 2
    objects[5:11, 14:20], parts[5:11, 14:20] = 2, 3
    shown = np.stack([objects.ravel(), parts.ravel()], 1)
    labels = np.concatenate([shown, np.tile([1, 1], (16, 1)), np.tile([3, 4], (4, 1))])
    order = np.arange(WIDTH * HEIGHT)
    mirrored = order.reshape(HEIGHT, WIDTH)[:, ::-1].ravel()
    seen = np.arange(len(labels)) < WIDTH * HEIGHT
    return Task(labels, seen, [sight(order), sight(mirrored)], ({1: "one"}, {}))


def hit(task: Task, place: Sight, pixel: np.ndarray) -> int:
    return int(place.rows_at(pixel[None]).ids[0])


def perfect(task: Task):
    """Selects the clicked object at scale 1 and by default, the part at scale 0, nothing between."""

    def select(place, pixels, positive, scale):
        if scale == 0.5:
            return np.zeros(len(task.labels), bool)
        column = task.labels[:, 1 if scale == 0 else 0]
        return column == column[hit(task, place, pixels[0])]

    return select


def test_perfect_selector(task):
    rules = evaluate(perfect(task), task, SETTINGS)
    objects, parts = rules["reference"]["objects"], rules["reference"]["parts"]
    for level in (objects, parts):
        assert level["miou_3d"] == level["miou_2d"] == level["macc_2d"] == level["miou_3d_all"] == 1
        assert level["clicks_to_85"] == level["clicks_to_90"] == 1
    assert {click["scale"] for entry in objects["per_object"][:1] for click in entry["clicks"]} == {1.0}
    assert {click["scale"] for entry in parts["per_object"][:2] for click in entry["clicks"]} == {0.0}
    assert [entry["name"] for entry in objects["per_object"]] == ["one", "", ""]
    assert objects["per_object"][0]["clicks"][0]["pixel"] == [5, 7]
    assert [click["view"] for click in objects["per_object"][0]["clicks"]] == [0, 1]
    unseen = objects["per_object"][2]
    assert unseen["clicks"] == [] and unseen["miou_3d"] is None


def test_default_rule_asks_for_no_scale_and_parts_pay_for_it(task):
    rules = evaluate(perfect(task), task, SETTINGS)["default"]
    assert rules["objects"]["miou_3d"] == 1
    entries = {entry["label"]: entry for entry in rules["parts"]["per_object"]}
    assert entries[1]["clicks"][0]["scale"] is None
    assert entries[1]["miou_3d"] == entries[2]["miou_3d"] == 0.5 == entries[1]["miou_2d"]  # 32 of 64 pixels
    assert entries[1]["miou_3d_all"] == round(48 / 80, 4)  # 16 more of part 1 that nobody sees
    assert entries[1]["macc_2d"] == round(1 - 32 / 384, 4)
    assert entries[3]["miou_3d"] == 1 and rules["parts"]["miou_3d"] == round((0.5 + 0.5 + 1) / 3, 4)


@pytest.mark.parametrize(("everything", "expected"), [(False, (0.0, 0.0)), (True, (64 / 384, 80 / 404))])
def test_empty_and_everything(task, everything, expected):
    rules = evaluate(lambda *_: np.full(len(task.labels), everything), task, SETTINGS)
    entry = rules["default"]["objects"]["per_object"][0]
    assert (entry["miou_3d"], entry["miou_3d_all"]) == tuple(round(value, 4) for value in expected)
    assert entry["miou_2d"] == entry["miou_3d"]
    assert entry["macc_2d"] == round(64 / 384 if everything else 320 / 384, 4)
    assert entry["clicks_to_85"] == entry["clicks_to_90"] == 20
    assert rules["reference"]["objects"]["per_object"][0]["clicks"][0]["scale"] == 0.5  # all the same: the middle


def test_clicks_are_counted_until_the_corrections_suffice(task):
    """A selector that takes a column of eight pixels of the first click's object for every positive click."""
    seen_clicks = []

    def columns(place, pixels, positive, scale):
        seen_clicks.append((pixels.copy(), positive.copy()))
        mask = np.zeros(len(task.labels), bool)
        for pixel, add in zip(pixels, positive, strict=True):
            assert add
            column = hit(task, place, pixel) % WIDTH
            mask[: WIDTH * HEIGHT] |= np.arange(WIDTH * HEIGHT) % WIDTH == column
        return mask & (task.labels[:, 0] == 1)

    one = Task(np.where(task.labels[:, 0] == 1, 1, 0), task.seen, task.sights)
    result = evaluate(columns, one, SETTINGS)["default"]["objects"]
    assert (result["clicks_to_85"], result["clicks_to_90"]) == (7, 8)  # 7 columns of 8 are 0.875
    assert result["miou_3d"] == 0.125 and max(len(pixels) for pixels, _ in seen_clicks) == 8


def test_a_negative_click_takes_away(task):
    def two(place, pixels, positive, scale):
        mask = task.labels[:, 0] > 0
        for pixel in pixels[~positive]:
            mask &= task.labels[:, 0] != task.labels[hit(task, place, pixel), 0]
        return mask

    result = evaluate(two, task, SETTINGS)["default"]["objects"]["per_object"]
    assert [entry["clicks_to_90"] for entry in result[:2]] == [2, 2]
    assert result[0]["miou_3d"] == round(64 / 100, 4)


def test_observe_keeps_some_views_and_knows_who_is_seen():
    scene = standard_scene(objects=1, views=5, seed=0)
    views = [view.resized(96, 72) for view in scene.views]
    sights, seen = observe(scene.cloud, views, keep=2)
    assert [sight.view for sight in sights] == [views[0], views[4]]
    assert len(sights[0].rows) == 96 * 72
    height = -scene.cloud.means[:, 1]
    box = scene.labels[:, 1] == 1
    under, top = seen[box & (height < 1e-4)].mean(), seen[box & (height > height[box].max() - 1e-4)].mean()
    assert under < 0.3 and top > 0.7


def test_one_column_of_labels_has_no_parts(task):
    rules = evaluate(perfect(task), Task(task.labels[:, 0], task.seen, task.sights), SETTINGS)
    assert set(rules) == {"default", "reference"} and set(rules["reference"]) == {"objects"}
