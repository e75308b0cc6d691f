"""Select by click or box: send the request, return, and write the answer when it arrives."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, FloatVectorProperty, IntProperty, StringProperty

from ..errors import ErrorCode, UserError
from ..scene.requests import requery, view_click
from ..scene.requests.cameras import flat_matrices
from ..scene.requests.lookup import find_splat, granularity, participants
from ..scene.requests.view_click import ViewClick
from ..scene.state import timer
from ..scene.state.launch import ensure_started
from ..scene.state.properties import MODES
from .reporting import Result, reported

_ONCE = {"SKIP_SAVE"}  # not reused from the last call
_HIDDEN = {"SKIP_SAVE", "HIDDEN"}
_POLL_SECONDS = 0.005


class SAGA_OT_click(bpy.types.Operator):
    """Select the object under the mouse, or the objects in a box"""

    bl_idname = "saga.click"
    bl_label = "Select by Click"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    object: StringProperty(name="Object", description="Name of the object; the active object if empty", options=_ONCE)
    view_matrix: FloatVectorProperty(size=16, description="World-to-camera matrix in row-major order", options=_HIDDEN)
    projection_matrix: FloatVectorProperty(
        size=16, description="Camera-to-clip matrix in row-major order", options=_HIDDEN
    )
    width: IntProperty(description="Width of the region in pixels", options=_HIDDEN)
    height: IntProperty(description="Height of the region in pixels", options=_HIDDEN)
    x: IntProperty(description="Pixel of the region, from the left", options=_HIDDEN)
    y: IntProperty(description="Pixel of the region, from the bottom", options=_HIDDEN)
    box: BoolProperty(name="Box", description="Select a box from x, y to x2, y2 instead of a point", options=_HIDDEN)
    x2: IntProperty(description="Opposite corner of the box, from the left", options=_HIDDEN)
    y2: IntProperty(description="Opposite corner of the box, from the bottom", options=_HIDDEN)
    scale: FloatProperty(
        name="Scale",
        description="Size of the object, from 0 (parts) to 1 (largest); -1 is automatic",
        min=-1,
        max=1,
        default=-1,
        options=_ONCE,
    )
    threshold: FloatProperty(
        name="Threshold",
        description="Lowest similarity that is selected; -1 is automatic",
        min=-1,
        max=1,
        default=-1,
        options=_ONCE,
    )
    mode: EnumProperty(name="Mode", items=MODES, options=_ONCE)
    similarity: BoolProperty(
        name="Similarity",
        description="Write the similarity of each point to the attribute saga:similarity",
        default=True,
        options=_HIDDEN,
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """Handle a click in a viewport: use the sidebar's settings and return before the backend answers."""
        return self._begin(context, event)

    @reported
    def _begin(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        self._fill(context, event)
        find_splat(context, self.object)
        ensure_started()
        self._ask(context)
        self._timer = context.window_manager.event_timer_add(_POLL_SECONDS, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """Wait for the answer without blocking the window; Esc cancels."""
        if event.type == "ESC":
            self._sent.query.request.cancel()
            return {"RUNNING_MODAL"}  # not passed on: Esc would also clear the selection
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        timer.pump()
        if not self._sent.query.request.ended:
            return {"PASS_THROUGH"}
        context.window_manager.event_timer_remove(self._timer)
        return self._finish(context)

    def cancel(self, context: bpy.types.Context) -> None:
        """Clean up when Blender ends the operator, for example because it loads another file."""
        context.window_manager.event_timer_remove(self._timer)
        self._sent.query.request.cancel()

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Select and wait for the answer, for scripts and for Adjust Last Operation."""
        context.view_layer.update()  # a script may have just moved objects
        self._ask(context)
        self._sent.query.request.wait()
        return self._finish(context)

    def _fill(self, context: bpy.types.Context, event: bpy.types.Event) -> None:
        """Take the view from the region under the mouse, and the other settings from the sidebar."""
        if context.region_data is None:
            raise UserError(
                "The click is not in a 3D viewport",
                fix="Use the SAGA Select tool in a 3D viewport",
                code=ErrorCode.BAD_VIEW,
            )
        self.view_matrix, self.projection_matrix = flat_matrices(context.region_data)
        self.width, self.height = context.region.width, context.region.height
        if not self.properties.is_property_set("x"):
            self.x, self.y = event.mouse_region_x, event.mouse_region_y
        scale, threshold = requery.chosen(context.scene.saga, granularity(find_splat(context, self.object)))
        if not self.properties.is_property_set("scale"):
            self.scale = scale
        if not self.properties.is_property_set("threshold"):
            self.threshold = threshold
        if not self.properties.is_property_set("mode"):
            self.mode = context.scene.saga.mode

    def _ask(self, context: bpy.types.Context) -> None:
        """Send the click."""
        objects = participants(context, find_splat(context, self.object))
        given = ViewClick(
            tuple(self.view_matrix),
            tuple(self.projection_matrix),
            (self.width, self.height),
            (self.x, self.y, self.x2, self.y2) if self.box else (self.x, self.y, self.x, self.y),
            self.box,
            self.mode,
            self.scale,
            self.threshold,
            self.similarity,
        )
        self._sent = view_click.send(context, objects, given)

    @reported
    def _finish(self, context: bpy.types.Context) -> Result:
        answer = view_click.finish(context.scene, self._sent)
        words = requery.show(context.scene.saga, answer)
        self.report({"WARNING" if answer.note else "INFO"}, words)
        return {"FINISHED"}


CLASSES = (SAGA_OT_click,)
