"""What is done with the selection: split, duplicate, delete, hide, isolate, invert, clear, grow and shrink."""

from __future__ import annotations

import bpy
import numpy as np
from bpy.props import BoolProperty, StringProperty

from ..errors import ErrorCode, UserError
from ..scene.files import adopt
from ..scene.requests import prompts
from ..scene.requests.lookup import find_splat, participants
from ..scene.splat import point_cloud
from .operator_base import make_active
from .reporting import Result, reported

_ONCE = {"SKIP_SAVE"}  # not taken over from the last call


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
        """Every object with a partial selection is split; one that is selected as a whole stays as it is.

        Of linked duplicates, which share what is selected, the active one is; the others keep all of their points.
        """
        selected = _with_selection(context, self.object)
        partial = [o for o in selected if not point_cloud.selection(o).all()] or selected[:1]
        parts = [point_cloud.split(o) for o in partial]
        prompts.forget(context.scene)
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
            point_cloud.set_selection(obj, ~point_cloud.selection(obj) & ~point_cloud.hidden(obj))
        prompts.forget(context.scene)
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
        prompts.forget(context.scene)
        return {"FINISHED"}


class SAGA_OT_duplicate(bpy.types.Operator):
    """Copy the selected Gaussians to an object of their own; the original stays as it is"""

    bl_idname = "saga.duplicate"
    bl_label = "Duplicate Selection"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    object: StringProperty(name="Object", options=_ONCE)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """One copy of each object that has a selection."""
        copies = [point_cloud.duplicate(o) for o in _with_selection(context, self.object)]
        prompts.forget(context.scene)
        if context.mode == "OBJECT":
            make_active(context, copies[0])
        count = sum(len(copy.data.points) for copy in copies)
        self.report({"INFO"}, f"Copied {count:,} Gaussians to {', '.join(copy.name for copy in copies)}")
        return {"FINISHED"}


class SAGA_OT_delete(bpy.types.Operator):
    """Delete the selected Gaussians"""

    bl_idname = "saga.delete"
    bl_label = "Delete Selection"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    object: StringProperty(name="Object", options=_ONCE)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """From every object that has a selection; an object never becomes empty by it."""
        objects = _with_selection(context, self.object)
        for obj in objects:
            if point_cloud.selection(obj).all():
                what, fix = f"All of {obj.name} is selected", "Delete the object itself (X)"
                raise UserError(what, "an empty splat would be left", fix, code=ErrorCode.ALL_SELECTED)
        count = sum(point_cloud.delete(obj) for obj in objects)
        prompts.forget(context.scene)
        self.report({"INFO"}, f"Deleted {count:,} Gaussians")
        return {"FINISHED"}


class SAGA_OT_hide(bpy.types.Operator):
    """Hide the selected Gaussians, or all others; hidden ones are not drawn and not clicked"""

    bl_idname = "saga.hide"
    bl_label = "Hide Selection"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    object: StringProperty(name="Object", options=_ONCE)
    others: BoolProperty(name="Others", description="Hide what is not selected (isolate)", options=_ONCE)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Isolating one thing hides all of the objects that have no part of it."""
        if not _with_selection(context, self.object):
            return {"CANCELLED"}
        for obj in _objects(context, self.object):
            chosen = point_cloud.selection(obj)
            point_cloud.set_hidden(obj, point_cloud.hidden(obj) | (~chosen if self.others else chosen))
            if not self.others:
                point_cloud.set_selection(obj, chosen & ~chosen)
        return {"FINISHED"}


class SAGA_OT_show_all(bpy.types.Operator):
    """Show all Gaussians that were hidden"""

    bl_idname = "saga.show_all"
    bl_label = "Show Hidden"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    object: StringProperty(name="Object", options=_ONCE)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Of the object, or of all that share its model."""
        for obj in _objects(context, self.object):
            point_cloud.set_hidden(obj, np.zeros(len(obj.data.points), np.bool_))
        return {"FINISHED"}


class SAGA_OT_adopt(bpy.types.Operator):
    """Make a splat of an object that holds one under other names, such as a mesh of Blender's own PLY import"""

    bl_idname = "saga.adopt"
    bl_label = "Make It a Splat"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    object: StringProperty(name="Object", description="Empty: the active object", options=_ONCE)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """The object itself stays, hidden."""
        obj = bpy.data.objects.get(self.object) if self.object else context.view_layer.objects.active
        if obj is None:
            raise UserError("No object is active", fix="Select one", code=ErrorCode.NO_OBJECT)
        splat = adopt.adopt(obj)
        make_active(context, splat)
        obj.hide_set(True)
        self.report({"INFO"}, f"Made a splat of {obj.name} with {len(splat.data.points):,} Gaussians")
        return {"FINISHED"}


def _with_selection(context: bpy.types.Context, name: str) -> list[bpy.types.Object]:
    """Those of `_objects` in which something is selected, each data-block once.

    Raises:
        UserError: if there is none.
    """
    objects = _objects(context, name)
    selected = {o.data.session_uid: o for o in reversed(objects) if point_cloud.selection(o).any()}
    if not selected:
        raise UserError(
            f"Nothing is selected in {objects[0].name}", fix="Click on a thing first", code=ErrorCode.NO_SELECTION
        )
    return list(reversed(selected.values()))


def _objects(context: bpy.types.Context, name: str) -> list[bpy.types.Object]:
    """The named object alone, or the active one first and then those that share its model."""
    obj = find_splat(context, name)
    return [obj] if name else sorted(participants(context, obj), key=lambda o: o != obj)


CLASSES = (
    SAGA_OT_split,
    SAGA_OT_duplicate,
    SAGA_OT_delete,
    SAGA_OT_hide,
    SAGA_OT_show_all,
    SAGA_OT_invert,
    SAGA_OT_clear,
    SAGA_OT_adopt,
)
