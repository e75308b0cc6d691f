"""Built-in segments, step three: masks of every view from the 3D segments."""

from __future__ import annotations

import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.sh import C0
from blender_saga.gaussians.view import View

from ...common.neighbors import nearest
from ...masks.sampled import SampledMasks, from_labels
from ...rasterizer.contributions import Contributions
from .hierarchy import Hierarchy, SegmentSettings, segment, without_scene

VISIBLE_WEIGHT = 0.02
"""A Gaussian is visible if it has at least this blending weight in a pixel."""
_OPAQUE = 0.1  # fainter Gaussians are haze, which the neighbor graph excludes
_GROWTH = 1.05  # minimum ratio of the scale of a segment to the scale of its largest part
_PIXEL_ALPHA = 0.5  # pixels with a smaller alpha show the background


def visible(rows: list[Contributions], count: int) -> np.ndarray:
    """[count] bool: Gaussians with at least VISIBLE_WEIGHT in a pixel."""
    seen = np.zeros(count, bool)
    for part in rows:
        seen[part.ids[part.weights >= VISIBLE_WEIGHT]] = True
    return seen


def _toward(view: View, means: np.ndarray) -> np.ndarray:
    """[N,3] float32 unit vectors from the centers to the camera; [1,3] for an orthographic camera."""
    if view.orthographic:
        direction = -view.viewmat[2:3, :3].astype(np.float32)
    else:
        direction = view.camera_position.astype(np.float32) - means
    return direction / np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-12)


def segment_cloud(
    cloud: GaussianCloud, views: list[View], rows: list[Contributions], settings: SegmentSettings | None = None
) -> Hierarchy:
    """Nested segments of the visible Gaussians (hierarchy.segment), -1 elsewhere.

    The segmentation excludes haze, which then gets the segments of its nearest neighbors.
    """
    settings = settings or SegmentSettings()
    seen = visible(rows, len(cloud))
    solid = np.flatnonzero(seen & (cloud.opacities > _OPAQUE))
    toward = np.zeros((len(cloud), 3), np.float32)
    for view, part in zip(views, rows, strict=True):
        toward += _toward(view, cloud.means) * part.total_weight(len(cloud))[:, None].astype(np.float32)
    labels = np.full((len(cloud), len(settings.counts)), -1, np.int32)
    base = 0.5 + C0 * cloud.sh[solid, 0]
    masses = (part.total_weight(len(cloud))[solid] for part in rows)
    hierarchy = segment(cloud.means[solid], base, toward[solid], settings, masses)
    labels[solid] = without_scene(hierarchy.labels)
    haze = np.flatnonzero(seen & (cloud.opacities <= _OPAQUE))
    if len(solid) and len(haze):
        labels[haze] = labels[solid[nearest(cloud.means[solid], 1, cloud.means[haze])[0][:, 0]]]
    return Hierarchy(labels, hierarchy.prominence)


def segment_scales(cloud: GaussianCloud, labels: np.ndarray) -> np.ndarray:
    """3D scale of every segment number, scene units: Eq. 2 over its Gaussians, equal for all views.

    A view may show only a corner of an object, and the mask of a picture has only the scale of that corner. Here the
    object is complete, and a segment is larger than its parts.
    """
    scales = np.zeros(labels.max(initial=-1) + 1)
    part = np.zeros(len(labels))  # per Gaussian: the scale of its segment at the previous level
    for level in labels.T:
        labeled = level >= 0
        inside, points = level[labeled], cloud.means[labeled].astype(np.float64)
        number = np.maximum(np.bincount(inside, minlength=len(scales)), 1)
        variance = np.zeros(len(scales))
        for axis in points.T:
            mean = np.bincount(inside, axis, minlength=len(scales)) / number
            variance += np.bincount(inside, (axis - mean[inside]) ** 2, minlength=len(scales)) / number
        largest_part = np.zeros(len(scales))
        np.maximum.at(largest_part, inside, part[labeled])
        new = np.unique(inside[scales[inside] == 0])  # an unchanged segment keeps its scale
        scales[new] = np.maximum(2 * np.sqrt(variance), _GROWTH * largest_part)[new]
        part[labeled] = scales[inside]
    return scales


def view_masks(view: View, rows: Contributions, labels: np.ndarray, scales: np.ndarray) -> SampledMasks:
    """The segments as masks of one view.

    Args:
        view: the view.
        rows: rows of the sampled pixels.
        labels: [N,L] segment numbers, -1 for none.
        scales: 3D scale of every segment number.
    """
    at_pixels = rows.strongest(labels)
    at_pixels[rows.alphas() < _PIXEL_ALPHA] = -1
    return from_labels(at_pixels, scales, view.width * view.height / max(len(rows), 1))
