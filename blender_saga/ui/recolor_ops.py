"""Recolor the selection by a text: preview, then apply or cancel."""

from __future__ import annotations

import bpy
from bpy.props import FloatProperty, IntProperty, StringProperty

from ..errors import Cancelled, ErrorCode, UserError
from ..scene.requests import recolor
from ..scene.requests.lookup import active_first
from ..scene.requests.weights import clip_weights
from ..scene.state.launch import ensure_started
from ..scene.state.status import status
from ..wire.messages import Recolor
from ..wire.parts import no_gaussians
from .reporting import Result, reported

_ONCE = {"SKIP_SAVE"}


class _Words:
    """Properties and request of both recolor operators."""

    text: StringProperty(name="To", description="New look of the selection, for example: blue box", options=_ONCE)
    source: StringProperty(
        name="From", description="Current look of the selection, for example: red box", options=_ONCE
    )
    object: StringProperty(
        name="Object",
        description="Name of the object; the active object and all that share its model if empty",
        options=_ONCE,
    )
    weights: StringProperty(
        name="CLIP Weights", description="Weights file; the one from the preferences if empty", options=_ONCE
    )
    steps: IntProperty(name="Steps", description="Number of steps; 0 uses the default", min=0, options=_ONCE)
    seed: IntProperty(name="Seed", description="Seed of the random numbers", min=0, options=_ONCE)

    def _ask(self, context: bpy.types.Context) -> recolor.RecolorRequest:
        objects = active_first(context, self.object)
        for words, what in ((self.source, "From"), (self.text, "To")):
            if not words.strip():
                raise UserError(f"The text '{what}' is empty", fix="Enter a description, for example: red box")
        message = Recolor(no_gaussians(), self.source, self.text, clip_weights(self.weights), self.steps, self.seed)
        return recolor.ask(objects, message)


class SAGA_OT_recolor(_Words, bpy.types.Operator):
    """Recolor the selection to match a text, without changing its shape or position"""

    bl_idname = "saga.recolor"
    bl_label = "Recolor"
    bl_options = {"UNDO", "INTERNAL"}  # noqa: RUF012

    strength: FloatProperty(
        name="Strength", description="Fraction of the color change", min=0, max=1, default=1, options=_ONCE
    )

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Recolor and wait, for scripts; keep the selection."""
        context.view_layer.update()  # a script may have just moved objects
        query = self._ask(context)
        query.request.wait()
        preview = recolor.received(query)
        recolor.write(preview, self.strength)
        self.report({"INFO"}, _summary(preview))
        return {"FINISHED"}


class SAGA_OT_recolor_preview(_Words, bpy.types.Operator):
    """Preview the colors that match the text, without changing the splat before Apply"""

    bl_idname = "saga.recolor_preview"
    bl_label = "Preview Recolor"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """Take the texts from the sidebar when called by a button."""
        settings = context.scene.saga
        self.source, self.text = self.source or settings.recolor_source, self.text or settings.recolor_text
        return self._begin(context)

    @reported
    def _begin(self, context: bpy.types.Context) -> Result:
        ensure_started()
        return self.execute(context)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Send the request; the viewports show the answer when it arrives."""
        recolor.forget()
        query, scene = self._ask(context), context.scene.name
        query.request.on_end = lambda _: _show(query, scene)
        return {"FINISHED"}


def _show(query: recolor.RecolorRequest, scene_name: str) -> None:
    """Show the answer or report its error."""
    scene = bpy.data.scenes.get(scene_name)
    try:
        preview = recolor.received(query)
        if scene is None:
            return  # the user opened another file in the meantime
        recolor.show(preview, scene.saga.recolor_strength)
    except UserError as error:
        status.tell(error.sentence(), failed=True)
    except Cancelled:
        status.tell("Cancelled; nothing was changed")
    else:
        scene.saga.view_mode = "COLOR"
        status.tell(f"Preview of '{preview.text}'. Press Apply to keep it")


class SAGA_OT_recolor_apply(bpy.types.Operator):
    """Apply the previewed colors at the current strength, and clear the selection to show them"""

    bl_idname = "saga.recolor_apply"
    bl_label = "Apply Recolor"
    bl_options = {"UNDO", "INTERNAL"}  # noqa: RUF012

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Apply the colors as one undo step."""
        preview = recolor.shown()
        if preview is None:
            raise UserError("There is no preview to apply", fix="Press Preview first", code=ErrorCode.NO_PREVIEW)
        recolor.apply(preview, context.scene)
        status.tell(_summary(preview))
        self.report({"INFO"}, _summary(preview))
        return {"FINISHED"}


class SAGA_OT_recolor_cancel(bpy.types.Operator):
    """Discard the previewed colors and show the original ones"""

    bl_idname = "saga.recolor_cancel"
    bl_label = "Cancel Preview"
    bl_options = {"INTERNAL"}  # noqa: RUF012

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Discard the preview; the splat is unchanged."""
        if recolor.shown() is None:
            raise UserError("There is no preview to cancel", fix="Press Preview first", code=ErrorCode.NO_PREVIEW)
        recolor.forget()
        status.tell("The preview was cancelled; nothing was changed")
        return {"FINISHED"}


def _summary(preview: recolor.Preview) -> str:
    return f"Recolored {len(preview.shift):,} Gaussians: {preview.text}"


CLASSES = (SAGA_OT_recolor, SAGA_OT_recolor_preview, SAGA_OT_recolor_apply, SAGA_OT_recolor_cancel)
