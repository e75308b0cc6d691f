"""Recoloring by words: the preview is a matter of drawing, Apply is one step of undo, Cancel leaves nothing."""

# ruff: noqa: F811 - fixtures that are imported

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest
from mathutils import Matrix

from blender_saga.gaussians.sh import C0
from tests.blender.clouds import read_inria
from tests.blender.support import addon
from tests.blender.test_backend_flow import CLUSTER, ENDLESS, fake_backend, selected, session, splat, trained  # noqa: F401
from tests.blender.test_bad_input import refused
from tests.blender.test_panels import Layout
from tests.blender.test_text import clip  # noqa: F401 - a fixture

WORDS = {"source": "red box", "text": "blue box"}


def base(obj: bpy.types.Object) -> np.ndarray:
    return addon("scene.splat.attributes").read(obj.data.attributes["radiance:base"])


def drawn(obj: bpy.types.Object) -> np.ndarray:
    """[N,3] constant coefficients that the viewport draws."""
    return addon("viewport.splat_draw").painter.blocks.of(obj).sh[:, 0].astype(np.float32)


def others(obj: bpy.types.Object) -> dict[str, bytes]:
    """All that recoloring must leave alone."""
    read = addon("scene.splat.attributes").read
    return {a.name: read(a).tobytes() for a in obj.data.attributes if a.name != "radiance:base"}


def wanted(obj: bpy.types.Object, strength: float) -> np.ndarray:
    """What the fake backend makes of the first cluster: less red, more blue, and greener to the top of the world."""
    out = base(obj)
    height = (np.array(obj.matrix_world) @ np.c_[addon("scene.splat.point_cloud").positions(obj), np.ones(60)].T)[2]
    shift = np.stack([np.full(60, -0.5), 0.01 * height, np.full(60, 0.5)], axis=1)
    out[CLUSTER == 0, :3] += (strength / C0 * shift)[CLUSTER == 0]
    return out


@pytest.fixture
def chosen(splat: bpy.types.Object, clip: str) -> bpy.types.Object:
    """A splat that nobody has trained, turned, with its first cluster selected and the backend running."""
    splat.matrix_world = Matrix.Rotation(0.5, 4, "X") @ Matrix.Translation((1, 2, 3))
    addon("scene.splat.point_cloud").set_selection(splat, CLUSTER == 0)
    bpy.ops.saga.backend_start()
    bpy.context.view_layer.update()
    return splat


def preview(**words: str) -> None:
    assert bpy.ops.saga.recolor_preview(**(WORDS | words)) == {"FINISHED"}
    session().searches.request.wait()


def test_a_script_gets_the_colors_at_once(chosen: bpy.types.Object) -> None:
    before, rest, target = base(chosen), others(chosen), wanted(chosen, 0.5)
    assert any(name.startswith("radiance:sh_") for name in rest)
    bpy.ops.ed.undo_push(message="before")
    assert bpy.ops.saga.recolor("EXEC_DEFAULT", True, **WORDS, strength=0.5) == {"FINISHED"}
    np.testing.assert_allclose(base(chosen), target, atol=1e-5)
    np.testing.assert_array_equal(base(chosen)[CLUSTER > 0], before[CLUSTER > 0])
    assert others(chosen) == rest  # the selection, the form and the harmonics
    bpy.ops.ed.undo()
    np.testing.assert_array_equal(base(bpy.data.objects["three"]), before)
    bpy.ops.ed.redo()
    np.testing.assert_allclose(base(bpy.data.objects["three"]), target, atol=1e-5)


def test_the_preview_follows_the_slider_and_asks_nobody(chosen: bpy.types.Object) -> None:
    before, plain, settings = base(chosen), drawn(chosen), bpy.context.scene.saga
    preview()
    asked = session().searches.request
    for strength in (1.0, 0.25, 0.0, 0.5):
        settings.recolor_strength = strength
        np.testing.assert_allclose(drawn(chosen), wanted(chosen, strength)[:, :3], atol=5e-3)
        np.testing.assert_array_equal(base(chosen), before)  # nothing is written
    assert session().searches.request is asked
    assert not addon("viewport.splat_draw").style_of(bpy.context.scene).mark  # the highlight would hide the colors
    assert bpy.ops.saga.recolor_cancel() == {"FINISHED"}
    np.testing.assert_array_equal(drawn(chosen), plain)
    np.testing.assert_array_equal(base(chosen), before)
    assert addon("viewport.splat_draw").style_of(bpy.context.scene).mark


def test_apply_is_one_step(chosen: bpy.types.Object) -> None:
    bpy.ops.ed.undo_push(message="before")
    before = base(chosen)
    preview()
    bpy.context.scene.saga.recolor_strength = 0.5
    target = wanted(chosen, 0.5)
    bpy.ops.ed.undo_push(message="what the slider makes by itself")
    assert bpy.ops.saga.recolor_apply("EXEC_DEFAULT", True) == {"FINISHED"}
    bpy.context.view_layer.update()
    np.testing.assert_allclose(base(chosen), target, atol=1e-5)
    np.testing.assert_allclose(drawn(chosen), target[:, :3], atol=5e-3)
    assert not selected(chosen).any() and "Recolored 20 Gaussians" in session().status.message
    bpy.ops.ed.undo()
    chosen = bpy.data.objects["three"]
    np.testing.assert_array_equal(base(chosen), before)
    np.testing.assert_allclose(drawn(chosen), before[:, :3], atol=5e-3)
    assert selected(chosen).sum() == 20
    refused(lambda: bpy.ops.saga.recolor_apply(), "no preview to apply")
    refused(lambda: bpy.ops.saga.recolor_cancel(), "no preview")


def test_export_carries_it(chosen: bpy.types.Object, tmp_path: Path) -> None:
    bpy.ops.saga.recolor(**WORDS)
    chosen.matrix_world = Matrix()
    bpy.ops.saga.export_splat(filepath=str(tmp_path / "out.ply"))
    np.testing.assert_allclose(read_inria(tmp_path / "out.ply")["sh"][:, 0], base(chosen)[:, :3], atol=1e-5)


def test_all_objects_that_hold_a_part_of_the_selection(chosen: bpy.types.Object) -> None:
    cloud = addon("scene.splat.point_cloud")
    cloud.set_selection(chosen, CLUSTER == 1)
    bpy.ops.saga.split()
    part = bpy.context.view_layer.objects.active
    half = np.arange(40) % 4 == 0
    cloud.set_selection(chosen, half)
    cloud.set_selection(part, np.ones(20, bool))
    cloud.set_hidden(part, np.arange(20) < 5)  # what is hidden is not looked at, and not changed
    before = base(chosen), base(part)
    preview()
    assert len(session().searches.request.message.cloud) == 10 + 15
    bpy.ops.saga.recolor_apply()
    for obj, mask, old in zip((chosen, part), (half, np.arange(20) >= 5), before, strict=True):
        change = base(obj) - old
        assert not change[~mask].any() and not change[:, 3].any()
        np.testing.assert_allclose(change[mask][:, [0, 2]], np.array([[-0.5, 0.5]] * mask.sum()) / C0, atol=1e-4)


def test_linked_duplicates_share_their_colors(chosen: bpy.types.Object) -> None:
    other = chosen.copy()
    bpy.context.collection.objects.link(other)
    preview()
    assert len(session().searches.request.message.cloud) == 20  # asked for once
    bpy.ops.saga.recolor_apply()
    assert not selected(chosen).any() and other.data == chosen.data


@pytest.mark.parametrize("change", ["delete", "colors", "file", "object"])
def test_what_was_changed_meanwhile_is_left_alone(chosen: bpy.types.Object, change: str) -> None:
    assert bpy.ops.saga.recolor_preview(**WORDS) == {"FINISHED"}
    search = session().searches.request
    if change == "delete":
        bpy.ops.saga.delete()
    elif change == "colors":
        values = base(chosen)
        values[0, 0] += 1
        addon("scene.splat.attributes").write(chosen.data, "radiance:base", "FLOAT4", values)
    elif change == "file":
        bpy.ops.wm.read_homefile(use_empty=True)
    else:
        bpy.data.pointclouds.remove(chosen.data)
    before = [base(o).tobytes() for o in bpy.data.objects if o.type == "POINTCLOUD"]
    search.wait()
    assert addon("scene.requests.recolor").shown() is None
    assert "changed" in session().status.message and session().status.failed
    assert [base(o).tobytes() for o in bpy.data.objects if o.type == "POINTCLOUD"] == before
    refused(lambda: bpy.ops.saga.recolor_apply(), "no preview to apply")


def test_a_preview_of_points_that_are_gone_is_dropped(chosen: bpy.types.Object) -> None:
    preview()
    bpy.ops.saga.delete()
    bpy.context.view_layer.update()
    assert len(drawn(chosen)) == 40  # nothing is tinted that is not there
    refused(lambda: bpy.ops.saga.recolor_apply(), "changed since")
    assert addon("scene.requests.recolor").shown() is None


def test_another_file_has_no_preview(chosen: bpy.types.Object) -> None:
    preview()
    bpy.ops.wm.read_homefile(use_empty=True)
    assert addon("scene.requests.recolor").shown() is None and not addon("scene.splat.draw_data").tints


def test_it_can_be_cancelled_beside_a_training(chosen: bpy.types.Object) -> None:
    cancelled = addon("errors").Cancelled
    before = base(chosen)
    bpy.ops.saga.train(steps=ENDLESS, wait=False)
    bpy.ops.saga.recolor_preview(**(WORDS | {"text": "forever"}))
    search, training = session().searches.request, session().trainings.request
    refused(lambda: bpy.ops.saga.recolor(**WORDS), "busy with another search")
    cancel = bpy.ops.saga.cancel
    with pytest.raises(cancelled):
        search.wait(on_progress=lambda progress: search.job.cancelling or cancel(what="SEARCH"))
    assert session().status.message == "Cancelled; nothing was changed" and not training.ended
    np.testing.assert_array_equal(base(chosen), before)
    bpy.ops.saga.cancel()
    with pytest.raises(cancelled):
        training.wait()


def test_bad_input(chosen: bpy.types.Object, snapshot: object) -> None:
    bpy.context.view_layer.update()
    before = snapshot()
    refused(lambda: bpy.ops.saga.recolor(source="red box"), "The text 'To' is empty")
    refused(lambda: bpy.ops.saga.recolor(text="blue box", source=" "), "The text 'From' is empty")
    refused(lambda: bpy.ops.saga.recolor(source="red box", text="nothing"), "say the same")  # the backend's word
    addon("scene.state.launch").preferences().clip_weights = ""
    refused(lambda: bpy.ops.saga.recolor(**WORDS), "no weights file is chosen")
    refused(lambda: bpy.ops.saga.recolor(**WORDS, object="nobody"), "no object nobody")
    assert snapshot() == before
    bpy.ops.saga.clear()
    refused(lambda: bpy.ops.saga.recolor(**WORDS, weights="w.pt"), "Nothing is selected")
    chosen.hide_set(True)
    refused(lambda: bpy.ops.saga.recolor(**WORDS, weights="w.pt"), "is hidden")
    chosen.hide_set(False)
    chosen.data.attributes.remove(chosen.data.attributes["radiance:base"])
    refused(lambda: bpy.ops.saga.recolor(**WORDS, weights="w.pt"), "not a splat")


def test_the_panel_says_what_is_missing_and_shows_the_preview(chosen: bpy.types.Object) -> None:
    cls, settings = addon("ui.recolor_panel").SAGA_PT_recolor, bpy.context.scene.saga

    def draw() -> Layout:
        layout = Layout()
        cls.draw(type("Panel", (), {"layout": layout}), bpy.context)
        return layout

    assert draw().buttons == {"Preview": True}
    assert bpy.ops.saga.recolor_preview(**WORDS) == {"FINISHED"}
    assert set(draw().buttons) == {"cancel"}
    session().searches.request.wait()
    assert draw().buttons == {"Preview": True, "Apply": True, "Cancel": True}
    settings.drawing = "BLENDER"
    assert "Draw As to Splats" in " ".join(draw().texts)
    settings.drawing = "SPLATS"
    bpy.ops.saga.recolor_apply()
    layout = draw()
    assert layout.buttons == {"Preview": False} and "Nothing is selected" in " ".join(layout.texts)
    addon("scene.state.launch").preferences().clip_weights = ""
    assert "needs CLIP" in " ".join(draw().texts)
