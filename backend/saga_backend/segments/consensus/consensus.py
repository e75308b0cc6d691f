"""Segments on which the masks of several views agree.

Image masks are missing, merged, split and ragged, independently in every view: what is wrong in one is not repeated in
the others, and what is right is. Each mask is asked how well the other views' masks support it; from the best supported
one on, masks are refined into a segment (votes.refine), the masks that it explains are crossed off, and what the views
that see it do not confirm is dropped (confirmed).
"""

from __future__ import annotations

import numba
import numpy as np

from ...common.progress import Control
from .confirmed import confirmed
from .incidence import Incidence
from .sample import Sample, sample_of
from .supports import supports
from .votes import POWER, Refined, agreements, refine, same_as_any, sizes, vote, words_of

_SAMPLE = 25_000  # Gaussians that the search looks at; the segments found are then voted on by all
_FEWEST = 5_000  # at least, whatever the next one says
_ENTRIES = 8_000_000  # times that a Gaussian of the sample lies in a mask: 20 bytes each, and the work grows with it
_LEAST = 0.05  # support of a mask that is worth beginning with
_EXPLAINED = 0.7  # IoU from which on a mask is accounted for by a segment
_MOST_AT_ONCE = 64  # masks that are refined before it is asked which of them the others explain


def consensus(incidence: Incidence, control: Control, seed: int = 0) -> list[np.ndarray]:
    """Sets of Gaussians that masks of several views agree on, each [N] bool.

    Args:
        incidence: of the masks.
        control: progress and cancel.
        seed: of the sample that stands for a large cloud during the search.

    Raises:
        Cancelled: if the control was cancelled.
    """
    shown = np.flatnonzero(incidence.shows())
    most = _sample_size(incidence, len(shown))
    if len(shown) > most:
        shown = np.sort(np.random.default_rng(seed).choice(shown, most, replace=False))
    sample = sample_of(incidence, shown)
    found = _search(sample, control)
    kept = confirmed(sample, found.sets)
    return [selected for selected in vote(incidence, found.masks[kept], found.weights[kept]) if selected.any()]


def _sample_size(incidence: Incidence, shown: int) -> int:
    """How many of the Gaussians that some view shows the search looks at: fewer where each lies in very many masks."""
    each = incidence.inside.nnz / max(shown, 1)
    return max(_FEWEST, min(_SAMPLE, int(_ENTRIES / max(each, 1))))


class _Found:
    """What the search has found so far: sets [K,W] as bits, and the votes [K,V] that made them."""

    def __init__(self, sample: Sample) -> None:
        views = len(sample.first) - 1
        self._sets = np.zeros((16, words_of(sample)), np.uint64)
        self._masks, self._weights = np.zeros((16, views), np.int64), np.zeros((16, views), np.float32)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def sets(self) -> np.ndarray:
        return self._sets[: self._count]

    @property
    def masks(self) -> np.ndarray:
        return self._masks[: self._count]

    @property
    def weights(self) -> np.ndarray:
        return self._weights[: self._count]

    def add(self, refined: Refined, b: int) -> None:
        """Take in what came of a beginning."""
        if self._count == len(self._sets):
            for name in ("_sets", "_masks", "_weights"):
                old = getattr(self, name)
                setattr(self, name, np.concatenate([old, np.zeros_like(old)]))
        self._sets[self._count] = refined.selections[b, refined.rounds[b] - 1]
        self._masks[self._count], self._weights[self._count] = refined.masks[b], refined.agreements[b] ** POWER
        self._count += 1


def _search(sample: Sample, control: Control) -> _Found:
    """What refinement makes of the masks, the best supported first; explained masks are passed over.

    Several are refined at a time, on all cores. What an earlier one of them explains is then passed over none the less,
    so that the result is that of one at a time.
    """
    support, twins, likeness = supports(sample, control)
    explained, found = support < _LEAST, _Found(sample)
    order = np.argsort(-support, kind="stable")
    position, at_once = 0, numba.get_num_threads()
    while position < len(order):
        control.progress("joining masks", position, len(order))
        open_ = position + np.flatnonzero(~explained[order[position:]])[:at_once]
        if not len(open_):
            break
        position = int(open_[-1]) + 1
        passed = _take(sample, order[open_], (twins, likeness), explained, found)
        at_once = min(2 * at_once, _MOST_AT_ONCE) if not passed else numba.get_num_threads()
    return found


def _take(
    sample: Sample, seeds: np.ndarray, twins: tuple[np.ndarray, np.ndarray], explained: np.ndarray, found: _Found
) -> int:
    """Refine some masks and add what is new; how many of them another one explained meanwhile."""
    refined = refine(sample, *_starts(sample, seeds, twins), found.sets)
    last = refined.selections[np.arange(len(seeds)), np.maximum(refined.rounds, 1) - 1]
    new = (refined.rounds > 0) & ~refined.known & (sizes(last) > 0)
    ious = np.zeros((len(seeds), len(explained)), np.float32)
    ious[new], _ = agreements(sample, last[new])
    before, passed = len(found), 0
    for b, seed in enumerate(seeds):
        if explained[seed]:
            passed += 1
            continue
        explained[seed] = True
        fresh = found.sets[before:]
        if new[b] and not any(same_as_any(s, fresh) for s in refined.selections[b, : refined.rounds[b]]):
            explained |= ious[b] > _EXPLAINED
            found.add(refined, b)
    return passed


def _starts(sample: Sample, seeds: np.ndarray, twins: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The votes [B,V] to begin with: of each view the mask most like the seed, and the seed in its own view."""
    every = np.arange(len(seeds))
    masks, likeness = twins[0][seeds].astype(np.int64), twins[1][seeds].copy()
    masks[every, sample.view_of[seeds]], likeness[every, sample.view_of[seeds]] = seeds, 1
    return masks, np.where(likeness > 0.5, likeness**POWER, 0)
