"""Metrics of a selection, and the position of the next click."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..rasterizer.contributions import Contributions

SEEN = 0.02
"""A Gaussian counts as seen if its largest blending weight over all views is at least this (design section 10)."""


def iou(selected: np.ndarray, true: np.ndarray) -> float:
    """Intersection over union of two boolean arrays; 1 when both are empty."""
    union = np.count_nonzero(selected | true)
    return float(np.count_nonzero(selected & true) / union) if union else 1.0


def accuracy(selected: np.ndarray, true: np.ndarray) -> float:
    """Share of the pixels with the right value."""
    return float(np.mean(selected == true))


def update_largest_weights(largest: np.ndarray, rows: Contributions) -> None:
    """Add a view to `largest` [N] float32, the largest blending weight of each Gaussian so far."""
    np.maximum.at(largest, rows.ids, rows.weights)


def true_map(rows: Contributions, labels: np.ndarray) -> np.ndarray:
    """The label that has more than half of the weight of each pixel: [P] int32, 0 where no label has.

    Selections follow the same rule: a pixel is selected if the weights of its selected Gaussians sum to over 0.5.

    Args:
        rows: P pixels.
        labels: [N] int, 0 = none.
    """
    best = np.maximum(rows.strongest(labels[:, None])[:, 0], 0)
    lengths = np.diff(rows.offsets)
    agrees = labels[rows.ids] == np.repeat(best, lengths)
    weight = np.bincount(np.repeat(np.arange(len(rows)), lengths), rows.weights * agrees, minlength=len(rows))
    return np.where(weight > 0.5, best, 0).astype(np.int32)


def selected_pixels(rows: Contributions, masks: np.ndarray) -> np.ndarray:
    """The selected pixels [S,P] bool of masks [S,N] bool: the pixels with over half of their weight selected."""
    return rows.blend(np.ascontiguousarray(masks.T, dtype=np.float32)).T > 0.5


def deepest_pixel(region: np.ndarray) -> np.ndarray:
    """The pixel [2] int (column, row) of a region [H,W] that is farthest from the region's border and the picture's.

    Raises:
        ValueError: if the region is empty.
    """
    if not region.any():
        raise ValueError("an empty region has no deepest pixel")
    depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(np.argmax(depth), region.shape)
    return np.array([column, row])


def next_click(selected: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, bool] | None:
    """The next correction of a patient user: a click in the middle of the largest connected error.

    Args:
        selected, true: [H,W] bool.

    Returns:
        The pixel [2] int (column, row), and True to add or False to remove; None without an error.
    """
    regions, count = ndimage.label(selected ^ true)
    if not count:
        return None
    largest = 1 + int(np.argmax(np.bincount(regions.ravel())[1:]))
    pixel = deepest_pixel(regions == largest)
    return pixel, bool(true[pixel[1], pixel[0]])
