"""SAGA's vote-based text search (appendix A.3): masks of all views, grouped by what they select in 3D, vote by CLIP."""

from __future__ import annotations

import numba
import numpy as np
from hdbscan.hdbscan_ import _tree_to_labels, label  # the two steps of the package after its spanning tree

from blender_saga.errors import UserError

from ..common.progress import Control
from ..methods.saga.model import DEFAULT_THRESHOLD, AffinityModel
from ..segments.lookup import snapped
from .clip_model import LoadedClip
from .seen_masks import SeenMasks, TextSources, see
from .text_index import Target, TextIndex, index_of

_ANCHORS = 8192
_MOST_MASKS = 6000  # their distances take 4 bytes a pair
_HAZE = 0.1  # opacity; fainter Gaussians have features that nobody saw
_FEWEST = 3  # masks of a target at least,
_VIEWS_SHARE = 0.1  # and of the views
_MANY_VIEWS = 0.25  # masks, by number of views, of a group that means something though no segment is like it
_SPEAKERS = 8  # masks of a group, the most typical, that say which Gaussians it means
_STEPS = 256  # masks joined to the tree between two looks at the control


def vote_index(sources: TextSources, clip: LoadedClip, control: Control) -> TextIndex:
    """The index of a scene by votes.

    Raises:
        UserError: if the scene has no features, which the votes are counted by.
        Cancelled: if the control was cancelled.
    """
    model = sources.model.features()
    seen = see(sources, clip, control)
    if not len(seen):
        raise UserError("There is nothing to describe in words", "no view shows a mask", "Train with other masks")
    scales = np.concatenate(seen.scales)
    places = np.linspace(0, len(scales) - 1, min(len(scales), _MOST_MASKS)).round().astype(int)
    queries = queries_of(model, np.concatenate(seen.features)[places], slider(model, scales[places]))
    control.progress("comparing masks", 0, 1)
    distances = iou_distances(selected(model.features[_anchors(sources)], *queries))
    smallest = max(_FEWEST, round(_VIEWS_SHARE * len(sources.spread())))
    groups = np.full(len(scales), -1)
    groups[places] = grouped(distances, smallest, control)
    targets = _targets(sources, seen, (places, groups[places], queries, distances), control)
    number = np.cumsum([target is not None for target in targets]) - 1  # of a group among those that mean something
    of = np.array([number[g] if g >= 0 and targets[g] is not None else -1 for g in groups])
    kept = [target for target in targets if target is not None]
    return index_of("votes", clip.identity, len(sources.cloud), kept, (np.concatenate(seen.vectors), of))


def slider(model: AffinityModel, scales: np.ndarray) -> np.ndarray:
    """[M] float32: 3D scales (scene units) as positions 0..1."""
    table = np.linspace(0, 1, len(model.quantiles))
    return np.interp(scales, model.quantiles, table).astype(np.float32)


def queries_of(model: AffinityModel, features: np.ndarray, scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eq. 14 of M masks as what Gaussians are compared with.

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


def selected(features: np.ndarray, gated: np.ndarray, gates: np.ndarray) -> np.ndarray:
    """[M,A] bool: which Gaussians each mask selects, cosine of the gated features above the usual threshold.

    Args:
        features: [A,F] of the Gaussians, ungated.
        gated, gates: [M,F], of `queries_of`.
    """
    norms = np.sqrt(np.maximum(gates**2 @ (features**2).T, 1e-24))
    return (gated * gates) @ features.T > DEFAULT_THRESHOLD * norms


def iou_distances(sets: np.ndarray) -> np.ndarray:
    """[M,M] float32: 1 - IoU of every two sets [M,A] bool; 1 between empty ones.

    The paper writes the IoU itself and calls it a distance; alike masks are to be near.
    """
    ones = sets.astype(np.float32)
    sizes = ones.sum(axis=1)
    common = ones @ ones.T
    distances = 1 - common / np.maximum(sizes[:, None] + sizes - common, 1)
    np.fill_diagonal(distances, 0)
    return distances.astype(np.float32)


def grouped(distances: np.ndarray, smallest: int, control: Control) -> np.ndarray:
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
    tree = label(edges[np.argsort(edges[:, 2], kind="stable")])
    return _tree_to_labels(distances, tree, smallest)[0]


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


def _targets(sources: TextSources, seen: SeenMasks, found: tuple, control: Control) -> list[Target | None]:
    """The Gaussians of every group: those that more than half of its most typical masks select.

    Beyond the paper: None for a group that is like none of the segments on which all views agree, unless many views
    show it: it is halves and merged masks, a segmenter's faults that a few views happen to share.
    """
    places, groups, (gated, gates), distances = found
    features, segments = sources.model.features().features, sources.model.segments
    areas = np.concatenate(seen.areas)
    out: list[Target | None] = []
    count = int(groups.max(initial=-1)) + 1
    for group in range(count):
        control.progress("finding what the masks mean", group, count)
        own = np.flatnonzero(groups == group)
        typical = own[np.argsort(distances[np.ix_(own, own)].sum(axis=1), kind="stable")[:_SPEAKERS]]
        share = selected(features, gated[typical], gates[typical]).mean(axis=0)
        largest = typical[np.argmax(areas[places[typical]])]
        meant = share > 0.5
        members = snapped(segments, meant)
        confirmed = members is not meant or len(own) >= _MANY_VIEWS * len(sources.spread()) or not len(segments)
        out.append(Target(members, seen.thumbnails[places[largest]]) if confirmed and meant.any() else None)
    return out
