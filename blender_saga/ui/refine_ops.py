"""Refine the selection: change the scale, remove clicks, grow and shrink."""

from __future__ import annotations

import bpy
import numpy as np
from bpy.props import FloatProperty, IntProperty

from ..errors import ErrorCode, UserError
from ..scene.edit import grow
from ..scene.requests import prompts, requery
from ..scene.requests.lookup import find_splat, granularity, participants
from .granularity import neighbor_level
from .reporting import Result, reported


class SAGA_OT_scale_step(bpy.types.Operator):
    """Select a larger or smaller object at the same clicks"""

    bl_idname = "saga.scale_step"
    bl_label = "Change Scale"

    step: FloatProperty(name="Step", description="Change of the scale", default=0.05, min=-1, max=1)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Change the slider or the switch; the selection follows when the backend answers."""
        settings, levels = context.scene.saga, granularity(find_splat(context, ""))
        if not len(settings.prompts):
            raise UserError(
                "There is no click to change the scale of", fix="Click on an object first", code=ErrorCode.IDLE
            )
        before = settings.level, settings.scale_auto, settings.scale
        with requery.silent():
            if levels:
                settings.level = neighbor_level(settings.level, levels, self.step > 0)
            else:
                settings.scale_auto, settings.scale = False, float(np.clip(settings.scale + self.step, 0, 1))
        try:
            requery.ask_again(context)
        except UserError:
            with requery.silent():
                settings.level, settings.scale_auto, settings.scale = before
            raise
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
        settings = context.scene.saga
        count = len(settings.prompts)
        if self.index >= count or not count:
            raise UserError(
                "There is no such click", fix="Choose one from the list of clicks", code=ErrorCode.NO_PROMPT
            )
        place = count - 1 if self.index < 0 else self.index
        taken = prompts.take(context.scene, place)
        if not len(settings.prompts):
            return bpy.ops.saga.clear("EXEC_DEFAULT", True)  # one undo step, like the answers to other clicks
        try:
            requery.ask_again(context)
        except UserError:
            prompts.put_back(context.scene, place, taken)
            raise
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
