"""Every operator that changes something is one step of undo, and going back and forth restores every number."""

from __future__ import annotations

from collections.abc import Callable

import bpy
import numpy as np
import pytest
from mathutils import Vector

from tests.blender.support import addon
from tests.blender.test_backend_flow import (
    CLUSTER,
    ENDLESS,
    PLACES,
    fake_backend,
    selected,
    session,
    splat,
    trained,
)
from tests.blender.views import click_arguments

__all__ = ["fake_backend", "splat", "trained"]  # fixtures

STEPS: dict[str, Callable[[], dict[str, object]]] = {
    "click": lambda: click_arguments(Vector(PLACES[1])),
    "split": dict,
    "duplicate": dict,
    "delete": dict,
    "invert": dict,
    "clear": dict,
    "hide": dict,
    "grow": lambda: {"steps": 2},
    "accept": dict,
    "prompt_remove": dict,
    "segment_select": lambda: {"node": 1},
    "segment_hide": lambda: {"node": 1},
    "segments_split": dict,
    "apply_transform": dict,
}
"""Operators that do something where the first cluster is selected, the object was moved and its things were found."""


@pytest.fixture
def at_work(trained: bpy.types.Object) -> None:
    trained.location = (0.1, 0.2, 0.3)
    bpy.ops.saga.segment_scene()
    addon("scene.splat.point_cloud").set_selection(trained, CLUSTER == 0)
    bpy.context.scene.saga.prompts.add()
    bpy.context.view_layer.update()
    bpy.ops.ed.undo_push(message="at work")


def state(snapshot: Callable[[], object]) -> object:
    """The scene with everything that our operators write."""
    scene = bpy.context.scene.saga
    things = {o.name: [(t.name, t.node, t.hidden) for t in o.saga.segments] for o in bpy.context.scene.objects}
    return snapshot(), things, len(scene.prompts), scene.view_mode, scene.scale


@pytest.mark.parametrize("name", STEPS)
def test_one_step_back_and_one_step_forth(name: str, at_work: None, snapshot: Callable) -> None:
    if name in ("segment_select", "apply_transform"):
        bpy.ops.saga.clear()
        bpy.ops.ed.undo_push(message="nothing selected")
    before = state(snapshot)
    assert getattr(bpy.ops.saga, name)("EXEC_DEFAULT", True, **STEPS[name]()) == {"FINISHED"}
    after = state(snapshot)
    assert after != before
    bpy.ops.ed.undo()
    assert state(snapshot) == before
    bpy.ops.ed.redo()
    assert state(snapshot) == after


@pytest.mark.parametrize("name", ["segment_scene", "color_features"])
def test_what_comes_later_is_a_step_too(name: str, trained: bpy.types.Object, snapshot: Callable) -> None:
    bpy.ops.ed.undo_push(message="before")
    before = state(snapshot)
    getattr(bpy.ops.saga, name)(wait=False)
    session().searches.request.wait()
    after = state(snapshot)
    assert after != before and not session().status.failed
    bpy.ops.ed.undo()
    assert state(snapshot) == before
    bpy.ops.ed.redo()
    assert state(snapshot) == after


@pytest.mark.parametrize("name", ["split", "delete", "click", "clear"])
def test_a_failed_operator_makes_no_step(
    name: str, trained: bpy.types.Object, snapshot: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = np.ones(60, bool) if name == "delete" else np.zeros(60, bool)
    bpy.ops.ed.undo_push(message="before")
    addon("scene.splat.point_cloud").set_selection(trained, mask)
    bpy.ops.ed.undo_push(message="selected")
    if name in ("click", "clear"):
        trained.hide_set(True)
    with pytest.raises(RuntimeError):
        getattr(bpy.ops.saga, name)("EXEC_DEFAULT", True, **STEPS[name]())
    bpy.ops.ed.undo()
    assert not selected(bpy.data.objects["three"]).any()


def test_undo_while_a_training_runs(trained: bpy.types.Object, snapshot: Callable) -> None:
    before = state(snapshot)
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.saga.invert("EXEC_DEFAULT", True)
    bpy.ops.saga.train(steps=ENDLESS, wait=False)
    training = session().trainings.request

    def undo_once(progress: object) -> None:
        if progress.step >= 3 and not training.job.cancelling:
            bpy.ops.ed.undo()
            assert state(snapshot) == before
            bpy.ops.saga.cancel()

    with pytest.raises(addon("errors").Cancelled):
        training.wait(on_progress=undo_once)
    assert state(snapshot) == before and not session().status.failed


def test_undo_while_a_click_is_answered(trained: bpy.types.Object) -> None:
    """The objects of the answer are found anew: an undo ends every reference to them."""
    queries, prompts = addon("scene.requests.click"), addon("scene.requests.prompts")
    arguments = click_arguments(Vector(PLACES[1]))
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.saga.invert("EXEC_DEFAULT", True)
    view = addon("scene.requests.cameras").view_from_flat(
        arguments["view_matrix"], arguments["projection_matrix"], (arguments["width"], arguments["height"])
    )
    corners = (arguments["x"], arguments["y"]) * 2
    query = queries.ask([trained], (prompts.make_prompt(view, corners, True),), addon("wire.messages").SelectOptions())
    bpy.ops.ed.undo()
    query.request.wait()
    queries.apply(query, "set")
    np.testing.assert_array_equal(selected(bpy.data.objects["three"]), CLUSTER == 1)
