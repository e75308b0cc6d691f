"""Segment everything: clusters of the gated features at several scales, nested into a tree of objects and parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from blender_saga.errors import ErrorCode, UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.wire.messages import Cluster, Clusters

from ..common.density_clusters import hdbscan
from ..common.progress import Control
from ..masks.sampled import mask_scale
from ..methods.click_gaussian.model import LevelModel
from ..methods.saga.model import AffinityModel
from ..segments.segments import Segments
from .object_tree import Tree, nest_labelings, nest_levels, representatives
from .scene_model import SceneModel

DEFAULT_SCALES = np.linspace(0, 1, 8).astype(np.float32)
"""Scales to cluster at when a request names none."""
_SHARE, _LEAST, _MOST = 0.01, 5_000, 20_000  # sample size: share of the Gaussians (SAGA section 3.5: 1 %), limits
_SMALLEST = 1 / 250  # share of the sample that an object or part holds at least,
_USUAL = 20  # and its minimum in Gaussians of the sample: fewer similar ones are chance,
_FEWEST = 5  # unless the scene is tiny
_MIN_COSINE = 0.5  # below this cosine to every center, a Gaussian stays unlabeled: a floor that no mask ever covered
_MERGE_DISTANCE = 0.1  # of gated features (cosine 0.995): the features of one segment are much denser than that
_HAZE = 0.1  # opacity; fainter Gaussians were never visible enough to train their features
_BLOCK = 1 << 17  # Gaussians labeled at a time


@dataclass(frozen=True, eq=False)
class _Sample:
    """The Gaussians to cluster, and the minimum size of a cluster."""

    ids: np.ndarray
    smallest: int


def divide(request: Cluster, cloud: GaussianCloud, model: SceneModel, control: Control) -> Clusters:
    """Divide a scene into a tree of objects and parts, by the best data of its model.

    Raises:
        UserError: for scales outside 0 to 1 or a negative smallest size.
        Cancelled: if the control was cancelled.
    """
    if model.levels is not None:
        return from_levels(request, cloud, model.levels, control)
    if model.affinity is None:  # untrained: only the segments
        return from_segments(request, cloud, model, control)
    return cluster(cloud, model.affinity, request, control)


def cluster(cloud: GaussianCloud, model: AffinityModel, request: Cluster, control: Control) -> Clusters:
    """Divide a scene into objects and parts by its features.

    Args:
        cloud: N Gaussians; transparent ones (deleted points) get no label.
        model: their features.
        request: the scales to cluster at.
        control: progress and cancel.

    Raises:
        UserError: for scales outside 0 to 1 or a negative smallest size.
        Cancelled: if the control was cancelled.
    """
    scales = _scales(request)
    present = np.flatnonzero(cloud.opacities > 0)
    sample = _sample(present, cloud.opacities, request.smallest)
    levels = np.full((len(cloud), len(scales)), -1, np.int32)
    for index, scale in enumerate(scales.tolist()):
        phase = f"clustering at scale {scale:.2f} ({index + 1} of {len(scales)})"
        levels[:, index] = _labels(model, scale, sample, present, control, phase)
    control.progress("nesting", 0, 1)
    smallest = request.smallest or sample.smallest * len(present) // max(2 * len(sample.ids), 1)
    return build_clusters(request.scene, nest_levels(levels, max(1, smallest)), scales, model, cloud)


def build_clusters(scene: str, tree: Tree, scales: np.ndarray, model: AffinityModel, cloud: GaussianCloud) -> Clusters:
    """The message for a tree whose levels are the scales [L], 0 to 1."""
    node_scales = scales[tree.levels].astype(np.float32)
    sizes = np.array([model.size_of(float(scale)) for scale in node_scales], np.float32)
    shown = representatives(tree, model.features, cloud.opacities)
    note = "" if len(tree.parents) else "No group of Gaussians stands out; train longer, or choose other scales"
    return Clusters(scene, tree.labels, tree.parents, tree.counts, node_scales, sizes, shown, note)


def from_segments(request: Cluster, cloud: GaussianCloud, model: SceneModel, control: Control) -> Clusters:
    """The same tree from the segments of an untrained scene. The segments bring their own scales.

    Raises:
        UserError: for scales outside 0 to 1 or a negative smallest size.
        Cancelled: if the control was cancelled.
    """
    _scales(request)
    smallest = request.smallest or _FEWEST
    tree = nest_labelings(_layers(model.segments, control), len(cloud), smallest)
    order, starts = tree.members()
    spans = zip(starts, starts[tree.ends], strict=False)
    sizes = np.array([mask_scale(cloud.means[order[begin:end]]) for begin, end in spans], np.float32)
    scales = np.array([model.scale_of(float(size)) for size in sizes], np.float32)
    shown = representatives(tree, cloud.means, cloud.opacities)
    note = "" if len(tree.parents) else "There are no segments; train, or use other masks"
    return Clusters(request.scene, tree.labels, tree.parents, tree.counts, scales, sizes, shown, note)


def from_levels(request: Cluster, cloud: GaussianCloud, model: LevelModel, control: Control) -> Clusters:
    """The tree of a Click-Gaussian model: the clusters of finer levels inside those of coarser levels.

    Raises:
        UserError: for scales outside 0 to 1 or a negative smallest size.
        Cancelled: if the control was cancelled.
    """
    _scales(request)
    control.progress("nesting levels", 0, 1)
    levels = np.stack([level.labels.astype(np.int32) for level in reversed(model.levels)], axis=1)
    levels[cloud.opacities <= 0] = -1
    tree = nest_levels(levels, request.smallest or _FEWEST)
    order, starts = tree.members()
    spans = zip(starts, starts[tree.ends], strict=False)
    sizes = np.array([mask_scale(cloud.means[order[begin:end]]) for begin, end in spans], np.float32)
    scales = np.array([model.scale_of(len(model.levels) - 1 - level) for level in tree.levels], np.float32)
    shown = representatives(tree, model.features, cloud.opacities)
    note = "" if len(tree.parents) else "There are no clusters; train longer, or use other masks"
    return Clusters(request.scene, tree.labels, tree.parents, tree.counts, scales, sizes, shown, note)


def _layers(segments: Segments, control: Control) -> Iterator[tuple[int, np.ndarray]]:
    """Labelings of the Gaussians, coarsest first: segments in order of size, disjoint neighbors in one labeling."""
    labels, layer, total = np.full(segments.count, -1, np.int32), 0, len(segments)
    for done, segment in enumerate(reversed(range(total))):
        members = segments.members(segment)
        if (labels[members] >= 0).any():
            control.progress("nesting segments", done, total)
            yield -layer, labels
            labels, layer = np.full(segments.count, -1, np.int32), layer + 1
        labels[members] = segment
    yield -layer, labels


def _scales(request: Cluster) -> np.ndarray:
    """[L] float32, rising and distinct: from the finest level to the coarsest."""
    scales = np.unique(request.scales if request.scales.size else DEFAULT_SCALES).astype(np.float32)
    if request.scales.ndim != 1 or not ((scales >= 0) & (scales <= 1)).all():
        raise UserError(
            "The scales must lie between 0 and 1",
            fix="Use numbers from 0 to 1",
            code=ErrorCode.BAD_SETTINGS,
        )
    if request.smallest < 0:
        why = f"the smallest cluster has {request.smallest} Gaussians"
        raise UserError("The scene cannot be clustered", why, "Give a positive number, or 0", ErrorCode.BAD_SETTINGS)
    return scales


def _sample(present: np.ndarray, opacities: np.ndarray, smallest: int) -> _Sample:
    solid = present[opacities[present] > _HAZE]
    usable = solid if len(solid) > len(present) // 10 else present
    count = min(len(usable), int(np.clip(_SHARE * len(present), _LEAST, _MOST)))
    ids = np.random.default_rng(0).choice(usable, count, replace=False) if count < len(usable) else usable
    if smallest:
        return _Sample(ids, max(_FEWEST, round(smallest * count / len(present))) if len(present) else _FEWEST)
    return _Sample(ids, max(_FEWEST, min(_USUAL, count // 10), round(_SMALLEST * count)))


def _labels(
    model: AffinityModel, scale: float, sample: _Sample, present: np.ndarray, control: Control, phase: str
) -> np.ndarray:
    """[N] int32: the cluster of every Gaussian at a scale, by the nearest center; -1 where no center is near."""
    scale_gate = model.scale_gate(scale)
    vectors = _gated(model.features[sample.ids], scale_gate)
    clusters = hdbscan(vectors, sample.smallest, control, phase, _MERGE_DISTANCE)
    out = np.full(len(model.features), -1, np.int32)
    count = clusters.max(initial=-1) + 1
    if not count:
        return out
    centers = np.stack([vectors[clusters == index].mean(axis=0) for index in range(count)])
    centers /= np.maximum(np.linalg.norm(centers, axis=1, keepdims=True), 1e-12)
    for begin in range(0, len(present), _BLOCK):
        control.progress(phase, len(sample.ids), len(sample.ids))
        block = present[begin : begin + _BLOCK]
        cosines = _gated(model.features[block], scale_gate) @ centers.T
        out[block] = np.where(cosines.max(axis=1) >= _MIN_COSINE, np.argmax(cosines, axis=1), -1)
    return out


def _gated(features: np.ndarray, scale_gate: np.ndarray) -> np.ndarray:
    """[M,D] float32 unit vectors of gated features."""
    gated = features * scale_gate
    gated /= np.maximum(np.linalg.norm(gated, axis=1, keepdims=True), 1e-12)
    return gated
