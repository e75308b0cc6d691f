"""Repeat the query while a slider moves: the newest request wins, and nothing blocks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import bpy

from ...errors import Cancelled, ErrorCode, UserError
from ...wire.messages import Selection
from ..state import properties, timer
from ..state.status import status
from ..state.undo import push_undo
from . import click, prompts
from .lookup import find_splat, granularity, participants

_QUIET_SECONDS = 0.5  # without a change, before the change of the slider becomes an undo step

LEVEL_SCALES = {"COARSE": 1.0, "MIDDLE": 0.5, "FINE": 0.0}
"""The scale of each level of granularity."""

_silent = False
_pending: click.Query | None = None
_due = 0.0


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Properties that are set in this context send no request."""
    global _silent
    before, _silent = _silent, True
    try:
        yield
    finally:
        _silent = before


def _changed(context: bpy.types.Context) -> None:
    if not _silent and not bpy.app.background:
        with contextlib.suppress(UserError):  # no query or no backend: the panel shows the reason
            ask_again(context)


def ask_again(context: bpy.types.Context) -> None:
    """Send the prompts of the current selection again, with the settings of the sidebar.

    Raises:
        UserError: if this is not possible now.
    """
    global _pending
    scene = context.scene
    if not len(scene.saga.prompts):
        return
    objects = participants(context, find_splat(context, ""))
    if _pending is None and not prompts.hold(scene, objects):
        raise UserError("The selection was edited after the click", fix="Click again", code=ErrorCode.CHANGED)
    scale, threshold = chosen(scene.saga, granularity(objects[0]))
    options = prompts.select_options(scene, scale, threshold, scores=True)
    query = click.ask(objects, prompts.recall(scene), options, prompts.is_instant(scene))
    if _pending is not None:
        _pending.request.cancel()
    _pending = query
    query.request.on_end = lambda _: _answered(query, scene.name)


def chosen(settings: bpy.types.PropertyGroup, levels: int) -> tuple[float, float]:
    """Scale and threshold from the sidebar, -1 for automatic; the scale of a level for models with levels."""
    scale = -1.0 if settings.scale_auto else settings.scale
    if levels:
        scale = LEVEL_SCALES[settings.level]
    return scale, -1.0 if settings.threshold_auto else settings.threshold


def _answered(query: click.Query, scene_name: str) -> None:
    global _pending, _due
    if query is not _pending:
        return  # a newer request is pending
    _pending = None
    scene = bpy.data.scenes.get(scene_name)
    if scene is None:
        return
    try:
        answer = click.apply(query, "set")
    except UserError as error:
        status.tell(error.sentence(), failed=True)
    except Cancelled:
        pass
    else:
        show(scene.saga, answer)
        prompts.confirm(scene, click.objects_of(query))
        _due = time.monotonic() + _QUIET_SECONDS


def show(settings: bpy.types.PropertyGroup, answer: Selection) -> str:
    """Show the values of an answer on the sliders. Returns a summary."""
    with silent():
        settings.scale, settings.threshold = answer.scale, max(0.0, answer.threshold)
        settings.size_units = answer.size_units
    words = f"{answer.count:,} of {answer.total:,} Gaussians, size {answer.size_units:.3g}"
    if answer.note:
        words = f"{words}. {answer.note}" if answer.count else answer.note
    status.tell(words)
    return words


def _watch() -> bool:
    """Add an undo step for a change of the slider, once it rests."""
    global _due
    if not _due or time.monotonic() < _due or _pending is not None:
        return False
    _due = 0.0
    push_undo("Refine Selection")
    return False


def start() -> None:
    """Start listening to the settings."""
    properties.listeners.append(_changed)
    timer.watchers.append(_watch)


def stop() -> None:
    """Undo `start`, and forget the pending query."""
    global _pending, _due
    _pending, _due = None, 0.0
    if _changed in properties.listeners:
        properties.listeners.remove(_changed)
    if _watch in timer.watchers:
        timer.watchers.remove(_watch)
