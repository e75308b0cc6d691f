"""Consensus written plainly, on dense float64 matrices and one mask at a time: what the fast one has to give."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

POWER, ROUNDS = 12, 5


@dataclass
class Dense:
    """Masks of V views over N Gaussians: inside [M,N], shown [V,N], first [V+1]."""

    inside: np.ndarray
    shown: np.ndarray
    first: list[int]

    def __post_init__(self) -> None:
        self.view_of = np.repeat(np.arange(len(self.shown)), np.diff(self.first))
        self.masses = self.inside.sum(axis=1)
        self.lifted = self.inside / np.maximum(self.shown[self.view_of], 1e-9)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


def vote(incidence: Dense, masks, weights) -> np.ndarray:
    """[N] scores, Gaussian by Gaussian."""
    out = np.zeros(incidence.inside.shape[1])
    for i in range(len(out)):
        above = sum(w * incidence.inside[m, i] for m, w in zip(masks, weights, strict=True) if w > 0)
        below = sum(w * incidence.shown[v, i] for v, w in enumerate(weights) if w > 0)
        out[i] = above / below if below > 1e-6 else 0
    return out


def agreements(incidence: Dense, selected: np.ndarray) -> np.ndarray:
    """[M] IoU of every mask with a selection [N] bool, mask by mask."""
    out = []
    for m, v in enumerate(incidence.view_of):
        common = incidence.inside[m][selected].sum()
        union = incidence.masses[m] + incidence.shown[v][selected].sum() - common
        out.append(common / union if union > 0 else 0)
    return np.array(out)


@dataclass
class Round:
    """A round of refinement: what it selected, the mask of each view that voted (-1: none) and its IoU."""

    selected: np.ndarray
    masks: list[int]
    agreements: list[float]


def refinement(incidence: Dense, selected: np.ndarray) -> Iterator[Round]:
    """In every view the mask most like the selection votes, by IoU to the power of 12, and again."""
    for _ in range(ROUNDS):
        ious = agreements(incidence, selected)
        masks, likes = [], []
        for begin, end in pairwise(incidence.first):
            best = begin + int(np.argmax(ious[begin:end])) if begin < end else -1
            agrees = best >= 0 and ious[best] > 0.5
            masks.append(best if agrees else -1)
            likes.append(float(ious[best]) if agrees else 0.0)
        if not any(likes):
            return
        before, selected = selected, vote(incidence, masks, [like**POWER for like in likes]) > 0.5
        yield Round(selected, masks, likes)
        if iou(before, selected) > 0.99:
            return


def supports(incidence: Dense) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Support [M], most similar mask of every view [M,V] and its IoU [M,V], pair by pair."""
    total, views = len(incidence.masses), len(incidence.shown)
    twins, likeness, support = np.zeros((total, views), int), np.zeros((total, views)), np.zeros(total)
    for a in range(total):
        own, looking = incidence.view_of[a], []
        here = incidence.lifted[a] @ incidence.shown[own]
        for v in range(views):
            if v == own or incidence.lifted[a] @ incidence.shown[v] <= 0.3 * here:
                continue
            looking.append(0.0)
            for b in range(incidence.first[v], incidence.first[v + 1]):
                alike = min(_looked_at(incidence, a, b), _looked_at(incidence, b, a))
                if alike > likeness[a, v]:
                    likeness[a, v], twins[a, v] = alike, b
            looking[-1] = likeness[a, v] if likeness[a, v] > 0.4 else 0.0
        support[a] = sum(looking) ** 2 / max(len(looking), 1)
    return support, twins, likeness


def _looked_at(incidence: Dense, a: int, b: int) -> float:
    """IoU of mask a, lifted, with mask b, in b's view, where a's view sees anything."""
    both = (incidence.lifted[a] * incidence.inside[b]).sum()
    there = (incidence.lifted[a] * incidence.shown[incidence.view_of[b]]).sum()
    shared = incidence.inside[b][incidence.shown[incidence.view_of[a]] > 0].sum()
    return both / max(there + shared - both, 1e-9)


def confirmed(incidence: Dense, sets: list[np.ndarray]) -> list[int]:
    """Every mask speaks for the segment most like it; the least confirmed one is dropped until all are."""
    ious = [agreements(incidence, s) for s in sets]
    sees = []
    for s in sets:
        shown = [incidence.shown[v][s].sum() for v in range(len(incidence.shown))]
        least = [incidence.masses[incidence.view_of == v].min(initial=np.inf) for v in range(len(shown))]
        sees.append([x > 0.3 * max(shown) and x >= (1 - 1e-4) * low for x, low in zip(shown, least, strict=True)])
    kept = list(range(len(sets)))
    while kept:
        speaking: dict[int, set[int]] = {k: set() for k in kept}
        for m, v in enumerate(incidence.view_of):
            best = max(kept, key=lambda k: ious[k][m])
            if ious[best][m] > 0.6:
                speaking[best].add(v)
        value = {}
        for k in kept:
            seen = sum(sees[k])
            share = sum(bool(sees[k][v]) for v in speaking[k]) / max(seen, 1)
            value[k] = share if len(speaking[k]) >= 2 else 0.0
        worst = min(kept, key=lambda k: value[k])
        if value[worst] >= 0.2:
            break
        kept.remove(worst)
    return kept


def consensus(incidence: Dense) -> list[np.ndarray]:
    """Sets [N] bool that the masks of several views agree on."""
    support, twins, likeness = supports(incidence)
    explained, found = support < 0.05, []
    for seed in np.argsort(-support, kind="stable"):
        if explained[seed]:
            continue
        explained[seed] = True
        masks, weights = twins[seed].copy(), np.where(likeness[seed] > 0.5, likeness[seed] ** POWER, 0)
        masks[incidence.view_of[seed]], weights[incidence.view_of[seed]] = seed, 1
        last = None
        for last in refinement(incidence, vote(incidence, masks, weights) > 0.5):
            if any(iou(last.selected, other.selected) > 0.85 for other in found):
                last = None
                break
        if last is not None and last.selected.any():
            explained |= agreements(incidence, last.selected) > 0.7
            found.append(last)
    kept = [found[k] for k in confirmed(incidence, [f.selected for f in found])]
    sets = [vote(incidence, f.masks, [like**POWER for like in f.agreements]) > 0.5 for f in kept]
    return [s for s in sets if s.any()]
