"""Benchmark rows of the viewport: Blender's part of a click (the backend's is row `click`), drawing, undo."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from bench_blender import _blender
from bench_measure import Case, Line, times
from bench_scene import bench_scene

_SIZE = (960, 720)
_RUNS = 9


def click_blender(case: Case) -> Iterator[Line]:
    """A click without the backend: look at what is loaded and write the message, write the answer down, repaint."""
    bpy, obj = _scene(case.n)
    from blender_saga.scene import point_cloud, prompts, queries
    from blender_saga.wire.codec import encode
    from blender_saga.wire.messages import Click, ObjectPoints

    random = np.random.default_rng(3)
    masks = random.random((2, case.n)) < 0.2
    scores = random.random(case.n).astype(np.float32)
    paint, turn = _painter(obj), iter(range(10**9))
    paint()

    def ask() -> None:
        queries._same_places(known, obj)
        prompts.hold(bpy.context.scene, [obj])
        encode(1, Click("scene", (), (ObjectPoints(np.eye(4), queries._points(obj, None).ids),)))

    def apply() -> None:
        point_cloud.set_selection(obj, masks[next(turn) % 2])
        point_cloud.set_similarity(obj, scores)
        bpy.context.view_layer.update()

    def whole() -> None:
        ask()
        apply()
        paint()

    known = point_cloud.positions(obj)
    more = {"ask_ms": _median(ask, case), "apply_ms": _median(apply, case), "repaint_ms": _median(paint, case)}
    yield Line("click_blender", replace(case, device="cpu"), times(whole, case.runs(_RUNS)), more=more)


def draw(case: Case) -> Iterator[Line]:
    """Splats in a picture of 960 x 720: all, and while the view moves on a machine without a graphics card."""
    _, obj = _scene(case.n)
    from blender_saga.scene.drawables import Blocks
    from blender_saga.ui.splat_order import Wish, sort

    block = Blocks().of(obj)
    wish = Wish((block,), _camera(case.n)[0][None], False, 1.0, "COLOUR")
    for what, density in (("all", 1.0), ("moving", min(1.0, 60_000 / case.n))):
        paint = _painter(obj, density)
        line = Line("draw", replace(case, device="cpu"), times(paint, case.runs(_RUNS)), what=what)
        line.more["sort_ms"] = _median(lambda d=density: sort(replace(wish, density=d)), case)
        line.more["note"] = "drawn by software, sorted in the same thread; a window sorts beside it"
        yield line


def undo_memory(case: Case) -> Iterator[Line]:
    """Steps of undo: twenty selections, then one deletion; how long they take and how much memory stays."""
    bpy, obj = _scene(case.n)
    from blender_saga.scene import point_cloud

    random = np.random.default_rng(4)
    bpy.ops.ed.undo_push(message="begin")
    before = _resident_mb()

    def select() -> None:
        point_cloud.set_selection(bpy.data.objects[name], random.random(case.n) < 0.2)
        bpy.ops.ed.undo_push(message="select")

    name = obj.name
    measured = times(select, 19)
    selected = _resident_mb()
    bpy.ops.saga.delete(object=name)
    bpy.ops.ed.undo_push(message="delete")
    line = Line("undo_memory", replace(case, device="cpu"), measured, what="select and push")
    line.more |= {"twenty_selections_mb": selected - before, "one_deletion_mb": _resident_mb() - selected}
    line.more["undo_ms"] = _median(lambda: (bpy.ops.ed.undo(), bpy.ops.ed.redo()), case)
    yield line


def _median(function: Callable[[], object], case: Case) -> float:
    return times(function, case.runs(_RUNS)).median_ms


def _resident_mb() -> int:
    """Memory of this process now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 2**20


def _scene(count: int) -> tuple[object, object]:
    """Blender with a splat of SH degree 0 in it."""
    from blender_saga.gaussians.transforms import RDF_TO_BLENDER, transform_cloud

    bpy = _blender()
    from blender_saga.scene import point_cloud

    bpy.ops.wm.read_homefile(use_empty=True)
    obj = point_cloud.create_object("splat", transform_cloud(bench_scene(count, 1).cloud, RDF_TO_BLENDER), "RDF")
    bpy.context.collection.objects.link(obj)
    bpy.context.view_layer.objects.active = obj
    bpy.context.view_layer.update()
    return bpy, obj


def _camera(count: int) -> tuple[np.ndarray, np.ndarray]:
    """View and projection matrix that see most of the scene."""
    from blender_saga.gaussians.view import look_at

    reach = 1.1 * (12 * (count / 100_000) ** 0.5) ** 0.5
    view = np.diag([1.0, -1, -1, 1]) @ look_at(np.array([0, -reach, 0.8 * reach]), np.zeros(3), np.array([0, 0, 1.0]))
    near, far = 0.01, 100.0
    projection = np.zeros((4, 4))
    projection[0, 0], projection[1, 1] = 1.8, 1.8 * _SIZE[0] / _SIZE[1]
    projection[2, 2], projection[2, 3] = -(far + near) / (far - near), -2 * far * near / (far - near)
    projection[3, 2] = -1
    return view, projection


def _painter(obj: object, density: float = 1.0) -> Callable[[], None]:
    """A function that draws a splat and waits for the picture."""
    import gpu

    gpu.init()
    from blender_saga.ui.splat_draw import Camera, Painter, Style

    camera, painter = Camera(*_camera(len(obj.data.points)), _SIZE), Painter()
    target = gpu.types.GPUOffScreen(*_SIZE, format="RGBA16F")

    def paint() -> None:
        with target.bind():
            framebuffer = gpu.state.active_framebuffer_get()
            framebuffer.clear(color=(0, 0, 0, 0), depth=1.0)
            painter.draw("bench", [obj], camera, Style(density=density), wait=True)
            framebuffer.read_color(0, 0, 1, 1, 4, 0, "FLOAT")

    return paint
