"""The timer that processes the backend's answers on the main thread and redraws the window.

Timers do not fire in background mode, where operators and scripts wait for answers directly.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable

import bpy

from . import session
from .log import logger

_INTERVAL = 0.05  # seconds

watchers: list[Callable[[], bool]] = []
"""Called at every tick; a watcher returns whether to redraw the viewports."""


def start() -> None:
    """Start the timer, which survives loading another file."""
    bpy.app.timers.register(_tick, first_interval=_INTERVAL, persistent=True)


def stop() -> None:
    """Stop the timer."""
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)


def _tick() -> float:
    pump()
    return _INTERVAL


def pump() -> None:
    """Process events; operators that wait for an answer may call this more often than the timer."""
    try:
        words, pictures = session.poll(), any([watcher() for watcher in watchers])
    except Exception:  # a bug in a callback must not stop the timer
        traceback.print_exc()
        logger.exception("An answer could not be processed")
        words = pictures = True
    if words or pictures:
        _redraw(pictures)


def _redraw(pictures: bool) -> None:
    """Redraw the sidebars and the preferences, and the viewports if `pictures` is set.

    Progress does not redraw the viewports, because a large splat takes a second without a GPU. Blender redraws them
    when data changes.
    """
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "PREFERENCES" or (area.type == "VIEW_3D" and pictures):
                area.tag_redraw()
            elif area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()
