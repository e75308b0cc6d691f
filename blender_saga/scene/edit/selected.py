"""Edits of the selected Gaussians of several splats: invert, clear, hide, show and delete."""

from __future__ import annotations

import bpy
import numpy as np

from ...errors import ErrorCode, UserError
from ..splat import point_cloud


def invert(objects: list[bpy.types.Object]) -> None:
    """Select the unselected points that are not hidden, and deselect the others."""
    for obj in {o.data.session_uid: o for o in objects}.values():  # shared data is inverted once
        point_cloud.set_selection(obj, ~point_cloud.selection(obj) & ~point_cloud.hidden(obj))


def clear(objects: list[bpy.types.Object]) -> None:
    """Deselect all points."""
    for obj in objects:
        point_cloud.set_selection(obj, np.zeros(len(obj.data.points), np.bool_))


def hide(objects: list[bpy.types.Object], others: bool) -> None:
    """Hide the selected points and deselect them; with `others`, hide the unselected ones instead."""
    for obj in objects:
        chosen = point_cloud.selection(obj)
        point_cloud.set_hidden(obj, point_cloud.hidden(obj) | (~chosen if others else chosen))
        if not others:
            point_cloud.set_selection(obj, chosen & ~chosen)


def show_all(objects: list[bpy.types.Object]) -> None:
    """Show all hidden points."""
    for obj in objects:
        point_cloud.set_hidden(obj, np.zeros(len(obj.data.points), np.bool_))


def delete(objects: list[bpy.types.Object]) -> int:
    """Delete the selected points. Returns their number.

    Raises:
        UserError: if all points of an object are selected; then nothing is deleted.
    """
    for obj in objects:
        if point_cloud.selection(obj).all():
            what, fix = f"All Gaussians of {obj.name} are selected", "Delete the object instead (X)"
            raise UserError(what, "deleting them would leave an empty splat", fix, code=ErrorCode.ALL_SELECTED)
    return sum(point_cloud.delete(obj) for obj in objects)
