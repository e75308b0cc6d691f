"""Refine the selection at the same clicks: a larger or smaller object, or one click less."""

from __future__ import annotations

import bpy
import numpy as np

from ...errors import ErrorCode, UserError
from . import prompts, requery
from .lookup import find_splat, granularity


def shown_levels(count: int) -> tuple[str, ...]:
    """The identifiers of the levels of a model with `count` levels, coarsest first."""
    return ("COARSE", "MIDDLE", "FINE") if count > 2 else ("COARSE", "FINE")


def neighbor_level(level: str, count: int, coarser: bool) -> str:
    """The next coarser or finer level, or the same level at the end."""
    names = shown_levels(count)
    place = names.index(level) if level in names else 0
    return names[max(0, place - 1) if coarser else min(len(names) - 1, place + 1)]


def step_scale(context: bpy.types.Context, step: float) -> None:
    """Change the scale by a step between -1 and 1, or to the next level, and ask again.

    Raises:
        UserError: if there is no click, or the request cannot be sent; then the scale is unchanged.
    """
    settings, levels = context.scene.saga, granularity(find_splat(context, ""))
    if not len(settings.prompts):
        raise UserError("There is no click to change the scale of", fix="Click on an object first", code=ErrorCode.IDLE)
    before = settings.level, settings.scale_auto, settings.scale
    with requery.silent():
        if levels:
            settings.level = neighbor_level(settings.level, levels, step > 0)
        else:
            settings.scale_auto, settings.scale = False, float(np.clip(settings.scale + step, 0, 1))
    try:
        requery.ask_again(context)
    except UserError:
        with requery.silent():
            settings.level, settings.scale_auto, settings.scale = before
        raise


def remove_click(context: bpy.types.Context, number: int) -> bool:
    """Remove a click and ask again with the others. Returns whether there are others.

    Args:
        context: the context with the scene of the clicks.
        number: the number of the click from the oldest (0); -1 is the newest.

    Raises:
        UserError: if there is no such click, or the request cannot be sent; then all clicks stay.
    """
    count = len(context.scene.saga.prompts)
    if number >= count or not count:
        raise UserError("There is no such click", fix="Choose one from the list of clicks", code=ErrorCode.NO_PROMPT)
    place = count - 1 if number < 0 else number
    taken = prompts.take(context.scene, place)
    if count == 1:
        return False
    try:
        requery.ask_again(context)
    except UserError:
        prompts.put_back(context.scene, place, taken)
        raise
    return True
