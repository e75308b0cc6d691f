"""The panel Objects: the list of all objects and their parts."""

from __future__ import annotations

import bpy

from ..scene.requests.lookup import find_splat
from ..scene.state.searches import searches
from .drawing import draw_progress, draw_text, remaining
from .panel_base import SagaPanel, check_clickable, reason


class SAGA_UL_segments(bpy.types.UIList):
    """Objects with their parts: click the arrow to select, the eye to hide, double-click the name to rename"""

    def draw_item(  # noqa: PLR0913 - Blender calls it with all of these
        self,
        context: bpy.types.Context,
        layout: bpy.types.UILayout,
        data: object,
        item: bpy.types.PropertyGroup,
        icon: int,
        active_data: object,
        active_property: str,
        index: int,
    ) -> None:
        """Draw one row."""
        row = layout.row(align=True)
        for _ in range(item.level):
            row.label(text="", icon="BLANK1")
        row.operator("saga.segment_select", text="", icon="RESTRICT_SELECT_OFF", emboss=False).node = item.node
        row.prop(item, "name", text="", emboss=False)
        row.label(text=f"{item.count:,}")
        eye = "HIDE_ON" if item.hidden else "HIDE_OFF"
        row.operator("saga.segment_hide", text="", icon=eye, emboss=False).node = item.node


class SAGA_PT_segments(SagaPanel, bpy.types.Panel):
    """All objects of the splat"""

    bl_label = "Objects"
    bl_order = 5

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the list, with the buttons that find and split the objects."""
        layout, search = self.layout, searches.request
        if search is not None and not search.ended:
            progress = search.job.progress
            text = f"{progress.phase}, {remaining(progress.eta)}" if progress else "Waiting for the backend"
            draw_progress(layout, search.job.fraction, text)
            layout.operator("saga.cancel", icon="CANCEL").what = "SEARCH"
            return
        problem = reason(lambda: check_clickable(context))
        if problem:
            draw_text(layout, problem, "INFO")
        column = layout.column()
        column.enabled = not problem
        column.operator("saga.segment_scene", icon="OUTLINER")
        if reason(lambda: find_splat(context, "")):
            return
        record = find_splat(context, "").saga
        if len(record.segments):
            layout.template_list("SAGA_UL_segments", "", record, "segments", record, "segment", rows=5)
            layout.operator("saga.segments_split", icon="MOD_EXPLODE")


CLASSES = (SAGA_UL_segments, SAGA_PT_segments)
