"""Refining a selection: more clicks, taking them back, hiding, growing, all things at once. The backend is the fake."""

from __future__ import annotations

from collections.abc import Callable

import bpy
import numpy as np
import pytest
from mathutils import Vector
from scipy.spatial import cKDTree

from tests.blender.support import addon
from tests.blender.test_backend_flow import CLUSTER, PLACES, fake_backend, selected, session, splat, trained
from tests.blender.test_bad_input import refused
from tests.blender.views import HEIGHT, WIDTH, click

__all__ = ["fake_backend", "splat", "trained"]  # fixtures


def prompts() -> list[tuple[bool, bool]]:
    return [(p.box, p.positive) for p in bpy.context.scene.saga.prompts]


def sent(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The clicks that go to the backend from now on."""
    messages: list[object] = []
    submit = session().link.backend.submit
    monkeypatch.setattr(
        session().link.backend, "submit", lambda message, done: messages.append(message) or submit(message, done)
    )
    return messages


def test_shift_and_ctrl_send_all_clicks_again(trained: bpy.types.Object, monkeypatch: pytest.MonkeyPatch) -> None:
    messages = sent(monkeypatch)
    click(Vector(PLACES[0]))
    click(Vector(PLACES[1]), mode="ADD")
    click(Vector(PLACES[0]), mode="SUBTRACT")
    np.testing.assert_array_equal(selected(trained), CLUSTER == 1)
    assert [[p.positive for p in m.prompts] for m in messages] == [[True], [True, True], [True, True, False]]
    assert prompts() == [(False, True), (False, True), (False, False)]
    assert [m.options.scale for m in messages] == [-1.0, 0.5, 0.5]  # a second thing does not change the first


def test_a_plain_click_starts_anew(trained: bpy.types.Object) -> None:
    click(Vector(PLACES[0]))
    click(Vector(PLACES[1]), mode="ADD")
    click(Vector(PLACES[2]))
    assert prompts() == [(False, True)]


def test_what_was_selected_by_hand_is_not_lost(trained: bpy.types.Object) -> None:
    click(Vector(PLACES[0]))
    bpy.ops.saga.invert()
    click(Vector(PLACES[0]), mode="ADD")  # the clicks no longer stand for the selection
    assert selected(trained).all() and prompts() == []


def test_a_moved_object_is_not_asked_with_its_old_clicks(trained: bpy.types.Object) -> None:
    click(Vector(PLACES[0]))
    trained.location.x += 1
    click(Vector(PLACES[1]) + Vector((1, 0, 0)), mode="ADD")
    np.testing.assert_array_equal(selected(trained), CLUSTER != 2)
    assert prompts() == []


def test_first_click_with_shift_can_be_refined(trained: bpy.types.Object) -> None:
    click(Vector(PLACES[0]), mode="ADD")
    assert prompts() == [(False, True)]


def test_box(trained: bpy.types.Object) -> None:
    from tests.blender.views import Eye, camera_matrices, region_pixel

    view, projection = camera_matrices(Eye())
    flat = {
        "view_matrix": [v for row in view for v in row],
        "projection_matrix": [v for row in projection for v in row],
    }
    x, y = region_pixel(Vector(PLACES[1]), view, projection)
    corners = {"x": x + 30, "y": -50, "x2": -9, "y2": HEIGHT + 9, "box": True}  # over the picture's edge, backwards
    bpy.ops.saga.click(**flat, width=WIDTH, height=HEIGHT, **corners)
    np.testing.assert_array_equal(selected(trained), CLUSTER != 2)
    assert prompts() == [(True, True)] and y > 0


def test_clicks_go_with_undo_and_with_the_file(trained: bpy.types.Object, tmp_path: object) -> None:
    click(Vector(PLACES[0]))
    bpy.ops.ed.undo_push(message="click")
    click(Vector(PLACES[1]), mode="ADD")
    bpy.ops.ed.undo_push(message="click")
    bpy.ops.ed.undo()
    assert prompts() == [(False, True)]
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "work.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "work.blend"))
    click(Vector(PLACES[1]), mode="ADD")
    np.testing.assert_array_equal(selected(bpy.data.objects["three"]), CLUSTER != 2)
    assert len(prompts()) == 2


def wait_for_live() -> None:
    live = addon("scene.requests.requery")
    while live._pending is not None:
        session().link.backend.wait(live._pending.request.job)


def test_a_click_is_taken_back(trained: bpy.types.Object) -> None:
    click(Vector(PLACES[0]))
    click(Vector(PLACES[1]), mode="ADD")
    bpy.ops.saga.prompt_remove(index=0)
    wait_for_live()
    np.testing.assert_array_equal(selected(trained), CLUSTER == 1)
    bpy.ops.saga.prompt_remove()
    assert not selected(trained).any() and prompts() == []
    refused(lambda: bpy.ops.saga.prompt_remove(), "no such click")


def test_scale_steps_ask_again_and_the_newest_wins(trained: bpy.types.Object, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(lambda: bpy.ops.saga.scale_step(step=0.1), "no click to change the scale of")
    bpy.context.scene.saga.scale_auto = True
    click(Vector(PLACES[0]))
    messages = sent(monkeypatch)
    bpy.ops.saga.scale_step(step=0.3)
    bpy.ops.saga.scale_step(step=-0.8)
    wait_for_live()
    assert [round(m.options.scale, 3) for m in messages] == [0.8, 0.0]
    assert not selected(trained).any()  # the fake takes a radius of 0 there
    settings = bpy.context.scene.saga
    assert settings.scale == 0 and not settings.scale_auto


def test_clean_up_is_sent(trained: bpy.types.Object, monkeypatch: pytest.MonkeyPatch) -> None:
    messages, settings = sent(monkeypatch), bpy.context.scene.saga
    settings.drop_floaters = settings.only_visible = True
    click(Vector(PLACES[0]))
    clean_up = messages[0].options.clean_up
    assert (clean_up.floaters, clean_up.connected, clean_up.holes, clean_up.visible) == (True, False, False, True)


def test_hidden_points_are_not_clicked(trained: bpy.types.Object) -> None:
    click(Vector(PLACES[0]))
    bpy.ops.saga.hide()
    assert not selected(trained).any()
    click(Vector(PLACES[0]))
    assert not selected(trained).any()
    click(Vector(PLACES[1]))
    np.testing.assert_array_equal(selected(trained), CLUSTER == 1)
    bpy.ops.saga.hide(others=True)
    np.testing.assert_array_equal(addon("scene.splat.point_cloud").hidden(trained), CLUSTER != 1)
    bpy.ops.saga.clear()
    bpy.ops.saga.invert()
    np.testing.assert_array_equal(selected(trained), CLUSTER == 1)
    bpy.ops.saga.show_all()
    click(Vector(PLACES[0]))
    np.testing.assert_array_equal(selected(trained), CLUSTER == 0)


def test_duplicate_and_delete(trained: bpy.types.Object, snapshot: Callable) -> None:
    for operator in (bpy.ops.saga.delete, bpy.ops.saga.duplicate, bpy.ops.saga.hide):
        before = snapshot()
        refused(operator, "Nothing is selected in three. Click on an object first")
        assert snapshot() == before
    click(Vector(PLACES[0]))
    bpy.ops.saga.duplicate()
    copy = bpy.context.view_layer.objects.active
    assert (len(copy.data.points), len(trained.data.points)) == (20, 60)
    bpy.data.objects.remove(copy)
    bpy.context.view_layer.objects.active = trained
    click(Vector(PLACES[0]))
    bpy.ops.saga.delete()
    assert len(trained.data.points) == 40
    bpy.ops.saga.invert()
    before = snapshot()
    refused(lambda: bpy.ops.saga.delete(), "All Gaussians of three are selected")
    assert snapshot() == before


def test_delete_can_be_undone(trained: bpy.types.Object) -> None:
    click(Vector(PLACES[0]))
    bpy.ops.ed.undo_push(message="click")
    whole = addon("scene.splat.point_cloud").to_cloud(trained)
    bpy.ops.saga.delete()
    bpy.ops.ed.undo_push(message="delete")
    bpy.ops.ed.undo()
    back = addon("scene.splat.point_cloud").to_cloud(bpy.data.objects["three"])
    for name in ("means", "quats", "scales", "opacities", "sh"):
        np.testing.assert_array_equal(getattr(back, name), getattr(whole, name))
    np.testing.assert_array_equal(selected(bpy.data.objects["three"]), CLUSTER == 0)


@pytest.mark.parametrize("seed", range(3))
def test_grow_and_shrink_against_distances(seed: int) -> None:
    rng = np.random.default_rng(seed)
    growing = addon("scene.edit.grow")
    positions = rng.uniform(0, 1, (3000, 3)).astype(np.float32)
    mask = np.linalg.norm(positions - 0.5, axis=1) < 0.2
    step = 0.02
    grown = growing.grow(positions, mask, step)
    distance, _ = cKDTree(positions[mask]).query(positions)
    assert grown[distance < step].all() and not grown[distance > 2 * step * 3**0.5 + 1e-6].any()
    shrunk = growing.shrink(positions, mask, step)
    assert not (shrunk & ~mask).any() and 0 < shrunk.sum() < mask.sum() < grown.sum()
    np.testing.assert_array_equal(growing.grow(positions, mask & False, step), mask & False)
    assert growing.grow(positions, mask | True, step).all()


def test_grow_operator(trained: bpy.types.Object) -> None:
    refused(lambda: bpy.ops.saga.grow(), "Nothing is selected")
    mask = CLUSTER == 0
    mask[:30] = False
    addon("scene.splat.point_cloud").set_selection(trained, mask)
    bpy.ops.saga.grow(steps=2)
    assert selected(trained)[CLUSTER == 0].all() and not selected(trained)[CLUSTER != 0].any()
    bpy.ops.saga.grow(steps=-1)
    assert selected(trained).any()  # nothing that is not selected is near


def test_things(trained: bpy.types.Object) -> None:
    assert bpy.ops.saga.segment_scene() == {"FINISHED"}
    assert [(t.name, t.level, t.count) for t in trained.saga.segments] == [
        ("Object 1", 0, 20),
        ("Object 2", 0, 40),
        ("Part 1", 1, 20),
        ("Part 2", 1, 20),
    ]
    assert bpy.context.scene.saga.view_mode == "CLUSTERS"
    bpy.ops.saga.segment_select(node=1)
    np.testing.assert_array_equal(selected(trained), CLUSTER != 0)
    bpy.ops.saga.segment_select(node=2, mode="SUBTRACT")
    np.testing.assert_array_equal(selected(trained), CLUSTER == 2)
    bpy.ops.saga.segment_hide(node=1)
    np.testing.assert_array_equal(addon("scene.splat.point_cloud").hidden(trained), CLUSTER != 0)
    refused(lambda: bpy.ops.saga.segment_select(node=1), "not visible")
    bpy.ops.saga.segment_hide(node=1)
    assert not addon("scene.splat.point_cloud").hidden(trained).any()


def test_names_of_things_stay_when_they_are_found_again(trained: bpy.types.Object) -> None:
    bpy.ops.saga.segment_scene()
    trained.saga.segments[1].name = "Vase"
    bpy.ops.saga.segment_scene()
    assert [t.name for t in trained.saga.segments][:3] == ["Object 1", "Vase", "Part 1"]
    bpy.ops.saga.segments_split()
    assert sorted(o.name for o in bpy.context.scene.objects) == ["Object 1", "three"]  # all of what is left is the vase
    assert len(bpy.data.objects["Object 1"].data.points) == 20


def test_features_as_colors(trained: bpy.types.Object) -> None:
    bpy.ops.saga.color_features()
    values = addon("scene.splat.attributes").read(trained.data.attributes["saga:pca"])
    np.testing.assert_allclose(values, np.repeat(np.arange(60)[:, None], 3, axis=1) / 255, atol=1e-6)
    assert bpy.context.scene.saga.view_mode == "PCA"


def test_things_need_a_trained_splat(splat: bpy.types.Object, snapshot: Callable) -> None:
    bpy.ops.saga.backend_start()
    before = snapshot()
    for operator in (bpy.ops.saga.segment_scene, bpy.ops.saga.color_features):
        refused(operator, "not trained yet")
    refused(lambda: bpy.ops.saga.segments_split(), "nothing to split")
    refused(lambda: bpy.ops.saga.segment_select(node=0), "Press Segment Scene")
    assert snapshot() == before
