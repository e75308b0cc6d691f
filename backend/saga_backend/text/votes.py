"""SAGA's vote-based text search (appendix A.3): masks of all views, grouped by their 3D selection, vote with CLIP."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from blender_saga.errors import UserError

from ..common.density_clusters import tree_clusters
from ..common.progress import Control
from ..methods.saga.model import DEFAULT_THRESHOLD, AffinityModel
from ..segments.lookup import snap_to_segment
from .clip_model import LoadedClip
from .mask_vectors import MaskVectors, TextSources, encode_masks
from .text_index import Target, TextIndex, make_index

_ANCHORS = 8192
_MOST_MASKS = 6000  # their distances take 4 bytes a pair
_HAZE = 0.1  # opacity; fainter Gaussians were never visible enough to train their features
_FEWEST = 3  # minimum masks of a target,
_VIEWS_SHARE = 0.1  # and minimum share of the views
_MANY_VIEWS = 0.25  # masks, as a share of the views, from which a group counts without a matching segment
_TYPICAL = 8  # masks of a group, the most typical ones, that choose its Gaussians
_STEPS = 256  # masks joined to the tree between two looks at the control


def vote_index(sources: TextSources, clip: LoadedClip, control: Control) -> TextIndex:
    """Build the index of a scene by votes.

    Raises:
        UserError: if the scene has no features, or no view shows a mask.
        Cancelled: if the control was cancelled.
    """
    model = sources.model.features()
    masks = encode_masks(sources, clip, control)
    if not len(masks):
        raise UserError("The scene has nothing to search", "no view shows a mask", "Train with other masks")
    scales = np.concatenate(masks.scales)
    places = np.linspace(0, len(scales) - 1, min(len(scales), _MOST_MASKS)).round().astype(int)
    queries = mask_queries(model, np.concatenate(masks.features)[places], slider_positions(model, scales[places]))
    control.progress("comparing masks", 0, 1)
    distances = iou_distances(select_gaussians(model.features[_anchors(sources)], *queries))
    smallest = max(_FEWEST, round(_VIEWS_SHARE * len(sources.spread())))
    groups = np.full(len(scales), -1)
    groups[places] = group_masks(distances, smallest, control)
    targets = _targets(sources, masks, _MaskGroups(places, groups[places], *queries, distances), control)
    number = np.cumsum([target is not None for target in targets]) - 1  # of each group among those with a target
    target_of = np.array([number[g] if g >= 0 and targets[g] is not None else -1 for g in groups])
    kept = [target for target in targets if target is not None]
    vectors = np.concatenate(masks.vectors)
    return make_index("votes", clip.identity, len(sources.cloud), kept, vectors, target_of)


def slider_positions(model: AffinityModel, scales: np.ndarray) -> np.ndarray:
    """[M] float32: 3D scales (scene units) as positions 0..1."""
    table = np.linspace(0, 1, len(model.quantiles))
    return np.interp(scales, model.quantiles, table).astype(np.float32)


def mask_queries(model: AffinityModel, features: np.ndarray, scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The query vectors of M masks (Eq. 14).

    Args:
        model: features and gate.
        features: [M,F] mean blended features, ungated.
        scales: [M] 0..1.

    Returns:
        gated: [M,F] float32, unit vectors f_M = S(s_M) * mean, and gates: [M,F] float32, S(s_M).
    """
    gates = np.stack([model.scale_gate(float(s)) for s in scales]) if len(scales) else np.zeros_like(features)
    gated = features * gates
    return gated / np.maximum(np.linalg.norm(gated, axis=1, keepdims=True), 1e-12), gates


def select_gaussians(features: np.ndarray, gated: np.ndarray, gates: np.ndarray) -> np.ndarray:
    """[M,A] bool: the Gaussians that each mask selects: cosine of the gated features above the default threshold.

    Args:
        features: [A,F] of the Gaussians, ungated.
        gated, gates: [M,F], from `mask_queries`.
    """
    norms = np.sqrt(np.maximum(gates**2 @ (features**2).T, 1e-24))
    return (gated * gates) @ features.T > DEFAULT_THRESHOLD * norms


def iou_distances(sets: np.ndarray) -> np.ndarray:
    """[M,M] float32: 1 - IoU of every two sets [M,A] bool; 1 between empty sets.

    The paper calls the IoU itself a distance, but similar masks must be near.
    """
    ones = sets.astype(np.float32)
    sizes = ones.sum(axis=1)
    common = ones @ ones.T
    distances = 1 - common / np.maximum(sizes[:, None] + sizes - common, 1)
    np.fill_diagonal(distances, 0)
    return distances.astype(np.float32)


def group_masks(distances: np.ndarray, smallest: int, control: Control) -> np.ndarray:
    """[M] int: HDBSCAN by given distances [M,M]; -1 for noise.

    Raises:
        Cancelled: if the control was cancelled.
    """
    count = len(distances)
    if count <= smallest:
        return np.full(count, -1)
    core = np.partition(distances, smallest - 1, axis=1)[:, smallest - 1]
    edges, best = np.empty((count - 1, 3)), np.full(count, np.inf)
    nearest, state = np.zeros(count, np.int64), np.zeros(count, np.bool_)
    last = np.zeros(1, np.int64)
    for begin in range(0, count - 1, _STEPS):
        control.progress("grouping masks", begin, count)
        _join(distances, core, (best, nearest, state, last), edges[begin : begin + _STEPS])
    return tree_clusters(edges, smallest)


@numba.njit(cache=True, nogil=True)
def _join(distances, core, tree, edges):
    """Prim: join the next masks to the minimum spanning tree of the mutual reachability, one a row of `edges`."""
    best, nearest, joined, last = tree
    for e in range(len(edges)):
        here = last[0]
        joined[here] = True
        near, length = -1, np.inf
        for other in range(len(best)):
            if joined[other]:
                continue
            reach = max(distances[here, other], core[here], core[other])
            if reach < best[other]:
                best[other], nearest[other] = reach, here
            if best[other] < length or near < 0:
                near, length = other, best[other]
        edges[e, 0], edges[e, 1], edges[e, 2] = nearest[near], near, length
        last[0] = near


def _anchors(sources: TextSources) -> np.ndarray:
    """Ids of a uniform sample of the Gaussians that are not haze."""
    solid = np.flatnonzero(sources.cloud.opacities > _HAZE)
    usable = solid if len(solid) else np.arange(len(sources.cloud))
    return np.sort(np.random.default_rng(0).choice(usable, min(len(usable), _ANCHORS), replace=False))


@dataclass(frozen=True, eq=False)
class _MaskGroups:
    """Q masks with their place among all masks, group, query vectors [Q,F] and distances [Q,Q]."""

    places: np.ndarray
    groups: np.ndarray
    gated: np.ndarray
    gates: np.ndarray
    distances: np.ndarray


def _targets(
    sources: TextSources, masks: MaskVectors, mask_groups: _MaskGroups, control: Control
) -> list[Target | None]:
    """The Gaussians of every group: those that more than half of its most typical masks select.

    Beyond the paper: None for a group that matches no segment, unless many views show it. Such a group consists of
    split and merged masks, faults of the segmenter that a few views share by chance.
    """
    places, groups = mask_groups.places, mask_groups.groups
    features, segments = sources.model.features().features, sources.model.segments
    areas = np.concatenate(masks.areas)
    out: list[Target | None] = []
    count = int(groups.max(initial=-1)) + 1
    for group in range(count):
        control.progress("selecting Gaussians of masks", group, count)
        own = np.flatnonzero(groups == group)
        typical = own[np.argsort(mask_groups.distances[np.ix_(own, own)].sum(axis=1), kind="stable")[:_TYPICAL]]
        share = select_gaussians(features, mask_groups.gated[typical], mask_groups.gates[typical]).mean(axis=0)
        largest = typical[np.argmax(areas[places[typical]])]
        meant = share > 0.5
        members = snap_to_segment(segments, meant)
        confirmed = members is not meant or len(own) >= _MANY_VIEWS * len(sources.spread()) or not len(segments)
        out.append(Target(members, masks.thumbnails[places[largest]]) if confirmed and meant.any() else None)
    return out
