"""The scenarios. They run inside Blender (driver.py), where each `yield` lets the window go on."""

from __future__ import annotations

import math
import time

import bpy
import numpy as np
from mathutils import Euler

from tests.gui.driver import PACKAGE, Steps, Window, addon

_STEPS, _VIEWS = 60, 12  # of training: enough for two things that stand apart


def _splat(name: str = "scene") -> bpy.types.Object:
    return bpy.data.objects[name]


def selected(name: str = "scene") -> np.ndarray:
    """[N] bool, what is selected in the splat."""
    return addon("scene.splat.point_cloud").selection(_splat(name))


def _session() -> object:
    return addon("scene.state.session")


def answered(window: Window) -> object:
    """A condition: the last click has been answered and drawn."""
    drawn, manager = window.redrawn(), bpy.context.window_manager
    return lambda: not any(each.modal_operators for each in manager.windows) and drawn()


def share(mask: np.ndarray, truth: np.ndarray) -> float:
    """How much of the truth is selected. (How well the borders fit is measured by evaluate, not here.)"""
    return float((mask & truth).sum() / truth.sum())


def iou(mask: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union."""
    return float((mask & truth).sum() / max(1, (mask | truth).sum()))


def import_splat(window: Window) -> Steps:
    """Import the splat of the scenario into an empty scene and look at all of it."""
    bpy.ops.object.select_all(action="SELECT")
    bpy.ops.object.delete()
    bpy.ops.saga.import_splat(filepath=str(window.out / "scene.ply"))
    region = window.space.region_3d
    region.view_perspective = "PERSP"
    region.view_rotation = Euler((math.radians(68), 0, math.radians(12))).to_quaternion()
    with window.context():
        bpy.ops.view3d.view_selected()
    yield from window.sidebar("SAGA")


def train(window: Window, steps: int, views: int, picture: str, phase: str = "") -> Steps:
    """Start the backend and train, with a picture of the progress: of the first, or a third into a phase."""
    with window.context():
        bpy.ops.saga.backend_start("INVOKE_DEFAULT")
    backend = _session().link.backend
    yield lambda: backend.welcome is not None or backend.error
    assert not backend.error, backend.error
    bpy.context.scene.saga.steps, bpy.context.scene.saga.views = steps, views
    with window.context():
        bpy.ops.saga.train("INVOKE_DEFAULT")
    training = _session().trainings.request
    yield lambda: training.ended or _shows(training.job.progress, phase)
    yield from window.shot(picture)
    yield lambda: training.ended
    assert not _session().status.failed, _session().status.message


def _shows(progress, phase: str) -> bool:
    return bool(progress) and (not phase or (progress.phase == phase and 3 * progress.step > progress.total))


def aim(window: Window, mask: np.ndarray) -> tuple[int, int]:
    """The window pixel in the middle of some points."""
    return window.pixel(np.median(addon("scene.splat.point_cloud").positions(_splat())[mask], axis=0))


def whole_job(window: Window) -> Steps:
    """Import, train, click, refine, split, undo, save, reopen."""
    yield from import_splat(window)
    yield from window.shot("01_imported")
    labels = np.load(window.out / "labels.npy")
    yield from train(window, _STEPS, _VIEWS, "02_training")
    yield from window.shot("03_trained")
    thing = labels == 2
    yield from _click_and_refine(window, thing, labels == 1)
    yield from _box_and_split(window, thing)
    yield from _views(window)
    yield from _reopen(window)
    yield from _other_views(window, thing)
    yield from _rough(window)


def _click_and_refine(window: Window, thing: np.ndarray, other: np.ndarray) -> Steps:
    settings = bpy.context.scene.saga
    window.move(*aim(window, thing))
    window.key("W", shift=True, alt=True)
    yield lambda: addon("ui.tool").is_active(bpy.context, window.window.workspace)
    yield from window.click(*aim(window, thing))
    yield answered(window)
    assert share(selected(), thing) > 0.5, share(selected(), thing)
    assert len(settings.prompts) == 1
    yield from window.shot("04_clicked")

    before = settings.scale
    window.key("WHEELDOWNMOUSE", ctrl=True, alt=True)
    yield settled(window)
    assert settings.scale < before and not settings.scale_auto
    yield from window.shot("05_smaller_scale")
    window.key("WHEELUPMOUSE", ctrl=True, alt=True)
    yield settled(window)
    assert abs(settings.scale - before) < 1e-5 and share(selected(), thing) > 0.5

    yield from window.click(*aim(window, other), shift=True)
    yield answered(window)
    assert len(settings.prompts) == 2 and selected()[other].any()
    yield from window.shot("06_added")
    yield from window.click(*aim(window, other), ctrl=True)
    yield answered(window)
    assert [p.positive for p in settings.prompts] == [True, True, False]
    window.key("ESC")
    yield lambda: not selected().any() and not len(settings.prompts)


def settled(window: Window) -> object:
    """A condition: what the slider asked for has been answered and drawn."""
    drawn, live = window.redrawn(), addon("scene.requests.requery")
    return lambda: live._pending is None and not live._due and drawn()


def _box_and_split(window: Window, thing: np.ndarray) -> Steps:
    places = addon("scene.splat.point_cloud").positions(_splat())[thing]
    corners = [
        window.pixel(corner) for corner in (np.quantile(places, 0.02, axis=0), np.quantile(places, 0.98, axis=0))
    ]
    yield from window.drag(*corners)
    yield answered(window)
    assert bpy.context.scene.saga.prompts[0].box and selected().any()
    yield from window.shot("07_box")
    yield from window.click(*aim(window, thing))  # the box may hold all there is
    yield answered(window)
    kept, count = selected(), len(thing)
    with window.context():
        bpy.ops.saga.split("INVOKE_DEFAULT", True)  # with an undo step, as the button does it
    yield from window.shot("08_split")
    part = bpy.context.view_layer.objects.active
    assert part.name != "scene" and len(part.data.points) + len(_splat().data.points) == count
    window.key("Z", ctrl=True)
    yield lambda: "scene.001" not in bpy.data.objects
    assert len(_splat().data.points) == count and np.array_equal(selected(), kept)


def _views(window: Window) -> Steps:
    settings = bpy.context.scene.saga
    settings.view_mode = "SIMILARITY"
    yield from window.shot("09_similarity")
    for operator, name, mode in (("segment_scene", "10_things", "CLUSTERS"), ("color_features", "11_features", "PCA")):
        with window.context():
            getattr(bpy.ops.saga, operator)("INVOKE_DEFAULT")
        search = _session().searches.request
        yield lambda search=search: search.ended
        yield lambda mode=mode: settings.view_mode == mode or _session().status.failed
        assert not _session().status.failed, _session().status.message
        yield from window.shot(name)
    assert len(_splat().saga.segments) >= 2
    settings.view_mode = "COLOR"


def _reopen(window: Window) -> Steps:
    path = str(window.out / "work.blend")
    kept, things = selected(), len(_splat().saga.segments)
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)
    yield window.redrawn()
    assert np.array_equal(selected(), kept) and _splat().saga.model_file and len(_splat().saga.segments) == things
    assert not addon("viewport.splat_draw").painter.error
    yield from window.shot("12_reopened")


def _other_views(window: Window, thing: np.ndarray) -> Steps:
    """Click without perspective, through a camera with a shifted lens, and in one of four views."""
    settings = bpy.context.scene.saga
    settings.scale_auto = True
    with window.context():
        bpy.ops.view3d.view_axis(type="FRONT")
        bpy.ops.view3d.view_selected()
    yield window.redrawn()
    yield from _click_thing(window, thing, "13_front")

    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    bpy.context.collection.objects.link(camera)
    bpy.context.scene.camera = camera
    camera.data.shift_x, camera.data.shift_y = 0.2, -0.1
    with window.context():
        bpy.ops.view3d.view_orbit(angle=0.5, type="ORBITRIGHT")
        bpy.ops.view3d.camera_to_view()
        bpy.ops.view3d.camera_to_view_selected()
    yield window.redrawn()
    assert window.space.region_3d.view_perspective == "CAMERA"
    yield from _click_thing(window, thing, "14_camera")

    with window.context():
        bpy.ops.screen.region_quadview()
    yield window.redrawn()
    yield from window.shot("15_quad")
    with window.context():
        bpy.ops.screen.region_quadview()
    yield window.redrawn()


def _click_thing(window: Window, thing: np.ndarray, name: str) -> Steps:
    bpy.ops.saga.clear()
    yield from window.click(*aim(window, thing))
    yield answered(window)
    yield from window.shot(name)
    assert share(selected(), thing) > 0.5, (name, share(selected(), thing))


def _rough(window: Window) -> Steps:
    """Undo, another file, and the extension switched off while a training runs: nothing breaks."""
    for disturb in (_undo, _disable, _load_another):
        _endless()  # each time: an undo may have taken it back
        with window.context():
            bpy.ops.saga.train("INVOKE_DEFAULT")
        training = _session().trainings.request
        yield lambda training=training: training.ended or training.job.progress
        assert not training.ended, _session().status.message
        if disturb is _undo:
            yield from _click_meanwhile(window)
            assert not training.ended
        yield from disturb(window)
        if not training.ended and _session().trainings.request is training:
            bpy.ops.saga.cancel()
        yield lambda training=training: training.ended
    yield from window.shot("16_after_all")


def _endless() -> None:
    """The next training takes hours: 0.1 s for each of the most steps there may be. It is never waited for."""
    settings = bpy.context.scene.saga
    settings.method, settings.recipe, settings.steps = "SAGA", "PAPER", 100_000


def _click_meanwhile(window: Window) -> Steps:
    """A click beside a training is answered, and the window draws."""
    bpy.ops.saga.clear()
    began = time.monotonic()
    places = addon("scene.splat.point_cloud").positions(_splat())
    yield from window.click(*window.pixel(np.median(places[np.load(window.out / "labels.npy") == 2], axis=0)))
    yield answered(window)
    assert selected().any()
    print(f"a click beside a training: {time.monotonic() - began:.2f} s until it was drawn", flush=True)


def _undo(window: Window) -> Steps:
    window.key("Z", ctrl=True)
    yield window.redrawn()


def _disable(window: Window) -> Steps:
    bpy.ops.preferences.addon_disable(module=PACKAGE)
    yield window.redrawn()
    bpy.ops.preferences.addon_enable(module=PACKAGE)
    yield window.redrawn()


def _load_another(window: Window) -> Steps:
    bpy.ops.wm.read_homefile(use_empty=False)
    yield window.redrawn()
