"""Benchmark rows for the viewport: drawing, undo, writing of a selection."""

from __future__ import annotations

import itertools
import resource
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench_blender import _blender
from bench_measure import Case, Line, Times, once, times
from bench_scene import bench_scene
from blender_saga.gaussians.cloud import GaussianCloud

SIZE = (960, 720)
_RUNS = 9
_REFERENCE_ITEMS = 10_000  # items that the slow reference writes


def draw(case: Case) -> Iterator[Line]:
    """Pictures of a splat of 960 x 720 pixels: the first one, a full one, and one during a move without a GPU."""
    _, obj = scene_of(bench_scene(case.n, 1).cloud)
    from blender_saga.scene.splat.draw_data import Blocks
    from blender_saga.viewport.splat_order import SortRequest, sort

    on_cpu, before = replace(case, device="cpu"), _resident_mb()
    first = OffscreenView(obj)
    compiled = once(OffscreenView(obj, min(1.0, 100 / case.n), wait=True).paint)
    line = Line("draw", on_cpu, once(first.rest), what="first picture", more={"shader_ms": compiled.median_ms})
    line.more["grown_mb"] = _resident_mb() - before
    yield line
    block = Blocks().of(obj)
    request = SortRequest((block,), camera_of(case.n)[0][None], False, 1.0, "COLOR")
    for what, density in (("all", 1.0), ("moving", min(1.0, 60_000 / case.n))):
        line = Line("draw", on_cpu, times(OffscreenView(obj, density, wait=True).paint, case.runs(3)), what=what)
        line.more["sort_ms"] = _median(lambda d=density: sort(replace(request, density=d)), case)
        line.more["note"] = "drawn by software, sorted in the same thread; a window sorts beside it"
        yield line


def selection_write(case: Case) -> Iterator[Line]:
    """A selection goes from packed bits into the attribute, and the view layer is updated."""
    bpy, obj = scene_of(bench_scene(case.n, 1).cloud)
    from blender_saga.gaussians.selection import pack, unpack
    from blender_saga.scene.splat import point_cloud

    random = np.random.default_rng(3)
    answers = itertools.cycle([pack(random.random(case.n) < 0.2) for _ in range(2)])

    def write() -> None:
        point_cloud.set_selection(obj, unpack(next(answers), case.n))
        bpy.context.view_layer.update()

    line = Line("selection_write", replace(case, device="cpu"), times(write, case.runs(15)))
    line.reference = times(lambda: _write_one_by_one(obj, next(answers)), 1)
    line.reference_is = "a Python loop over the attribute's items, of 10,000 and scaled to all"
    scaled = line.reference.median_ms * case.n / min(case.n, _REFERENCE_ITEMS)
    line.reference = Times(*(3 * (round(scaled, 1),)))
    yield line


def _write_one_by_one(obj: object, bits: np.ndarray) -> None:
    data = obj.data.attributes[".selection"].data
    for i, value in enumerate(np.unpackbits(bits, count=min(len(data), _REFERENCE_ITEMS)).tolist()):
        data[i].value = value


def undo_memory(case: Case) -> Iterator[Line]:
    """The time and memory of undo steps: twenty selections, then one deletion."""
    bpy, obj = scene_of(bench_scene(case.n, 1).cloud)
    from blender_saga.scene.splat import point_cloud

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
    """Resident memory of this process, MB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 2**20


def scene_of(cloud: GaussianCloud) -> tuple[object, object]:
    """Blender and an object with a splat; the cloud has the axes of files."""
    from blender_saga.gaussians.transforms import RDF_TO_BLENDER, transform_cloud

    bpy = _blender()
    from blender_saga.scene.splat import point_cloud

    bpy.ops.wm.read_homefile(use_empty=True)
    obj = point_cloud.create_object("splat", transform_cloud(cloud, RDF_TO_BLENDER), "RDF")
    bpy.context.collection.objects.link(obj)
    bpy.context.view_layer.objects.active = obj
    bpy.context.view_layer.update()
    return bpy, obj


def camera_of(count: int) -> tuple[np.ndarray, np.ndarray]:
    """A view matrix and a projection matrix with most of the scene in view."""
    from blender_saga.gaussians.view import look_at

    reach = 1.1 * (12 * (count / 100_000) ** 0.5) ** 0.5
    view = np.diag([1.0, -1, -1, 1]) @ look_at(np.array([0, -reach, 0.8 * reach]), np.zeros(3), np.array([0, 0, 1.0]))
    near, far = 0.01, 100.0
    projection = np.zeros((4, 4))
    projection[0, 0], projection[1, 1] = 1.8, 1.8 * SIZE[0] / SIZE[1]
    projection[2, 2], projection[2, 3] = -(far + near) / (far - near), -2 * far * near / (far - near)
    projection[3, 2] = -1
    return view, projection


class OffscreenView:
    """An offscreen viewport with a splat: `paint` waits for one picture, `rest` until all is drawn."""

    def __init__(self, obj: object, density: float = 1.0, wait: bool = False) -> None:
        """`wait`: sort within the draw call, as for a picture on disk."""
        import gpu

        gpu.init()
        from blender_saga.viewport.splat_draw import Camera, Painter, Style

        self._camera, self._painter = Camera(*camera_of(len(obj.data.points)), SIZE), Painter()
        self._target = gpu.types.GPUOffScreen(*SIZE, format="RGBA16F")
        self._objects, self._style, self._wait, self._gpu = [obj], Style(density=density), wait, gpu

    def paint(self) -> None:
        """Draw once and wait for the picture."""
        with self._target.bind():
            framebuffer = self._gpu.state.active_framebuffer_get()
            framebuffer.clear(color=(0, 0, 0, 0), depth=1.0)
            self._painter.draw("bench", self._objects, self._camera, self._style, wait=self._wait)
            framebuffer.read_color(0, 0, 1, 1, 4, 0, "FLOAT")

    def rest(self) -> bool:
        """Draw after each change, as a window does, until all is drawn."""
        self.paint()
        pause = threading.Event()
        while not self._painter.resting("bench"):
            if self._painter.news():
                self.paint()
            pause.wait(0.02)  # about the interval of the window's timer
        return True
