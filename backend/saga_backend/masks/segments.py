"""Built-in masks, part one: a hierarchy of 3D segments of the cloud itself. No photos, no weights.

A neighbour graph over the Gaussians that some view sees; an edge is heavy across a concave crease, a bend, a change of
colour or a gap. Felzenszwalb & Huttenlocher 2004 ("Efficient graph-based image segmentation") joins along light edges
into small patches; then the two neighbouring patches with the cheapest common border are joined again and again. A
single light edge does not join two things there, because a border costs the mean of its edges.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numba
import numpy as np
from skimage.color import rgb2lab

from ..neighbours import nearest

_WHOLE = 0.7  # share of the points


@dataclass(frozen=True)
class SegmentSettings:
    """Weights of the edge terms, sizes, levels.

    Attributes:
        edges: neighbours a Gaussian.
        normal_neighbours: neighbours of the local plane fit.
        concave: weight of max(0, -(n_i - n_j).d), 0 to 2.
        bend: weight of the angle between normals, radians.
        colour: weight of the CIE Lab distance.
        gap: weight of the edge length over the median one, above 1.
        patch: threshold k of Felzenszwalb-Huttenlocher; larger gives larger patches.
        smallest: Gaussians; a smaller patch joins its nearest neighbour.
        size_power: how much more the border of two large segments costs than that with a small one (their harmonic
            mean size): specks join first.
        whole_power: how much more a join costs the more it holds in all: what lies on a floor comes together before
            any of it joins the floor.
        border_power: how much more a border costs that is short for the smaller segment's size: a leg on a floor
            touches it with its foot only, two halves of a body meet along a long line.
        counts: number of segments of each level, falling.
    """

    edges: int = 12
    normal_neighbours: int = 32
    concave: float = 4.0
    bend: float = 0.3
    colour: float = 0.02
    gap: float = 1.0
    patch: float = 0.3
    smallest: int = 20
    size_power: float = 0.15
    whole_power: float = 0.5
    border_power: float = 0.3
    counts: tuple[int, ...] = (40, 28, 20, 14, 10, 8, 7, 6, 5, 4, 3, 2, 1)


def segment(
    means: np.ndarray, colours: np.ndarray, towards: np.ndarray, settings: SegmentSettings | None = None
) -> np.ndarray:
    """Nested segments of N points.

    Args:
        means: [N,3] scene units.
        colours: [N,3] display RGB, 0..1.
        towards: [N,3] direction to the cameras that see each point (any length).
        settings: edge weights and levels.

    Returns:
        [N,L] int32: the segment of each point at every level, finest first. A segment is a union of segments of the
        level before, and has one number over all levels: what does not change from level to level keeps it.
    """
    settings = settings or SegmentSettings()
    levels = len(settings.counts)
    if len(means) < 2:
        return np.zeros((len(means), levels), np.int32)
    pairs, weights = _edges(means, colours, towards, settings)
    patches = _patches(len(means), pairs, weights, settings)
    borders = _Borders(patches, pairs, weights, settings)
    return _cut(borders.join_all(), patches.max() + 1, settings.counts)[patches]


def without_whole(labels: np.ndarray) -> np.ndarray:
    """Levels [N,L] with -1 for a segment of the last level that holds most points: the scene is not a thing in it."""
    numbers, sizes = np.unique(labels[:, -1], return_counts=True)
    whole = numbers[sizes > _WHOLE * len(labels)]
    return np.where(np.isin(labels, whole), -1, labels).astype(np.int32)


def normals(means: np.ndarray, neighbours: np.ndarray, towards: np.ndarray) -> np.ndarray:
    """[N,3] float32 unit normals: the direction of least spread of the neighbours [N,k], turned to `towards` [N,3]."""
    spread = np.empty((len(means), 3, 3), np.float32)
    _covariances(np.ascontiguousarray(means, dtype=np.float32), neighbours, spread)
    normal = np.linalg.eigh(spread)[1][:, :, 0]
    return normal * np.where((normal * towards).sum(axis=1, keepdims=True) < 0, -1, 1).astype(np.float32)


def _edges(means, colours, towards, settings) -> tuple[np.ndarray, np.ndarray]:
    """Edges [E,2] int32, each once, and their weights [E] float32."""
    neighbours, distances = nearest(means, max(settings.normal_neighbours, settings.edges + 1))
    normal = normals(means, neighbours, towards)
    near = neighbours[:, 1 : settings.edges + 1]
    i = np.repeat(np.arange(len(means), dtype=np.int32), near.shape[1])
    j = near.ravel()
    length = distances[:, 1 : settings.edges + 1].ravel()
    once = (i < j) | ~(near[j] == i[:, None]).any(axis=1)
    once &= i != j
    i, j, length = i[once], j[once], length[once]
    direction = (means[i] - means[j]) / np.maximum(length, 1e-12)[:, None]
    concave = np.maximum(0, -((normal[i] - normal[j]) * direction).sum(axis=1))
    bend = np.arccos(np.clip((normal[i] * normal[j]).sum(axis=1), -1, 1))
    lab = rgb2lab(np.clip(colours, 0, 1)).astype(np.float32)
    colour = np.linalg.norm(lab[i] - lab[j], axis=1)
    gap = np.maximum(0, length / max(float(np.median(length)), 1e-12) - 1) if len(length) else length
    weights = settings.concave * concave + settings.bend * bend + settings.colour * colour + settings.gap * gap
    return np.stack([i, j], axis=1), weights.astype(np.float32)


def _patches(count: int, pairs: np.ndarray, weights: np.ndarray, settings: SegmentSettings) -> np.ndarray:
    """[N] int32: the patch of each point, numbered from 0."""
    order = np.argsort(weights, kind="stable")
    parent = np.arange(count, dtype=np.int32)
    _join_light(pairs[order], weights[order], parent, np.float32(settings.patch), settings.smallest)
    return np.unique(parent, return_inverse=True)[1].astype(np.int32)


class _Borders:
    """The borders between patches: sum of edge weights and number of edges; joined cheapest first."""

    def __init__(self, patches: np.ndarray, pairs: np.ndarray, weights: np.ndarray, settings: SegmentSettings) -> None:
        self.settings = settings
        count = int(patches.max()) + 1
        self.size = np.bincount(patches, minlength=count).tolist()
        self.next_to: list[dict[int, tuple[float, int]]] = [{} for _ in range(count)]
        ends = np.sort(patches[pairs], axis=1).astype(np.int64)
        apart = ends[:, 0] != ends[:, 1]
        keys, group = np.unique(ends[apart] @ np.array([count, 1]), return_inverse=True)
        sums = np.bincount(group, weights[apart], minlength=len(keys))
        numbers = np.bincount(group, minlength=len(keys))
        for key, total, number in zip(keys.tolist(), sums.tolist(), numbers.tolist(), strict=True):
            a, b = divmod(key, count)
            self.next_to[a][b] = self.next_to[b][a] = (total, number)

    def join_all(self) -> list[tuple[int, int, int]]:
        """Every join as (a, b, new), in order; `new` counts on from the number of patches."""
        heap = [(self._cost(a, b), a, b) for a, others in enumerate(self.next_to) for b in others if a < b]
        heapq.heapify(heap)
        gone: set[int] = set()
        joins = []
        while heap:
            _, a, b = heapq.heappop(heap)
            if a in gone or b in gone:
                continue
            new = self._join(a, b)
            gone.update((a, b))
            joins.append((a, b, new))
            for other in self.next_to[new]:
                heapq.heappush(heap, (self._cost(other, new), other, new))
        return joins

    def _cost(self, a: int, b: int) -> float:
        total, number = self.next_to[a][b]
        whole = self.size[a] + self.size[b]
        size = self.size[a] * self.size[b] / whole
        share = number / min(self.size[a], self.size[b]) ** 0.5  # a line across n points of a surface has about n^0.5
        powers = self.settings
        return total / number * size**powers.size_power * whole**powers.whole_power / share**powers.border_power

    def _join(self, a: int, b: int) -> int:
        new = len(self.size)
        self.size.append(self.size[a] + self.size[b])
        around: dict[int, tuple[float, int]] = {}
        for old in (a, b):
            for other, (total, number) in self.next_to[old].items():
                if other not in (a, b):
                    before = around.get(other, (0.0, 0))
                    around[other] = (before[0] + total, before[1] + number)
                    self.next_to[other].pop(old)
        for other, border in around.items():
            self.next_to[other][new] = border
        self.next_to.append(around)
        return new


def _cut(joins: list[tuple[int, int, int]], patches: int, counts: tuple[int, ...]) -> np.ndarray:
    """[patches,L] int32: the segment of every patch where `counts` segments are left (or as few as joins allow)."""
    parent = np.arange(patches + len(joins), dtype=np.int32)
    levels, done = [], 0
    for count in counts:
        target = max(0, min(len(joins), patches - count))
        for a, b, new in joins[done:target]:
            parent[a] = parent[b] = new
        done = max(done, target)
        levels.append(_roots(parent)[:patches])
    return np.stack(levels, axis=1)


@numba.njit(parallel=True, cache=True)
def _covariances(means, neighbours, out):
    k = neighbours.shape[1]
    for n in numba.prange(len(means)):
        mean = np.zeros(3)
        for m in range(k):
            for a in range(3):
                mean[a] += means[neighbours[n, m], a] / k
        total = np.zeros((3, 3))
        for m in range(k):
            for a in range(3):
                for b in range(3):
                    total[a, b] += (means[neighbours[n, m], a] - mean[a]) * (means[neighbours[n, m], b] - mean[b])
        out[n] = total


@numba.njit(cache=True)
def _find(parent, node):
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@numba.njit(cache=True)
def _join_light(pairs, weights, parent, threshold, smallest):
    """Felzenszwalb-Huttenlocher over edges sorted by weight, then small patches into their nearest neighbour."""
    size = np.ones(len(parent), np.int32)
    inner = np.zeros(len(parent), np.float32)
    for small_only in (False, True):
        for e in range(len(pairs)):
            a, b = _find(parent, pairs[e, 0]), _find(parent, pairs[e, 1])
            if a == b:
                continue
            light = weights[e] <= min(inner[a] + threshold / size[a], inner[b] + threshold / size[b])
            if min(size[a], size[b]) < smallest if small_only else light:
                if size[a] < size[b]:
                    a, b = b, a
                parent[b] = a
                size[a] += size[b]
                inner[a] = max(weights[e], inner[a])
    for n in range(len(parent)):
        parent[n] = _find(parent, n)


@numba.njit(cache=True)
def _roots(parent):
    out = np.empty_like(parent)
    for n in range(len(parent)):
        out[n] = _find(parent, n)
    return out
