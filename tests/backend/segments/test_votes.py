"""Incidence, votes and refinement against plain loops in float64."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from saga_backend.common.progress import Control
from saga_backend.rasterizer.contributions import Contributions
from saga_backend.segments.consensus.consensus import consensus
from saga_backend.segments.consensus.incidence import Incidence, IncidenceBuilder
from saga_backend.segments.consensus.sample import Sample, sample_of
from saga_backend.segments.consensus.supports import supports
from saga_backend.segments.consensus.votes import POWER, ROUNDS, agreements, refine, same_as_any, to_bits, vote
from tests.helpers import slow_consensus
from tests.helpers.slow_consensus import Dense
from tests.helpers.toy_masks import Toy, iou, sampled_masks
from tests.helpers.twins import dense

pytestmark = pytest.mark.usefixtures("one_thread")


def random_view(rng, count: int, masks: int, pixels: int = 30) -> tuple[Contributions, np.ndarray, np.ndarray]:
    """Rows of one view, its masks [P,M] and their scales."""
    lengths = rng.integers(0, 4, pixels)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    rows = Contributions(
        offsets,
        rng.integers(count, size=offsets[-1]).astype(np.int32),
        rng.uniform(0.05, 0.3, offsets[-1]).astype(np.float32),
    )
    return rows, rng.random((pixels, masks)) < 0.3, np.sort(rng.uniform(0.1, 3, masks))


def random_evidence(rng, count: int = 25, numbers=(3, 0, 7, 1)) -> tuple[Incidence, np.ndarray, np.ndarray]:
    """Incidence, and the same as dense float64: inside [M,N], shown [V,N]."""
    builder, inside, shown = IncidenceBuilder(count), [np.zeros((0, count))], []
    for masks in numbers:
        rows, members, scales = random_view(rng, count, masks)
        builder.add(rows, sampled_masks(members, scales))
        matrix = dense(rows, count)
        inside.append(members.T.astype(float) @ matrix)
        shown.append(matrix.sum(axis=0))
    return builder.build(), np.concatenate(inside), np.stack(shown)


# --- incidence --------------------------------------------------------------------------------------------------------


def test_incidence_by_loops(rng):
    incidence, inside, shown = random_evidence(rng)
    np.testing.assert_allclose(incidence.inside.toarray(), inside, atol=1e-5)
    np.testing.assert_allclose(incidence.shown.toarray(), shown, atol=1e-5)
    assert incidence.first.tolist() == [0, 3, 3, 10, 11] and incidence.view_of.tolist() == [0] * 3 + [2] * 7 + [3]
    np.testing.assert_array_equal(incidence.shows(), shown.sum(axis=0) > 0)


def test_a_sample_has_the_evidence_both_ways(rng):
    incidence, inside, shown = random_evidence(rng)
    ids = rng.permutation(25)[:9]
    sample = sample_of(incidence, ids)
    by_mask, by_gaussian, shares = np.zeros((11, 9)), np.zeros((11, 9)), np.zeros((11, 9))
    by_view = np.zeros((4, 9))
    for m in range(11):
        for k in range(sample.mask_starts[m], sample.mask_starts[m + 1]):
            by_mask[m, sample.mask_ids[k]] += sample.mask_weights[k]
    for i in range(9):
        held, views = (slice(starts[i], starts[i + 1]) for starts in (sample.held_starts, sample.shown_starts))
        by_gaussian[sample.held_by[held], i] = sample.held_weights[held]
        shares[sample.held_by[held], i] = sample.shares[held]
        by_view[sample.shown_by[views], i] = sample.shown_weights[views]
        assert (np.diff(sample.held_by[held]) > 0).all() and (np.diff(sample.shown_by[views]) > 0).all()
    np.testing.assert_allclose(by_mask, inside[:, ids], atol=1e-5)
    np.testing.assert_allclose(by_gaussian, inside[:, ids], atol=1e-5)
    np.testing.assert_allclose(by_view, shown[:, ids], atol=1e-5)
    np.testing.assert_allclose(sample.masses, inside[:, ids].sum(axis=1), rtol=1e-4)
    np.testing.assert_allclose(shares, Dense(inside, shown, incidence.first.tolist()).lifted[:, ids], atol=1e-4)


def test_incidence_of_no_views_and_no_masks():
    empty = IncidenceBuilder(7).build()
    assert empty.inside.shape == empty.shown.shape == (0, 7) and empty.first.tolist() == [0]
    assert consensus(empty, Control()) == []


# --- votes ------------------------------------------------------------------------------------------------------------


def everything(incidence: Incidence) -> Sample:
    return sample_of(incidence, np.arange(incidence.inside.shape[1]))


def clear(scores: np.ndarray) -> np.ndarray:
    """Where float32 cannot decide otherwise."""
    return np.abs(scores - 0.5) > 1e-4


def test_votes_by_loops(rng):
    incidence, inside, shown = random_evidence(rng)
    masks = np.array([[1, -1, 6, 10], [0, 0, 3, 10]])
    weights = np.array([[0.7, 0.0, 0.2, 1.0], [0.0, 0.0, 1.0, 0.5]], np.float32)
    found = vote(incidence, masks, weights)
    for k in range(2):
        scores = slow_consensus.vote(Dense(inside, shown, incidence.first.tolist()), masks[k], weights[k])
        sure = clear(scores)
        assert sure.any() and ((scores > 0.5) == found[k])[sure].all()
    assert not vote(incidence, masks[:1], np.zeros((1, 4), np.float32)).any()


def test_agreements_by_loops(rng):
    incidence, inside, shown = random_evidence(rng, 90)
    sets = np.stack([rng.random(90) < share for share in (0.0, 0.3, 1.0)])
    ious, in_views = agreements(everything(incidence), to_bits(sets))
    for k in range(3):
        wanted = slow_consensus.agreements(Dense(inside, shown, incidence.first.tolist()), sets[k])
        np.testing.assert_allclose(ious[k], wanted, atol=1e-5)
        np.testing.assert_allclose(in_views[k], shown[:, sets[k]].sum(axis=1), atol=1e-4)


def test_sets_as_bits(rng):
    sets = rng.random((5, 130)) < 0.5
    bits = to_bits(sets)
    assert bits.shape == (5, 3)
    for k in range(5):
        assert same_as_any(bits[k], bits[k:]) and not same_as_any(bits[k], bits[:k])
        assert not same_as_any(bits[k], bits[:0])
    nearly = sets.copy()
    nearly[2, np.flatnonzero(sets[2])[:4]] = False
    assert same_as_any(to_bits(nearly)[2], bits[2:3]) == (iou(nearly[2], sets[2]) > 0.85)


def test_refinement_by_loops(rng):
    """Round by round, each from the selection of the one before, until it settles or no mask is like it; several
    beginnings at a time.
    """
    toy = Toy(rng, views=5)
    sample = everything(toy.incidence)
    dense = Dense(toy.inside, toy.shown, toy.incidence.first.tolist())
    seeds = rng.choice(len(sample.masses), 8, replace=False)
    masks, weights = np.full((8, 5), -1), np.zeros((8, 5), np.float32)
    masks[np.arange(8), sample.view_of[seeds]], weights[np.arange(8), sample.view_of[seeds]] = seeds, 1
    refined = refine(sample, masks, weights, to_bits(np.zeros((0, toy.count), bool)))
    assert not refined.known.any()
    for b in range(8):
        start = slow_consensus.vote(dense, masks[b], weights[b]) > 0.5
        rounds = list(slow_consensus.refinement(dense, start))
        assert refined.rounds[b] == len(rounds) <= ROUNDS
        for number, wanted in enumerate(rounds):
            np.testing.assert_array_equal(refined.selections[b, number], to_bits(wanted.selected[None])[0])
        if rounds:
            assert refined.masks[b].tolist() == rounds[-1].masks
            np.testing.assert_allclose(
                refined.agreements[b] ** POWER, np.power(rounds[-1].agreements, POWER), atol=1e-4
            )


def test_refinement_ends_at_what_is_known(rng):
    toy = Toy(rng, views=8, dropped=0, merged=0, split=0, ragged=0)
    sample, first = everything(toy.incidence), toy.incidence.first
    masks, weights = np.full((2, 8), -1), np.zeros((2, 8), np.float32)
    masks[:, 0], weights[:, 0] = [int(first[0]), int(first[1]) - 1], 1
    nothing = to_bits(np.zeros((0, toy.count), bool))
    free = refine(sample, masks, weights, nothing)
    assert (free.rounds > 0).all() and not free.known.any()
    known = free.selections[[0], free.rounds[0] - 1]
    again = refine(sample, masks, weights, known)
    assert again.known[0] and again.known[1] == same_as_any(free.selections[1, free.rounds[1] - 1], known)
    none = refine(sample, masks, np.zeros_like(weights), nothing)
    assert not none.rounds.any() and not none.selections.any()


# --- supports and consensus -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("views", [1, 2, 5, 6])
def test_supports_by_loops(rng, views):
    """Every pair of masks of two views; views without masks and masks without Gaussians among them."""
    incidence, inside, shown = random_evidence(rng, 25, (3, 0, 7, 1, 4, 2)[:views])
    support, twins, likeness = supports(everything(incidence), Control())
    wanted = slow_consensus.supports(Dense(inside, shown, incidence.first.tolist()))
    np.testing.assert_allclose(support, wanted[0], atol=1e-4)
    np.testing.assert_allclose(likeness, wanted[2], atol=1e-4)
    alike = wanted[2] > 0
    np.testing.assert_array_equal(twins[alike], wanted[1][alike])


def test_consensus_by_loops(rng):
    """The search as a whole: one mask at a time, and several at a time whose results depend on each other."""
    for threads in (1, numba.config.NUMBA_NUM_THREADS, 1):
        numba.set_num_threads(threads)
        toy = Toy(rng, views=int(rng.integers(3, 9)))
        found = consensus(toy.incidence, Control())
        wanted = slow_consensus.consensus(Dense(toy.inside, toy.shown, toy.incidence.first.tolist()))
        assert len(found) == len(wanted)
        for a, b in zip(found, wanted, strict=True):
            assert np.array_equal(a, b)
