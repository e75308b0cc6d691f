"""The panel Recolor by Text: the two texts, the preview and its strength."""

from __future__ import annotations

import bpy

from ..errors import ErrorCode, UserError
from ..scene.requests import recolor
from ..scene.requests.lookup import find_splat, participants
from ..scene.splat import point_cloud
from ..scene.state.launch import usable_backend
from ..scene.state.request import SceneRequest
from ..scene.state.searches import searches
from ..wire.messages import Recolor
from .drawing import draw_progress, draw_text, remaining
from .panel_base import SagaPanel, draw_missing_clip, reason


class SAGA_PT_recolor(SagaPanel, bpy.types.Panel):
    """Recolor the selection by text"""

    bl_label = "Recolor by Text"
    bl_parent_id = "SAGA_PT_edit"
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the texts and the button, the progress, or the preview with its strength."""
        layout, settings, search = self.layout, context.scene.saga, searches.request
        if search is not None and not search.ended and isinstance(search.message, Recolor):
            _draw_running(layout, search)
            return
        missing = draw_missing_clip(layout)
        problem = reason(lambda: _check(context))
        if problem and not missing:
            draw_text(layout, problem, "INFO")
        column = layout.column()
        column.use_property_split, column.use_property_decorate = True, False
        column.prop(settings, "recolor_source", placeholder="red box")
        column.prop(settings, "recolor_text", placeholder="blue box")
        row = layout.row()
        row.enabled = not problem and not missing
        row.operator("saga.recolor_preview", text="Preview", icon="HIDE_OFF")
        if recolor.shown() is not None:
            _draw_preview(layout, settings)


def _draw_running(layout: bpy.types.UILayout, search: SceneRequest) -> None:
    progress = search.job.progress
    text = (
        f"{progress.phase[:1].upper()}{progress.phase[1:]}, {remaining(progress.eta)}"
        if progress
        else "Waiting for the backend"
    )
    draw_progress(layout, search.job.fraction, text)
    if progress and progress.loss == progress.loss:  # not NaN: the backend is fitting
        layout.label(text=f"Loss {progress.loss:.3g}")
    layout.operator("saga.cancel", icon="CANCEL").what = "SEARCH"


def _draw_preview(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    if settings.drawing == "BLENDER":
        draw_text(layout, "Blender draws the splats, without the preview. Set Draw As to Splats to see it", "INFO")
    layout.prop(settings, "recolor_strength", slider=True)
    row = layout.row(align=True)
    row.operator("saga.recolor_apply", text="Apply", icon="CHECKMARK")
    row.operator("saga.recolor_cancel", text="Cancel", icon="X")


def _check(context: bpy.types.Context) -> None:
    """Raise a UserError if nothing can be recolored now."""
    obj = find_splat(context, "")
    usable_backend()
    if not any(point_cloud.selection(o).any() for o in participants(context, obj)):
        raise UserError("Nothing is selected", fix="Click on an object first", code=ErrorCode.NO_SELECTION)


CLASSES = (SAGA_PT_recolor,)
