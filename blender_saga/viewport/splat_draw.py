"""Draw splats as Gaussians in every 3D viewport, for versions before Blender 5.3, which draws them itself.

The draw handler uploads changed data, draws the current order, and requests a better order from the sorting thread. It
never waits.
"""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass, replace

import bpy
import numpy as np
from gpu.types import GPUBatch, GPUShader, GPUTexture, GPUUniformBuf

import gpu

from ..scene.requests import recolor
from ..scene.splat.draw_data import Block, Blocks, shown
from ..scene.state import timer
from ..scene.state.log import logger
from .splat_colors import view_dependent
from .splat_order import Sorted, Sorter, SortRequest, sort
from .splat_shader import ROW, Strokes, floats, look, make_quad, make_shader

HIGHLIGHT = (1.0, 0.5, 0.05)
"""Color of selected Gaussians."""
_SHARE, _SHARE_ON_DATA, _DIM = 0.8, 0.35, 0.5
"""Share of that color in selected Gaussians (low if their colors show data), and brightness of the others."""

_POINT = 1.2  # half the size of a drawn point, in pixels
_STILL = 0.25  # seconds without a change after which a view counts as still
_BUDGET = {"software": 60_000, "card": 1_500_000}  # Gaussians drawn while a view changes
_SOFTWARE = ("llvmpipe", "softpipe", "swiftshader", "lavapipe", "microsoft basic")
_STRETCH = 10.0  # largest enlargement of Gaussians in a thinned splat: 60,000 of 6 million still close surfaces
_CUT = (255.0, 24.0)  # 1 / alpha at which Gaussians are cut off: exact, and during a view change
_AT_ONCE = 200_000  # largest number of Gaussians to sort while drawing if there is no other order to show
_VIEWS_KEPT, _SETS_KEPT = 8, 3  # number of views, and sets of objects, with cached textures


@dataclass(frozen=True)
class Style:
    """Drawing style of splats.

    Attributes:
        mode: one of scene.state.properties.VIEW_MODES.
        density: fraction of the Gaussians to draw, 0 to 1.
        points: draw points of a fixed size instead of Gaussians.
        mark: whether to highlight the selection.
    """

    mode: str = "COLOR"
    density: float = 1.0
    points: bool = False
    mark: bool = True


@dataclass(frozen=True, eq=False)
class Camera:
    """A camera: matrices [4,4] from world to camera and from camera to clip space, and the size in pixels."""

    view: np.ndarray
    projection: np.ndarray
    size: tuple[int, int]

    @property
    def orthographic(self) -> bool:
        """Whether the projection is orthographic."""
        return bool(self.projection[3, 3] == 1.0)


@dataclass(eq=False)
class _Atlas:
    """The textures of a set of objects."""

    geometry: tuple[int, ...]
    data: GPUTexture
    marks: GPUTexture | None = None
    marking: tuple[int, ...] = ()


@dataclass(eq=False)
class _View:
    """The current drawing of one viewport."""

    request: SortRequest | None = None
    pending: SortRequest | None = None
    answer: Sorted | None = None
    order: GPUTexture | None = None
    colors: GPUTexture | None = None
    tint: tuple[object, ...] = ()
    look: tuple[object, ...] = ()
    changed: float = 0.0
    coarse: bool = False


class Painter:
    """Draws splats; holds the textures and orders of all viewports.

    Attributes:
        error: the traceback of the error that ended the drawing; "" without an error.
    """

    def __init__(self) -> None:
        self.blocks, self.sorter, self.error = Blocks(), Sorter(), ""
        self._atlases: dict[tuple[int, ...], _Atlas] = {}
        self._views: dict[object, _View] = {}
        self._shader: GPUShader | None = None
        self._quad: GPUBatch | None = None
        self._budget = 0

    def news(self) -> bool:
        """Whether to redraw the viewports, because a new order has arrived or a view has come to rest."""
        rested = [v for v in self._views.values() if v.coarse and time.monotonic() - v.changed > _STILL]
        for view in rested:
            view.coarse = False
        return self.sorter.news() or bool(rested)

    def resting(self, key: object) -> bool:
        """Whether a viewport shows its final picture."""
        view = self._views.get(key)
        return view is None or not (view.coarse or view.pending is not None)

    def draw(self, key: object, objects: list[bpy.types.Object], camera: Camera, style: Style, wait: bool) -> None:
        """Draw objects into the bound framebuffer.

        Args:
            key: identifies the viewport.
            objects: splats to draw.
            camera: camera to draw from.
            style: drawing style.
            wait: sort first, for saved images; otherwise draw the newest available order.
        """
        if not objects:
            return
        self._prepare()
        blocks = tuple(self.blocks.of(obj) for obj in objects)
        self._forget_gone()
        atlas = self._atlas(blocks)
        view = self._view(key)
        views = np.stack([camera.view @ np.array(o.matrix_world, np.float64) for o in objects])
        look: tuple[object, ...] = (views.tobytes(), camera.projection.tobytes())
        if self._budget == _BUDGET["software"]:
            look += (style, *((b.marking, b.coloring) for b in blocks))
        share = 1.0 if wait else self._share(view, look, style.density * sum(map(len, blocks)))
        mode, tint = self._mode(view, blocks, style), _tint(blocks, style.mode)
        request = SortRequest(blocks, views, camera.orthographic, style.density * share, mode, tint if mode else ())
        self._sort(view, key, request, wait)
        if view.answer is not None and view.order is not None and view.answer.request.fits(request):
            self._paint(atlas, view, camera, style)

    def _prepare(self) -> None:
        if self._shader is None:
            self._shader, self._quad = make_shader(), make_quad()
            name = gpu.platform.renderer_get().lower()
            self._budget = _BUDGET["software" if any(word in name for word in _SOFTWARE) else "card"]

    def _forget_gone(self) -> None:
        """Free the textures of deleted or changed Gaussians; a million of them take 50 MB."""
        self.blocks.keep_only({points.session_uid for points in bpy.data.pointclouds})
        there = {block.geometry for block in self.blocks.known.values()}
        self._atlases = {key: atlas for key, atlas in self._atlases.items() if there.issuperset(key)}

    def _atlas(self, blocks: tuple[Block, ...]) -> _Atlas:
        """The textures of some blocks; uploads new ones."""
        geometry, marking = tuple(b.geometry for b in blocks), tuple(b.marking for b in blocks)
        atlas = self._atlases.pop(geometry, None) or _Atlas(geometry, _data_texture(blocks))
        self._atlases[geometry] = atlas  # the dictionary is ordered by last use
        for old in list(self._atlases)[:-_SETS_KEPT]:
            del self._atlases[old]
        if atlas.marks is None or atlas.marking != marking:
            atlas.marks, atlas.marking = _texture([_states(b) for b in blocks], 1, "R8"), marking
        return atlas

    def _view(self, key: object) -> _View:
        view = self._views.pop(key, None) or _View()
        self._views[key] = view
        for old in list(self._views)[:-_VIEWS_KEPT]:
            del self._views[old]
        return view

    def _share(self, view: _View, look: tuple[object, ...], count: float) -> float:
        """The fraction to draw: reduced while the view changes, so that the window stays responsive."""
        if view.look != look:
            view.look, view.changed, view.coarse = look, time.monotonic(), True
        return min(1.0, self._budget / max(1.0, count)) if view.coarse else 1.0

    def _mode(self, view: _View, blocks: tuple[Block, ...], style: Style) -> str:
        """The mode to compute colors for; "" if the current colors are still valid."""
        depends = any(view_dependent(b, style.mode) for b in blocks)
        return "" if not depends and view.tint == _tint(blocks, style.mode) else style.mode

    def _sort(self, view: _View, key: object, request: SortRequest, wait: bool) -> None:
        """Use the best available order, and request a better one unless it is pending."""
        arrived = self.sorter.answer(key)
        if arrived is not None and arrived.request is view.pending:
            view.pending = None
        newest = arrived if arrived is not None and arrived.request.fits(request) else view.answer
        fits = newest is not None and newest.request.fits(request)
        small = sum(map(len, request.blocks)) <= _AT_ONCE
        if wait or (small and not fits):  # avoid an empty picture
            newest, fits = sort(request), True
        thinned = newest.thinned(request.density) if newest is not None and fits else None
        if thinned is not None and thinned is not view.answer:
            self._take(view, thinned)
        view.request = request
        known = (view.pending, view.answer.request if view.answer is not None else None)
        if not any(other is not None and request.granted_by(other) for other in known):
            view.pending = request
            self.sorter.ask(key, request)

    def _take(self, view: _View, answer: Sorted) -> None:
        view.order = _texture([answer.order], 1, "R32F") if len(answer.order) else None
        if answer.colors is not None:
            view.colors = _texture([answer.colors], 4, "RGBA16F")
            view.tint = answer.request.tint
        view.answer = replace(answer, colors=None)  # they are on the GPU now

    def _paint(self, atlas: _Atlas, view: _View, camera: Camera, style: Style) -> None:
        answer, shader, quad = view.answer, self._shader, self._quad
        assert answer is not None and shader is not None and quad is not None
        numbers = look(camera.projection, camera.size, _strokes(answer.request, style, view.coarse))
        block = GPUUniformBuf(numbers)  # kept in a variable: a temporary would be freed before the draw
        matrices = _matrix_texture(answer.request, view.request)
        gpu.state.blend_set("NONE" if style.points else "ALPHA_PREMULT")
        gpu.state.depth_test_set("LESS_EQUAL")
        gpu.state.depth_mask_set(style.points)
        shader.bind()
        shader.uniform_block("look", block)
        textures = (atlas.data, view.order, view.colors, atlas.marks, matrices)
        for name, texture in zip(("data", "order", "color", "mark", "object"), textures, strict=True):
            shader.uniform_sampler(f"{name}_tex", texture)
        quad.draw_instanced(shader, instance_start=0, instance_count=len(answer.order))
        gpu.state.depth_mask_set(True)
        gpu.state.depth_test_set("NONE")
        gpu.state.blend_set("NONE")


def _strokes(request: SortRequest, style: Style, moving: bool) -> Strokes:
    stretch = 1.0 if style.points else min(_STRETCH, max(request.density, 1e-6) ** -0.5)
    marks = style.mark and any(block.selected.any() for block in request.blocks)
    share = _SHARE if style.mode == "COLOR" else _SHARE_ON_DATA
    highlight = (*HIGHLIGHT, share if marks else 0.0)
    return Strokes(stretch, _POINT if style.points else 0.0, highlight, _DIM if marks else 1.0, _CUT[moving])


def _tint(blocks: tuple[Block, ...], mode: str) -> tuple[object, ...]:
    """The inputs of the colors other than the viewpoint."""
    return mode, *((b.geometry, b.marking if mode != "COLOR" else b.coloring) for b in blocks)


def _matrix_texture(drawn: SortRequest, wanted: SortRequest | None) -> GPUTexture:
    """The current matrices of the objects; the order may be older."""
    views = (wanted or drawn).views
    return GPUTexture((4, len(views)), format="RGBA32F", data=floats(np.swapaxes(views, 1, 2)))


def _data_texture(blocks: tuple[Block, ...]) -> GPUTexture:
    """Three texels per Gaussian: center and object, quaternion, standard deviations and opacity."""
    total = sum(map(len, blocks))
    texels = np.zeros((_rows(total) * ROW, 3, 4), np.float32)
    start = 0
    for i, block in enumerate(blocks):
        part = texels[start : start + len(block)]
        part[:, 0, :3], part[:, 0, 3] = block.means, i
        part[:, 1] = block.quats
        part[:, 2, :3], part[:, 2, 3] = block.scales, block.opacities
        start += len(block)
    return GPUTexture((3 * ROW, _rows(total)), format="RGBA32F", data=floats(texels))


def _states(block: Block) -> np.ndarray:
    """[N] float32 state for the shader: 1 selected, 0.5 hidden, 0 neither."""
    return np.where(block.hidden, np.float32(0.5), block.selected.astype(np.float32))


def _texture(parts: list[np.ndarray], channels: int, kind: str) -> GPUTexture:
    """One texel for each row of the parts; a missing fourth channel is 0."""
    total = sum(map(len, parts))
    texels = np.zeros((_rows(total) * ROW, channels), np.float32)
    start = 0
    for part in parts:
        values = part.reshape(len(part), -1)
        texels[start : start + len(part), : values.shape[1]] = values
        start += len(part)
    return GPUTexture((ROW, _rows(total)), format=kind, data=floats(texels))


def _rows(count: int) -> int:
    return max(1, -(-count // ROW))


painter = Painter()
_handle: object | None = None


def style_of(scene: bpy.types.Scene) -> Style:
    """The style from the sidebar, without the highlight during a recolor preview."""
    settings = scene.saga
    mark = settings.show_selection and recolor.shown() is None
    return Style(settings.view_mode, settings.density, settings.drawing == "POINTS", mark)


def _handler() -> None:
    context = bpy.context
    if painter.error or context.scene.saga.drawing == "BLENDER":
        return
    try:
        camera = region_camera(context.region, context.region_data)
        key = context.region.as_pointer()
        painter.draw(key, shown(context.view_layer, context.space_data), camera, style_of(context.scene), wait=False)
    except Exception:  # a bug would print on every redraw: report it once and stop drawing
        painter.error = traceback.format_exc()
        logger.error("Drawing failed: %s", painter.error)
        print(painter.error)


def region_camera(region: bpy.types.Region, region_data: bpy.types.RegionView3D) -> Camera:
    """The camera of a viewport."""
    view, projection = (np.array(m, np.float64) for m in (region_data.view_matrix, region_data.window_matrix))
    return Camera(view, projection, (region.width, region.height))


def start() -> None:
    """Start drawing in all viewports."""
    global painter, _handle
    painter = Painter()
    timer.watchers.append(painter.news)
    if not bpy.app.background:
        _handle = bpy.types.SpaceView3D.draw_handler_add(_handler, (), "WINDOW", "POST_VIEW")


def stop() -> None:
    """Undo `start`."""
    global _handle
    if painter.news in timer.watchers:
        timer.watchers.remove(painter.news)
    if _handle is not None:
        bpy.types.SpaceView3D.draw_handler_remove(_handle, "WINDOW")
        _handle = None
    painter.sorter.stop()
