"""From what a click found to its answer: cleaned up, in the points of the objects that take part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass, replace

import numpy as np

from blender_saga.wire.messages import Cleaned, Click, Selection

from ..methods.saga.model import Answer
from .cleanup import Neighborhood, Piece, clean
from .click import QueryObjects, ResolvedClick
from .visibility import seen


@dataclass(frozen=True, eq=False)
class Result:
    """What a click found: among whom, pointing at what, and which Gaussians.

    Attributes:
        scope: [T] bool, the points that it speaks of; None: all.
    """

    taking_part: QueryObjects
    asked: ResolvedClick
    answer: Answer
    scope: np.ndarray | None = None

    @property
    def points(self) -> np.ndarray:
        """[T] bool: what was found, before it is cleaned up."""
        points = self.answer.mask[self.taking_part.all_ids]
        return points if self.scope is None else points & self.scope


def reply(request: Click, found: Result, near: Callable[[], Neighborhood]) -> Selection:
    """The answer to a click.

    Args:
        request: the click.
        found: what it found.
        near: gives the neighbors of the cloud; asked only if the clean-up needs them.
    """
    answer, ids = found.answer, found.taking_part.all_ids
    points, cleaned = _cleaned(request, found, near) if answer.mask.any() else (found.points, Cleaned())
    note = answer.note
    if not note and not points.any():
        note = "Of what is like the click nothing is visible" if cleaned.visible else "Nothing of it takes part"
    return Selection(
        np.packbits(points), int(points.sum()), len(points), answer.scale, answer.size_units, answer.threshold,
        answer.scores[ids] if request.want_scores else np.zeros(0, np.float32), note, cleaned,
    )  # fmt: skip


def merged(replies: list[Selection]) -> Selection:
    """One answer of those to several readings of a click (module copies), which speak of different points.

    A note stays only if nothing was selected by any of them, or all say it.
    """
    first = replies[0]
    if len(replies) == 1:
        return first
    bits = np.bitwise_or.reduce([one.bits for one in replies])
    notes = {one.note for one in replies}
    count = int(np.unpackbits(bits, count=first.total).sum())
    scores = np.max([one.scores for one in replies], axis=0)
    cleaned = Cleaned(*(sum(counts) for counts in zip(*(astuple(one.cleaned) for one in replies), strict=True)))
    return replace(
        first, bits=bits, count=count, scores=scores, note=first.note if not count or len(notes) == 1 else "",
        cleaned=cleaned,
    )  # fmt: skip


def _cleaned(request: Click, found: Result, near: Callable[[], Neighborhood]) -> tuple[np.ndarray, Cleaned]:
    """[T] bool: the points that stay, and how many went or came."""
    wish, ids = request.clean_up, found.taking_part.all_ids
    points, dropped = found.points, {}
    if wish.floaters or wish.connected or wish.holes:
        mask = np.zeros(len(found.answer.mask), bool)
        mask[ids[points]] = True  # what does not take part connects nothing
        piece = Piece(mask, found.asked.wanted, found.asked.refused)
        result = clean(piece, wish, found.taking_part.cloud, near())
        points = result.mask[ids] if found.scope is None else result.mask[ids] & found.scope
        steps = {"floaters": result.floaters, "connected": result.connected, "holes": result.holes}
        own = slice(None) if found.scope is None else found.scope
        dropped = {name: int(np.count_nonzero(step[ids[own]])) for name, step in steps.items()}
    if wish.visible:
        shown = _shown(request, found.taking_part, points)
        dropped["visible"] = int(np.count_nonzero(points & ~shown))
        points = shown
    return points, Cleaned(**dropped)


def _shown(request: Click, taking_part: QueryObjects, points: np.ndarray) -> np.ndarray:
    """[T] bool: those of the points [T] that one sees in some view of a positive prompt."""
    views = {prompt.view.key: prompt.view for prompt in request.prompts if prompt.positive}
    shown = np.zeros(len(taking_part.all_ids), bool)
    for view in views.values():
        shown |= seen(taking_part, view, points & ~shown)
    return shown
