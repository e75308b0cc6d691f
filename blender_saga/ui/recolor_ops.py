"""Recolor the selection by a text: ask, look at it, apply or give up."""

from __future__ import annotations

import bpy
from bpy.props import FloatProperty, IntProperty, StringProperty

from ..errors import Cancelled, ErrorCode, UserError
from ..scene.requests import prompts, recolor
from ..scene.requests.lookup import find_splat, participants
from ..scene.requests.weights import clip_weights
from ..scene.splat import point_cloud
from ..scene.state.session import session
from ..wire.messages import Recolor
from ..wire.parts import no_gaussians
from .launch import ensure_started
from .reporting import Result, reported

_ONCE = {"SKIP_SAVE"}


class _Words:
    """What both ways to ask have in common."""

    text: StringProperty(name="Make It", description="What the selection shall look like: blue box", options=_ONCE)
    source: StringProperty(name="It Is", description="What the selection looks like: red box", options=_ONCE)
    object: StringProperty(
        name="Object", description="Empty: the active object and those that share its model", options=_ONCE
    )
    weights: StringProperty(
        name="CLIP", description="File of its weights; empty: that of the preferences", options=_ONCE
    )
    steps: IntProperty(name="Steps", description="0: the default", min=0, options=_ONCE)
    seed: IntProperty(name="Seed", description="Of every random draw", min=0, options=_ONCE)

    def _ask(self, context: bpy.types.Context) -> recolor.RecolorRequest:
        obj = find_splat(context, self.object)
        for words, what in ((self.source, "it is"), (self.text, "it shall look like")):
            if not words.strip():
                raise UserError(f"There is no text that says what {what}", fix="Type one, for example: red box")
        message = Recolor(no_gaussians(), self.source, self.text, clip_weights(self.weights), self.steps, self.seed)
        return recolor.ask([obj] if self.object else _active_first(context, obj), message)


def _active_first(context: bpy.types.Context, obj: bpy.types.Object) -> list[bpy.types.Object]:
    return sorted(participants(context, obj), key=lambda other: other != obj)


class SAGA_OT_recolor(_Words, bpy.types.Operator):
    """Recolor the selection so that it looks like a text says, and wait for it; form and place stay as they are"""

    bl_idname = "saga.recolor"
    bl_label = "Recolor"
    bl_options = {"UNDO", "INTERNAL"}  # noqa: RUF012

    strength: FloatProperty(name="Strength", description="Share of the change", min=0, max=1, default=1, options=_ONCE)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """For scripts: what is selected stays selected."""
        context.view_layer.update()  # a script may have moved objects just now
        wish = self._ask(context)
        wish.request.wait()
        preview = recolor.received(wish)
        recolor.write(preview, self.strength)
        self.report({"INFO"}, _summary(preview))
        return {"FINISHED"}


class SAGA_OT_recolor_preview(_Words, bpy.types.Operator):
    """Find the colors that the text asks for and show them; nothing is changed before you press Apply"""

    bl_idname = "saga.recolor_preview"
    bl_label = "Preview New Colors"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """The button takes the texts from the sidebar."""
        settings = context.scene.saga
        self.source, self.text = self.source or settings.recolor_source, self.text or settings.recolor_text
        return self._begin(context)

    @reported
    def _begin(self, context: bpy.types.Context) -> Result:
        ensure_started()
        return self.execute(context)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Ask the backend; when it has answered, the viewports show it."""
        recolor.forget()
        wish, scene = self._ask(context), context.scene.name
        wish.request.on_end = lambda _: _show(wish, scene)
        return {"FINISHED"}


def _show(wish: recolor.RecolorRequest, scene_name: str) -> None:
    """The answer has come, or will not."""
    scene = bpy.data.scenes.get(scene_name)
    try:
        preview = recolor.received(wish)
        if scene is None:
            return  # another file was opened meanwhile
        recolor.show(preview, scene.saga.recolor_strength)
    except UserError as error:
        session.tell(error.sentence(), failed=True)
    except Cancelled:
        session.tell("Cancelled; nothing was changed")
    else:
        scene.saga.view_mode = "COLOR"
        session.tell(f"A preview of '{preview.text}': press Apply to keep it")


class SAGA_OT_recolor_apply(bpy.types.Operator):
    """Keep the new colors at the strength that is shown; the selection is taken away, so that they are seen"""

    bl_idname = "saga.recolor_apply"
    bl_label = "Apply New Colors"
    bl_options = {"UNDO", "INTERNAL"}  # noqa: RUF012

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """One step of undo."""
        preview = recolor.shown()
        if preview is None:
            raise UserError("There are no new colors to apply", fix="Press Preview first", code=ErrorCode.NO_PREVIEW)
        changed = recolor.write(preview, context.scene.saga.recolor_strength)
        recolor.forget()
        for obj in bpy.data.objects:
            if obj.data in changed:
                point_cloud.deselect(obj)
        prompts.forget(context.scene)
        session.tell(_summary(preview))
        self.report({"INFO"}, _summary(preview))
        return {"FINISHED"}


class SAGA_OT_recolor_cancel(bpy.types.Operator):
    """Show the colors as they are and forget the new ones"""

    bl_idname = "saga.recolor_cancel"
    bl_label = "Cancel Preview"
    bl_options = {"INTERNAL"}  # noqa: RUF012

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Nothing was changed."""
        if recolor.shown() is None:
            raise UserError("There is no preview to cancel", fix="Press Preview first", code=ErrorCode.NO_PREVIEW)
        recolor.forget()
        session.tell("The preview was cancelled; nothing was changed")
        return {"FINISHED"}


def _summary(preview: recolor.Preview) -> str:
    return f"Recolored {len(preview.shift):,} splats: {preview.text}"


CLASSES = (SAGA_OT_recolor, SAGA_OT_recolor_preview, SAGA_OT_recolor_apply, SAGA_OT_recolor_cancel)
