"""The toolbar tool SAGA Select: its mouse and key bindings, shortcut and status bar hint."""

from __future__ import annotations

import bpy

from ..scene.requests.lookup import granularity
from ..scene.state import timer
from .drawing import draw_levels

IDNAME = "saga.click_tool"
KEY = {"type": "W", "value": "PRESS", "shift": True, "alt": True}
"""The shortcut of the tool in the 3D viewport, Shift Alt W; Blender's own select tools use W."""
HINT = (
    "Click: select    Shift: add    Ctrl: subtract    Drag: box    Ctrl Alt Wheel: smaller or larger objects"
    "    [  ]: shrink, grow    Enter: keep    Esc: clear"
)
_CLICK, _BOX, _STEP, _GROW = "saga.click", "saga.box", "saga.scale_step", "saga.grow"


def _mouse(idname: str, value: str) -> tuple[object, ...]:
    """Bindings of the left button: Shift adds, Ctrl subtracts, neither uses the sidebar's mode."""
    keys = {"type": "LEFTMOUSE", "value": value}
    return (
        (idname, keys, None),
        (idname, {**keys, "shift": True}, {"properties": [("mode", "ADD")]}),
        (idname, {**keys, "ctrl": True}, {"properties": [("mode", "SUBTRACT")]}),
    )


def _key(idname: str, kind: str, properties: list[tuple[str, object]], **held: bool) -> tuple[object, ...]:
    return (idname, {"type": kind, "value": "PRESS", **held}, {"properties": properties} if properties else None)


class SelectTool(bpy.types.WorkSpaceTool):
    """Select the object under the mouse"""

    bl_space_type = "VIEW_3D"
    bl_context_mode = "OBJECT"
    bl_idname = IDNAME
    bl_label = "SAGA Select"
    bl_description = "Select the object under the mouse.\nShift adds, Ctrl subtracts, drag for a box"
    bl_icon = "ops.sculpt.mask_by_color"
    bl_keymap = (
        *_mouse(_CLICK, "CLICK"),
        *_mouse(_BOX, "CLICK_DRAG"),
        _key(_STEP, "WHEELUPMOUSE", [("step", 0.05)], ctrl=True, alt=True),
        _key(_STEP, "WHEELDOWNMOUSE", [("step", -0.05)], ctrl=True, alt=True),
        _key(_GROW, "RIGHT_BRACKET", [("steps", 1)]),
        _key(_GROW, "LEFT_BRACKET", [("steps", -1)]),
        _key("saga.accept", "RET", []),
        _key("saga.clear", "ESC", []),
    )

    def draw_settings(context: bpy.types.Context, layout: bpy.types.UILayout, tool: object) -> None:
        """Draw the tool's settings in the header of the viewport. Blender calls this without an instance."""
        settings = context.scene.saga
        layout.prop(settings, "mode", text="")
        levels = granularity(context.view_layer.objects.active)
        if levels:
            draw_levels(layout, settings, levels)
            return
        layout.prop(settings, "scale_auto", text="Auto Scale")
        if not settings.scale_auto:
            layout.prop(settings, "scale", slider=True)


class SelectToolInEditMode(SelectTool):
    """Select the object under the mouse in the edit mode of point clouds"""

    bl_context_mode = "EDIT_POINTCLOUD"
    draw_settings = SelectTool.draw_settings


_TOOLS = (SelectTool, SelectToolInEditMode)
_keys: list[tuple[bpy.types.KeyMap, bpy.types.KeyMapItem]] = []
_hinted: set[str] = set()


def is_active(context: bpy.types.Context, workspace: bpy.types.WorkSpace) -> bool:
    """Whether the tool is active in the 3D viewports of a workspace."""
    tool = workspace.tools.from_space_view3d_mode(context.mode, create=False)
    return tool is not None and tool.idname == IDNAME


def _watch() -> bool:
    """Keep the status bar hint while the tool is active; the timer calls this at every tick."""
    for window in bpy.context.window_manager.windows:
        workspace = window.workspace
        active = is_active(bpy.context, workspace)
        if active != (workspace.name in _hinted):
            workspace.status_text_set(HINT if active else None)
            (_hinted.add if active else _hinted.discard)(workspace.name)
    return False


@bpy.app.handlers.persistent
def _loaded(*_: object) -> None:
    """Forget the hint, because a new file has other workspaces."""
    _hinted.clear()


def register() -> None:
    """Add the tool to the toolbars of both modes, with its shortcut and hint."""
    for tool in _TOOLS:
        bpy.utils.register_tool(tool, after={"builtin.select_box"}, separator=True)
    config = bpy.context.window_manager.keyconfigs.addon
    if config is not None:  # None in background mode
        keymap = config.keymaps.new(name="3D View", space_type="VIEW_3D")
        item = keymap.keymap_items.new("wm.tool_set_by_id", **KEY)
        item.properties.name = IDNAME
        _keys.append((keymap, item))
    timer.watchers.append(_watch)
    bpy.app.handlers.load_post.append(_loaded)


def unregister() -> None:
    """Undo `register`."""
    if _watch in timer.watchers:
        timer.watchers.remove(_watch)
        bpy.app.handlers.load_post.remove(_loaded)
    for workspace in bpy.data.workspaces:
        if workspace.name in _hinted:
            workspace.status_text_set(None)
    _hinted.clear()
    for keymap, item in _keys:
        keymap.keymap_items.remove(item)
    _keys.clear()
    for tool in reversed(_TOOLS):
        bpy.utils.unregister_tool(tool)
