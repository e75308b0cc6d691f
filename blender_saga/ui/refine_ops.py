"""Refine the selection: change the scale, remove clicks, grow and shrink."""

from __future__ import annotations

import bpy
from bpy.props import FloatProperty, IntProperty

from ..scene.edit import grow
from ..scene.requests import prompts, refine
from ..scene.requests.lookup import find_splat, participants
from .reporting import Result, reported


class SAGA_OT_scale_step(bpy.types.Operator):
    """Select a larger or smaller object at the same clicks"""

    bl_idname = "saga.scale_step"
    bl_label = "Change Scale"

    step: FloatProperty(name="Step", description="Change of the scale", default=0.05, min=-1, max=1)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Change the slider or the switch; the selection follows when the backend answers."""
        refine.step_scale(context, self.step)
        return {"FINISHED"}


class SAGA_OT_prompt_remove(bpy.types.Operator):
    """Remove this click and keep the others"""

    bl_idname = "saga.prompt_remove"
    bl_label = "Remove Click"

    index: IntProperty(
        name="Index", description="Number of the click, from the oldest (0); -1 is the newest", default=-1, min=-1
    )

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Select again with the other clicks; clear the selection if none is left."""
        if not refine.remove_click(context, self.index):
            return bpy.ops.saga.clear("EXEC_DEFAULT", True)  # one undo step, like the answers to other clicks
        return {"FINISHED"}


class SAGA_OT_accept(bpy.types.Operator):
    """Keep the selection and start a new one with the next click"""

    bl_idname = "saga.accept"
    bl_label = "Keep Selection"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Forget the clicks."""
        prompts.forget(context.scene)
        return {"FINISHED"}


class SAGA_OT_grow(bpy.types.Operator):
    """Grow the selection into its neighborhood, or shrink it"""

    bl_idname = "saga.grow"
    bl_label = "Grow or Shrink Selection"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    steps: IntProperty(
        name="Steps", description="Number of steps; a negative number shrinks the selection", default=1, min=-20, max=20
    )

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Grow in the active object and all that share its model."""
        objects = participants(context, find_splat(context, ""))
        grow.grow_selections(objects, self.steps)
        prompts.forget(context.scene)
        return {"FINISHED"}


CLASSES = (SAGA_OT_scale_step, SAGA_OT_prompt_remove, SAGA_OT_accept, SAGA_OT_grow)
