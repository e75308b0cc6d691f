"""Prepare the current view for Instant while it rests, so that the first click does not wait."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

import bpy

from ..client.connection.connection import ConnectionState
from ..errors import UserError
from ..gaussians.view import View
from ..scene.requests import click
from ..scene.requests.cameras import flat_matrices, view_from_flat
from ..scene.requests.lookup import find_splat, participants
from ..scene.requests.weights import weights
from ..scene.state import timer
from ..scene.state.link import link
from ..scene.state.request import SceneRequest
from . import tool

_STILL = 0.6  # seconds in which the view does not change


@dataclass
class _Watched:
    """The last view, the time of its last change and the request for it."""

    key: bytes = b""
    since: float = 0.0
    sent: bool = False
    request: SceneRequest | None = None


_watched = _Watched()


def consider(context: bpy.types.Context, view: View, now: float) -> bool:
    """Send the view to the backend once it rests. Returns whether a request was sent.

    Args:
        context: the context whose active splat is viewed.
        view: the view of the viewport.
        now: the current time in seconds.
    """
    global _watched
    if view.key != _watched.key:
        if _watched.request is not None and not _watched.request.ended:
            _watched.request.cancel()
        _watched = _Watched(view.key, now)
        return False
    if _watched.sent or now - _watched.since < _STILL:
        return False
    _watched.sent = True
    with contextlib.suppress(UserError):  # no splat or no backend: a click reports the reason
        objects = participants(context, find_splat(context, ""))
        _watched.request = click.look_ahead(objects, view, weights("SAM"))
    return _watched.request is not None


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
            consider(context, view_from_flat(*matrices, size), time.monotonic())
            return False
    return False


def start() -> None:
    """Start watching the view."""
    timer.watchers.append(_watch)


def stop() -> None:
    """Stop watching and forget the last view."""
    global _watched
    timer.watchers.remove(_watch)
    _watched = _Watched()
