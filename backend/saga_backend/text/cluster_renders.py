"""Click-Gaussian's text search (section 0.D.2): CLIP encodes ten pictures of every cluster, drawn alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View, look_at

from ..cameras.virtual import extent
from ..common.progress import Control
from ..rasterizer.select import Rasterizer
from .clip_model import LoadedClip
from .crops import THUMBNAIL, masked_crops, thumbnail
from .text_index import Target, TextIndex, make_index

Vector = tuple[float, float, float]
VIEWS = 10
"""Pictures of a cluster, as in the paper."""
_FOCAL = 1.8  # in widths of the picture: a field of view of 31 degrees
_BACK = 2.2  # distance of the camera, in radii of the cluster over the tangent of half the field of view
_SHOWN = 0.3  # minimum opacity of a pixel of the cluster
_HAZE = 0.1  # opacity; fainter Gaussians are invisible
_SIDE = 128  # minimum width of the pictures in pixels; CLIP's input may be smaller


@dataclass(frozen=True, eq=False)
class ClipRenderer:
    """Draws pictures for CLIP.

    Attributes:
        clip: encodes the pictures.
        raster: draws them.
        up: direction away from the ground.
    """

    clip: LoadedClip
    raster: Rasterizer
    up: Vector


def cluster_index(
    cloud: GaussianCloud, clusters: list[np.ndarray], renderer: ClipRenderer, control: Control
) -> TextIndex:
    """Build the index of a scene by its clusters.

    Args:
        cloud: N Gaussians.
        clusters: ids of the Gaussians of each cluster.
        renderer: draws and encodes the pictures.
        control: progress and cancel.

    Raises:
        Cancelled: if the control was cancelled.
    """
    clip = renderer.clip
    targets, vectors = [], []
    for number, ids in enumerate(clusters):
        control.progress("drawing clusters", number, len(clusters))
        part = cloud.take(ids)
        if not (part.opacities > _HAZE).any():  # nothing to draw, so no text matches
            vectors.append(np.zeros((0, clip.width), np.float32))
            targets.append(Target(ids, np.zeros((THUMBNAIL, THUMBNAIL, 3), np.uint8)))
            continue
        pictures, shown = render_alone(part, renderer.raster, renderer.up, max(_SIDE, clip.side))
        crops = np.concatenate([masked_crops(p, [m], clip.side) for p, m in zip(pictures, shown, strict=True)])
        vectors.append(clip.encode_pictures(crops))
        largest = int(np.argmax([mask.sum() for mask in shown]))
        targets.append(Target(ids, thumbnail(pictures[largest], shown[largest])))
    target_of = np.repeat(np.arange(len(clusters)), [len(v) for v in vectors])
    flat = np.concatenate([*vectors, np.zeros((0, clip.width), np.float32)])
    return make_index("clusters", clip.identity, len(cloud), targets, flat, target_of)


def render_alone(
    part: GaussianCloud, raster: Rasterizer, up: Vector, side: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Pictures [side,side,3] of some Gaussians alone, and their pixels [side,side] bool, from VIEWS views.

    The views lie all around, 15 to 50 degrees above. The paper takes random training views, where other objects may
    occlude a cluster; a cluster alone is visible from everywhere.
    """
    pictures, shown = [], []
    for view in views_around(part, up, side):
        picture = raster.render(part, view)
        mask = picture.alpha > _SHOWN
        mask = mask if mask.any() else np.ones_like(mask)
        pictures.append(picture.rgb)
        shown.append(mask)
    return pictures, shown


def views_around(part: GaussianCloud, up: Vector, side: int) -> list[View]:
    """VIEWS views of side x side pixels that frame some Gaussians."""
    bounds = extent(part)
    distance = _BACK * bounds.radius * _FOCAL
    away = np.asarray(up, np.float64) / np.linalg.norm(up)
    across = np.cross(away, np.eye(3)[int(np.argmin(np.abs(away)))])
    across /= np.linalg.norm(across)
    along = np.cross(away, across)
    focal = _FOCAL * side
    K = np.array([[focal, 0, side / 2], [0, focal, side / 2], [0, 0, 1.0]])
    views = []
    for index in range(VIEWS):
        azimuth = 2 * np.pi * index / VIEWS
        elevation = np.radians(15 + 35 * (index * 0.618 % 1.0))
        flat = np.cos(azimuth) * across + np.sin(azimuth) * along
        eye = bounds.center + distance * (np.cos(elevation) * flat + np.sin(elevation) * away)
        views.append(View(look_at(eye, bounds.center, away), K, side, side, near=1e-4 * distance))
    return views
