"""Votes of masks over Gaussians, and the refinement that lets the masks which agree with a selection vote again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numba
import numpy as np

from .incidence import Incidence

ROUNDS = 5
AGREES = 0.5  # IoU with the selection from which on a view's best mask votes
POWER = 12  # of the IoU, in the weight of a vote: at 4, an object's masks still blur the outline of its largest part
SELECTED = 0.5


_SETTLED = 0.99  # IoU of two rounds' selections


@dataclass(frozen=True, eq=False)
class Vote:
    """What the masks say about a thing.

    Attributes:
        scores: [N] float32, share of a Gaussian's weight in the voting views that lies inside their masks, 0..1.
        masks: [V] int64, the mask that spoke for each view, -1 where the view abstained.
        agreements: [V] float32, IoU of that mask with the selection before this round, 0 where the view abstained.
    """

    scores: np.ndarray
    masks: np.ndarray
    agreements: np.ndarray

    @property
    def selected(self) -> np.ndarray:
        """[N] bool: score above one half."""
        return self.scores > SELECTED


def vote(evidence: Incidence, masks: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """[N] float32 score_i = sum_v w_v B_v[m_v, i] / sum_v w_v Vis_v[i]; 0 where no voting view shows the Gaussian.

    Args:
        evidence: the masks.
        masks: [V] int64, each view's mask; ignored where the weight is 0.
        weights: [V] float32, 0 for a view that abstains.
    """
    count = evidence.inside.shape[1]
    inside, shown = np.zeros(count, np.float32), np.zeros(count, np.float32)
    voting = np.flatnonzero(weights > 0)
    wanted = weights[voting].astype(np.float32)
    _gather(evidence.inside.indptr, evidence.inside.indices, evidence.inside.data, masks[voting], wanted, inside)
    _gather(evidence.shown.indptr, evidence.shown.indices, evidence.shown.data, voting, wanted, shown)
    return np.divide(inside, shown, out=np.zeros(count, np.float32), where=shown > 1e-6)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two selections [N] bool; 0 when both are empty."""
    both = int(np.count_nonzero(a & b))
    return both / max(int(np.count_nonzero(a) + np.count_nonzero(b)) - both, 1)


def agreements(evidence: Incidence, selected: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """[M] float32: IoU of every mask with a selection as its view shows it.

    Args:
        evidence: the masks.
        selected: [N] bool.
        masses: [M], `evidence.masses()`.
    """
    inside, shown = evidence.overlaps(selected)
    union = masses + shown[evidence.view_of] - inside
    return inside / np.maximum(union, 1e-9)


def best_of_views(values: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of every view the mask of highest value: (masks [V] int64, values [V]); -1 and 0 where a view has no masks."""
    views = len(first) - 1
    masks, best = np.full(views, -1), np.zeros(views, np.float32)
    _best(np.asarray(values, np.float32), first, masks, best)
    return masks, best


def refinement(evidence: Incidence, start: np.ndarray, masses: np.ndarray, rounds: int = ROUNDS) -> Iterator[Vote]:
    """Let in each view the mask most like the selection vote, by IoU to the power of POWER, and again.

    Args:
        evidence: the masks.
        start: [N] bool, the selection to begin with.
        masses: [M], `evidence.masses()`.
        rounds: at most; a selection that hardly changes any more ends it, and so does one that no mask agrees with.

    Yields:
        The vote of every round.
    """
    selected = start
    for _ in range(rounds):
        masks, best = best_of_views(agreements(evidence, selected, masses), evidence.first)
        weights = np.where(best > AGREES, best**POWER, 0)
        if not weights.any():
            return
        result = Vote(vote(evidence, masks, weights), np.where(weights > 0, masks, -1), np.where(weights > 0, best, 0))
        yield result
        before, selected = selected, result.selected
        if iou(before, selected) > _SETTLED:
            return


@numba.njit(parallel=True, cache=True)
def _best(values, first, masks, best):
    for v in numba.prange(len(masks)):
        for m in range(first[v], first[v + 1]):
            if masks[v] < 0 or values[m] > best[v]:
                masks[v], best[v] = m, values[m]


@numba.njit(cache=True, nogil=True)
def _gather(offsets, ids, values, rows, weights, out):
    for index in range(len(rows)):
        row, weight = rows[index], weights[index]
        for k in range(offsets[row], offsets[row + 1]):
            out[ids[k]] += weight * values[k]
