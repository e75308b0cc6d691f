"""What training and clicks are given: masks over every view's pool of pixels, and the segments on which they agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View
from blender_saga.wire.errors import UserError

from ..control import Control
from ..methods.evidence.consensus import consensus
from ..methods.evidence.incidence import IncidenceBuilder
from ..neighbours import nearest_known
from ..raster import all_pixels
from ..rasteriser import Rasteriser
from ..rows import Rows, concatenate
from ..segment_set import Segments, from_levels, from_sets
from .builtin import segment_cloud, segment_scales, view_masks, visible
from .pool import PoolMasks, from_pictures

POOL_PIXELS = 16_384
"""Pixels of a view whose rows are kept."""
EVIDENCE_PIXELS = 32_768
"""Pixels of a view that masks in pictures are compared by: a knob of a hundred pixels is to be more than a few."""


@dataclass(frozen=True, eq=False)
class Looked:
    """A cloud with its views, their pools of pixels in random order [P,2] (column, row), and their rows."""

    cloud: GaussianCloud
    views: list[View]
    pools: list[np.ndarray]
    rows: list[Rows]


@dataclass(frozen=True, eq=False)
class Found:
    """Masks of every view over its pool, the segments they agree on, and [N] bool which Gaussians some view sees."""

    masks: list[PoolMasks]
    segments: Segments
    seen: np.ndarray


def look(cloud: GaussianCloud, views: list[View], raster: Rasteriser, seed: int, control: Control) -> Looked:
    """A random pool of pixels of every view and its rows."""
    rng = np.random.default_rng(seed)
    pools, rows = [], []
    for index, view in enumerate(views):
        control.progress("rasterising", index, len(views))
        pools.append(all_pixels(view)[rng.permutation(view.width * view.height)[:EVIDENCE_PIXELS]])
        rows.append(raster.contributions(cloud, view, pools[-1][:POOL_PIXELS]))
    return Looked(cloud, views, pools, rows)


def builtin_found(looked: Looked, control: Control) -> Found:
    """The built-in segments as masks."""
    control.progress("finding segments", 0, 1)
    seen = visible(looked.rows, len(looked.cloud))
    hierarchy = segment_cloud(looked.cloud, looked.views, looked.rows)
    labels = hierarchy.labels
    scales = segment_scales(looked.cloud, labels)
    masks = []
    for index, (view, part) in enumerate(zip(looked.views, looked.rows, strict=True)):
        control.progress("masking views", index, len(looked.views))
        masks.append(view_masks(view, part, labels, scales))
    known = (labels >= 0).any(axis=1)
    every = labels[nearest_known(looked.cloud.means, known)]
    return Found(masks, from_levels(every, scales, hierarchy.standing), seen)


def given_found(looked: Looked, pictures: Sequence[np.ndarray], raster: Rasteriser, control: Control) -> Found:
    """Masks from pictures of them, one view's at a time, and the segments on which the views agree.

    Args:
        looked: cloud and views.
        pictures: [M,H,W] bool for each view.
        raster: fills the rows that the pools lack.
        control: progress and cancel.

    Raises:
        UserError: if the pictures do not fit the views.
    """
    if len(pictures) != len(looked.views):
        why = f"{len(pictures)} for {len(looked.views)} views"
        raise UserError("The masks do not fit the views", why, fix="Have the masks found again", code="bad_masks")
    builder, masks = IncidenceBuilder(len(looked.cloud)), []
    for index, view in enumerate(looked.views):
        control.progress("masking views", index, len(looked.views))
        picture = pictures[index]
        if picture.shape[1:] != (view.height, view.width):
            why = f"masks of view {index} are {picture.shape[2]} x {picture.shape[1]} pixels"
            raise UserError("The masks do not fit the views", why, fix="Have the masks found again", code="bad_masks")
        more = raster.contributions(looked.cloud, view, looked.pools[index][POOL_PIXELS:])
        rows = concatenate([looked.rows[index], more])
        every = from_pictures(picture, _depths(looked.cloud, view, rows), view, looked.pools[index])
        builder.add(rows, every)
        masks.append(every.take(np.arange(len(looked.rows[index]))))
    evidence = builder.build()
    sets = consensus(evidence, control)
    shown = evidence.shows()
    place = nearest_known(looked.cloud.means, shown)
    segments = from_sets([selected[place] for selected in sets], looked.cloud.means)
    return Found(masks, segments, visible(looked.rows, len(looked.cloud)))


def _depths(cloud: GaussianCloud, view: View, rows: Rows) -> np.ndarray:
    """[P] float32 camera z that each row's Gaussians have on average, by weight; 0 where there are none."""
    z = cloud.means @ view.viewmat[2, :3].astype(np.float32) + np.float32(view.viewmat[2, 3])
    alphas = rows.alphas()
    return np.divide(rows.blend(z), alphas, out=np.zeros(len(rows), np.float32), where=alphas > 1e-4)
