"""Duplicates of an object share their ids: a click applies to the duplicate under it and leaves the others alone.

A click selects ids, and duplicates share ids. So a click gets one interpretation for each duplicate that it hits, with
the prompts for that duplicate. Objects that share no id with it (other pieces of the scene) take part in all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from blender_saga.wire.messages import ObjectPoints

from ..rasterizer.contributions import SHOWN_ALPHA, Contributions

_RIM = 0.03  # share of a region's pixels; a duplicate with less of them is not meant
_HIT, _BESIDE, _APART, _OUT = range(4)
"""Rank of a group: the duplicate under the click, a group at the same place, one elsewhere, another clicked one."""


@dataclass(frozen=True, eq=False)
class Groups:
    """The points of all objects in groups: two for each object, its points and those that were moved on their own.

    Attributes:
        of: [T] int64, the group of each point.
        ids: [T] int32, the id of each point.
        matrices: [G,4,4], the transform of each group's object.
    """

    of: np.ndarray
    ids: np.ndarray
    matrices: np.ndarray

    @cached_property
    def holds(self) -> np.ndarray:
        """[G,N] bool: whether a group has an id."""
        out = np.zeros((len(self.matrices), int(self.ids.max()) + 1), bool)
        out[self.of, self.ids] = True
        return out

    def duplicates(self, group: int) -> np.ndarray:
        """[G] bool: the other groups that share ids with a group."""
        out = (self.holds & self.holds[group]).any(axis=1)
        out[group] = False
        return out

    def hit(self, rows: Contributions, shown: int) -> np.ndarray:
        """[H] groups that a prompt hits.

        Args:
            rows: of its pixels; ids are indices of points.
            shown: the number of pixels inside the prompt; they come first.
        """
        weights = np.zeros((len(rows), len(self.matrices)))
        np.add.at(weights, (np.repeat(np.arange(len(rows)), np.diff(rows.offsets)), self.of[rows.ids]), rows.weights)
        weights = weights[:shown]
        nearest = weights.argmax(axis=1)[weights.sum(axis=1) >= SHOWN_ALPHA]
        counts = np.bincount(nearest, minlength=len(self.matrices))
        return np.flatnonzero(counts > _RIM * counts.sum())


def group_points(objects: Sequence[ObjectPoints], ids: list[np.ndarray], count: int) -> Groups | None:
    """The groups of some objects with their ids; None if no id of `count` occurs twice."""
    if len(objects) == 1 and not len(objects[0].moved):
        return None
    everything = np.concatenate(ids)
    if not len(everything) or np.bincount(everything, minlength=count).max() < 2:
        return None
    of = np.repeat(2 * np.arange(len(objects)), [len(own) for own in ids])
    starts = np.cumsum([0, *(len(own) for own in ids)])
    for part, start in zip(objects, starts[:-1], strict=True):
        of[start + part.moved] += 1
    return Groups(of, everything, np.repeat([part.matrix for part in objects], 2, axis=0))


@dataclass(frozen=True, eq=False)
class Interpretation:
    """One meaning of a click: the numbers of its prompts, and the points [T] bool that it applies to."""

    prompts: tuple[int, ...]
    scope: np.ndarray


def interpretations(groups: Groups, hits: Sequence[np.ndarray], positive: Sequence[bool]) -> list[Interpretation]:
    """One interpretation for each duplicate under a positive prompt; none if the prompts hit nothing.

    Args:
        groups: the points.
        hits: the groups that each prompt hits.
        positive: the sign of each prompt, False for "not this".
    """
    clicked = np.unique(np.concatenate([np.zeros(0, int), *(h for h, p in zip(hits, positive, strict=True) if p)]))
    found: dict[tuple, Interpretation] = {}
    for group in clicked:
        others = groups.duplicates(group)
        prompts = tuple(i for i, hit in enumerate(hits) if not len(hit) or not others[hit].all())
        ranks = np.full(len(groups.matrices), _APART)
        hit = clicked[~others[clicked]]
        for near in hit:
            ranks[np.isclose(groups.matrices, groups.matrices[near]).all(axis=(1, 2))] = _BESIDE
        ranks[clicked], ranks[hit] = _OUT, _HIT
        key = (prompts, *ranks)
        if key not in found:
            found[key] = Interpretation(prompts, _nearest(groups, ranks))
    return list(found.values())


def _nearest(groups: Groups, ranks: np.ndarray) -> np.ndarray:
    """[T] bool: for every id, the points of its nearest groups."""
    best = np.full(groups.holds.shape[1], _OUT)
    for rank in (_APART, _BESIDE, _HIT):
        best[groups.holds[ranks == rank].any(axis=0)] = rank
    return (ranks[groups.of] == best[groups.ids]) & (ranks[groups.of] < _OUT)
