"""Segment everything: clusters of the gated features at several scales, nested to a tree of things and parts."""

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
from .object_tree import Tree, grown, representatives, tree_of
from .scene_model import SceneModel

SWEEP = np.linspace(0, 1, 8).astype(np.float32)
"""Scales that are looked at where none are given."""
_SHARE, _LEAST, _MOST = 0.01, 5_000, 20_000  # of the Gaussians: the sample that is clustered (SAGA section 3.5: 1 %)
_SMALLEST = 1 / 250  # of the sample: a thing or part holds at least this much of the scene,
_USUAL = 20  # and this many Gaussians of the sample: fewer that are alike are chance,
_FEWEST = 5  # unless there are hardly more in all
_LIKE = 0.5  # cosine; what is less like every center belongs to nothing: a floor that no mask ever showed
_ALIKE = 0.1  # distance of gated features, cosine 0.995: within a segment all are alike, and much denser than that
_HAZE = 0.1  # opacity; fainter Gaussians have features that nobody saw
_BLOCK = 1 << 17  # Gaussians that are labeled at a time


@dataclass(frozen=True, eq=False)
class _Sample:
    """Gaussians that are clustered, and how many of them make a cluster."""

    ids: np.ndarray
    smallest: int


def divide(request: Cluster, cloud: GaussianCloud, model: SceneModel, control: Control) -> Clusters:
    """A scene as a tree of things and parts, by the best of what its model has.

    Raises:
        UserError: for scales outside 0 to 1 or a negative smallest size.
        Cancelled: if the control was cancelled.
    """
    if model.levels is not None:
        return from_levels(request, cloud, model.levels, control)
    if model.affinity is None:  # there are segments already
        return from_segments(request, cloud, model, control)
    return cluster(cloud, model.affinity, request, control)


def cluster(cloud: GaussianCloud, model: AffinityModel, request: Cluster, control: Control) -> Clusters:
    """Divide a scene into things and parts.

    Args:
        cloud: N Gaussians; transparent ones (deleted points) get no label.
        model: their features.
        request: the wanted scales.
        control: told the progress, and may cancel.

    Raises:
        UserError: for scales outside 0 to 1 or a negative smallest size.
        Cancelled: if the control was cancelled.
    """
    scales = _scales(request)
    here = np.flatnonzero(cloud.opacities > 0)
    sample = _sample(here, cloud.opacities, request.smallest)
    levels = np.full((len(cloud), len(scales)), -1, np.int32)
    for index, scale in enumerate(scales.tolist()):
        phase = f"clustering at scale {scale:.2f} ({index + 1} of {len(scales)})"
        levels[:, index] = _labels(model, scale, sample, here, (control, phase))
    control.progress("nesting", 0, 1)
    tree = tree_of(levels, max(1, request.smallest or sample.smallest * len(here) // max(2 * len(sample.ids), 1)))
    return answer(request.scene, tree, scales, (model, cloud))


def answer(scene: str, tree: Tree, scales: np.ndarray, about: tuple[AffinityModel, GaussianCloud]) -> Clusters:
    """The message for a tree whose levels are the scales [L], 0 to 1."""
    model, cloud = about
    at = scales[tree.levels].astype(np.float32)
    sizes = np.array([model.size_of(float(scale)) for scale in at], np.float32)
    shown = representatives(tree, model.features, cloud.opacities)
    note = "" if len(tree.parents) else "No group of Gaussians stands out; train longer, or choose other scales"
    return Clusters(scene, tree.labels, tree.parents, tree.counts, at, sizes, shown, note)


def from_segments(request: Cluster, cloud: GaussianCloud, model: SceneModel, control: Control) -> Clusters:
    """The same tree from the segments of a scene, before any features are trained; they have their own scales.

    Raises:
        UserError: for scales outside 0 to 1 or a negative smallest size.
        Cancelled: if the control was cancelled.
    """
    _scales(request)
    smallest = request.smallest or _FEWEST
    tree = grown(_layers(model.segments, control), len(cloud), smallest)
    order, starts = tree.members()
    spans = zip(starts, starts[tree.ends], strict=False)
    sizes = np.array([mask_scale(cloud.means[order[begin:end]]) for begin, end in spans], np.float32)
    scales = np.array([model.scale_of(float(size)) for size in sizes], np.float32)
    shown = representatives(tree, cloud.means, cloud.opacities)
    note = "" if len(tree.parents) else "There are no segments; train, or use other masks"
    return Clusters(request.scene, tree.labels, tree.parents, tree.counts, scales, sizes, shown, note)


def from_levels(request: Cluster, cloud: GaussianCloud, model: LevelModel, control: Control) -> Clusters:
    """The tree of a Click-Gaussian model: its clusters, those of finer levels within those of coarser ones.

    Raises:
        UserError: for scales outside 0 to 1 or a negative smallest size.
        Cancelled: if the control was cancelled.
    """
    _scales(request)
    control.progress("nesting levels", 0, 1)
    levels = np.stack([level.labels.astype(np.int32) for level in reversed(model.levels)], axis=1)
    levels[cloud.opacities <= 0] = -1
    tree = tree_of(levels, request.smallest or _FEWEST)
    order, starts = tree.members()
    spans = zip(starts, starts[tree.ends], strict=False)
    sizes = np.array([mask_scale(cloud.means[order[begin:end]]) for begin, end in spans], np.float32)
    scales = np.array([model.scale_of(len(model.levels) - 1 - level) for level in tree.levels], np.float32)
    shown = representatives(tree, model.features, cloud.opacities)
    note = "" if len(tree.parents) else "There are no clusters; train longer, or use other masks"
    return Clusters(request.scene, tree.labels, tree.parents, tree.counts, scales, sizes, shown, note)


def _layers(segments: Segments, control: Control) -> Iterator[tuple[int, np.ndarray]]:
    """Labelings of the Gaussians, coarsest first: the segments from the largest on, those that share no Gaussian
    together."""
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
    """[L] float32 rising, without repeats: from the finest level to the coarsest."""
    scales = np.unique(request.scales if request.scales.size else SWEEP).astype(np.float32)
    if request.scales.ndim != 1 or not ((scales >= 0) & (scales <= 1)).all():
        raise UserError(
            "The scales to cluster at must lie between 0 and 1",
            fix="Use numbers from 0 to 1",
            code=ErrorCode.BAD_SETTINGS,
        )
    if request.smallest < 0:
        why = f"the smallest cluster has {request.smallest} Gaussians"
        raise UserError("The scene cannot be clustered", why, "Give a positive number, or 0", ErrorCode.BAD_SETTINGS)
    return scales


def _sample(here: np.ndarray, opacities: np.ndarray, smallest: int) -> _Sample:
    solid = here[opacities[here] > _HAZE]
    usable = solid if len(solid) > len(here) // 10 else here
    count = min(len(usable), int(np.clip(_SHARE * len(here), _LEAST, _MOST)))
    ids = np.random.default_rng(0).choice(usable, count, replace=False) if count < len(usable) else usable
    if smallest:
        return _Sample(ids, max(_FEWEST, round(smallest * count / len(here))) if len(here) else _FEWEST)
    return _Sample(ids, max(_FEWEST, min(_USUAL, count // 10), round(_SMALLEST * count)))


def _labels(
    model: AffinityModel, scale: float, sample: _Sample, here: np.ndarray, told: tuple[Control, str]
) -> np.ndarray:
    """[N] int32: the cluster of every Gaussian at a scale, that of the nearest center; -1 where none is near."""
    control, phase = told
    scale_gate = model.scale_gate(scale)
    vectors = _gated(model.features[sample.ids], scale_gate)
    found = hdbscan(vectors, sample.smallest, control, phase, _ALIKE)
    out = np.full(len(model.features), -1, np.int32)
    count = found.max(initial=-1) + 1
    if not count:
        return out
    centers = np.stack([vectors[found == index].mean(axis=0) for index in range(count)])
    centers /= np.maximum(np.linalg.norm(centers, axis=1, keepdims=True), 1e-12)
    for begin in range(0, len(here), _BLOCK):
        control.progress(phase, len(sample.ids), len(sample.ids))
        block = here[begin : begin + _BLOCK]
        likeness = _gated(model.features[block], scale_gate) @ centers.T
        out[block] = np.where(likeness.max(axis=1) >= _LIKE, np.argmax(likeness, axis=1), -1)
    return out


def _gated(features: np.ndarray, scale_gate: np.ndarray) -> np.ndarray:
    """[M,D] float32 unit vectors of gated features."""
    gated = features * scale_gate
    gated /= np.maximum(np.linalg.norm(gated, axis=1, keepdims=True), 1e-12)
    return gated
