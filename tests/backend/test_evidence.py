"""Incidence, votes and refinement against plain loops in float64."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from saga_backend.control import Control
from saga_backend.methods.evidence.consensus import consensus
from saga_backend.methods.evidence.incidence import Incidence, IncidenceBuilder
from saga_backend.methods.evidence.votes import POWER, agreements, best_of_views, refinement, vote
from saga_backend.rows import Rows
from toy_masks import Toy, iou, pool_masks
from twins import dense

pytestmark = pytest.mark.usefixtures("one_thread")


def random_view(rng, count: int, masks: int, pixels: int = 30) -> tuple[Rows, np.ndarray, np.ndarray]:
    """Rows of one view, its masks [P,M] and their scales."""
    lengths = rng.integers(0, 4, pixels)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    rows = Rows(
        offsets,
        rng.integers(count, size=offsets[-1]).astype(np.int32),
        rng.uniform(0.05, 0.3, offsets[-1]).astype(np.float32),
    )
    return rows, rng.random((pixels, masks)) < 0.3, np.sort(rng.uniform(0.1, 3, masks))


def random_evidence(rng, count: int = 25, numbers=(3, 0, 7, 1)) -> tuple[Incidence, np.ndarray, np.ndarray]:
    """Evidence, and the same as dense float64: inside [M,N], shown [V,N]."""
    builder, inside, shown = IncidenceBuilder(count), [np.zeros((0, count))], []
    for masks in numbers:
        rows, members, scales = random_view(rng, count, masks)
        builder.add(rows, pool_masks(members, scales))
        matrix = dense(rows, count)
        inside.append(members.T.astype(float) @ matrix)
        shown.append(matrix.sum(axis=0))
    return builder.build(), np.concatenate(inside), np.stack(shown)


# --- incidence --------------------------------------------------------------------------------------------------------


def test_incidence_by_loops(rng):
    evidence, inside, shown = random_evidence(rng)
    np.testing.assert_allclose(evidence.inside.toarray(), inside, atol=1e-5)
    np.testing.assert_allclose(evidence.shown.toarray(), shown, atol=1e-5)
    assert evidence.first.tolist() == [0, 3, 3, 10, 11] and evidence.view_of.tolist() == [0] * 3 + [2] * 7 + [3]
    np.testing.assert_allclose(evidence.masses(), inside.sum(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(evidence.shows(), shown.sum(axis=0) > 0)
    chosen = rng.random(25)
    in_masks, in_views = evidence.overlaps(chosen)
    np.testing.assert_allclose(in_masks, inside @ chosen, atol=1e-5)
    np.testing.assert_allclose(in_views, shown @ chosen, atol=1e-5)
    ids = rng.permutation(25)[:9]
    part = evidence.columns(ids)
    np.testing.assert_allclose(part.inside.toarray(), inside[:, ids], atol=1e-5)
    np.testing.assert_allclose(part.shown.toarray(), shown[:, ids], atol=1e-5)


def test_incidence_of_no_views_and_no_masks():
    empty = IncidenceBuilder(7).build()
    assert empty.inside.shape == empty.shown.shape == (0, 7) and empty.first.tolist() == [0]
    assert consensus(empty, Control()) == []


# --- votes ------------------------------------------------------------------------------------------------------------


def vote_by_loops(inside, shown, masks, weights) -> np.ndarray:
    out = np.zeros(inside.shape[1])
    for i in range(len(out)):
        above = sum(w * inside[m, i] for m, w in zip(masks, weights, strict=True) if w > 0)
        below = sum(w * shown[v, i] for v, w in enumerate(weights) if w > 0)
        out[i] = above / below if below > 1e-6 else 0
    return out


def ious_by_loops(inside, shown, view_of, selected) -> np.ndarray:
    out = []
    for m, v in enumerate(view_of):
        common = inside[m][selected].sum()
        union = inside[m].sum() + shown[v][selected].sum() - common
        out.append(common / union if union > 0 else 0)
    return np.array(out)


def test_vote_and_agreements_by_loops(rng):
    evidence, inside, shown = random_evidence(rng)
    masks, weights = np.array([1, -1, 6, 10]), np.array([0.7, 0.0, 0.2, 1.0], np.float32)
    np.testing.assert_allclose(vote(evidence, masks, weights), vote_by_loops(inside, shown, masks, weights), atol=1e-5)
    assert not vote(evidence, masks, np.zeros(4, np.float32)).any()
    for share in (0.0, 0.3, 1.0):
        selected = rng.random(25) < share
        found = agreements(evidence, selected, evidence.masses())
        np.testing.assert_allclose(found, ious_by_loops(inside, shown, evidence.view_of, selected), atol=1e-5)


def test_best_of_views_by_loops(rng):
    evidence, _, _ = random_evidence(rng)
    values = rng.random(11)
    masks, best = best_of_views(values, evidence.first)
    assert masks[1] == -1 and best[1] == 0  # it has no masks
    for v, (begin, end) in enumerate(pairwise(evidence.first.tolist())):
        if begin < end:
            assert masks[v] == begin + int(np.argmax(values[begin:end])) and best[v] == pytest.approx(
                max(values[begin:end])
            )


def round_by_loops(inside, shown, first, selected) -> tuple[np.ndarray, list[int], list[float]]:
    """In every view the mask most like the selection votes: scores, masks (-1: none is like it) and their weights."""
    view_of = np.repeat(np.arange(len(shown)), np.diff(first))
    ious = ious_by_loops(inside, shown, view_of, selected)
    masks, weights = [], []
    for begin, end in pairwise(first.tolist()):
        best = begin + int(np.argmax(ious[begin:end])) if begin < end else -1
        agrees = best >= 0 and ious[best] > 0.5
        masks.append(best if agrees else -1)
        weights.append(ious[best] ** POWER if agrees else 0.0)
    return vote_by_loops(inside, shown, masks, weights), masks, weights


def test_refinement_by_loops(rng):
    """Round by round, each from the selection of the one before, until it settles or no mask is like it."""
    toy = Toy(rng, views=5)
    evidence, masses = toy.evidence, toy.evidence.masses()
    for k in range(5):
        selected = toy.truth[k] ^ (rng.random(toy.count) < 0.1)
        results = list(refinement(evidence, selected, masses, 4))
        assert len(results) <= 4
        for number, result in enumerate(results):
            scores, masks, weights = round_by_loops(toy.inside, toy.shown, evidence.first, selected)
            np.testing.assert_allclose(result.scores, scores, atol=1e-4)
            assert result.masks.tolist() == masks
            np.testing.assert_allclose(result.agreements**POWER, weights, atol=1e-4)
            before, selected = selected, result.selected
            assert iou(before, selected) <= 0.99 or number == len(results) - 1
        if len(results) < 4:  # why it ended
            weights = round_by_loops(toy.inside, toy.shown, evidence.first, selected)[2]
            assert not any(weights) or iou(before, selected) > 0.99
    assert list(refinement(evidence, np.zeros(toy.count, bool), masses)) == []
