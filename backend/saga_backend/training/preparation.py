"""The input of training and clicks: masks over the sampled pixels of every view, and their common segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from blender_saga.errors import ErrorCode, UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View

from ..common.neighbors import nearest_known
from ..common.progress import Control
from ..masks.sampled import SampledMasks, from_pictures
from ..rasterizer.contributions import Contributions, concatenate
from ..rasterizer.cpu import all_pixels
from ..rasterizer.select import Rasterizer
from ..segments.builtin.masks import segment_cloud, segment_scales, view_masks, visible
from ..segments.consensus.consensus import consensus
from ..segments.consensus.incidence import IncidenceBuilder
from ..segments.segments import Segments, from_levels, from_sets

SAMPLED_PIXELS = 16_384
"""Pixels of a view whose rows are kept."""
MASK_PIXELS = 32_768
"""Pixels of a view that compare masks in pictures: enough to sample small parts of a hundred pixels."""


@dataclass(frozen=True, eq=False)
class RasterizedViews:
    """A cloud with its views, their sampled pixels in random order [P,2] (column, row), and their rows."""

    cloud: GaussianCloud
    views: list[View]
    pixels: list[np.ndarray]
    rows: list[Contributions]


@dataclass(frozen=True, eq=False)
class TrainingMasks:
    """Masks of every view over its sampled pixels, and their common segments.

    `visible`: [N] bool, the Gaussians that at least one view sees.
    """

    masks: list[SampledMasks]
    segments: Segments
    visible: np.ndarray


def rasterize(
    cloud: GaussianCloud, views: list[View], raster: Rasterizer, seed: int, control: Control
) -> RasterizedViews:
    """Random pixels of every view and their rows."""
    rng = np.random.default_rng(seed)
    pixels, rows = [], []
    for index, view in enumerate(views):
        control.progress("rasterizing", index, len(views))
        pixels.append(all_pixels(view)[rng.permutation(view.width * view.height)[:MASK_PIXELS]])
        rows.append(raster.contributions(cloud, view, pixels[-1][:SAMPLED_PIXELS]))
    return RasterizedViews(cloud, views, pixels, rows)


def builtin_masks(rasterized: RasterizedViews, control: Control) -> TrainingMasks:
    """Masks and segments from the geometry and colors of the cloud."""
    control.progress("finding segments", 0, 1)
    in_view = visible(rasterized.rows, len(rasterized.cloud))
    hierarchy = segment_cloud(rasterized.cloud, rasterized.views, rasterized.rows)
    labels = hierarchy.labels
    scales = segment_scales(rasterized.cloud, labels)
    masks = []
    for index, (view, part) in enumerate(zip(rasterized.views, rasterized.rows, strict=True)):
        control.progress("masking views", index, len(rasterized.views))
        masks.append(view_masks(view, part, labels, scales))
    known = (labels >= 0).any(axis=1)
    filled = labels[nearest_known(rasterized.cloud.means, known)]
    return TrainingMasks(masks, from_levels(filled, scales, hierarchy.prominence), in_view)


def picture_masks(
    rasterized: RasterizedViews, pictures: Sequence[np.ndarray], raster: Rasterizer, control: Control
) -> TrainingMasks:
    """Masks from pictures of masks, one view at a time, and their common segments.

    Args:
        rasterized: cloud and views.
        pictures: [M,H,W] bool for each view.
        raster: computes the rows of the other sampled pixels.
        control: progress and cancel.

    Raises:
        UserError: if the pictures do not fit the views.
    """
    if len(pictures) != len(rasterized.views):
        why = f"{len(pictures)} for {len(rasterized.views)} views"
        raise UserError("The masks do not fit the views", why, fix="Find the masks again", code=ErrorCode.BAD_MASKS)
    builder, masks = IncidenceBuilder(len(rasterized.cloud)), []
    for index, view in enumerate(rasterized.views):
        control.progress("masking views", index, len(rasterized.views))
        picture = pictures[index]
        if picture.shape[1:] != (view.height, view.width):
            why = f"masks of view {index} are {picture.shape[2]} x {picture.shape[1]} pixels"
            raise UserError("The masks do not fit the views", why, fix="Find the masks again", code=ErrorCode.BAD_MASKS)
        more = raster.contributions(rasterized.cloud, view, rasterized.pixels[index][SAMPLED_PIXELS:])
        rows = concatenate([rasterized.rows[index], more])
        every = from_pictures(picture, _depths(rasterized.cloud, view, rows), view, rasterized.pixels[index])
        builder.add(rows, every)
        masks.append(every.take(np.arange(len(rasterized.rows[index]))))
    incidence = builder.build()
    sets = consensus(incidence, control)
    shown = incidence.shows()
    place = nearest_known(rasterized.cloud.means, shown)
    segments = from_sets([selected[place] for selected in sets], rasterized.cloud.means)
    return TrainingMasks(masks, segments, visible(rasterized.rows, len(rasterized.cloud)))


def _depths(cloud: GaussianCloud, view: View, rows: Contributions) -> np.ndarray:
    """[P] float32: mean camera z of the Gaussians of each row, by weight; 0 for background."""
    z = cloud.means @ view.viewmat[2, :3].astype(np.float32) + np.float32(view.viewmat[2, 3])
    alphas = rows.alphas()
    return np.divide(rows.blend(z), alphas, out=np.zeros(len(rows), np.float32), where=alphas > 1e-4)
