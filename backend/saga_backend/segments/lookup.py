"""Clicks answered by segments: which sets of Gaussians hold the click, and which of them is meant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..rasterizer.contributions import Contributions
from .segments import Segments

HOLDS = 0.5
"""A segment holds a click when more than this share of the click's blending weight lies in it."""
SNAPS = 0.5
"""A selection is snapped to the segment most like it when their IoU exceeds this."""
_LARGE = 0.75  # power of a segment's size beside how much it stands out: a whole thing rather than its part
_MOST = 0.7  # a segment with more than this share of the cloud is the scene, not a thing in it


@dataclass(frozen=True, eq=False)
class SegmentChoice:
    """Segments that a query means.

    Attributes:
        added: numbers of the segments of the positive clicks, rising.
        removed: numbers of the segments that negative clicks take away, rising.
        missed: number of positive clicks that no segment holds.
    """

    added: list[int]
    removed: list[int]
    missed: int

    def mask(self, segments: Segments) -> np.ndarray:
        """[N] bool: what the added segments hold and the removed ones do not."""
        return segments.mask(self.added) & ~segments.mask(self.removed)


def choose(segments: Segments, rows: Contributions, positive: np.ndarray, wanted: float | None) -> SegmentChoice:
    """The segments under some clicks.

    A positive click means, of the segments that hold it and no negative click, the one nearest to the wanted scale. A
    negative click takes away the largest segment that holds it and no positive click.

    Args:
        segments: K segments.
        rows: rows of the P clicked pixels.
        positive: [P] bool.
        wanted: scale, scene units; None: for every click the segment that stands out.
    """
    holds = segments.holding(rows) > HOLDS
    yes, no = holds[positive], holds[~positive]
    denied, claimed = no.any(axis=0), yes.any(axis=0)
    choices = [np.flatnonzero(held & ~denied) for held in yes]
    added = {nearest_scale(segments, found, wanted) for found in choices if len(found)}
    removed = {int(np.flatnonzero(held & ~claimed)[-1]) for held in no if (held & ~claimed).any()}
    return SegmentChoice(sorted(added), sorted(removed), sum(not held.any() for held in yes))


def nearest_scale(segments: Segments, candidates: np.ndarray, wanted: float | None) -> int:
    """The one of some segments (rising) whose scale is nearest by ratio; None: the one that stands out."""
    if wanted is None:
        return default_choice(segments, candidates)
    ratios = np.abs(np.log(np.maximum(segments.scales[candidates], 1e-12) / max(wanted, 1e-12)))
    return int(candidates[np.argmin(ratios)])


def default_choice(segments: Segments, candidates: np.ndarray) -> int:
    """The segment most likely meant by a click alone: a large one that stands out, but not nearly the whole scene."""
    sizes = segments.sizes()[candidates]
    things = sizes <= _MOST * segments.count
    if not things.any():
        return int(candidates[0])
    return int(candidates[things][np.argmax(segments.prominence[candidates[things]] * sizes[things] ** _LARGE)])


def nearest_by_iou(segments: Segments, selected: np.ndarray, known: np.ndarray) -> np.ndarray:
    """A selection [N] bool, replaced by the segment most like it in what is known [N] bool, if it is much like it."""
    if not len(segments) or not (selected & known).any():
        return selected
    common = segments.overlaps((selected & known).astype(np.float32))
    union = segments.overlaps(known.astype(np.float32)) + np.count_nonzero(selected & known) - common
    ious = common / np.maximum(union, 1)
    best = int(np.argmax(ious))
    return segments.mask([best]) if ious[best] > SNAPS else selected


def snapped(segments: Segments, selected: np.ndarray) -> np.ndarray:
    """A selection [N] bool, replaced by the segment most like it if there is one that is much like it."""
    size = np.count_nonzero(selected)
    if not len(segments) or not size:
        return selected
    common = segments.overlaps(selected)
    ious = common / np.maximum(segments.sizes() + size - common, 1)
    best = int(np.argmax(ious))
    return segments.mask([best]) if ious[best] > SNAPS else selected
