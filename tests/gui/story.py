"""The scenarios. They run inside Blender (driver.py), where each `yield` lets the window go on."""

from __future__ import annotations

import bpy
import numpy as np
from driver import Steps, Window, addon

_STEPS, _VIEWS = 60, 12  # of training: enough for two things that stand apart


def _splat(name: str = "scene") -> bpy.types.Object:
    return bpy.data.objects[name]


def _selected(name: str = "scene") -> np.ndarray:
    return addon("scene.point_cloud").selection(_splat(name))


def _session() -> object:
    return addon("scene.session").session


def _answered(window: Window) -> object:
    """A condition: the last click has been answered and drawn."""
    drawn = window.redrawn()
    return lambda: not bpy.context.window.modal_operators and drawn()


def _iou(mask: np.ndarray, truth: np.ndarray) -> float:
    return float((mask & truth).sum() / max(1, (mask | truth).sum()))


def _import(window: Window) -> Steps:
    bpy.ops.object.select_all(action="SELECT")
    bpy.ops.object.delete()
    bpy.ops.saga.import_splat(filepath=str(window.out / "scene.ply"))
    with window.context():
        bpy.ops.view3d.view_axis(type="FRONT")
        bpy.ops.view3d.view_selected()
    yield window.redrawn()
    yield from window.sidebar("SAGA")


def _train(window: Window) -> Steps:
    with window.context():
        bpy.ops.saga.backend_start("INVOKE_DEFAULT")
    backend = _session().backend
    yield lambda: backend.welcome is not None or backend.error
    assert not backend.error, backend.error
    bpy.context.scene.saga.steps, bpy.context.scene.saga.views = _STEPS, _VIEWS
    with window.context():
        bpy.ops.saga.train("INVOKE_DEFAULT")
    training = _session().training
    yield lambda: training.ended or training.job.progress
    yield from window.shot("02_training")
    yield lambda: training.ended
    assert not _session().failed, _session().message


def whole_job(window: Window) -> Steps:
    """Import, train, click, split, undo, save, reopen."""
    yield from _import(window)
    yield from window.shot("01_imported")
    labels = np.load(window.out / "labels.npy")
    thing = labels == 2
    yield from _train(window)
    yield from window.shot("03_trained")

    with window.context():
        bpy.ops.wm.tool_set_by_id(name=addon("ui.tool").IDNAME)
    positions = addon("scene.point_cloud").positions(_splat())
    x, y = window.pixel(np.median(positions[thing], axis=0))
    yield from window.click(x, y)
    yield _answered(window)
    assert _iou(_selected(), thing) > 0.6, _iou(_selected(), thing)
    yield from window.shot("04_clicked")

    with window.context():
        bpy.ops.saga.split("INVOKE_DEFAULT", True)  # with an undo step, as the button does it
    yield from window.shot("05_split")
    part = bpy.context.view_layer.objects.active
    assert part.name != "scene" and len(part.data.points) + len(_splat().data.points) == len(labels)
    window.key("Z", ctrl=True)
    yield lambda: "scene.001" not in bpy.data.objects
    yield from window.shot("06_undone")
    assert len(_splat().data.points) == len(labels) and _iou(_selected(), thing) > 0.6

    path = str(window.out / "work.blend")
    kept = _selected()
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)
    yield window.redrawn()
    assert np.array_equal(_selected(), kept) and _splat().saga.sidecar
    yield from window.shot("07_reopened")
