"""The masks of every view for text search: CLIP vectors of their pictures, blended features, and scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from blender_saga.errors import ErrorCode, UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.sh import colors
from blender_saga.gaussians.view import View

from ..common.progress import Control
from ..masks.sampled import SampledMasks, from_pictures
from ..model.scene_model import SceneModel
from ..rasterizer.contributions import Contributions
from ..rasterizer.cpu import all_pixels
from ..rasterizer.select import Rasterizer
from ..segments.segments import Segments
from .clip_model import LoadedClip
from .crops import masked_crops, thumbnail

SMALLEST = 40
"""Minimum pixels of a mask; CLIP would see a smaller one as a blur."""
MOST_VIEWS = 40
"""Maximum number of views, evenly spaced: CLIP encodes every mask of each."""
_COVERS = 0.5  # share of a pixel's weight; above it, a segment covers the pixel


@dataclass(eq=False)
class TextSources:
    """The sources of an index.

    Attributes:
        cloud: N Gaussians.
        model: its segments and, if trained, its features.
        views: the views of the masks.
        masks: [M,H,W] bool of every view; None: the model's segments in each view.
        raster: computes the rows.
        up: direction away from the ground; y is down in splat files.
    """

    cloud: GaussianCloud
    model: SceneModel
    views: Sequence[View]
    raster: Rasterizer
    masks: Sequence[np.ndarray] | None = None
    up: tuple[float, float, float] = (0.0, -1.0, 0.0)

    def spread(self) -> list[int]:
        """Indices of at most MOST_VIEWS evenly spaced views."""
        count = len(self.views)
        return (
            np.unique(np.linspace(0, count - 1, min(count, MOST_VIEWS)).round().astype(int)).tolist() if count else []
        )


@dataclass(eq=False)
class MaskVectors:
    """M masks of all views.

    Attributes:
        vectors: [M,D] float32, CLIP vectors of their crops.
        features: [M,F] float32, mean over their pixels of the blended, ungated features; [M,0] without features.
        scales: [M] float32, 3D scale (SAGA Eq. 2), scene units.
        areas: [M] int64, pixels.
        thumbnails: [M,h,w,3] uint8.
    """

    vectors: list[np.ndarray] = field(default_factory=list)
    features: list[np.ndarray] = field(default_factory=list)
    scales: list[np.ndarray] = field(default_factory=list)
    areas: list[np.ndarray] = field(default_factory=list)
    thumbnails: list[np.ndarray] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(len(part) for part in self.scales)


def encode_masks(sources: TextSources, clip: LoadedClip, control: Control) -> MaskVectors:
    """Encode the masks of every view.

    Raises:
        UserError: if the masks do not fit the views.
        Cancelled: if the control was cancelled.
    """
    out, indices = MaskVectors(), sources.spread()
    for step, index in enumerate(indices):
        control.progress("describing views", step, len(indices))
        view = sources.views[index]
        rows = sources.raster.contributions(sources.cloud, view, all_pixels(view))
        _encode_view(out, sources, clip, index, rows)
    return out


def _encode_view(out: MaskVectors, sources: TextSources, clip: LoadedClip, index: int, rows: Contributions) -> None:
    view = sources.views[index]
    masks = _large_masks(sources, index, rows)
    members = masks.members()
    pictures = members.T.reshape(-1, view.height, view.width)
    rgb = rows.blend(colors(sources.cloud, view.camera_position)).reshape(view.height, view.width, 3)
    features = sources.model.affinity.features if sources.model.affinity else np.zeros((len(sources.cloud), 0))
    out.vectors.append(clip.encode_pictures(masked_crops(rgb, pictures, clip.side)))
    out.features.append(mean_features(features, rows, members))
    out.scales.append(masks.scales)
    out.areas.append(members.sum(axis=0))
    out.thumbnails += [thumbnail(rgb, picture) for picture in pictures]


def mean_features(features: np.ndarray, rows: Contributions, members: np.ndarray) -> np.ndarray:
    """[M,F] float32: mean of the blended features over each mask's pixels.

    This is SAGA Eq. 14 before its gate, which is one factor for each channel and can follow later.

    Args:
        features: [N,F].
        rows: of P pixels.
        members: [P,M] bool, the pixels of every mask.
    """
    blended = rows.blend(features) if features.shape[1] else np.zeros((len(rows), 0), np.float32)
    return (members.T.astype(np.float32) @ blended) / np.maximum(members.sum(axis=0), 1)[:, None].astype(np.float32)


def _large_masks(sources: TextSources, index: int, rows: Contributions) -> SampledMasks:
    view = sources.views[index]
    if sources.masks is None:
        pictures = segment_pictures(sources.model.segments, rows, view)
    else:
        pictures = sources.masks[index]
        if pictures.shape[1:] != (view.height, view.width):
            raise UserError(
                "The masks do not fit the views",
                f"view {index} has another size",
                fix="Train the scene again",
                code=ErrorCode.BAD_MASKS,
            )
    large = pictures.sum(axis=(1, 2)) >= SMALLEST
    z = sources.cloud.means @ view.viewmat[2, :3].astype(np.float32) + np.float32(view.viewmat[2, 3])
    alphas = rows.alphas()
    depths = np.divide(rows.blend(z), alphas, out=np.zeros(len(rows), np.float32), where=alphas > 1e-4)
    return from_pictures(pictures[large], depths, view, all_pixels(view))


def segment_pictures(segments: Segments, rows: Contributions, view: View) -> np.ndarray:
    """[M,H,W] bool: the segments with at least SMALLEST pixels in a view.

    Args:
        segments: of the cloud.
        rows: of all pixels of the view, row by row.
        view: the view.
    """
    out = []
    for begin in range(0, len(segments), 32):  # in blocks: the shares of all segments would take gigabytes
        numbers = range(begin, min(begin + 32, len(segments)))
        shares = rows.blend(np.stack([segments.mask([k]) for k in numbers], axis=1).astype(np.float32))
        covered = shares > _COVERS
        out.append(covered[:, covered.sum(axis=0) >= SMALLEST])
    members = np.concatenate([*out, np.zeros((len(rows), 0), bool)], axis=1)
    return members.T.reshape(-1, view.height, view.width)
