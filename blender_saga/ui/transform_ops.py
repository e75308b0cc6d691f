"""Object > Apply > Splat Transform."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty

from ..scene import point_cloud
from ..scene.baking import Parts, apply_transforms
from ..wire.errors import UserError
from .reporting import Result, reported


class SAGA_OT_apply_transform(bpy.types.Operator):
    """Apply location, rotation and scale to the Gaussians themselves (Blender's own Apply breaks splats)"""

    bl_idname = "saga.apply_transform"
    bl_label = "Apply Splat Transform"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012 - Blender reads it as it is

    location: BoolProperty(name="Location", default=True)
    rotation: BoolProperty(name="Rotation", default=True)
    scale: BoolProperty(name="Scale", default=True)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """In object mode, where Blender's own is too."""
        return context.mode == "OBJECT"

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """All selected splats; the active one where none is selected."""
        active = context.view_layer.objects.active
        splats = [obj for obj in context.selected_objects if point_cloud.is_splat(obj)]
        splats = splats or ([active] if active is not None else [])
        if not splats:
            raise UserError("No splat is active or selected", fix="Select a splat object", code="no_object")
        apply_transforms(splats, Parts(self.location, self.rotation, self.scale))
        context.view_layer.update()
        self.report({"INFO"}, f"Applied the transform of {', '.join(obj.name for obj in splats)}")
        return {"FINISHED"}


def _menu(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    self.layout.separator()
    self.layout.operator(SAGA_OT_apply_transform.bl_idname, text="Splat Transform")


CLASSES = (SAGA_OT_apply_transform,)


def add_menu() -> None:
    """Add the entry to Object > Apply."""
    bpy.types.VIEW3D_MT_object_apply.append(_menu)


def remove_menu() -> None:
    """Undo `add_menu`."""
    bpy.types.VIEW3D_MT_object_apply.remove(_menu)
