"""From the Gaussians of a click to its answer: cleaned up, as points of the queried objects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass, replace

import numpy as np

from blender_saga.wire.messages import Cleaned, Click, Selection

from ..methods.saga.model import Answer
from .cleanup import ClickedMask, Neighborhood, clean
from .click import QueryObjects, ResolvedClick
from .visibility import visible_points


@dataclass(frozen=True, eq=False)
class SelectionResult:
    """The Gaussians that a click selects among some objects.

    Attributes:
        objects: the queried objects.
        click: the Gaussians under the prompts.
        answer: the selected Gaussians.
        scope: [T] bool, the points that the click applies to; None: all.
    """

    objects: QueryObjects
    click: ResolvedClick
    answer: Answer
    scope: np.ndarray | None = None

    @property
    def points(self) -> np.ndarray:
        """[T] bool: the selected points, before the clean-up."""
        points = self.answer.mask[self.objects.all_ids]
        return points if self.scope is None else points & self.scope


def build_answer(request: Click, result: SelectionResult, neighbors: Callable[[], Neighborhood]) -> Selection:
    """The answer to a click.

    Args:
        request: the click.
        result: the Gaussians that it selects.
        neighbors: gives the neighbors of the cloud; called only if the clean-up needs them.
    """
    answer, ids = result.answer, result.objects.all_ids
    points, cleaned = _clean(request, result, neighbors) if answer.mask.any() else (result.points, Cleaned())
    note = answer.note
    if not note and not points.any():
        note = "No matching Gaussian is visible" if cleaned.visible else "No matching Gaussian is in these objects"
    return Selection(
        np.packbits(points), int(points.sum()), len(points), answer.scale, answer.size_units, answer.threshold,
        answer.scores[ids] if request.options.scores else np.zeros(0, np.float32), note, cleaned,
    )  # fmt: skip


def merge_answers(answers: list[Selection]) -> Selection:
    """Merge the answers to the interpretations of a click (module duplicates), which cover different points.

    A note stays only if nothing is selected, or all answers have it.
    """
    first = answers[0]
    if len(answers) == 1:
        return first
    bits = np.bitwise_or.reduce([one.bits for one in answers])
    notes = {one.note for one in answers}
    count = int(np.unpackbits(bits, count=first.total).sum())
    scores = np.max([one.scores for one in answers], axis=0)
    cleaned = Cleaned(*(sum(counts) for counts in zip(*(astuple(one.cleaned) for one in answers), strict=True)))
    return replace(
        first, bits=bits, count=count, scores=scores, note=first.note if not count or len(notes) == 1 else "",
        cleaned=cleaned,
    )  # fmt: skip


def _clean(
    request: Click, result: SelectionResult, neighbors: Callable[[], Neighborhood]
) -> tuple[np.ndarray, Cleaned]:
    """[T] bool: the points after the clean-up, and the number of points that each step dropped or added."""
    settings, ids = request.options.clean_up, result.objects.all_ids
    points, changes = result.points, {}
    if settings.floaters or settings.connected or settings.holes:
        mask = np.zeros(len(result.answer.mask), bool)
        mask[ids[points]] = True  # Gaussians outside the queried objects connect nothing
        selection = ClickedMask(mask, result.click.positive_ids, result.click.negative_ids)
        cleaned = clean(selection, settings, result.objects.cloud, neighbors())
        points = cleaned.mask[ids] if result.scope is None else cleaned.mask[ids] & result.scope
        steps = {"floaters": cleaned.floaters, "connected": cleaned.connected, "holes": cleaned.holes}
        counted = slice(None) if result.scope is None else result.scope
        changes = {name: int(np.count_nonzero(step[ids[counted]])) for name, step in steps.items()}
    if settings.visible:
        visible = _visible_in_any_view(request, result.objects, points)
        changes["visible"] = int(np.count_nonzero(points & ~visible))
        points = visible
    return points, Cleaned(**changes)


def _visible_in_any_view(request: Click, objects: QueryObjects, points: np.ndarray) -> np.ndarray:
    """[T] bool: those of the points [T] that are visible in the view of a positive prompt."""
    views = {prompt.view.key: prompt.view for prompt in request.prompts if prompt.positive}
    visible = np.zeros(len(objects.all_ids), bool)
    for view in views.values():
        visible |= visible_points(objects, view, points & ~visible)
    return visible
