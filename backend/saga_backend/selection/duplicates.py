"""Duplicates of an object hold the same ids: a click means the copy that it hits, and its other copies are left alone.

A click is understood by ids, which copies share. So it is read once for each copy that it hits, with the prompts that
speak of that copy; objects that share no id with it (other pieces of the scene) take part in every reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from blender_saga.wire.messages import ObjectPoints

from ..rasterizer.contributions import SHOWN_ALPHA, Contributions

_RIM = 0.03  # share of a region's pixels with less of which a copy is not meant
_HIT, _BESIDE, _APART, _OUT = range(4)
"""How near a group is to the copy that was hit: it, or at one place with it, elsewhere, another copy that was hit."""


@dataclass(frozen=True, eq=False)
class Groups:
    """The points of all objects by where they belong: each object, and in it those that were moved by themselves.

    Attributes:
        of: [T] int64, the group of each point.
        ids: [T] int32, its id.
        matrices: [G,4,4], where each group's object stands.
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
        """[G] bool: which other groups share ids with one."""
        out = (self.holds & self.holds[group]).any(axis=1)
        out[group] = False
        return out

    def hit(self, rows: Contributions, shown: int) -> np.ndarray:
        """[H] groups that a prompt hits.

        Args:
            rows: of its pixels; ids are places among all points.
            shown: the first so many of them are inside it.
        """
        weights = np.zeros((len(rows), len(self.matrices)))
        np.add.at(weights, (np.repeat(np.arange(len(rows)), np.diff(rows.offsets)), self.of[rows.ids]), rows.weights)
        weights = weights[:shown]
        nearest = weights.argmax(axis=1)[weights.sum(axis=1) >= SHOWN_ALPHA]
        counts = np.bincount(nearest, minlength=len(self.matrices))
        return np.flatnonzero(counts > _RIM * counts.sum())


def groups(objects: Sequence[ObjectPoints], ids: list[np.ndarray], count: int) -> Groups | None:
    """The groups of some objects with their ids; None where no id of `count` is there twice."""
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
    """One way to read a click: the numbers of the prompts that count, and which points [T] bool it speaks of."""

    prompts: tuple[int, ...]
    scope: np.ndarray


def interpretations(there: Groups, hits: Sequence[np.ndarray], positive: Sequence[bool]) -> list[Interpretation]:
    """How the prompts are to be read, one reading for each copy that a positive one hits; none: they hit nothing.

    Args:
        there: the points.
        hits: of each prompt the groups that it hits.
        positive: of each prompt, False for "not this".
    """
    wanted = np.unique(np.concatenate([np.zeros(0, int), *(h for h, p in zip(hits, positive, strict=True) if p)]))
    found: dict[tuple, Interpretation] = {}
    for group in wanted:
        copies = there.duplicates(group)
        prompts = tuple(i for i, hit in enumerate(hits) if not len(hit) or not copies[hit].all())
        ranks = np.full(len(there.matrices), _APART)
        hit = wanted[~copies[wanted]]
        for near in hit:
            ranks[np.isclose(there.matrices, there.matrices[near]).all(axis=(1, 2))] = _BESIDE
        ranks[wanted], ranks[hit] = _OUT, _HIT
        key = (prompts, *ranks)
        if key not in found:
            found[key] = Interpretation(prompts, _nearest(there, ranks))
    return list(found.values())


def _nearest(there: Groups, ranks: np.ndarray) -> np.ndarray:
    """[T] bool: of the points that hold an id, those of the nearest groups."""
    best = np.full(there.holds.shape[1], _OUT)
    for rank in (_APART, _BESIDE, _HIT):
        best[there.holds[ranks == rank].any(axis=0)] = rank
    return (ranks[there.of] == best[there.ids]) & (ranks[there.of] < _OUT)
