"""Watch the view of the viewport while Instant is chosen, so that the backend prepares it."""

from __future__ import annotations

import time

import bpy

from ..client.connection.connection import ConnectionState
from ..scene.requests.cameras import flat_matrices, view_from_flat
from ..scene.requests.look_ahead import RestingView
from ..scene.state import timer
from ..scene.state.link import link
from . import tool

_view = RestingView()


def _watch() -> bool:
    context = bpy.context
    runs = link.state is ConnectionState.connected
    if not runs or context.scene is None or context.scene.saga.select_by != "INSTANT":
        return False
    for window in context.window_manager.windows:
        if not tool.is_active(context, window.workspace):
            continue
        area = max((a for a in window.screen.areas if a.type == "VIEW_3D"), key=lambda a: a.width, default=None)
        if area is not None:
            region = next(r for r in area.regions if r.type == "WINDOW")
            matrices, size = flat_matrices(area.spaces.active.region_3d), (region.width, region.height)
            _view.consider(context, view_from_flat(*matrices, size), time.monotonic())
            return False
    return False


def start() -> None:
    """Start watching the view."""
    timer.watchers.append(_watch)


def stop() -> None:
    """Stop watching and forget the last view."""
    timer.watchers.remove(_watch)
    _view.forget()
