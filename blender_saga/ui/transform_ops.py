"""Object > Apply > Splat Transform, and Object > Join Splats."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty

from ..errors import ErrorCode, UserError
from ..scene.edit.apply_transform import Parts, apply_transforms
from ..scene.edit.join import join
from ..scene.requests import prompts
from ..scene.splat import point_cloud
from .reporting import Result, reported

_keys: list[tuple[bpy.types.KeyMap, bpy.types.KeyMapItem]] = []


class SAGA_OT_apply_transform(bpy.types.Operator):
    """Apply the object's transform to its Gaussians (Blender's own Apply breaks splats)"""

    bl_idname = "saga.apply_transform"
    bl_label = "Apply Splat Transform"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012 - Blender needs a plain set

    location: BoolProperty(name="Location", default=True)
    rotation: BoolProperty(name="Rotation", default=True)
    scale: BoolProperty(name="Scale", default=True)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Available in object mode, like Blender's own Apply."""
        return context.mode == "OBJECT"

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Apply to all selected splats, or to the active one if none is selected."""
        active = context.view_layer.objects.active
        splats = _selected(context) or ([active] if active is not None else [])
        if not splats:
            raise UserError("No splat is active or selected", fix="Select a splat object", code=ErrorCode.NO_OBJECT)
        apply_transforms(splats, Parts(self.location, self.rotation, self.scale))
        context.view_layer.update()
        self.report({"INFO"}, f"Applied the transform of {', '.join(obj.name for obj in splats)}")
        return {"FINISHED"}


class SAGA_OT_join(bpy.types.Operator):
    """Join the selected splats into the active one (Blender's own Join breaks rotated splats)"""

    bl_idname = "saga.join"
    bl_label = "Join Splats"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012 - Blender needs a plain set

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Available for splats only; for other objects, Ctrl J is Blender's own Join."""
        return (
            context.mode == "OBJECT"
            and len(context.selected_objects) > 1
            and all(
                obj.type == "POINTCLOUD" and point_cloud.is_splat(obj)
                for obj in (*context.selected_objects, context.view_layer.objects.active)
                if obj is not None
            )
        )

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Join into the active object, which keeps its name, transform and model."""
        target = context.view_layer.objects.active
        others = [obj for obj in _selected(context) if obj != target]
        if target not in context.selected_objects or not others:
            raise UserError(
                "There is nothing to join", fix="Select at least two splats, the target last", code=ErrorCode.NO_OBJECT
            )
        context.view_layer.update()  # a script may have just moved objects
        join(target, others)
        prompts.forget(context.scene)
        self.report(
            {"INFO"}, f"Joined {len(others) + 1} splats as {target.name}: {len(target.data.points):,} Gaussians"
        )
        return {"FINISHED"}


def _selected(context: bpy.types.Context) -> list[bpy.types.Object]:
    return [obj for obj in context.selected_objects if point_cloud.is_splat(obj)]


def _apply_menu(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    self.layout.separator()
    self.layout.operator(SAGA_OT_apply_transform.bl_idname, text="Splat Transform")


def _object_menu(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    self.layout.separator()
    self.layout.operator(SAGA_OT_join.bl_idname)


CLASSES = (SAGA_OT_apply_transform, SAGA_OT_join)


def add_menu() -> None:
    """Add the entries to Object > Apply and Object, and the shortcut of Join Splats."""
    bpy.types.VIEW3D_MT_object_apply.append(_apply_menu)
    bpy.types.VIEW3D_MT_object.append(_object_menu)
    config = bpy.context.window_manager.keyconfigs.addon
    if config is not None:  # None in background mode
        keymap = config.keymaps.new(name="Object Mode")
        _keys.append((keymap, keymap.keymap_items.new(SAGA_OT_join.bl_idname, "J", "PRESS", ctrl=True)))


def remove_menu() -> None:
    """Undo `add_menu`."""
    for keymap, item in _keys:
        keymap.keymap_items.remove(item)
    _keys.clear()
    bpy.types.VIEW3D_MT_object.remove(_object_menu)
    bpy.types.VIEW3D_MT_object_apply.remove(_apply_menu)
