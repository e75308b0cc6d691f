"""Text search: the candidates of the last search and their selection."""

from __future__ import annotations

import bpy
import numpy as np

from ...errors import ErrorCode, UserError
from ...gaussians.selection import unpack
from ...wire.messages import Candidates, Names
from ..splat import point_cloud
from ..state.searches import searches
from .lookup import require_rows, siblings
from .select_members import select_members


def of(obj: bpy.types.Object) -> Candidates | None:
    """The candidates of the last search, if it was for this splat's trained cloud."""
    answer = searches.candidates
    return answer if answer is not None and obj.saga.fingerprint == answer.scene else None


def write(obj: bpy.types.Object, answer: Candidates) -> str:
    """Store an answer and select its best candidate, if it matches. Returns a summary.

    Raises:
        UserError: if the best candidate is hidden or deleted, or the answer is for another cloud.
    """
    if answer.bits.shape[1] != -(-obj.saga.count // 8):
        require_rows(obj, 8 * answer.bits.shape[1])
    searches.answer(answer)
    if not answer.matches:
        return answer.note or f"No object matches '{answer.text}'"
    select(bpy.context, obj, 0)
    others = f", and {answer.matches - 1} more matches" if answer.matches > 1 else ""
    return f"Found '{answer.text}': {answer.counts[0]:,} Gaussians{others}" + (
        f". {answer.note}" if answer.note else ""
    )


def select(context: bpy.types.Context, obj: bpy.types.Object, number: int, mode: str = "set") -> None:
    """Select a candidate in all visible objects that share the trained cloud.

    Args:
        context: the context with the view layer.
        obj: one of the objects.
        number: number of the candidate.
        mode: set, add, subtract or intersect (gaussians.selection.SelectMode).

    Raises:
        UserError: if there is no such candidate, or it is not visible.
    """
    answer = of(obj)
    if answer is None or not 0 <= number < len(answer.counts):
        raise UserError("There is no such candidate", fix="Enter a text and press Find", code=ErrorCode.NO_CANDIDATE)
    inside = unpack(answer.bits[number], obj.saga.count)
    select_members(context, obj, lambda each: inside[point_cloud.ids(each)], mode, "candidate")
    searches.choose(number)


def write_names(obj: bpy.types.Object, answer: Names) -> str:
    """Name the segments of a splat and all that share its model, except those that the user named.

    Raises:
        UserError: if the segments have changed since the request.
    """
    for sibling in siblings(obj):
        if len(sibling.saga.segments) not in (0, len(answer.names)):
            why = "the segments have changed since the request"
            raise UserError(
                f"The segments of {sibling.name} cannot be named", why, "Press Segment Scene again", ErrorCode.CHANGED
            )
    named = 0
    for sibling in siblings(obj):
        for record in sibling.saga.segments:
            word = answer.names[record.node]
            if word and not record.renamed:
                record.name, record.renamed = word, False  # assigning a name sets `renamed`
                named += sibling == obj
    if not named:
        return answer.note or "No word matches any segment"
    return f"Named {named} of {len(answer.names)} segments" + (f". {answer.note}" if answer.note else "")


def fits(answer: Candidates) -> np.ndarray:
    """[K] bool: the candidates that match the text."""
    return np.arange(len(answer.counts)) < answer.matches
