"""The one timer: takes in what the backend says on the main thread and has the window redrawn.

Timers do not fire in background mode; there operators and scripts wait by themselves.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable

import bpy

from .log import logger
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
        words, pictures = session.poll(), any([watcher() for watcher in watchers])
    except Exception:  # a bug in a callback: shown, but it must not end the timer and with it all answers
        traceback.print_exc()
        logger.exception("An answer could not be taken in")
        words = pictures = True
    if words or pictures:
        _redraw(pictures)


def _redraw(pictures: bool) -> None:
    """Have the sidebars and the preferences drawn again, and the viewports where their pictures have changed.

    Not these for every step of a progress: a large splat takes a second where there is no graphics card. (Changed data
    has Blender draw them by itself.)
    """
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "PREFERENCES" or (area.type == "VIEW_3D" and pictures):
                area.tag_redraw()
            elif area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()
