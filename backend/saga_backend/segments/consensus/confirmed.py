"""Confirmation of segments by masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .sample import Sample
from .supports import SEES
from .votes import agreements

_SUPPORTS = 0.6  # minimum IoU of a mask that supports a segment
_CONFIRMED = 0.2  # minimum share of a segment's views with a supporting mask
_FEWEST = 2  # views
_ROUNDING = 1 - 1e-4  # tolerance for sums in another order
_BLOCK = 64  # segments per comparison with all masks


def confirmed(sample: Sample, sets: np.ndarray) -> list[int]:
    """The segments of [K,W] (bits) that the masks confirm. Every mask supports only its most similar segment.

    A wrong segment (two merged objects, half of an object) resembles many masks of correct segments, but few masks
    resemble it most. The least confirmed segment is dropped until all are confirmed, because its masks may then support
    another one.
    """
    poll = _poll(sample, sets)
    while poll.value.size:
        worst = int(np.argmin(poll.value))
        if poll.value[worst] >= _CONFIRMED:
            break
        poll.drop(worst)
    return np.flatnonzero(np.isfinite(poll.value)).tolist()


@dataclass(eq=False)
class _Poll:
    """The supporting masks of every segment.

    Attributes:
        choices: [C], similar segments of all masks, one mask after another, most similar first. Mask m has
            choices[begins[m]:begins[m + 1]] and supports the one at `at[m]`; at the end it supports none.
        view_of: [M], view of each mask.
        sees: [K,V] bool, whether a view sees a segment.
        speaking: [K,V] int, number of a view's masks that support a segment.
        value: [K] float, share of a segment's views with a supporting mask; 0 for too few views, infinite for a dropped
            segment.
    """

    choices: np.ndarray
    begins: np.ndarray
    view_of: np.ndarray
    sees: np.ndarray

    def __post_init__(self) -> None:
        self.at = self.begins[:-1].copy()
        self.speaking = np.zeros(self.sees.shape, np.int32)
        speakers = np.flatnonzero(self.at < self.begins[1:])
        np.add.at(self.speaking, (self.choices[self.at[speakers]], self.view_of[speakers]), 1)
        self.value = self._valued(np.arange(len(self.sees)))

    def _valued(self, segments: np.ndarray) -> np.ndarray:
        agree, sees = self.speaking[segments] > 0, self.sees[segments]
        share = (agree & sees).sum(axis=1) / np.maximum(sees.sum(axis=1), 1)
        return np.where(agree.sum(axis=1) >= _FEWEST, share, 0)

    def drop(self, segment: int) -> None:
        """Drop a segment; its masks support their next remaining segment."""
        self.value[segment] = np.inf
        voters = np.flatnonzero(self.at < self.begins[1:])
        changed = set()
        for m in voters[self.choices[self.at[voters]] == segment].tolist():
            while self.at[m] < self.begins[m + 1] and np.isinf(self.value[self.choices[self.at[m]]]):
                self.at[m] += 1
            if self.at[m] < self.begins[m + 1]:
                changed.add(int(self.choices[self.at[m]]))
                self.speaking[self.choices[self.at[m]], self.view_of[m]] += 1
        other = np.array(sorted(changed), np.int64)
        self.value[other] = self._valued(other)


def _poll(sample: Sample, sets: np.ndarray) -> _Poll:
    views, total = len(sample.first) - 1, len(sample.masses)
    smallest = np.full(views, np.inf, np.float32)
    np.minimum.at(smallest, sample.view_of, sample.masses)
    segments, masks, likeness = ([np.zeros(0, kind)] for kind in (np.int64, np.int64, np.float32))
    sees = np.zeros((len(sets), views), bool)
    for begin in range(0, len(sets), _BLOCK):
        ious, shown = agreements(sample, sets[begin : begin + _BLOCK])
        k, m = np.nonzero(ious > _SUPPORTS)
        for values, more in ((segments, k + begin), (masks, m), (likeness, ious[k, m])):
            values.append(more)
        most = shown.max(axis=1, keepdims=True, initial=0)
        # the view shows the segment well, and at least as large as its smallest mask
        sees[begin : begin + _BLOCK] = (shown > SEES * most) & (shown >= _ROUNDING * smallest)
    segment, mask, similarity = np.concatenate(segments), np.concatenate(masks), np.concatenate(likeness)
    order = np.lexsort((segment, -similarity, mask))
    begins = np.concatenate([[0], np.cumsum(np.bincount(mask, minlength=total))])
    return _Poll(segment[order], begins, sample.view_of, sees)
