"""The panels Select, Edit and Export. Panels compute nothing and show why a button is disabled."""

from __future__ import annotations

import bpy
import numpy as np

from ..scene.requests.lookup import find_splat, granularity, participants
from ..scene.splat import point_cloud
from . import tool
from .drawing import draw_buttons, draw_levels, draw_text
from .panel_base import SagaPanel, check_clickable, draw_fetch, reason

_SLIDERS = (("scale", "scale_auto"), ("threshold", "threshold_auto"))
_CLEAN_UPS = ("drop_floaters", "only_connected", "fill_holes", "only_visible", "snap")


class SAGA_PT_select(SagaPanel, bpy.types.Panel):
    """Select by clicks and boxes"""

    bl_label = "Select"
    bl_order = 4

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the tool, its settings and the list of clicks."""
        layout, settings = self.layout, context.scene.saga
        problem = reason(lambda: check_clickable(context))
        if problem:
            draw_text(layout, problem, "INFO")
        layout.prop(
            settings, "select_by", text=""
        )  # always enabled: the other choices may have what the current one lacks
        if settings.select_by == "INSTANT":
            draw_fetch(layout, "SAM")
        column = layout.column()
        column.enabled = not problem
        active = not problem and tool.is_active(context, context.workspace)
        button = column.column()
        button.scale_y = 1.3
        button.operator(
            "wm.tool_set_by_id", text="SAGA Select", icon="RESTRICT_SELECT_OFF", depress=active
        ).name = tool.IDNAME
        column.prop(settings, "mode", text="")
        levels = granularity(context.view_layer.objects.active)
        for value, auto in _SLIDERS:
            if levels and value == "scale":
                draw_levels(column, settings, levels)
                continue
            row = column.row(align=True)
            number = row.row(align=True)
            number.enabled = not getattr(settings, auto)
            number.prop(settings, value, slider=True)
            row.prop(settings, auto, toggle=True)
        draw_buttons(column, ("saga.grow", "Grow", True), ("saga.grow", "Shrink", True), steps=(1, -1))
        if not problem:
            self._draw_clicks(settings)
            layout.label(text=_count(context))

    def _draw_clicks(self, settings: bpy.types.PropertyGroup) -> None:
        """Draw the clicks, each with a button that removes it."""
        if not len(settings.prompts):
            return
        column = self.layout.column(align=True)
        column.label(text=f"Object size {settings.size_units:.3g}, clicks:")
        for i, prompt in enumerate(settings.prompts):
            row = column.row(align=True)
            kind = "Box" if prompt.box else "Click"
            sign = "ADD" if prompt.positive else "REMOVE"
            row.label(text=f"{kind} {i + 1}" + ("" if prompt.positive else " (exclude)"), icon=sign)
            row.operator("saga.prompt_remove", text="", icon="X").index = i


class SAGA_PT_clean_up(SagaPanel, bpy.types.Panel):
    """Clean up every selection"""

    bl_label = "Clean Up"
    bl_parent_id = "SAGA_PT_select"
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the switches; the selection follows them."""
        grid = self.layout.grid_flow(columns=2, align=True, row_major=True)
        for name in _CLEAN_UPS:
            grid.prop(context.scene.saga, name, toggle=True)


def _count(context: bpy.types.Context) -> str:
    obj = find_splat(context, "")
    masks = [point_cloud.selection(o) for o in participants(context, obj)] if obj.visible_get() else []
    selected, total = sum(int(np.count_nonzero(m)) for m in masks), sum(map(len, masks))
    objects = f" in {len(masks)} objects" if len(masks) > 1 else ""
    return f"Selected: {selected:,} of {total:,}{objects}"


class SAGA_PT_edit(SagaPanel, bpy.types.Panel):
    """Edit the selected Gaussians"""

    bl_label = "Edit"
    bl_order = 6

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the buttons of the edits."""
        layout = self.layout
        problem = reason(lambda: find_splat(context, ""))
        if problem:
            draw_text(layout, problem, "INFO")
        column = layout.column()
        column.enabled = not problem
        column.operator("saga.split", text="Split to Object", icon="MOD_EXPLODE")
        draw_buttons(column, ("saga.duplicate", "Duplicate", True), ("saga.delete", "Delete", True))
        draw_buttons(
            column,
            ("saga.hide", "Hide", True),
            ("saga.hide", "Isolate", True),
            ("saga.show_all", "Show All", True),
            others=(False, True),
        )
        draw_buttons(column, ("saga.invert", "Invert", True), ("saga.clear", "Clear", True))


class SAGA_PT_export(SagaPanel, bpy.types.Panel):
    """Write splat files"""

    bl_label = "Export"
    bl_order = 7

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the buttons that export the object or its selection."""
        layout = self.layout
        problem = reason(lambda: find_splat(context, ""))
        if problem:
            draw_text(layout, problem, "INFO")
        column = layout.column(align=True)
        column.enabled = not problem
        column.operator("saga.export_splat", text="Export Splat", icon="EXPORT").selection_only = False
        column.operator("saga.export_splat", text="Export Selection").selection_only = True


CLASSES = (SAGA_PT_select, SAGA_PT_clean_up, SAGA_PT_edit, SAGA_PT_export)
