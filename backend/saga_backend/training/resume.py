"""Views, masks and segments of a training's checkpoint, to arrays and back."""

from __future__ import annotations

import numpy as np

from blender_saga.errors import UserError
from blender_saga.gaussians.view import View

from ..cameras.virtual import Capture
from ..masks.sampled import SampledMasks
from ..methods.checkpoint import State
from ..segments.segments import Segments
from .preparation import RasterizedViews, TrainingMasks

_SEGMENTS = ("offsets", "ids", "scales", "prominence")
_MASKS = ("bits", "scales", "areas")


def capture_state(captured: Capture) -> State:
    """The arrays of captured views."""
    views = captured.views
    return {
        "viewmats": np.stack([v.viewmat for v in views]),
        "Ks": np.stack([v.K for v in views]),
        "sizes": np.array([(v.width, v.height) for v in views], np.int64),
        "orthographic": np.array([v.orthographic for v in views], np.uint8),
        "near": np.array([v.near for v in views]),
        "coverage": np.array([captured.coverage]),
    }


def capture_from_state(state: State | None) -> Capture | None:
    """The captured views of a checkpoint; None without a checkpoint."""
    if state is None:
        return None
    try:
        columns = (state[key] for key in ("viewmats", "Ks", "sizes", "orthographic", "near"))
        rows = zip(*columns, strict=True)
        views = [View(m, k, int(size[0]), int(size[1]), bool(o), float(n)) for m, k, size, o, n in rows]
        return Capture(views, float(state["coverage"][0])) if views else None
    except (KeyError, ValueError, TypeError, IndexError, UserError):
        return None


def masks_state(training_masks: TrainingMasks) -> State:
    """The arrays of masks and segments."""
    state = {f"segments.{key}": getattr(training_masks.segments, key) for key in _SEGMENTS}
    for index, masks in enumerate(training_masks.masks):
        state |= {f"masks.{index}.{key}": getattr(masks, key) for key in _MASKS}
    return state | {"seen": training_masks.visible.astype(np.uint8)}


def masks_from_state(state: State | None, rasterized: RasterizedViews) -> TrainingMasks | None:
    """Masks and segments of a checkpoint; None without a checkpoint, or if they belong to other views."""
    if state is None:
        return None
    try:
        masks = [SampledMasks(*(state[f"masks.{i}.{key}"] for key in _MASKS)) for i in range(len(rasterized.rows))]
        offsets, ids, scales, prominence = (state[f"segments.{key}"] for key in _SEGMENTS)
        visible = state["seen"].astype(bool)
    except KeyError:
        return None
    fitting = all(len(m.bits) == len(rows) for m, rows in zip(masks, rasterized.rows, strict=True))
    inside = not len(ids) or 0 <= ids.min() <= ids.max() < len(rasterized.cloud)
    if not fitting or not inside or len(visible) != len(rasterized.cloud) or len(offsets) != len(scales) + 1:
        return None
    return TrainingMasks(masks, Segments(offsets, ids, scales, len(rasterized.cloud), prominence), visible)
