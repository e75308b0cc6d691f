"""Segments on which the masks of several views agree.

Image masks are missing, merged, split and ragged, independently in every view: what is wrong in one is not repeated in
the others, and what is right is. Each mask is asked how well the other views' masks support it; from the best supported
one on, masks are refined into a segment (votes.refinement), the masks that it explains are crossed off, and what the
views that see it do not confirm is dropped.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from ...control import Control
from .incidence import Incidence
from .votes import POWER, Vote, agreements, iou, refinement, vote

_SAMPLE = 25_000  # Gaussians that the search looks at; the segments found are then voted on by all
_SUPPORTS = 0.6  # IoU of two masks of different views that mean the same
_SEEDS = 0.4  # the same for the search's beginnings: a small mask's ragged rim is much of it
_LEAST = 0.05  # support of a mask that is worth beginning with
_SEES = 0.3  # a view that shows less of a mask's thing than this share has no say about it
_EXPLAINED = 0.7  # IoU from which on a mask is accounted for by a segment
_SAME = 0.85  # IoU of segments that are one
_CONFIRMED = 0.2  # share of the views that see a segment in which a mask must speak for it
_FEWEST = 2  # views
_ROUNDING = 1 - 1e-4  # sums of weights in another order


def consensus(evidence: Incidence, control: Control, seed: int = 0) -> list[np.ndarray]:
    """Sets of Gaussians that masks of several views agree on, each [N] bool.

    Args:
        evidence: the masks.
        control: progress and cancel.
        seed: of the sample that stands for a large cloud during the search.

    Raises:
        Cancelled: if the control was cancelled.
    """
    count = evidence.inside.shape[1]
    shown = np.flatnonzero(np.bincount(evidence.shown.indices, minlength=count))
    if len(shown) > _SAMPLE:
        shown = np.sort(np.random.default_rng(seed).choice(shown, _SAMPLE, replace=False))
    part = evidence.columns(shown)
    found = _search(part, control)
    kept = confirmed(part, [result.selected for result in found])
    sets = [vote(evidence, found[k].masks, found[k].agreements ** POWER) > 0.5 for k in kept]
    return [selected for selected in sets if selected.any()]


def _search(part: Incidence, control: Control) -> list[Vote]:
    """What refinement makes of the masks, the best supported first; explained masks are passed over."""
    support, twins = supports(part, control)
    masses = part.masses()
    explained = support < _LEAST
    found: list[Vote] = []
    order = np.argsort(-support, kind="stable")
    for position, seed in enumerate(order):
        if explained[seed]:
            continue
        control.progress("comparing masks", position, len(order))
        explained[seed] = True
        result = _refined(part, _start(part, int(seed), twins[seed]), masses, [other.selected for other in found])
        if result is not None:
            explained |= agreements(part, result.selected, masses) > _EXPLAINED
            found.append(result)
    return found


def _refined(part: Incidence, start: np.ndarray, masses: np.ndarray, known: list[np.ndarray]) -> Vote | None:
    """What refinement makes of a selection; None where it makes nothing of it, or what is known already."""
    result = None
    for result in refinement(part, start, masses):
        if any(iou(result.selected, other) > _SAME for other in known):
            return None
    return result if result is not None and result.selected.any() else None


def _start(part: Incidence, seed: int, twins: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    masks, likeness = (t.copy() for t in twins)
    own = part.view_of[seed]
    masks[own], likeness[own] = seed, 1
    return vote(part, masks, np.where(likeness > 0.5, likeness**POWER, 0)) > 0.5


def confirmed(part: Incidence, sets: list[np.ndarray]) -> list[int]:
    """Which of some segments the masks confirm: every mask speaks for the segment most like it, and for no other.

    A wrong segment (two things joined, half of one) looks like enough masks of the right ones; asked for masks that are
    like it and like nothing else, it has few. The least confirmed one is dropped until all are confirmed, because what
    spoke for it may then speak for another.
    """
    masses, views = part.masses(), len(part.first) - 1
    ious = np.stack([agreements(part, s, masses) for s in sets]) if sets else np.zeros((0, len(masses)))
    sees = np.array([_seen_by(part, s, masses) for s in sets]).reshape(len(sets), views)
    kept = np.arange(len(sets))
    while len(kept):
        speaker = np.argmax(ious[kept], axis=0)
        agree = np.zeros((len(kept), views), bool)
        clear = np.flatnonzero(ious[kept].max(axis=0) > _SUPPORTS)
        agree[speaker[clear], part.view_of[clear]] = True
        count = agree.sum(axis=1)
        share = (agree & sees[kept]).sum(axis=1) / np.maximum(sees[kept].sum(axis=1), 1)
        value = np.where(count >= _FEWEST, share, 0)
        worst = int(np.argmin(value))
        if value[worst] >= _CONFIRMED:
            break
        kept = np.delete(kept, worst)
    return kept.tolist()


def _seen_by(part: Incidence, selected: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """[V] bool: views that show a segment well, and not smaller than the masks they have at all."""
    _, shown = part.overlaps(selected)
    smallest = np.full(len(shown), np.inf, np.float32)
    np.minimum.at(smallest, part.view_of, masses)
    return (shown > _SEES * shown.max()) & (shown >= _ROUNDING * smallest)


def supports(part: Incidence, control: Control) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """How well other views' masks support each mask.

    Two masks are compared where both views look: a mask is lifted to its Gaussians (the share of their weight in its
    view that lies inside it) and seen from the other view; of the two ways to look the worse IoU counts.

    Returns:
        support: [M] float32, sum of the best IoUs above _SUPPORTS over the views that see the mask's thing, times the
            mean of the same.
        twins: for every mask each view's most similar mask [V] and its IoU [V].
    """
    views, total = len(part.first) - 1, len(part.scales)
    lifted = _lifted(part)
    seen = (lifted @ part.shown.T).toarray()  # [M,V] mass of the lifted mask in every view
    common = (part.inside @ (part.shown > 0).astype(np.float32).T).toarray()  # [M,V] what the view shows of a mask
    every = np.arange(total)
    twin, likeness = np.zeros((total, views), np.int64), np.zeros((total, views), np.float32)
    for v in np.flatnonzero(np.diff(part.first)):
        control.progress("comparing masks", int(v), views)
        masks = slice(part.first[v], part.first[v + 1])
        there = (lifted @ part.inside[masks].T).toarray()  # every mask, lifted, inside v's masks
        back = (part.inside @ lifted[masks].T).toarray()  # v's masks, lifted, inside every mask
        one = there / np.maximum(common[masks][:, part.view_of].T + seen[:, [v]] - there, 1e-9)
        two = back / np.maximum(common[:, [v]] + seen[masks][:, part.view_of].T - back, 1e-9)
        ious = np.minimum(one, two)
        best = np.argmax(ious, axis=1)
        twin[:, v], likeness[:, v] = masks.start + best, ious[every, best]
    sees = seen > _SEES * seen[every, part.view_of][:, None]
    sees[every, part.view_of] = False
    likeness[~sees] = 0
    good = np.where(likeness > _SEEDS, likeness, 0).sum(axis=1)
    return (good * good / np.maximum(sees.sum(axis=1), 1)).astype(np.float32), list(zip(twin, likeness, strict=True))


def _lifted(part: Incidence) -> sparse.csr_matrix:
    """[M,N] float32: share of a Gaussian's weight in a mask's view that lies inside the mask."""
    lifted, shown = part.inside.copy(), np.maximum(part.shown.toarray(), 1e-9)
    for v, (first, end) in enumerate(zip(part.first[:-1], part.first[1:], strict=True)):  # a view at a time: few copies
        entries = slice(lifted.indptr[first], lifted.indptr[end])
        lifted.data[entries] /= shown[v, lifted.indices[entries]]
    return lifted
