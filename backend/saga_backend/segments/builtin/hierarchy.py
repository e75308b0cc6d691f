"""Built-in segments, step one: a hierarchy of 3D segments from the cloud alone, without photos or weights.

The neighbor graph covers the visible Gaussians. An edge is heavy across a concave crease, a bend, a change of color or
a gap. Felzenszwalb & Huttenlocher 2004 ("Efficient graph-based image segmentation") merges points along light edges
into small patches. Then the two neighbors with the cheapest common border merge repeatedly (merging.py). A border costs
the mean of its edges, so a single light edge does not merge two objects.

Trainers place many small Gaussians on texture and few large ones on plain surfaces. So distances are measured in units
of the local point spacing, and sizes are areas.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numba
import numpy as np

from ...common.cie_lab import srgb_to_lab
from ...common.neighbors import nearest
from ...common.union_find import find, roots
from .merging import Graph, JoinSettings, cut, join_patches

_SCENE_SHARE = 0.7  # a segment with more than this share of the points is the scene, not an object in it
_MAX_GAP = 10.0  # spacings; larger gaps count the same


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """Nested segments of N points.

    Attributes:
        labels: [N,L] int32: the segment of each point at every level, finest first, -1 for none. A segment is a union
            of segments of the previous level. All levels share one numbering, and an unchanged segment keeps its
            number.
        prominence: [K] float32, prominence of each segment number (merging.Joins.prominence).
    """

    labels: np.ndarray
    prominence: np.ndarray


@dataclass(frozen=True)
class SegmentSettings:
    """Edge weights, patch sizes and levels.

    Attributes:
        edges: neighbors per Gaussian.
        normal_neighbors: neighbors of the local plane fit.
        concave: weight of max(0, -(n_i - n_j).d), 0 to 2.
        bend: weight of the angle between normals in radians.
        color: weight of the CIE Lab distance.
        gap: weight of the edge length over the finer spacing of its ends, above 1.
        patch: threshold k of Felzenszwalb-Huttenlocher; larger gives larger patches.
        smallest: minimum number of Gaussians; a smaller patch merges with its nearest neighbor.
        join: settings of the merging.
        counts: number of segments at each level, descending.
    """

    edges: int = 12
    normal_neighbors: int = 32
    concave: float = 4.0
    bend: float = 0.3
    color: float = 0.02
    gap: float = 1.0
    patch: float = 0.15
    smallest: int = 20
    join: JoinSettings = field(default_factory=JoinSettings)
    counts: tuple[int, ...] = (80, 56, 40, 28, 20, 14, 10, 8, 7, 6, 5, 4, 3, 2, 1)


def segment(
    means: np.ndarray,
    colors: np.ndarray,
    toward: np.ndarray,
    settings: SegmentSettings | None = None,
    seen: Iterable[np.ndarray] = (),
) -> Hierarchy:
    """Nested segments of N points.

    Args:
        means: [N,3] scene units.
        colors: [N,3] display RGB, 0..1.
        toward: [N,3] direction to the cameras that see each point (any length).
        settings: edge weights and levels.
        seen: blending weight [N] of each point in every view; read one at a time.
    """
    settings = settings or SegmentSettings()
    if len(means) < 2:
        return Hierarchy(np.zeros((len(means), len(settings.counts)), np.int32), np.ones(len(means), np.float32))
    graph = _graph(means, colors, toward, settings)
    patches = _patches(graph, settings)
    joins = join_patches(graph, patches, seen, settings.join)
    count = int(patches.max()) + 1
    return Hierarchy(cut(joins, count, settings.counts)[patches], joins.prominence(count))


def without_scene(labels: np.ndarray) -> np.ndarray:
    """Levels [N,L] with -1 for a segment of the last level that contains most points: it is the whole scene."""
    numbers, sizes = np.unique(labels[:, -1], return_counts=True)
    scene = numbers[sizes > _SCENE_SHARE * len(labels)]
    return np.where(np.isin(labels, scene), -1, labels).astype(np.int32)


def normals(means: np.ndarray, neighbors: np.ndarray, toward: np.ndarray) -> np.ndarray:
    """[N,3] float32 unit normals: the direction of least variance of the neighbors [N,k], facing `toward` [N,3]."""
    spread = np.empty((len(means), 3, 3), np.float32)
    _covariances(np.ascontiguousarray(means, dtype=np.float32), neighbors, spread)
    normal = np.linalg.eigh(spread)[1][:, :, 0]
    return normal * np.where((normal * toward).sum(axis=1, keepdims=True) < 0, -1, 1).astype(np.float32)


def _graph(means, colors, toward, settings) -> Graph:
    """The neighbor graph with unique, weighted edges."""
    neighbors, distances = nearest(means, max(settings.normal_neighbors, settings.edges + 1))
    near = neighbors[:, 1 : settings.edges + 1]
    spacing = np.median(distances[:, 1 : settings.edges + 1], axis=1)
    i = np.repeat(np.arange(len(means), dtype=np.int32), near.shape[1])
    j, length = near.ravel(), distances[:, 1 : settings.edges + 1].ravel()
    unique = (i < j) | ~(near[j] == i[:, None]).any(axis=1)
    unique &= i != j
    i, j, length = i[unique], j[unique], length[unique]
    normal = normals(means, neighbors, toward)
    direction = (means[i] - means[j]) / np.maximum(length, 1e-12)[:, None]
    concave = np.maximum(0, -((normal[i] - normal[j]) * direction).sum(axis=1))
    bend = np.arccos(np.clip((normal[i] * normal[j]).sum(axis=1), -1, 1))
    lab = srgb_to_lab(np.clip(colors, 0, 1)).astype(np.float32)
    color = np.linalg.norm(lab[i] - lab[j], axis=1)
    gap = np.clip(length / np.maximum(np.minimum(spacing[i], spacing[j]), 1e-12) - 1, 0, _MAX_GAP)
    weights = settings.concave * concave + settings.bend * bend + settings.color * color + settings.gap * gap
    return Graph(means, spacing, np.stack([i, j], axis=1), weights.astype(np.float32))


def _patches(graph: Graph, settings: SegmentSettings) -> np.ndarray:
    """[N] int32: the patch of each point, numbered from 0."""
    order = np.argsort(graph.weights, kind="stable")
    parent = np.arange(len(graph.means), dtype=np.int32)
    threshold = np.float32(settings.patch)
    _join_light(graph.pairs[order], graph.weights[order], parent, threshold, settings.smallest)
    return np.unique(roots(parent), return_inverse=True)[1].astype(np.int32)


@numba.njit(parallel=True, cache=True)
def _covariances(means, neighbors, out):
    k = neighbors.shape[1]
    for n in numba.prange(len(means)):
        mean = np.zeros(3)
        for m in range(k):
            for a in range(3):
                mean[a] += means[neighbors[n, m], a] / k
        total = np.zeros((3, 3))
        for m in range(k):
            for a in range(3):
                for b in range(3):
                    total[a, b] += (means[neighbors[n, m], a] - mean[a]) * (means[neighbors[n, m], b] - mean[b])
        out[n] = total


@numba.njit(cache=True, nogil=True)
def _join_light(pairs, weights, parent, threshold, smallest):
    """Felzenszwalb-Huttenlocher on edges sorted by weight; then small patches merge with their nearest neighbor."""
    size = np.ones(len(parent), np.int32)
    inner = np.zeros(len(parent), np.float32)
    for small_only in (False, True):
        for e in range(len(pairs)):
            a, b = find(parent, pairs[e, 0]), find(parent, pairs[e, 1])
            if a == b:
                continue
            light = weights[e] <= min(inner[a] + threshold / size[a], inner[b] + threshold / size[b])
            if min(size[a], size[b]) < smallest if small_only else light:
                if size[a] < size[b]:
                    a, b = b, a
                parent[b] = a
                size[a] += size[b]
                inner[a] = max(weights[e], inner[a])
