"""The scenario that takes the pictures of the user guide; scripts/guide_pictures.py runs it."""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import bpy
import numpy as np

from tests.gui import story
from tests.gui.driver import PACKAGE, Steps, Window, addon

_STEPS, _MANY_STEPS = 300, 10_000  # many: software draws slowly, and the bar is to be seen half-way
_GOOD = 0.8  # IoU with the thing: below it the pictures show how the wheel helps
_SELECT, _END = 6, 20  # steps of the wheel until the sidebar shows the panel Select, and its end
_LESS = 0.8  # of the selection: what a smaller scale has to leave to be a part


def pictures(window: Window) -> Steps:
    """From the preferences to the exported object, a picture of each step."""
    yield from _preferences(window)
    yield from story.import_splat(window)
    with window.context():
        bpy.ops.screen.screen_full_area()
    yield window.redrawn()
    yield from window.sidebar("SAGA")
    _look(window)
    yield from window.shot("import")
    yield from story.train(window, _MANY_STEPS, 0, "train", "training")

    labels = np.load(window.out / "labels.npy")
    thing, settings = labels == 2, bpy.context.scene.saga
    with window.context():
        bpy.ops.wm.tool_set_by_id(name=addon("ui.tool").IDNAME)
    yield from _scroll(window, _SELECT)
    yield from window.click(*story.aim(window, thing))
    yield story.answered(window)
    yield from _smaller_until(window, lambda: story.iou(story.selected(), thing) > _GOOD)
    yield from window.shot("click")
    good, size = settings.scale, story.selected().sum()
    yield from _smaller_until(window, lambda: story.selected().sum() < _LESS * size)
    yield from window.shot("scale")
    settings.scale = good
    yield story.settled(window)
    settings.view_mode = "SIMILARITY"
    yield from _scroll(window, -_END)
    yield from window.shot("similarity")
    settings.view_mode = "COLOR"
    yield from _scroll(window, _END)
    with window.context():
        bpy.ops.saga.split("INVOKE_DEFAULT", True)
    bpy.context.view_layer.objects.active.location.z += 0.35
    yield from window.shot("split")
    yield from _export(window)
    with window.context():
        bpy.ops.ed.undo()
    yield window.redrawn()
    yield from _everything(window)


def words(window: Window) -> Steps:
    """Find a thing by a text and lead its colors to another one, with a CLIP that knows such things (`clip.pt`).

    In `labels.npy` the red box is 2. What is measured is printed and asserted: this is the one place where the whole
    way is gone in a real window.
    """
    addon("scene.state.launch").preferences().clip_weights = str(window.out / "clip.pt")
    for name in ("text_panel.SAGA_PT_text", "recolor_panel.SAGA_PT_recolor"):
        _opened(name)
    yield from story.import_splat(window)
    with window.context():
        bpy.ops.screen.screen_full_area()
    yield window.redrawn()
    yield from window.sidebar("SAGA")
    _look(window)
    yield from story.train(window, _STEPS, 0, "_train")

    settings, session = bpy.context.scene.saga, addon("scene.state.session")
    settings.text, settings.recolor_source, settings.recolor_text = "red box", "red box", "blue box"
    with window.context():
        bpy.ops.saga.find_text("INVOKE_DEFAULT")
    yield lambda: session.searches.request.ended
    thing = np.load(window.out / "labels.npy") == 2
    print(f"{session.status.message}; IoU with the box {story.iou(story.selected(), thing):.2f}", flush=True)
    assert not session.status.failed and story.share(story.selected(), thing) > 0.5
    yield from _scroll(window, _SELECT)
    yield from window.shot("words")
    yield from _recolor(window, story.selected() & thing)


def _recolor(window: Window, thing: np.ndarray) -> Steps:
    settings, session = bpy.context.scene.saga, addon("scene.state.session")
    before, hue_before = _base(), _hue(thing)
    with window.context():
        bpy.ops.saga.recolor_preview("INVOKE_DEFAULT")
    yield lambda: session.searches.request.ended
    assert not session.status.failed, session.status.message
    yield from _scroll(window, _END)
    yield from window.shot("recolor")
    settings.recolor_strength = 0.5
    yield from window.shot("recolor_half")
    settings.recolor_strength = 1.0
    assert np.array_equal(_base(), before)  # a preview writes nothing
    with window.context():
        bpy.ops.saga.recolor_apply("INVOKE_DEFAULT", True)
    yield from window.shot("_applied")
    print(f"hue of the box: {hue_before:.0f}, then {_hue(thing):.0f}", flush=True)
    assert 190 < _hue(thing) < 280
    with window.context():
        bpy.ops.ed.undo()
    yield window.redrawn()
    assert np.array_equal(_base(), before)


def _base() -> np.ndarray:
    return addon("scene.splat.attributes").read(bpy.data.objects["scene"].data.attributes["radiance:base"])


def _hue(mask: np.ndarray) -> float:
    """Degrees, of the mean color of some points."""
    mean = np.clip(0.5 + 0.28209479 * _base()[mask, :3], 0, 1).mean(axis=0)
    return 360 * colorsys.rgb_to_hsv(*mean)[0]


def _opened(name: str) -> None:
    """Have a panel begin open: whether it is cannot be told to Blender later."""
    module, _, panel = name.partition(".")
    cls = getattr(addon(f"ui.{module}"), panel)
    bpy.utils.unregister_class(cls)
    cls.bl_options = set()
    bpy.utils.register_class(cls)


def _smaller_until(window: Window, enough: Callable[[], bool]) -> Steps:
    """Turn the wheel as an artist would."""
    for _ in range(19):
        if enough():
            return
        window.key("WHEELDOWNMOUSE", ctrl=True, alt=True)
        yield story.settled(window)
        print(f"scale {bpy.context.scene.saga.scale:.2f}: {story.selected().sum():,}", flush=True)


def _look(window: Window) -> None:
    region = window.space.region_3d
    region.view_distance *= 0.62


def _preferences(window: Window) -> Steps:
    """In the place of the viewport: without a window manager a window of their own is cut off by the screen."""
    area, preferences = window.area, bpy.context.preferences
    preferences.filepaths.use_relative_paths = False
    bpy.context.window_manager.addon_search = "saga"
    area.type = "PREFERENCES"
    for section, name in (("EXTENSIONS", "install"), ("ADDONS", "preferences")):
        preferences.active_section = section
        if section == "ADDONS":
            bpy.ops.preferences.addon_expand(module=PACKAGE)
        for _ in range(20):  # no viewport is there whose redraws could be counted
            area.tag_redraw()
            yield None
        window.grab(name)
    area.type = "VIEW_3D"
    yield window.redrawn()


def _export(window: Window) -> Steps:
    bpy.context.preferences.view.filebrowser_display_type = "SCREEN"
    with window.context():
        bpy.ops.saga.export_splat("INVOKE_DEFAULT")
    for _ in range(20):
        yield None
    window.grab("export")
    window.key("ESC")
    for _ in range(20):
        yield None
    yield window.redrawn()


def _everything(window: Window) -> Steps:
    settings = bpy.context.scene.saga
    for operator, name, mode in (("segment_scene", "segments", "CLUSTERS"), ("color_features", "features", "PCA")):
        bpy.ops.saga.clear()
        with window.context():
            getattr(bpy.ops.saga, operator)("INVOKE_DEFAULT")
        search = addon("scene.state.session").searches.request
        yield lambda search=search: search.ended
        yield lambda mode=mode: settings.view_mode == mode
        yield from _scroll(window, _END)
        yield from window.shot(name)


def _scroll(window: Window, steps: int) -> Steps:
    """Turn the wheel at the sidebar's edge, where no list takes it, and leave it, so that no tip covers anything."""
    sidebar, view = window.region("UI"), window.region()
    window.move(sidebar.x + 3, sidebar.y + sidebar.height // 2)
    for _ in range(abs(steps)):
        window.key("WHEELDOWNMOUSE" if steps > 0 else "WHEELUPMOUSE")
        yield window.redrawn()
    window.move(view.x + view.width // 3, view.y + 40)
    yield window.redrawn()
