"""Votes of masks over Gaussians, and the refinement that lets the masks which agree with a selection vote again."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from .incidence import Incidence

ROUNDS = 5
AGREES = 0.5  # IoU with the selection from which on a view's best mask votes
POWER = 12  # of the IoU, in the weight of a vote: at 4, an object's masks still blur the outline of its largest part
SELECTED = 0.5
WITHIN = 1.6  # a mask this many times larger or smaller than the wanted scale is another thing's
_HOLDS = 0.5  # share of a click's blending weight that a mask must hold to be meant


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


def refine(evidence: Incidence, start: np.ndarray, masses: np.ndarray, rounds: int = ROUNDS) -> Vote | None:
    """Let in each view the mask most like the selection vote, by IoU to the power of POWER, and again.

    Args:
        evidence: the masks.
        start: [N] bool, the selection to begin with.
        masses: [M], `evidence.masses()`.
        rounds: at most; a selection that no longer changes ends it.

    Returns:
        The last round's vote; None when no mask agrees with the selection any more.
    """
    selected, result = start, None
    for _ in range(rounds):
        masks, best = best_of_views(agreements(evidence, selected, masses), evidence.first)
        weights = np.where(best > AGREES, best**POWER, 0)
        if not weights.any():
            return None
        result = Vote(vote(evidence, masks, weights), np.where(weights > 0, masks, -1), np.where(weights > 0, best, 0))
        if np.array_equal(result.selected, selected):
            break
        selected = result.selected
    return result


def first_vote(evidence: Incidence, seed: np.ndarray, wanted: float | None) -> np.ndarray | None:
    """[N] float32 scores after a click (design, section 7): in every view the mask that holds the click and is nearest
    in scale votes.

    Args:
        evidence: the masks.
        seed: [N] float32, the click's blending weight on every Gaussian.
        wanted: scale, scene units; None: in every view the largest mask that holds the click.

    Returns:
        The scores; None when no mask holds the click at that scale.
    """
    inside, shown = evidence.overlaps(seed)
    holds = inside > _HOLDS * np.maximum(shown[evidence.view_of], 1e-9)
    if wanted is None:
        value = np.where(holds, evidence.scales, 0)
    else:
        ratio = np.abs(np.log(np.maximum(evidence.scales, 1e-12) / max(wanted, 1e-12)))
        value = np.where(holds & (ratio <= np.log(WITHIN)), np.exp(-ratio), 0)
    masks, best = best_of_views(value, evidence.first)
    return vote(evidence, masks, best > 0) if best.any() else None


@numba.njit(parallel=True, cache=True)
def _best(values, first, masks, best):
    for v in numba.prange(len(masks)):
        for m in range(first[v], first[v + 1]):
            if masks[v] < 0 or values[m] > best[v]:
                masks[v], best[v] = m, values[m]


@numba.njit(cache=True)
def _gather(offsets, ids, values, rows, weights, out):
    for index in range(len(rows)):
        row, weight = rows[index], weights[index]
        for k in range(offsets[row], offsets[row + 1]):
            out[ids[k]] += weight * values[k]
