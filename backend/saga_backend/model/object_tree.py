"""Labelings from fine to coarse as one tree of objects and their parts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

_SAME = 0.9  # a part with this share of its object's Gaussians is the object itself
_STRAY = 0.1  # share of a cluster: a smaller rest inside another object makes no part of that object
_SAMPLE = 1000  # Gaussians of a node that its representative is chosen from
_SOLID = 0.5  # minimum opacity of a representative, if the node has any such Gaussian


@dataclass(frozen=True, eq=False)
class Tree:
    """Objects and parts, depth first: node t and its descendants are t to ends[t] - 1, larger siblings first.

    Attributes:
        labels: [N] int32, the smallest node that holds each Gaussian; -1 for none.
        parents: [T] int32, -1 for an object.
        ends: [T] int32.
        counts: [T] int32, Gaussians of the node and its descendants.
        levels: [T] int32, the coarsest level on which the node is a cluster.
    """

    labels: np.ndarray
    parents: np.ndarray
    ends: np.ndarray
    counts: np.ndarray
    levels: np.ndarray

    def members(self) -> tuple[np.ndarray, np.ndarray]:
        """All Gaussians sorted by node (unlabeled ones first), and [T+1] the start of each node.

        Node t and its descendants hold order[starts[t]:starts[ends[t]]].
        """
        order = np.argsort(self.labels, kind="stable")
        return order, np.searchsorted(self.labels[order], np.arange(len(self.parents) + 1))


def nest_levels(levels: np.ndarray, smallest: int = 1) -> Tree:
    """Nest labelings: the clusters of a finer labeling inside an object are its parts.

    The coarsest labeling that contains an object sets its border. A cluster that crosses the border is a part of the
    object that holds most of it; the other objects keep the rest without a part of their own. A part that is nearly
    the whole object is the object itself.

    Args:
        levels: [N,L] int, labels from the finest level to the coarsest; negative: none. A number names a
            cluster of its level; several levels may share one (segments.builtin.hierarchy).
        smallest: minimum Gaussians of a node.
    """
    return nest_labelings(((k, levels[:, k]) for k in reversed(range(levels.shape[1]))), len(levels), smallest)


def nest_labelings(labelings: Iterable[tuple[int, np.ndarray]], count: int, smallest: int = 1) -> Tree:
    """`nest_levels` for a stream of labelings.

    Args:
        labelings: from the coarsest to the finest, each with the level number of its nodes.
        count: N, Gaussians.
        smallest: minimum Gaussians of a node.
    """
    nodes = _Nodes(count)
    for level, labels in labelings:
        nodes.divide(labels, level, smallest)
    return nodes.tree()


class _Nodes:
    """A tree that grows downwards. `of` [N] is the deepest node of each Gaussian so far."""

    def __init__(self, count: int) -> None:
        self.of = np.full(count, -1, np.int64)
        self.parents: list[int] = []
        self.counts: list[int] = []
        self.levels: list[int] = []

    def divide(self, labels: np.ndarray, level: int, smallest: int) -> None:
        """Add the next finer labeling [N]."""
        here = np.flatnonzero(labels >= 0)
        if not len(here):
            return
        names, cluster = np.unique(labels[here], return_inverse=True)
        pairs, place, counts = np.unique(
            (self.of[here] + 1) * len(names) + cluster, return_inverse=True, return_counts=True
        )
        parents, clusters = np.divmod(pairs, len(names))
        parents -= 1
        whole = np.array([*self.counts, len(labels) + 1])  # index -1 (no parent) gets a size that no part reaches
        part = (counts >= smallest) & (counts < _SAME * whole[parents]) | (parents < 0) & (counts >= smallest)
        part &= counts >= _STRAY * np.bincount(cluster)[clusters]
        new = np.where(part, len(self.parents) + np.cumsum(part) - 1, parents)
        self.of[here] = new[place]
        self.parents += parents[part].tolist()
        self.counts += counts[part].tolist()
        self.levels += [level] * int(part.sum())

    def tree(self) -> Tree:
        """The tree, numbered depth first."""
        children: dict[int, list[int]] = {}
        for node, parent in enumerate(self.parents):
            children.setdefault(parent, []).append(node)
        for siblings in children.values():
            siblings.sort(key=lambda node: -self.counts[node])
        order = self._depth_first(children)
        number = np.full(len(order) + 1, -1, np.int32)  # the last entry stays -1: no parent remains no parent
        number[order] = np.arange(len(order))
        parents = number[np.array(self.parents, np.int64)[order]]
        ends = np.arange(1, len(order) + 1, dtype=np.int32)
        for node in reversed(range(len(order))):
            if parents[node] >= 0:
                ends[parents[node]] = max(ends[parents[node]], ends[node])
        counts, levels = (np.array(values, np.int32)[order] for values in (self.counts, self.levels))
        return Tree(number[self.of], parents, ends, counts, levels)

    @staticmethod
    def _depth_first(children: dict[int, list[int]]) -> np.ndarray:
        order, waiting = [], children.get(-1, [])[::-1]
        while waiting:
            node = waiting.pop()
            order.append(node)
            waiting += children.get(node, [])[::-1]
        return np.array(order, np.int64)


def representatives(tree: Tree, vectors: np.ndarray, opacities: np.ndarray) -> np.ndarray:
    """[T] int32: the Gaussian of every node nearest to the mean of its members, a solid one if possible.

    Args:
        tree: T nodes over N Gaussians.
        vectors: [N,D], features or means to compare the Gaussians by.
        opacities: [N].
    """
    order, starts = tree.members()
    out = np.zeros(len(tree.parents), np.int32)
    for node, end in enumerate(tree.ends):
        members = order[starts[node] : starts[end]]
        members = members[:: -(-len(members) // _SAMPLE)]
        solid = members[opacities[members] > _SOLID]
        members = solid if len(solid) else members
        away = vectors[members] - vectors[members].mean(axis=0)
        out[node] = members[np.argmin((away**2).sum(axis=1))]
    return out
