"""Select with a box."""

from __future__ import annotations

import bpy
from bpy.props import EnumProperty
from gpu_extras.batch import batch_for_shader

import gpu

from ..scene.state.properties import MODES

_COLORS = {"SUBTRACT": (1.0, 0.3, 0.2, 1.0)}
_COLOR = (1.0, 1.0, 1.0, 1.0)


class SAGA_OT_box(bpy.types.Operator):
    """Drag a box to select the objects in it"""

    bl_idname = "saga.box"
    bl_label = "Select in Box"

    mode: EnumProperty(name="Mode", items=MODES, options={"SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Start the box at the mouse."""
        if context.region_data is None:
            self.report({"ERROR"}, "The box is not in a 3D viewport. Use the SAGA Select tool in a 3D viewport")
            return {"CANCELLED"}
        if not self.properties.is_property_set("mode"):
            self.mode = context.scene.saga.mode
        self._region = context.region
        start = event.mouse_prev_press_x - context.region.x, event.mouse_prev_press_y - context.region.y
        self._start, self._end = start, self._place(event)
        arguments = (self, context)
        self._handle = bpy.types.SpaceView3D.draw_handler_add(_draw, arguments, "WINDOW", "POST_PIXEL")
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def _place(self, event: bpy.types.Event) -> tuple[int, int]:
        return event.mouse_x - self._region.x, event.mouse_y - self._region.y

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Follow the mouse until the button is released."""
        if event.type == "MOUSEMOVE":
            self._end = self._place(event)
            self._region.tag_redraw()
        elif event.type == "LEFTMOUSE" and event.value == "RELEASE":
            self._close()
            return self._ask()
        elif event.type in ("ESC", "RIGHTMOUSE"):
            self._close()
            return {"CANCELLED"}
        return {"RUNNING_MODAL"}

    def cancel(self, context: bpy.types.Context) -> None:
        """Clean up when Blender ends the operator, for example because it loads another file."""
        bpy.types.SpaceView3D.draw_handler_remove(self._handle, "WINDOW")

    def _close(self) -> None:
        bpy.types.SpaceView3D.draw_handler_remove(self._handle, "WINDOW")
        self._region.tag_redraw()

    def _ask(self) -> set[str]:
        (x, y), (x2, y2) = self._start, self._end
        bpy.ops.saga.click("INVOKE_DEFAULT", x=x, y=y, box=True, x2=x2, y2=y2, mode=self.mode)
        return {"FINISHED"}


def _draw(operator: SAGA_OT_box, context: bpy.types.Context) -> None:
    """Draw the outline of the box, in the region where it was started."""
    if bpy.context.region != operator._region:
        return
    (x, y), (x2, y2) = operator._start, operator._end
    shader = gpu.shader.from_builtin("UNIFORM_COLOR")
    corners = [(x, y), (x2, y), (x2, y2), (x, y2), (x, y)]
    shader.uniform_float("color", _COLORS.get(operator.mode, _COLOR))
    batch_for_shader(shader, "LINE_STRIP", {"pos": corners}).draw(shader)


CLASSES = (SAGA_OT_box,)
