"""Edit the selection: split, duplicate, delete, hide, isolate, invert and clear."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, StringProperty

from ..errors import ErrorCode, UserError
from ..scene.edit import selected
from ..scene.files import adopt
from ..scene.requests import prompts
from ..scene.requests.lookup import active_first, with_selection
from ..scene.splat import point_cloud
from .operator_base import make_active
from .reporting import Result, reported

_ONCE = {"SKIP_SAVE"}  # not reused from the last call


class SAGA_OT_split(bpy.types.Operator):
    """Move the selected Gaussians to a new object"""

    bl_idname = "saga.split"
    bl_label = "Split Selection"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    object: StringProperty(
        name="Object",
        description="Name of the object; the active object and all that share its model if empty",
        options=_ONCE,
    )

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Split every partly selected object; a fully selected object stays unchanged.

        Linked duplicates share their selection: only the active one is split, the others keep all points.
        """
        objects = with_selection(context, self.object)
        partial = [o for o in objects if not point_cloud.selection(o).all()] or objects[:1]
        parts = [point_cloud.split(o) for o in partial]
        prompts.forget(context.scene)
        if context.mode == "OBJECT":
            make_active(context, parts[0])
        count = sum(len(part.data.points) for part in parts)
        self.report({"INFO"}, f"Moved {count:,} Gaussians to {', '.join(part.name for part in parts)}")
        return {"FINISHED"}


class SAGA_OT_invert(bpy.types.Operator):
    """Select the unselected Gaussians and deselect the others"""

    bl_idname = "saga.invert"
    bl_label = "Invert Selection"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    object: StringProperty(name="Object", options=_ONCE)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Change the object, or all objects that share its model."""
        selected.invert(active_first(context, self.object))
        prompts.forget(context.scene)
        return {"FINISHED"}


class SAGA_OT_clear(bpy.types.Operator):
    """Deselect all Gaussians"""

    bl_idname = "saga.clear"
    bl_label = "Clear Selection"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    object: StringProperty(name="Object", options=_ONCE)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Change the object, or all objects that share its model."""
        selected.clear(active_first(context, self.object))
        prompts.forget(context.scene)
        return {"FINISHED"}


class SAGA_OT_duplicate(bpy.types.Operator):
    """Copy the selected Gaussians to a new object"""

    bl_idname = "saga.duplicate"
    bl_label = "Duplicate Selection"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    object: StringProperty(name="Object", options=_ONCE)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Make one copy for each object with a selection."""
        copies = [point_cloud.duplicate(o) for o in with_selection(context, self.object)]
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
        """Delete from every object with a selection; refuse to empty an object."""
        count = selected.delete(with_selection(context, self.object))
        prompts.forget(context.scene)
        self.report({"INFO"}, f"Deleted {count:,} Gaussians")
        return {"FINISHED"}


class SAGA_OT_hide(bpy.types.Operator):
    """Hide the selected or the unselected Gaussians; hidden Gaussians are not drawn and cannot be clicked"""

    bl_idname = "saga.hide"
    bl_label = "Hide Selection"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    object: StringProperty(name="Object", options=_ONCE)
    others: BoolProperty(
        name="Unselected", description="Hide the unselected Gaussians instead (isolate)", options=_ONCE
    )

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Hide in all objects; isolating hides objects without a selection completely."""
        with_selection(context, self.object)  # raises an error if nothing is selected
        selected.hide(active_first(context, self.object), self.others)
        return {"FINISHED"}


class SAGA_OT_show_all(bpy.types.Operator):
    """Show all hidden Gaussians"""

    bl_idname = "saga.show_all"
    bl_label = "Show Hidden"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    object: StringProperty(name="Object", options=_ONCE)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Change the object, or all objects that share its model."""
        selected.show_all(active_first(context, self.object))
        return {"FINISHED"}


class SAGA_OT_adopt(bpy.types.Operator):
    """Convert an object with the attributes of a splat, such as a mesh from Blender's PLY import, to a splat"""

    bl_idname = "saga.adopt"
    bl_label = "Convert to Splat"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    object: StringProperty(name="Object", description="Name of the object; the active object if empty", options=_ONCE)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Add the splat and hide the original object."""
        obj = bpy.data.objects.get(self.object) if self.object else context.view_layer.objects.active
        if obj is None:
            raise UserError("No object is active", fix="Select an object", code=ErrorCode.NO_OBJECT)
        splat = adopt.adopt(obj)
        make_active(context, splat)
        obj.hide_set(True)
        self.report({"INFO"}, f"Converted {obj.name} to a splat with {len(splat.data.points):,} Gaussians")
        return {"FINISHED"}


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
