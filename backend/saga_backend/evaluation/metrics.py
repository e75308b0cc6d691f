"""What is measured of a selection, and where the next click goes."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..rasterizer.contributions import Contributions

SEEN = 0.02
"""A Gaussian counts as seen when its largest blending weight over all views reaches this (design section 10)."""


def iou(selected: np.ndarray, true: np.ndarray) -> float:
    """Intersection over union of two boolean arrays; 1 when both are empty."""
    union = np.count_nonzero(selected | true)
    return float(np.count_nonzero(selected & true) / union) if union else 1.0


def accuracy(selected: np.ndarray, true: np.ndarray) -> float:
    """Share of the pixels that are right."""
    return float(np.mean(selected == true))


def raise_largest_weights(largest: np.ndarray, rows: Contributions) -> None:
    """Take one more view into `largest` [N] float32, the largest blending weight of each Gaussian so far."""
    np.maximum.at(largest, rows.ids, rows.weights)


def true_map(rows: Contributions, labels: np.ndarray) -> np.ndarray:
    """The label that holds more than half of each pixel: [P] int32, 0 where none does.

    A selection is drawn by the same rule: a pixel is selected when the weights of selected Gaussians sum to over 0.5.

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
    """How selections look in a view: [S,P] bool from masks [S,N] bool (a pixel is in when over half of it is)."""
    return rows.blend(np.ascontiguousarray(masks.T, dtype=np.float32)).T > 0.5


def deepest_pixel(region: np.ndarray) -> np.ndarray:
    """[2] int (column, row) of the pixel of a region [H,W] that is farthest from its border and the picture's edge.

    Raises:
        ValueError: if the region is empty.
    """
    if not region.any():
        raise ValueError("an empty region has no deepest pixel")
    depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(np.argmax(depth), region.shape)
    return np.array([column, row])


def next_click(selected: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, bool] | None:
    """The correction a patient user makes: in the middle of the largest connected error.

    Args:
        selected, true: [H,W] bool.

    Returns:
        The pixel [2] int (column, row) and whether to add (True) or take away; None without an error.
    """
    regions, count = ndimage.label(selected ^ true)
    if not count:
        return None
    largest = 1 + int(np.argmax(np.bincount(regions.ravel())[1:]))
    pixel = deepest_pixel(regions == largest)
    return pixel, bool(true[pixel[1], pixel[0]])
