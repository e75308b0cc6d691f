"""Recolour the selection by a text: ask, look at it, apply or give up."""

from __future__ import annotations

import bpy
from bpy.props import FloatProperty, IntProperty, StringProperty

from ..scene import point_cloud, prompts, recolouring
from ..scene.lookup import find_splat, participants
from ..scene.session import session
from ..wire.errors import Cancelled, UserError
from ..wire.messages import Recolour
from ..wire.parts import no_gaussians
from .preferences import ensure_started
from .reporting import Result, reported
from .text_ops import checkpoint

_ONCE = {"SKIP_SAVE"}


class _Words:
    """What both ways to ask have in common."""

    text: StringProperty(name="Make It", description="What the selection shall look like: blue box", options=_ONCE)
    source: StringProperty(name="It Is", description="What the selection looks like: red box", options=_ONCE)
    object: StringProperty(
        name="Object", description="Empty: the active object and those that share its model", options=_ONCE
    )
    checkpoint: StringProperty(
        name="CLIP", description="File of its weights; empty: that of the preferences", options=_ONCE
    )
    steps: IntProperty(name="Steps", description="0: the default", min=0, options=_ONCE)
    seed: IntProperty(name="Seed", description="Of every random draw", min=0, options=_ONCE)

    def _ask(self, context: bpy.types.Context) -> recolouring.Wish:
        obj = find_splat(context, self.object)
        for words, what in ((self.source, "it is"), (self.text, "it shall look like")):
            if not words.strip():
                raise UserError(f"There is no text that says what {what}", fix="Type one, for example: red box")
        message = Recolour(no_gaussians(), self.source, self.text, checkpoint(self.checkpoint), self.steps, self.seed)
        return recolouring.ask([obj] if self.object else _active_first(context, obj), message)


def _active_first(context: bpy.types.Context, obj: bpy.types.Object) -> list[bpy.types.Object]:
    return sorted(participants(context, obj), key=lambda other: other != obj)


class SAGA_OT_recolour(_Words, bpy.types.Operator):
    """Recolour the selection so that it looks like a text says, and wait for it; form and place stay as they are"""

    bl_idname = "saga.recolour"
    bl_label = "Recolour"
    bl_options = {"UNDO", "INTERNAL"}  # noqa: RUF012

    strength: FloatProperty(name="Strength", description="Share of the change", min=0, max=1, default=1, options=_ONCE)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """For scripts: what is selected stays selected."""
        context.view_layer.update()  # a script may have moved objects just now
        wish = self._ask(context)
        wish.request.wait()
        preview = recolouring.received(wish)
        recolouring.write(preview, self.strength)
        self.report({"INFO"}, _summary(preview))
        return {"FINISHED"}


class SAGA_OT_recolour_preview(_Words, bpy.types.Operator):
    """Find the colours that the text asks for and show them; nothing is changed before you press Apply"""

    bl_idname = "saga.recolour_preview"
    bl_label = "Preview New Colours"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """The button takes the texts from the sidebar."""
        settings = context.scene.saga
        self.source, self.text = self.source or settings.recolour_source, self.text or settings.recolour_text
        return self._begin(context)

    @reported
    def _begin(self, context: bpy.types.Context) -> Result:
        ensure_started()
        return self.execute(context)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Ask the backend; when it has answered, the viewports show it."""
        recolouring.forget()
        wish, scene = self._ask(context), context.scene.name
        wish.request.on_end = lambda _: _show(wish, scene)
        return {"FINISHED"}


def _show(wish: recolouring.Wish, scene_name: str) -> None:
    """The answer has come, or will not."""
    scene = bpy.data.scenes.get(scene_name)
    try:
        preview = recolouring.received(wish)
        if scene is None:
            return  # another file was opened meanwhile
        recolouring.show(preview, scene.saga.recolour_strength)
    except UserError as error:
        session.tell(error.sentence(), failed=True)
    except Cancelled:
        session.tell("Cancelled; nothing was changed")
    else:
        scene.saga.view_mode = "COLOUR"
        session.tell(f"A preview of '{preview.text}': press Apply to keep it")


class SAGA_OT_recolour_apply(bpy.types.Operator):
    """Keep the new colours at the strength that is shown; the selection is taken away, so that they are seen"""

    bl_idname = "saga.recolour_apply"
    bl_label = "Apply New Colours"
    bl_options = {"UNDO", "INTERNAL"}  # noqa: RUF012

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """One step of undo."""
        preview = recolouring.shown()
        if preview is None:
            raise UserError("There are no new colours to apply", fix="Press Preview first", code="no_preview")
        changed = recolouring.write(preview, context.scene.saga.recolour_strength)
        recolouring.forget()
        for obj in bpy.data.objects:
            if obj.data in changed:
                point_cloud.deselect(obj)
        prompts.forget(context.scene)
        session.tell(_summary(preview))
        self.report({"INFO"}, _summary(preview))
        return {"FINISHED"}


class SAGA_OT_recolour_cancel(bpy.types.Operator):
    """Show the colours as they are and forget the new ones"""

    bl_idname = "saga.recolour_cancel"
    bl_label = "Cancel Preview"
    bl_options = {"INTERNAL"}  # noqa: RUF012

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Nothing was changed."""
        if recolouring.shown() is None:
            raise UserError("There is no preview to cancel", fix="Press Preview first", code="no_preview")
        recolouring.forget()
        session.tell("The preview was cancelled; nothing was changed")
        return {"FINISHED"}


def _summary(preview: recolouring.Preview) -> str:
    return f"Recoloured {len(preview.shift):,} splats: {preview.text}"


CLASSES = (SAGA_OT_recolour, SAGA_OT_recolour_preview, SAGA_OT_recolour_apply, SAGA_OT_recolour_cancel)
