"""Select by click; split, invert and clear what is selected."""

from __future__ import annotations

import bpy
import numpy as np
from bpy.props import BoolProperty, EnumProperty, FloatProperty, FloatVectorProperty, IntProperty, StringProperty

from ..scene import point_cloud, pump, queries
from ..scene.cameras import flat_matrices, picture_pixel, view_from_flat
from ..scene.lookup import find_splat, participants
from ..scene.properties import MODES
from ..scene.session import session
from ..wire.errors import UserError
from .import_ops import make_active
from .reporting import Result, reported

_ONCE = {"SKIP_SAVE"}  # not taken over from the last call
_HIDDEN = {"SKIP_SAVE", "HIDDEN"}
_POLL_SECONDS = 0.02


class SAGA_OT_click(bpy.types.Operator):
    """Select the thing under the mouse"""

    bl_idname = "saga.click"
    bl_label = "Select Thing by Click"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    object: StringProperty(name="Object", description="Empty: the active object", options=_ONCE)
    view_matrix: FloatVectorProperty(size=16, description="World to camera, row by row", options=_HIDDEN)
    projection_matrix: FloatVectorProperty(size=16, description="Camera to clip space, row by row", options=_HIDDEN)
    width: IntProperty(description="Of the region, pixels", options=_HIDDEN)
    height: IntProperty(description="Of the region, pixels", options=_HIDDEN)
    x: IntProperty(description="Region pixel, from the left", options=_HIDDEN)
    y: IntProperty(description="Region pixel, from the bottom", options=_HIDDEN)
    scale: FloatProperty(
        name="Scale", description="0: parts, 1: largest; -1: automatic", min=-1, max=1, default=-1, options=_ONCE
    )
    threshold: FloatProperty(
        name="Threshold", description="Of the similarity; -1: the default", min=-1, max=1, default=-1, options=_ONCE
    )
    mode: EnumProperty(name="Mode", items=MODES, options=_ONCE)
    similarity: BoolProperty(
        name="Similarity", description="Record saga:similarity of each point", default=True, options=_HIDDEN
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """A click in a viewport: settings from the sidebar; the window goes on while the backend answers."""
        return self._begin(context, event)

    @reported
    def _begin(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        self._fill(context, event)
        self._query = self._ask(context)
        self._timer = context.window_manager.event_timer_add(_POLL_SECONDS, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """Wait for the answer between the events of the window; ESC gives up."""
        if event.type == "ESC":
            self._query.request.cancel()
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        pump.pump()
        if not self._query.request.ended:
            return {"PASS_THROUGH"}
        context.window_manager.event_timer_remove(self._timer)
        return self._finish(context)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """A script, or a changed value in Adjust Last Operation: wait for the answer."""
        context.view_layer.update()  # a script may have moved objects just now
        self._query = self._ask(context)
        self._query.request.wait()
        return self._finish(context)

    def _fill(self, context: bpy.types.Context, event: bpy.types.Event) -> None:
        """Take the view from the region under the mouse and the rest from the sidebar."""
        if context.region_data is None:
            raise UserError("The click is not in a 3D viewport", fix="Use the SAGA tool there", code="bad_view")
        self.view_matrix, self.projection_matrix = flat_matrices(context.region_data)
        self.width, self.height = context.region.width, context.region.height
        self.x, self.y = event.mouse_region_x, event.mouse_region_y
        settings = context.scene.saga
        if not self.properties.is_property_set("scale"):
            self.scale = -1.0 if settings.scale_auto else settings.scale
        if not self.properties.is_property_set("threshold"):
            self.threshold = -1.0 if settings.threshold_auto else settings.threshold
        if not self.properties.is_property_set("mode"):
            self.mode = settings.mode

    def _ask(self, context: bpy.types.Context) -> queries.Query:
        obj = find_splat(context, self.object)
        view = view_from_flat(self.view_matrix, self.projection_matrix, (self.width, self.height))
        pixel = picture_pixel(view, self.x, self.y)
        target = queries.Target(view, pixel, self.scale, self.threshold, self.similarity)
        return queries.ask(participants(context, obj), target)

    @reported
    def _finish(self, context: bpy.types.Context) -> Result:
        answer = queries.apply(self._query, self.mode.lower())
        settings = context.scene.saga
        if self.scale < 0:  # the slider shows what was chosen, and starts from there when Auto is taken off
            settings.scale = answer.scale
        if self.threshold < 0:
            settings.threshold = answer.threshold
        message = answer.note or f"{answer.count:,} of {answer.total:,} Gaussians, size {answer.size_units:.3g}"
        session.tell(message)
        self.report({"WARNING" if answer.note else "INFO"}, message)
        return {"FINISHED"}


class SAGA_OT_split(bpy.types.Operator):
    """Move the selected Gaussians to an object of their own"""

    bl_idname = "saga.split"
    bl_label = "Split Selection"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    object: StringProperty(
        name="Object", description="Empty: the active object and those that share its model", options=_ONCE
    )

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Every object with a partial selection is split; one that is selected as a whole stays as it is."""
        objects = _objects(context, self.object)
        selected = [o for o in objects if point_cloud.selection(o).any()] or objects[:1]
        partial = [o for o in selected if not point_cloud.selection(o).all()] or selected[:1]
        parts = [point_cloud.split(o) for o in partial]
        if context.mode == "OBJECT":
            make_active(context, parts[0])
        count = sum(len(part.data.points) for part in parts)
        self.report({"INFO"}, f"Split {count:,} Gaussians off as {', '.join(part.name for part in parts)}")
        return {"FINISHED"}


class SAGA_OT_invert(bpy.types.Operator):
    """Select what is not selected"""

    bl_idname = "saga.invert"
    bl_label = "Invert Selection"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    object: StringProperty(name="Object", options=_ONCE)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Of the object, or of all that share its model."""
        holders = {o.data.session_uid: o for o in _objects(context, self.object)}  # shared data is inverted once
        for obj in holders.values():
            point_cloud.set_selection(obj, ~point_cloud.selection(obj))
        return {"FINISHED"}


class SAGA_OT_clear(bpy.types.Operator):
    """Select nothing"""

    bl_idname = "saga.clear"
    bl_label = "Clear Selection"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    object: StringProperty(name="Object", options=_ONCE)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Of the object, or of all that share its model."""
        for obj in _objects(context, self.object):
            point_cloud.set_selection(obj, np.zeros(len(obj.data.points), np.bool_))
        return {"FINISHED"}


def _objects(context: bpy.types.Context, name: str) -> list[bpy.types.Object]:
    """The named object alone, or the active one first and then those that share its model."""
    obj = find_splat(context, name)
    return [obj] if name else sorted(participants(context, obj), key=lambda o: o != obj)


CLASSES = (SAGA_OT_click, SAGA_OT_split, SAGA_OT_invert, SAGA_OT_clear)
