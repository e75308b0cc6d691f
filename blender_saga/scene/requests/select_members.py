"""Select a segment or a candidate in all visible objects that share a trained cloud."""

from __future__ import annotations

from collections.abc import Callable

import bpy
import numpy as np

from ...errors import ErrorCode, UserError
from ...gaussians.selection import combine
from ..splat import point_cloud
from . import prompts
from .lookup import participants


def select_members(
    context: bpy.types.Context,
    obj: bpy.types.Object,
    members: Callable[[bpy.types.Object], np.ndarray],
    mode: str,
    what: str,
) -> None:
    """Combine the selections with the visible members of each object, and forget the clicks.

    Args:
        context: the context with the view layer.
        obj: one of the objects.
        members: gives [N] bool for an object, the points to select.
        mode: set, add, subtract or intersect (gaussians.selection.SelectMode).
        what: the word for the members in the error: "segment" or "candidate".

    Raises:
        UserError: if no member is visible; then nothing is changed.
    """
    objects = list({o.data.session_uid: o for o in participants(context, obj)}.values())
    masks = [members(o) & ~point_cloud.hidden(o) for o in objects]
    if not any(mask.any() for mask in masks):
        raise UserError(
            f"This {what} is not visible",
            "it is hidden or deleted",
            fix=f"Press Show All, or choose another {what}",
            code=ErrorCode.HIDDEN,
        )
    for each, mask in zip(objects, masks, strict=True):
        point_cloud.set_selection(each, combine(point_cloud.selection(each), mask, mode))
    prompts.forget(context.scene)
