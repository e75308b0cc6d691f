"""Undo steps for changes outside operators: a received answer, a slider at rest."""

from __future__ import annotations

import bpy


def push_undo(message: str) -> None:
    """Add an undo step in the context of the first window, because a timer has no window."""
    windows = bpy.context.window_manager.windows
    with bpy.context.temp_override(window=windows[0] if len(windows) else None):
        bpy.ops.ed.undo_push(message=message)
