"""Asks again while a slider moves: the newest wins, and the viewport follows without anything waiting."""

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

_QUIET_SECONDS = 0.5  # without another change, until what the slider did becomes an undo step

LEVEL_SCALES = {"COARSE": 1.0, "MIDDLE": 0.5, "FINE": 0.0}
"""What each level of granularity is called on the slider."""

_silent = False
_pending: click.Query | None = None
_due = 0.0


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Properties that are set inside ask nothing."""
    global _silent
    before, _silent = _silent, True
    try:
        yield
    finally:
        _silent = before


def _changed(context: bpy.types.Context) -> None:
    if not _silent and not bpy.app.background:
        with contextlib.suppress(UserError):  # nothing to ask, or nobody: the panel says why
            ask_again(context)


def ask_again(context: bpy.types.Context) -> None:
    """Send the prompts of the present selection once more, with the settings of the sidebar.

    Raises:
        UserError: if that is not possible now.
    """
    global _pending
    scene = context.scene
    if not len(scene.saga.prompts):
        return
    objects = participants(context, find_splat(context, ""))
    if _pending is None and not prompts.hold(scene, objects):
        raise UserError("The selection was changed by hand", fix="Click again", code=ErrorCode.CHANGED)
    scale, threshold = chosen(scene.saga, granularity(objects[0]))
    options = prompts.select_options(scene, scale, threshold, scores=True)
    query = click.ask(objects, prompts.recall(scene), options, prompts.is_instant(scene))
    if _pending is not None:
        _pending.request.cancel()
    _pending = query
    query.request.on_end = lambda _: _answered(query, scene.name)


def chosen(settings: bpy.types.PropertyGroup, levels: int) -> tuple[float, float]:
    """Scale and threshold as the sidebar says, -1 for automatic; a model that knows levels is asked for one of them."""
    scale = -1.0 if settings.scale_auto else settings.scale
    if levels:
        scale = LEVEL_SCALES[settings.level]
    return scale, -1.0 if settings.threshold_auto else settings.threshold


def _answered(query: click.Query, scene_name: str) -> None:
    global _pending, _due
    if query is not _pending:
        return  # a newer one is under way
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
    """Show on the sliders what an answer chose; returns it in words."""
    with silent():
        settings.scale, settings.threshold = answer.scale, max(0.0, answer.threshold)
        settings.size_units = answer.size_units
    words = f"{answer.count:,} of {answer.total:,} splats, size {answer.size_units:.3g}"
    if answer.note:
        words = f"{words}. {answer.note}" if answer.count else answer.note
    status.tell(words)
    return words


def _watch() -> bool:
    """Make an undo step of what the slider did, once it rests."""
    global _due
    if not _due or time.monotonic() < _due or _pending is not None:
        return False
    _due = 0.0
    push_undo("Refine Selection")
    return False


def start() -> None:
    """Listen to the settings."""
    properties.listeners.append(_changed)
    timer.watchers.append(_watch)


def stop() -> None:
    """Undo `start`, and forget what is under way."""
    global _pending, _due
    _pending, _due = None, 0.0
    if _changed in properties.listeners:
        properties.listeners.remove(_changed)
    if _watch in timer.watchers:
        timer.watchers.remove(_watch)
