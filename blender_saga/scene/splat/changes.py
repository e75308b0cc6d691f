"""Track changes of splat data: a stamp per data-block that increases with every change that Blender reports."""

from __future__ import annotations

import bpy
from bpy.app.handlers import persistent

from ..state import timer

_stamps: dict[int, int] = {}
_epoch = 0
_fresh = False


def stamp(points: bpy.types.PointCloud) -> tuple[int, int]:
    """A value that changes whenever the data may have changed; undo and loading a file change all stamps."""
    return _epoch, _stamps.get(points.session_uid, 0)


def _news() -> bool:
    """Whether data has changed since the last call, so that the viewports must be redrawn."""
    global _fresh
    fresh, _fresh = _fresh, False
    return fresh


@persistent
def _updated(scene: bpy.types.Scene, graph: bpy.types.Depsgraph) -> None:
    global _fresh
    for update in graph.updates:
        if update.is_updated_geometry and isinstance(update.id, bpy.types.PointCloud):
            uid = update.id.original.session_uid
            _stamps[uid] = _stamps.get(uid, 0) + 1
            _fresh = True


@persistent
def _everything(*_: object) -> None:
    global _epoch, _fresh
    _epoch, _fresh = _epoch + 1, True
    _stamps.clear()


_HANDLERS = (("depsgraph_update_post", _updated), *((n, _everything) for n in ("undo_post", "redo_post", "load_post")))


def start() -> None:
    """Start tracking changes."""
    for name, function in _HANDLERS:
        getattr(bpy.app.handlers, name).append(function)
    timer.watchers.append(_news)


def stop() -> None:
    """Undo `start`."""
    if _news in timer.watchers:
        timer.watchers.remove(_news)
    for name, function in _HANDLERS:
        handlers = getattr(bpy.app.handlers, name)
        if function in handlers:
            handlers.remove(function)
