"""Votes of masks on Gaussians, and the refinement: masks that agree with a selection vote again."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from .incidence import Incidence
from .sample import Sample

ROUNDS = 5
AGREES = 0.5  # minimum IoU with the selection for the vote of a view's best mask
POWER = 12  # exponent of the IoU in a vote's weight: with 4, masks of the object blur the outline of its largest part
SELECTED = 0.5
SAME = 0.85  # IoU from which two segments are the same

_SETTLED = 0.99  # IoU of two rounds' selections at which the refinement ends
_SHOWN = 1e-6  # minimum weight of a Gaussian in the voting views


class Refined(NamedTuple):
    """Results of the refinement for B seeds. Sets of Gaussians are bits: W words of 64.

    Attributes:
        rounds: [B] int64, number of rounds; 0 if no mask agrees with the initial selection.
        known: [B] bool, whether a round reached a known set, which ends the refinement.
        selections: [B,ROUNDS,W] uint64, selection of each round.
        masks: [B,V] int64, voting mask of each view in the last round, -1 for a view that abstains.
        agreements: [B,V] float32, IoU of that mask with the previous selection, 0 for a view that abstains.
    """

    rounds: np.ndarray
    known: np.ndarray
    selections: np.ndarray
    masks: np.ndarray
    agreements: np.ndarray


def vote(incidence: Incidence, masks: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """[K,N] bool: for K sets of votes, the Gaussians with sum_v w_v B_v[m_v, i] > 1/2 sum_v w_v Vis_v[i].

    Args:
        incidence: incidence of the masks.
        masks: [K,V] int64, each view's mask; ignored if its weight is 0.
        weights: [K,V] float32, 0 for a view that abstains.
    """
    inside, shown = incidence.inside, incidence.shown
    out = np.zeros((len(masks), inside.shape[1]), np.bool_)
    matrices = (inside.indptr, inside.indices, inside.data), (shown.indptr, shown.indices, shown.data)
    _vote_all(*matrices, masks.astype(np.int64), weights.astype(np.float32), out)
    return out


def refine(sample: Sample, masks: np.ndarray, weights: np.ndarray, known: np.ndarray) -> Refined:
    """Refine the selections of votes. In each round, the most similar mask of each view votes, weighted by its IoU to
    the power of POWER. It ends after ROUNDS rounds, when the selection settles, or when no mask agrees.

    Args:
        sample: the masks.
        masks, weights: [B,V], the initial votes, as in `vote`.
        known: [K,W] uint64, known sets, which end the refinement (IoU above SAME).
    """
    count, views, words = len(masks), len(sample.first) - 1, words_of(sample)
    out = Refined(
        np.zeros(count, np.int64), np.zeros(count, np.bool_), np.zeros((count, ROUNDS, words), np.uint64),
        np.full((count, views), -1, np.int64), np.zeros((count, views), np.float32),
    )  # fmt: skip
    _refine_all(sample, masks.astype(np.int64), weights.astype(np.float32), (known, sizes(known)), out)
    return out


def agreements(sample: Sample, sets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """IoU of every mask with sets [K,W] in the mask's view, [K,M] float32, and the weight of the sets in every view,
    [K,V] float32.
    """
    ious = np.zeros((len(sets), len(sample.masses)), np.float32)
    shown = np.zeros((len(sets), len(sample.first) - 1), np.float32)
    _agree_all(sample, sets, ious, shown)
    return ious, shown


def words_of(sample: Sample) -> int:
    """W, the number of 64-bit words of a set."""
    return -(-(len(sample.held_starts) - 1) // 64)


def to_bits(chosen: np.ndarray) -> np.ndarray:
    """[K,W] uint64 of sets [K,S] bool."""
    count, size = chosen.shape
    padded = np.zeros((count, -(-size // 64) * 64), bool)
    padded[:, :size] = chosen
    return np.packbits(padded, axis=1, bitorder="little").view(np.uint64)


def sizes(sets: np.ndarray) -> np.ndarray:
    """[K] int64: sizes of sets [K,W]."""
    return np.bitwise_count(sets).sum(axis=1, dtype=np.int64)


def same_as_any(one: np.ndarray, sets: np.ndarray) -> bool:
    """Whether a set [W] has an IoU above SAME with one of the sets [K,W]."""
    common = sizes(sets & one)
    union = sizes(sets) + int(np.bitwise_count(one).sum()) - common
    return bool((common > SAME * np.maximum(union, 1)).any())


@numba.njit(parallel=True, cache=True)
def _vote_all(inside, shown, masks, weights, out):
    for k in numba.prange(len(masks)):
        _vote_one(inside, shown, masks[k], weights[k], out[k])


@numba.njit(cache=True, nogil=True)
def _vote_one(inside, shown, masks, weights, out):
    above, below = np.zeros(len(out), np.float32), np.zeros(len(out), np.float32)
    for v in range(len(masks)):
        if weights[v] > 0:
            for k in range(inside[0][masks[v]], inside[0][masks[v] + 1]):
                above[inside[1][k]] += weights[v] * inside[2][k]
            for k in range(shown[0][v], shown[0][v + 1]):
                below[shown[1][k]] += weights[v] * shown[2][k]
    for i in range(len(out)):
        out[i] = below[i] > _SHOWN and above[i] / below[i] > SELECTED


@numba.njit(parallel=True, cache=True)
def _refine_all(sample, masks, weights, known, out):
    for b in numba.prange(len(masks)):
        _refine_one(sample, masks[b], weights[b], known, out, b)


@numba.njit(cache=True, nogil=True)
def _refine_one(sample, masks, weights, known, out, b):
    sets, set_sizes = known
    count, views = len(sample.held_starts) - 1, len(masks)
    scratch = np.zeros(count, np.float32)
    ious, shown = np.zeros(len(sample.masses), np.float32), np.zeros(views, np.float32)
    best, votes = np.empty(views, np.int64), np.empty(views, np.float32)
    before = np.zeros(out.selections.shape[2], np.uint64)
    chosen = _selected(sample, masks, weights, scratch)
    _mark(chosen, before)
    for number in range(ROUNDS):
        _agree(sample, chosen, ious, shown)
        if not _best_votes(sample.first, ious, best, votes):
            break
        out.masks[b] = best
        out.agreements[b] = votes
        chosen = _selected(sample, best, votes**POWER, scratch)
        now = out.selections[b, number]
        _mark(chosen, now)
        out.rounds[b] = number + 1
        size = len(chosen)
        for k in range(len(sets)):
            most = min(size, set_sizes[k])
            if most > SAME * max(size, set_sizes[k]) and _iou(now, sets[k], size, set_sizes[k]) > SAME:
                out.known[b] = True
        if out.known[b] or _iou(before, now, _count(before), size) > _SETTLED:
            break
        before = now


@numba.njit(cache=True, nogil=True)
def _best_votes(first, ious, masks, votes):
    """The mask with the highest IoU of every view, or -1 and 0 if it does not agree; returns whether any agrees."""
    some = False
    for v in range(len(masks)):
        masks[v], votes[v] = -1, 0.0
        for m in range(first[v], first[v + 1]):
            if ious[m] > AGREES and ious[m] > votes[v]:
                masks[v], votes[v] = m, ious[m]
                some = True
    return some


@numba.njit(cache=True, nogil=True)
def _selected(sample, masks, weights, inside):
    """The Gaussians that a vote selects, [R] int32; `inside`: [S] float32 zeros, reset on return.

    Gaussians outside all voting masks are never selected, so only the others are visited.
    """
    offsets, ids, values = sample.mask_starts, sample.mask_ids, sample.mask_weights
    bound = 0
    for v in range(len(masks)):
        if weights[v] > 0:
            bound += offsets[masks[v] + 1] - offsets[masks[v]]
    touched, count = np.empty(bound, np.int32), 0
    for v in range(len(masks)):
        if weights[v] > 0:
            for k in range(offsets[masks[v]], offsets[masks[v] + 1]):
                if inside[ids[k]] == 0.0:
                    touched[count] = ids[k]
                    count += 1
                inside[ids[k]] += weights[v] * values[k]
    starts, views, shown = sample.shown_starts, sample.shown_by, sample.shown_weights
    selected = 0
    for at in range(count):
        i = touched[at]
        below = np.float32(0.0)
        for k in range(starts[i], starts[i + 1]):
            below += weights[views[k]] * shown[k]
        if below > _SHOWN and inside[i] / below > SELECTED:
            touched[selected] = i
            selected += 1
        inside[i] = 0.0
    return touched[:selected]


@numba.njit(cache=True, nogil=True)
def _agree(sample, chosen, ious, shown):
    """IoU of every mask with the Gaussians `chosen` [R] in the mask's view, and their weight in every view."""
    ious[:] = 0.0
    shown[:] = 0.0
    for at in range(len(chosen)):
        i = chosen[at]
        for k in range(sample.held_starts[i], sample.held_starts[i + 1]):
            ious[sample.held_by[k]] += sample.held_weights[k]
        for k in range(sample.shown_starts[i], sample.shown_starts[i + 1]):
            shown[sample.shown_by[k]] += sample.shown_weights[k]
    for m in range(len(ious)):
        if ious[m] > 0:
            ious[m] /= max(sample.masses[m] + shown[sample.view_of[m]] - ious[m], np.float32(1e-9))


@numba.njit(parallel=True, cache=True)
def _agree_all(sample, sets, ious, shown):
    for k in numba.prange(len(sets)):
        _agree(sample, _members(sets[k]), ious[k], shown[k])


@numba.njit(cache=True, nogil=True)
def _members(words):
    out, count = np.empty(_count(words), np.int32), 0
    for i in range(64 * len(words)):
        if (words[i // 64] >> np.uint64(i % 64)) & np.uint64(1):
            out[count] = i
            count += 1
    return out


@numba.njit(cache=True, nogil=True)
def _mark(chosen, words):
    for at in range(len(chosen)):
        words[chosen[at] // 64] |= np.uint64(1) << np.uint64(chosen[at] % 64)


@numba.njit(inline="always")
def _ones(word):
    """Number of set bits: sums of neighboring 1, 2 and 4 bits, then of the bytes."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@numba.njit(cache=True, nogil=True)
def _count(words):
    total = 0
    for w in range(len(words)):
        total += _ones(words[w])
    return total


@numba.njit(cache=True, nogil=True)
def _iou(a, b, size_a, size_b):
    common = 0
    for w in range(len(a)):
        common += _ones(a[w] & b[w])
    return common / max(size_a + size_b - common, 1)
