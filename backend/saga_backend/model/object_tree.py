"""Labelings from fine to coarse as one tree of things and their parts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

_SAME = 0.9  # a part that holds this share of its thing is the thing itself
_STRAY = 0.1  # of a cluster's Gaussians: what lies in another thing is that thing's, not a part of its own
_SAMPLE = 1000  # Gaussians of a node that are looked at for its representative
_SOLID = 0.5  # opacity of a representative, where there are such


@dataclass(frozen=True, eq=False)
class Tree:
    """Things and parts, depth first: node t and all below it are numbered t to ends[t] - 1, larger siblings first.

    Attributes:
        labels: [N] int32, the smallest node that holds each Gaussian; -1 for none.
        parents: [T] int32, -1 for a thing of its own.
        ends: [T] int32.
        counts: [T] int32, Gaussians of the node and all below it.
        levels: [T] int32, the coarsest level on which the node is a cluster.
    """

    labels: np.ndarray
    parents: np.ndarray
    ends: np.ndarray
    counts: np.ndarray
    levels: np.ndarray

    def members(self) -> tuple[np.ndarray, np.ndarray]:
        """All Gaussians by node, those without first, and [T+1] where each node's begin.

        Those of node t and all below it stand at starts[t] to starts[ends[t]].
        """
        order = np.argsort(self.labels, kind="stable")
        return order, np.searchsorted(self.labels[order], np.arange(len(self.parents) + 1))


def tree_of(levels: np.ndarray, smallest: int = 1) -> Tree:
    """Nest labelings: from the coarsest on, what a finer one tells apart within a thing are its parts.

    The borders of things are those of the coarsest labeling that has them. A cluster that reaches over them is a
    part of the thing that holds most of it; the others keep its strays without naming them a part. A part that is
    nearly the whole thing is the thing itself.

    Args:
        levels: [N,L] int, labels from the finest level to the coarsest; negative: none. A number means a cluster of
            its level; it may stand on several levels (masks.segments).
        smallest: Gaussians that a node holds at least.
    """
    return grown(((k, levels[:, k]) for k in reversed(range(levels.shape[1]))), len(levels), smallest)


def grown(labelings: Iterable[tuple[int, np.ndarray]], count: int, smallest: int = 1) -> Tree:
    """`tree_of` labelings that come one by one.

    Args:
        labelings: from the coarsest to the finest, each with the number that its nodes get as their level.
        count: N, Gaussians.
        smallest: Gaussians that a node holds at least.
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
        """Take in the next finer labeling [N]."""
        here = np.flatnonzero(labels >= 0)
        if not len(here):
            return
        names, cluster = np.unique(labels[here], return_inverse=True)
        pairs, place, counts = np.unique(
            (self.of[here] + 1) * len(names) + cluster, return_inverse=True, return_counts=True
        )
        parents, clusters = np.divmod(pairs, len(names))
        parents -= 1
        whole = np.array([*self.counts, len(labels) + 1])  # -1, no parent, finds the last: nothing is nearly all of it
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
        number = np.full(len(order) + 1, -1, np.int32)  # the last stays: -1 keeps meaning none
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
    """[T] int32: of every node the Gaussian nearest to the mean of its members; a solid one where there is one.

    Args:
        tree: T nodes over N Gaussians.
        vectors: [N,D], what the Gaussians are compared by: features or means.
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
