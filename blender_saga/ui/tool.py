"""The toolbar tool: a click selects a thing, Shift adds it, Ctrl takes it away."""

from __future__ import annotations

import bpy

IDNAME = "saga.click_tool"
_CLICK = "saga.click"


class SelectThingTool(bpy.types.WorkSpaceTool):
    """Select what belongs together under the mouse"""

    bl_space_type = "VIEW_3D"
    bl_context_mode = "OBJECT"
    bl_idname = IDNAME
    bl_label = "Select Splat Thing"
    bl_description = "Select the thing under the mouse.\nShift adds it to the selection, Ctrl takes it away"
    bl_icon = "ops.generic.select"
    # A plain click leaves the mode to the sidebar.
    bl_keymap = (
        (_CLICK, {"type": "LEFTMOUSE", "value": "PRESS"}, None),
        (_CLICK, {"type": "LEFTMOUSE", "value": "PRESS", "shift": True}, {"properties": [("mode", "ADD")]}),
        (_CLICK, {"type": "LEFTMOUSE", "value": "PRESS", "ctrl": True}, {"properties": [("mode", "SUBTRACT")]}),
    )

    def draw_settings(context: bpy.types.Context, layout: bpy.types.UILayout, tool: object) -> None:
        """The header of the viewport while the tool is active. (Blender calls it without an instance.)"""
        settings = context.scene.saga
        layout.prop(settings, "mode", text="")
        layout.prop(settings, "scale_auto", text="Auto Scale")
        if not settings.scale_auto:
            layout.prop(settings, "scale", slider=True)


class SelectThingToolInEditMode(SelectThingTool):
    """The same in Blender's point cloud edit mode, where selected points are highlighted"""

    bl_context_mode = "EDIT_POINTCLOUD"
    draw_settings = SelectThingTool.draw_settings


_TOOLS = (SelectThingTool, SelectThingToolInEditMode)


def register() -> None:
    """Add the tool to the toolbar of both modes."""
    for tool in _TOOLS:
        bpy.utils.register_tool(tool, after={"builtin.select_box"}, separator=True)


def unregister() -> None:
    """Undo `register`."""
    for tool in reversed(_TOOLS):
        bpy.utils.unregister_tool(tool)
