"""From what a click found to its answer: cleaned up, in the points of the objects that take part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from blender_saga.wire.messages import Cleaned, Click, Selection

from .cleanup import Neighbourhood, Piece, clean
from .model import Answer
from .query import Actors, Asked, view_key
from .visibility import seen


@dataclass(frozen=True, eq=False)
class Found:
    """What a click found: among whom, pointing at what, and which Gaussians."""

    taking_part: Actors
    asked: Asked
    answer: Answer


def reply(request: Click, found: Found, near: Callable[[], Neighbourhood]) -> Selection:
    """The answer to a click.

    Args:
        request: the click.
        found: what it found.
        near: gives the neighbours of the cloud; asked only if the clean-up needs them.
    """
    answer, ids = found.answer, found.taking_part.all_ids
    points, cleaned = _cleaned(request, found, near) if answer.mask.any() else (answer.mask[ids], Cleaned())
    note = answer.note
    if not note and not points.any():
        note = "Of what is like the click nothing is visible" if cleaned.visible else "Nothing of it takes part"
    return Selection(
        np.packbits(points), int(points.sum()), len(points), answer.scale, answer.size_units, answer.threshold,
        answer.scores[ids] if request.want_scores else np.zeros(0, np.float32), note, cleaned,
    )  # fmt: skip


def _cleaned(request: Click, found: Found, near: Callable[[], Neighbourhood]) -> tuple[np.ndarray, Cleaned]:
    """[T] bool: the points that stay, and how many went or came."""
    wish, ids = request.clean_up, found.taking_part.all_ids
    points, dropped = found.answer.mask[ids], {}
    if wish.floaters or wish.connected or wish.holes:
        mask = np.zeros(len(found.answer.mask), bool)
        mask[ids[points]] = True  # what does not take part connects nothing
        piece = Piece(mask, found.asked.wanted, found.asked.refused)
        result = clean(piece, wish, found.taking_part.cloud, near())
        points = result.mask[ids]
        steps = {"floaters": result.floaters, "connected": result.connected, "holes": result.holes}
        dropped = {name: int(np.count_nonzero(step[ids])) for name, step in steps.items()}
    if wish.visible:
        shown = _shown(request, found.taking_part, points)
        dropped["visible"] = int(np.count_nonzero(points & ~shown))
        points = shown
    return points, Cleaned(**dropped)


def _shown(request: Click, taking_part: Actors, points: np.ndarray) -> np.ndarray:
    """[T] bool: those of the points [T] that one sees in some view of a positive prompt."""
    views = {view_key(prompt.view): prompt.view for prompt in request.prompts if prompt.positive}
    shown = np.zeros(len(taking_part.all_ids), bool)
    for view in views.values():
        shown |= seen(taking_part, view, points & ~shown)
    return shown
