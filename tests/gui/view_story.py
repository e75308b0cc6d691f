"""Clicks in every kind of view of a real window: four at once, a second window, a local view, an instance."""

from __future__ import annotations

import bpy
import numpy as np
from bpy_extras.view3d_utils import location_3d_to_region_2d
from mathutils import Vector

from tests.gui import story
from tests.gui.driver import Steps, Window, addon

_VIEWS = 8


def many_views(window: Window) -> Steps:
    """Import, find segments, click in each view."""
    yield from story.import_splat(window)
    bpy.context.scene.saga.method = "SEGMENTS"
    yield from story.train(window, 0, _VIEWS, "01_segments")
    thing = np.load(window.out / "labels.npy") == 2
    with window.context():
        bpy.ops.wm.tool_set_by_id(name=addon("ui.tool").IDNAME)
    yield from _four_views(window, thing)
    yield from _second_window(window, thing)
    yield from _instance(window, thing)
    yield from _smallest(window)
    assert not addon("viewport.splat_draw").painter.error


def _middle(mask: np.ndarray) -> Vector:
    splat = bpy.data.objects["scene"]
    return splat.matrix_world @ Vector(np.median(addon("scene.splat.point_cloud").positions(splat)[mask], axis=0))


def _click_at(window: Window, point: tuple[float, float], thing: np.ndarray, name: str) -> Steps:
    bpy.ops.saga.clear()
    yield from window.click(round(point[0]), round(point[1]))
    yield story.answered(window)
    yield from window.shot(name)
    share = story.share(story.selected(), thing)
    assert share > 0.5, (name, share)


def _four_views(window: Window, thing: np.ndarray) -> Steps:
    """From the front, from the side, from above, and through the camera of the user."""
    window.space.show_region_ui = False  # it lies over the views on the right
    with window.context():
        bpy.ops.screen.region_quadview()
    yield window.redrawn()
    regions = [r for r in window.area.regions if r.type == "WINDOW" and r.width > 1]
    views = list(window.space.region_quadviews)
    assert len(regions) == len(views) == 4
    for i, (region, view) in enumerate(zip(regions, views, strict=True)):
        at = location_3d_to_region_2d(region, view, _middle(thing))
        x, y = region.x + at.x, region.y + at.y
        assert region.x <= x < region.x + region.width and region.y <= y < region.y + region.height, i
        yield from _click_at(window, (x, y), thing, f"02_quad_{i}")
    with window.context():
        bpy.ops.screen.region_quadview()
    window.space.show_region_ui = True
    yield window.redrawn()


def _second_window(window: Window, thing: np.ndarray) -> Steps:
    """Both windows draw the splat; what is clicked in one is highlighted in the other."""
    drawn = addon("viewport.splat_draw").painter._views
    with window.context():
        bpy.ops.screen.area_dupli("INVOKE_DEFAULT")
    windows = bpy.context.window_manager.windows
    yield lambda: len(windows) == 2
    second = windows[1]
    area = next(a for a in second.screen.areas if a.type == "VIEW_3D")
    keys = [next(r for r in a.regions if r.type == "WINDOW").as_pointer() for a in (window.area, area)]
    for key in keys:  # one of the four views before, which are gone, may have stood at the same place in memory
        drawn.pop(key, None)
    yield lambda: (window.area.tag_redraw(), area.tag_redraw()) and all(key in drawn for key in keys)
    yield from _click_at(window, story.aim(window, thing), thing, "03_two_windows")
    with bpy.context.temp_override(window=second):
        bpy.ops.wm.window_close()
    yield lambda: len(windows) == 1
    yield window.redrawn()


def _instance(window: Window, thing: np.ndarray) -> Steps:
    """The splat's collection, shown a second time: clicked there, both are highlighted."""
    splat = bpy.data.objects["scene"]
    collection = bpy.data.collections.new("kept")
    bpy.context.scene.collection.children.link(collection)
    for old in splat.users_collection:
        old.objects.unlink(splat)
    collection.objects.link(splat)
    holder = bpy.data.objects.new("again", None)
    holder.instance_type, holder.instance_collection = "COLLECTION", collection
    holder.location.z = 1.5 * max(splat.dimensions)
    bpy.context.scene.collection.objects.link(holder)
    bpy.context.view_layer.objects.active = splat
    for obj in (splat, holder):
        obj.select_set(True)
    with window.context():
        bpy.ops.view3d.view_selected()
    yield window.redrawn()
    yield from _click_at(window, window.pixel(holder.matrix_world @ _middle(thing)), thing, "04_instance")
    bpy.data.objects.remove(holder)


def _smallest(window: Window) -> Steps:
    """A splat of one Gaussian, and one that has lost all: nothing breaks, and the sidebar says what there is."""
    splat = bpy.data.objects["scene"]
    for count, name in ((1, "05_one"), (0, "06_none")):
        splat.data.resize(count)
        splat.data.update_tag()
        yield from window.shot(name)
    window.move(*window.pixel((0, 0, 0)))
    window.key("ESC")  # a key of the tool: one sentence, no traceback
    yield window.redrawn()
