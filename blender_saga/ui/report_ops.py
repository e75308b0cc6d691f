"""Copy Report: a support report on the clipboard."""

from __future__ import annotations

import bpy

from ..scene.state.report import report_text
from .reporting import Result, reported


class SAGA_OT_copy_report(bpy.types.Operator):
    """Copy a support report (versions, device, last errors) to the clipboard, without file names or contents"""

    bl_idname = "saga.copy_report"
    bl_label = "Copy Report"

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Copy the report; print it without a window."""
        text = report_text()
        if bpy.app.background:
            print(text)
        else:
            context.window_manager.clipboard = text
            lines = len(text.splitlines())
            self.report({"INFO"}, f"Copied a report of {lines} lines to the clipboard. Read it before you send it")
        return {"FINISHED"}


def add_menu() -> None:
    """Add the entry to the Help menu, which also makes F3 find it."""
    bpy.types.TOPBAR_MT_help.append(_draw_entry)


def remove_menu() -> None:
    """Undo `add_menu`."""
    bpy.types.TOPBAR_MT_help.remove(_draw_entry)


def _draw_entry(menu: bpy.types.Menu, context: bpy.types.Context) -> None:
    menu.layout.separator()
    menu.layout.operator("saga.copy_report", text="Copy SAGA Report")


CLASSES = (SAGA_OT_copy_report,)
