"""Segment lookup: the segments that contain a click, and the choice among them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..rasterizer.contributions import Contributions
from .segments import Segments

MIN_WEIGHT_SHARE = 0.5
"""A segment contains a click if it has more than this share of the click's blending weight."""
MIN_SNAP_IOU = 0.5
"""A selection snaps to its most similar segment if their IoU exceeds this."""
_SIZE_POWER = 0.75  # exponent of the size in the default choice: prefers an object to its parts
_SCENE_SHARE = 0.7  # a segment with more than this share of the cloud is the scene, not an object in it


@dataclass(frozen=True, eq=False)
class SegmentChoice:
    """The segments that a query selects.

    Attributes:
        added: segments of the positive clicks, ascending.
        removed: segments that negative clicks remove, ascending.
        missed: number of positive clicks outside all segments.
    """

    added: list[int]
    removed: list[int]
    missed: int

    def mask(self, segments: Segments) -> np.ndarray:
        """[N] bool: the added segments without the removed ones."""
        return segments.mask(self.added) & ~segments.mask(self.removed)


def choose(segments: Segments, rows: Contributions, positive: np.ndarray, scale: float | None) -> SegmentChoice:
    """Choose the segments of clicks.

    A positive click adds the segment with the nearest scale among those that contain it and no negative click. A
    negative click removes the largest segment that contains it and no positive click.

    Args:
        segments: K segments.
        rows: rows of the P clicked pixels.
        positive: [P] bool.
        scale: scene units; None: the default choice of every click.
    """
    inside = segments.weight_shares(rows) > MIN_WEIGHT_SHARE
    positives, negatives = inside[positive], inside[~positive]
    with_negative, with_positive = negatives.any(axis=0), positives.any(axis=0)
    choices = [np.flatnonzero(click & ~with_negative) for click in positives]
    added = {nearest_scale(segments, candidates, scale) for candidates in choices if len(candidates)}
    removals = [np.flatnonzero(click & ~with_positive) for click in negatives]
    removed = {int(candidates[-1]) for candidates in removals if len(candidates)}
    return SegmentChoice(sorted(added), sorted(removed), sum(not click.any() for click in positives))


def nearest_scale(segments: Segments, candidates: np.ndarray, scale: float | None) -> int:
    """The candidate (ascending ids) with the smallest ratio to a scale (scene units); None: the default choice."""
    if scale is None:
        return default_choice(segments, candidates)
    ratios = np.abs(np.log(np.maximum(segments.scales[candidates], 1e-12) / max(scale, 1e-12)))
    return int(candidates[np.argmin(ratios)])


def default_choice(segments: Segments, candidates: np.ndarray) -> int:
    """The default segment of a click: large and prominent, but smaller than the scene."""
    sizes = segments.sizes()[candidates]
    objects = sizes <= _SCENE_SHARE * segments.count
    if not objects.any():
        return int(candidates[0])
    return int(candidates[objects][np.argmax(segments.prominence[candidates[objects]] * sizes[objects] ** _SIZE_POWER)])


def nearest_by_iou(segments: Segments, selected: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Snap a selection to its most similar segment; only the known Gaussians [N] bool count for the IoU."""
    if not len(segments) or not (selected & known).any():
        return selected
    common = segments.overlaps((selected & known).astype(np.float32))
    union = segments.overlaps(known.astype(np.float32)) + np.count_nonzero(selected & known) - common
    ious = common / np.maximum(union, 1)
    best = int(np.argmax(ious))
    return segments.mask([best]) if ious[best] > MIN_SNAP_IOU else selected


def snap_to_segment(segments: Segments, selected: np.ndarray) -> np.ndarray:
    """Snap a selection [N] bool to its most similar segment if their IoU exceeds MIN_SNAP_IOU."""
    size = np.count_nonzero(selected)
    if not len(segments) or not size:
        return selected
    common = segments.overlaps(selected)
    ious = common / np.maximum(segments.sizes() + size - common, 1)
    best = int(np.argmax(ious))
    return segments.mask([best]) if ious[best] > MIN_SNAP_IOU else selected
