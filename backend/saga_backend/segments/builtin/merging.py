"""Built-in segments, step two: neighboring patches merge across their borders, cheapest border first.

A border costs the mean of its edges, and more if no view shows both sides. For example, the underside of a floor and
the rug on it are very close to each other, but no view shows both.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ...common.neighbors import nearest
from ...common.union_find import roots

_SHOWN = 0.2  # a view shows a patch if the patch has this share of its mass in its best view
_TOGETHER = 0.5  # common share of the views of the less visible patch from which two patches count as seen together
_MAX_RATIO = 50.0  # cost ratio at which the prominence saturates


@dataclass(frozen=True)
class JoinSettings:
    """Settings of the border costs.

    Attributes:
        unseen: added to the edges of a border if no view shows both sides.
        bridge: weight of a link to an isolated component: its length over the coarser spacing of its ends.
        whole_power: exponent of the total area of a merge: objects on a floor merge before they merge with the floor.
        border_power: exponent of the relative border length: a short border costs more. A leg only touches the floor
            with its foot, and two halves of a body meet along a long line.
    """

    unseen: float = 12.0
    bridge: float = 0.5
    whole_power: float = 0.7
    border_power: float = 0.2


@dataclass(frozen=True, eq=False)
class Graph:
    """A weighted graph of points.

    Attributes:
        means: [N,3], scene units.
        spacing: [N], typical distance of each point to its neighbors, scene units.
        pairs: [E,2] int32, edges.
        weights: [E] float32.
    """

    means: np.ndarray
    spacing: np.ndarray
    pairs: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True, eq=False)
class Joins:
    """All merges of two segments, in order; numbers count the patches first, then the unions.

    Attributes:
        steps: [J,3] int64, (one, other, number of their union).
        costs: [J] float64, costs of the removed borders.
    """

    steps: np.ndarray
    costs: np.ndarray

    def prominence(self, patches: int) -> np.ndarray:
        """[patches + J] float32: the log of the cost of a segment's next merge over the cost of its own.

        The ratio is limited to _MAX_RATIO, which patches and segments without a next merge get.
        """
        own, following = np.zeros(patches + len(self.steps)), np.full(patches + len(self.steps), np.inf)
        own[self.steps[:, 2]] = self.costs
        following[self.steps[:, :2]] = self.costs[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(own > 0, following / own, _MAX_RATIO)
        return np.log(np.clip(ratio, 1 + 1e-4, _MAX_RATIO)).astype(np.float32)


def join_patches(graph: Graph, patches: np.ndarray, seen: Iterable[np.ndarray], settings: JoinSettings) -> Joins:
    """Merge neighboring patches and their unions, cheapest border first.

    Args:
        graph: N points.
        patches: [N] int32, the patch of each point, numbered from 0.
        seen: blending weight [N] of each point in every view; empty: all patches count as seen together.
        settings: border costs.
    """
    graph = _bridged(graph, settings.bridge)
    count = int(patches.max()) + 1
    ends = np.sort(patches[graph.pairs], axis=1).astype(np.int64)
    out = ends[:, 0] != ends[:, 1]
    keys, border = np.unique(ends[out] @ np.array([count, 1]), return_inverse=True)
    sides = np.stack(np.divmod(keys, count), axis=1)
    numbers = np.bincount(border, minlength=len(keys))
    sums = np.bincount(border, graph.weights[out], minlength=len(keys))
    masses = [np.bincount(patches, mass, minlength=count) for mass in seen]
    if masses:
        sums = sums + settings.unseen * numbers * never_together(np.stack(masses, axis=1), sides)
    segments = _Segments(np.bincount(patches), np.bincount(patches, graph.spacing.astype(np.float64) ** 2), settings)
    segments.meet(sides, sums, numbers)
    joins = segments.join_all()
    steps = np.array([step for step, _ in joins], np.int64).reshape(-1, 3)
    return Joins(steps, np.array([cost for _, cost in joins], np.float64))


def cut(joins: Joins, patches: int, counts: tuple[int, ...]) -> np.ndarray:
    """[patches,L] int32: the segment of every patch when `counts` segments remain (or the fewest possible)."""
    parent = np.arange(patches + len(joins.steps), dtype=np.int32)
    levels, done = [], 0
    for count in counts:
        target = max(done, min(len(joins.steps), patches - count))
        for a, b, new in joins.steps[done:target]:
            parent[a] = parent[b] = new
        done = target
        levels.append(roots(parent)[:patches])
    return np.stack(levels, axis=1)


def never_together(masses: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """The lack of views that show both patches: 0 (enough views) to 1 (none).

    Args:
        masses: [P,V] mass of each patch in each view.
        sides: [B,2] pairs of patches.
    """
    best = np.maximum(masses.max(axis=1, keepdims=True), 1e-12)
    shown = np.minimum(masses / (_SHOWN * best), 1)
    one, other = shown[sides[:, 0]], shown[sides[:, 1]]
    fewer = np.minimum(one.sum(axis=1), other.sum(axis=1))
    common = np.minimum(one, other).sum(axis=1) / np.maximum(fewer, 1e-12)
    return np.where(fewer > 0, np.clip(1 - common / _TOGETHER, 0, 1), 0)


def bridges(means: np.ndarray, component: np.ndarray) -> np.ndarray:
    """The shortest links that connect all components (Boruvka): [B,2] int32 points.

    Args:
        means: [N,3] points.
        component: [N] int, numbered from 0.
    """
    links = [np.zeros((0, 2), np.int32)]
    while component.max(initial=0) > 0:
        other, distance = _nearest_of_another(means, component)
        order = np.lexsort((distance, component))
        ends = order[np.unique(component[order], return_index=True)[1]]
        ends = ends[np.isfinite(distance[ends])]
        pairs = np.unique(np.sort(np.stack([ends, other[ends]], axis=1), axis=1), axis=0)
        links.append(pairs.astype(np.int32))
        component = _components(component.max() + 1, component[pairs])[component]
    return np.concatenate(links)


def _nearest_of_another(means: np.ndarray, component: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest point of another component and its distance for every point; inf in the largest component.

    Two different component numbers differ in at least one bit: for each bit, points with it query those without it and
    vice versa.
    """
    other, distance = np.zeros(len(means), np.int64), np.full(len(means), np.inf)
    small = component != np.bincount(component).argmax()
    for bit in range(int(component.max()).bit_length()):
        for value in (0, 1):
            targets = np.flatnonzero((component >> bit & 1) != value)
            queries = np.flatnonzero(((component >> bit & 1) == value) & small)
            if not len(targets) or not len(queries):
                continue
            ids, lengths = nearest(means[targets], 1, means[queries])
            nearer = lengths[:, 0] < distance[queries]
            other[queries[nearer]] = targets[ids[nearer, 0]]
            distance[queries[nearer]] = lengths[nearer, 0]
    return other, distance


def _bridged(graph: Graph, weight: float) -> Graph:
    """The graph with links to isolated components: a link has as many equal edges as a border of the smaller part."""
    component = _components(len(graph.means), graph.pairs)
    links = bridges(graph.means, component)
    if not len(links):
        return graph
    sizes = np.bincount(component)[component]
    length = np.linalg.norm(graph.means[links[:, 0]] - graph.means[links[:, 1]], axis=1)
    gap = length / np.maximum(graph.spacing[links].max(axis=1), 1e-12)
    copies = np.sqrt(sizes[links].min(axis=1)).round().astype(int)
    pairs = np.concatenate([graph.pairs, np.repeat(links, copies, axis=0)])
    weights = np.concatenate([graph.weights, np.repeat(weight * gap, copies)]).astype(np.float32)
    return Graph(graph.means, graph.spacing, pairs, weights)


def _components(count: int, pairs: np.ndarray) -> np.ndarray:
    """[count] int32: the connected component of every node."""
    matrix = coo_matrix((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(matrix, directed=False)[1]


class _Segments:
    """State of the merging: size and area of each segment, and its borders (sum of edge weights, number of edges)."""

    def __init__(self, sizes: np.ndarray, areas: np.ndarray, settings: JoinSettings) -> None:
        self.settings = settings
        self.size: list[int] = sizes.tolist()
        self.area: list[float] = areas.tolist()
        self.next_to: list[dict[int, tuple[float, int]]] = [{} for _ in self.size]

    def meet(self, sides: np.ndarray, sums: np.ndarray, numbers: np.ndarray) -> None:
        """Set the borders."""
        for (a, b), total, number in zip(sides.tolist(), sums.tolist(), numbers.tolist(), strict=True):
            self.next_to[a][b] = self.next_to[b][a] = (total, number)

    def join_all(self) -> list[tuple[tuple[int, int, int], float]]:
        """All merges (a, b, new) with their costs, in order; `new` continues the numbers of the patches."""
        heap = [(self._cost(a, b), a, b) for a, others in enumerate(self.next_to) for b in others if a < b]
        heapq.heapify(heap)
        merged: set[int] = set()
        joins = []
        while heap:
            cost, a, b = heapq.heappop(heap)
            if a in merged or b in merged:
                continue
            new = self._join(a, b)
            merged.update((a, b))
            joins.append(((a, b, new), cost))
            for other in self.next_to[new]:
                heapq.heappush(heap, (self._cost(other, new), other, new))
        return joins

    def _cost(self, a: int, b: int) -> float:
        total, number = self.next_to[a][b]
        share = number / min(self.size[a], self.size[b]) ** 0.5  # a line across n points of a surface has about n^0.5
        area = self.area[a] + self.area[b]
        return total / number * area**self.settings.whole_power / share**self.settings.border_power

    def _join(self, a: int, b: int) -> int:
        new = len(self.size)
        self.size.append(self.size[a] + self.size[b])
        self.area.append(self.area[a] + self.area[b])
        borders: dict[int, tuple[float, int]] = {}
        for old in (a, b):
            for other, (total, number) in self.next_to[old].items():
                if other not in (a, b):
                    before = borders.get(other, (0.0, 0))
                    borders[other] = (before[0] + total, before[1] + number)
                    self.next_to[other].pop(old)
        for other, border in borders.items():
            self.next_to[other][new] = border
        self.next_to.append(borders)
        return new
