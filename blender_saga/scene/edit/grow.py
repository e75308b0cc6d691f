"""Grow and shrink a selection in space, on a grid, so that a million points take a fraction of a second."""

from __future__ import annotations

import bpy
import numpy as np

from ...errors import ErrorCode, UserError
from ..splat import point_cloud

_MIN_CELLS, _MAX_CELLS = 40, 4000  # along the longest side of the cloud
_OFFSETS = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)


def grow_selections(objects: list[bpy.types.Object], steps: int) -> None:
    """Grow the selection of each splat by a number of its usual steps; a negative number shrinks it.

    Raises:
        UserError: if no object has a selection; then nothing is changed.
    """
    before = {o: point_cloud.selection(o) for o in objects}  # read first: duplicates share their points
    if not any(mask.any() for mask in before.values()):
        raise UserError("Nothing is selected", fix="Click on an object first", code=ErrorCode.NO_SELECTION)
    for obj, mask in before.items():
        positions, step = point_cloud.positions(obj), usual_step(point_cloud.scales(obj), mask)
        change = grow if steps > 0 else shrink
        for _ in range(abs(steps)):
            mask = change(positions, mask, step)
        point_cloud.set_selection(obj, mask)


def grow(positions: np.ndarray, mask: np.ndarray, step: float) -> np.ndarray:
    """[N] bool: the selection and all points within about `step` of it (in a neighboring cell of that size).

    Args:
        positions: [N,3] float32, scene units.
        mask: [N] bool.
        step: cell size in scene units; limited to a range that suits the extent of the cloud.
    """
    if not mask.any():
        return mask.copy()
    low = positions.min(axis=0)
    longest = float(np.max(positions.max(axis=0) - low)) or 1.0
    step = float(np.clip(step, longest / _MAX_CELLS, longest / _MIN_CELLS))
    cells = ((positions - low) / step).astype(np.int64) + 1
    width = np.array([1, 1 << 20, 1 << 40], np.int64)
    keys = cells @ width
    near = np.unique((np.unique(cells[mask], axis=0)[:, None] + _OFFSETS).reshape(-1, 3) @ width)
    return mask | np.isin(keys, near)


def shrink(positions: np.ndarray, mask: np.ndarray, step: float) -> np.ndarray:
    """[N] bool: the selection without the points within about `step` of unselected points."""
    return ~grow(positions, ~mask, step)


def usual_step(scales: np.ndarray, mask: np.ndarray) -> float:
    """Three standard deviations of a typical selected Gaussian, from scales [N,3] and mask [N] bool."""
    chosen = scales[mask] if mask.any() else scales
    return 3.0 * float(np.median(chosen.max(axis=1)))
