"""Segments on which the masks of several views agree.

Image masks are missing, merged, split and ragged, independently in every view: errors differ between views, and correct
masks repeat. Each mask is rated by its support from the masks of other views. Starting with the best supported one,
masks are refined into segments (votes.refine), and the masks that a segment explains are skipped. Segments that their
views do not confirm are dropped (confirmed).
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

_SAMPLE = 25_000  # Gaussians in the search; the final votes use all Gaussians
_FEWEST = 5_000  # lower limit of the sample, regardless of _ENTRIES
_ENTRIES = 8_000_000  # pairs of a sampled Gaussian and a mask: 20 bytes each, and the time is proportional
_LEAST = 0.05  # minimum support of a seed mask
_EXPLAINED = 0.7  # minimum IoU of a mask that a segment explains
_MAX_BATCH = 64  # masks refined together before explained ones are skipped


def consensus(incidence: Incidence, control: Control, seed: int = 0) -> list[np.ndarray]:
    """The segments on which masks of several views agree, each [N] bool.

    Args:
        incidence: incidence of the masks.
        control: progress and cancellation.
        seed: seed of the sample of Gaussians for the search.

    Raises:
        Cancelled: if the control was cancelled.
    """
    shown = np.flatnonzero(incidence.shows())
    most = _sample_size(incidence, len(shown))
    if len(shown) > most:
        shown = np.sort(np.random.default_rng(seed).choice(shown, most, replace=False))
    sample = sample_of(incidence, shown)
    results = _search(sample, control)
    ids = confirmed(sample, results.sets)
    return [selected for selected in vote(incidence, results.masks[ids], results.weights[ids]) if selected.any()]


def _sample_size(incidence: Incidence, shown: int) -> int:
    """Number of visible Gaussians in the search; smaller if each one is in very many masks."""
    each = incidence.inside.nnz / max(shown, 1)
    return max(_FEWEST, min(_SAMPLE, int(_ENTRIES / max(each, 1))))


class _Results:
    """The segments of the search so far: sets [K,W] as bits, and their votes [K,V]."""

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
        """Add the refined set of seed b."""
        if self._count == len(self._sets):
            for name in ("_sets", "_masks", "_weights"):
                old = getattr(self, name)
                setattr(self, name, np.concatenate([old, np.zeros_like(old)]))
        self._sets[self._count] = refined.selections[b, refined.rounds[b] - 1]
        self._masks[self._count], self._weights[self._count] = refined.masks[b], refined.agreements[b] ** POWER
        self._count += 1


def _search(sample: Sample, control: Control) -> _Results:
    """Refine the masks, best supported first, and skip explained masks.

    Several masks are refined at a time, on all cores. Masks that an earlier one of the same batch explains are skipped
    as well, so the result does not depend on the batch size.
    """
    support, twins, likeness = supports(sample, control)
    explained, results = support < _LEAST, _Results(sample)
    order = np.argsort(-support, kind="stable")
    position, at_once = 0, numba.get_num_threads()
    while position < len(order):
        control.progress("joining masks", position, len(order))
        open_ = position + np.flatnonzero(~explained[order[position:]])[:at_once]
        if not len(open_):
            break
        position = int(open_[-1]) + 1
        skipped = _refine_batch(sample, order[open_], (twins, likeness), explained, results)
        at_once = min(2 * at_once, _MAX_BATCH) if not skipped else numba.get_num_threads()
    return results


def _refine_batch(
    sample: Sample, seeds: np.ndarray, twins: tuple[np.ndarray, np.ndarray], explained: np.ndarray, results: _Results
) -> int:
    """Refine some masks and add new segments; returns the number of masks that another one explained."""
    refined = refine(sample, *_starts(sample, seeds, twins), results.sets)
    last = refined.selections[np.arange(len(seeds)), np.maximum(refined.rounds, 1) - 1]
    new = (refined.rounds > 0) & ~refined.known & (sizes(last) > 0)
    ious = np.zeros((len(seeds), len(explained)), np.float32)
    ious[new], _ = agreements(sample, last[new])
    before, skipped = len(results), 0
    for b, seed in enumerate(seeds):
        if explained[seed]:
            skipped += 1
            continue
        explained[seed] = True
        fresh = results.sets[before:]
        if new[b] and not any(same_as_any(s, fresh) for s in refined.selections[b, : refined.rounds[b]]):
            explained |= ious[b] > _EXPLAINED
            results.add(refined, b)
    return skipped


def _starts(sample: Sample, seeds: np.ndarray, twins: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The initial votes [B,V]: the most similar mask of each view, and the seed in its own view."""
    every = np.arange(len(seeds))
    masks, likeness = twins[0][seeds].astype(np.int64), twins[1][seeds].copy()
    masks[every, sample.view_of[seeds]], likeness[every, sample.view_of[seeds]] = seeds, 1
    return masks, np.where(likeness > 0.5, likeness**POWER, 0)
