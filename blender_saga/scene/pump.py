"""The one timer: takes in what the backend says on the main thread and has the viewports redrawn.

Timers do not fire in background mode; there operators and scripts wait by themselves.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable

import bpy

from .session import session

_INTERVAL = 0.05  # seconds

watchers: list[Callable[[], bool]] = []
"""Asked at every tick whether the viewports should be drawn again."""


def start() -> None:
    """Begin to pump; it goes on when another file is loaded."""
    bpy.app.timers.register(_tick, first_interval=_INTERVAL, persistent=True)


def stop() -> None:
    """End pumping."""
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)


def _tick() -> float:
    pump()
    return _INTERVAL


def pump() -> None:
    """Take in what has happened; an operator that waits for an answer may do it more often than the timer."""
    try:
        changed = any([session.poll(), *(watcher() for watcher in watchers)])
    except Exception:  # a bug in a callback: shown, but it must not end the timer and with it all answers
        traceback.print_exc()
        changed = True
    if changed:
        _redraw()


def _redraw() -> None:
    """Have the 3D viewports with their sidebars, and the preferences, drawn again."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in ("VIEW_3D", "PREFERENCES"):
                area.tag_redraw()
