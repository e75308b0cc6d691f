"""Batches, identity vectors (Eq. 6), correspondence (7) and the pair loss with its sets and weights (8, 9, A.1)."""

from __future__ import annotations

import numpy as np
import pytest

from saga_backend.masks.sampled import SampledMasks
from saga_backend.methods.saga.batch import TrainingView, sample, training_view
from saga_backend.methods.saga.pairs import correspondences, pair_hash, pair_loss, pair_weights
from saga_backend.rasterizer.contributions import Contributions
from tests.helpers.twins import bits_to_bool, bool_to_bits, identity_vector, mixed, pair_terms, unit


def random_view(rng, pixels=40, masks=90, gaussians=30) -> tuple[TrainingView, np.ndarray]:
    """Sampled pixels under nested and crossing masks; more than one word of bits."""
    members = rng.random((pixels, masks)) < rng.choice([0.03, 0.3], masks)
    scales = np.sort(rng.uniform(0.1, 5, masks)).astype(np.float32)
    lengths = rng.integers(1, 4, pixels)
    lengths[0] = 0  # shows nothing
    members[1] = False  # is in no mask
    members[0, 0] = members[2:, 1] = True
    rows = Contributions(
        np.concatenate([[0], np.cumsum(lengths)]),
        rng.integers(gaussians, size=lengths.sum()).astype(np.int32),
        rng.random(lengths.sum()).astype(np.float32) / 3,
    )
    areas = rng.uniform(10, 900, masks).astype(np.float32)
    return training_view(rows, SampledMasks(bool_to_bits(members), scales, areas)), members


def test_training_view_knows_covered_pixels_and_sizes(rng):
    view, members = random_view(rng)
    np.testing.assert_array_equal(view.masks.members(), members)
    assert sorted(view.covered.tolist()) == list(range(2, 40))
    for p in range(40):
        areas = [float(view.masks.areas[m]) for m in range(90) if members[p, m]]
        assert view.sizes[p] == pytest.approx(sum(areas) / max(len(areas), 1), rel=1e-5)


def test_a_view_without_masks_is_no_training_view():
    rows = Contributions(np.arange(4), np.zeros(3, np.int32), np.ones(3, np.float32))
    empty = SampledMasks(bool_to_bits(np.zeros((3, 0), bool)), np.zeros(0, np.float32), np.zeros(0, np.float32))
    assert training_view(rows, empty) is None
    one = SampledMasks(bool_to_bits(np.array([[1], [0], [0]], bool)), np.ones(1, np.float32), np.ones(1, np.float32))
    assert training_view(rows, one) is None  # a pair needs two pixels


def test_identities_are_eq_6(rng):
    view, members = random_view(rng)
    quantiles = np.sort(rng.uniform(0.1, 5, 9)).astype(np.float32)
    batch = sample(view, quantiles, (25, 8), rng)
    pixels = [find_row(view.rows, batch.rows, n) for n in range(25)]
    assert len(set(pixels)) == 25 and set(pixels) <= set(view.covered.tolist())
    found = bits_to_bool(batch.identities, 90)
    for k, scale in enumerate(batch.scales.tolist()):
        assert k / 8 <= scale <= (k + 1) / 8
        place = scale * 8  # 9 quantiles, 8 steps
        below = min(int(place), 7)
        wanted_size = quantiles[below] + (place - below) * (float(quantiles[below + 1]) - quantiles[below])
        if np.abs(view.masks.scales - wanted_size).min() < 1e-5:
            continue
        for n, p in enumerate(pixels):
            np.testing.assert_array_equal(found[k, n], identity_vector(members[p], view.masks.scales, wanted_size))
    np.testing.assert_allclose(batch.weights, 1 / view.sizes[pixels], rtol=1e-6)


def find_row(rows: Contributions, part: Contributions, index: int) -> int:
    """Which row of `rows` the row `index` of `part` is (weights are random, so only one fits)."""
    wanted = part.weights[part.offsets[index] : part.offsets[index + 1]].tolist()
    fits = [p for p in range(len(rows)) if rows.weights[rows.offsets[p] : rows.offsets[p + 1]].tolist() == wanted]
    assert len(fits) == 1
    return fits[0]


def test_more_pixels_wanted_than_there_are(rng):
    view, _ = random_view(rng)
    assert len(sample(view, np.array([0.1, 5.0]), (1000, 3), rng).rows) == 38


def test_same_random_source_same_batch(rng):
    view, _ = random_view(rng)
    a, b = (sample(view, np.array([0.1, 5.0]), (9, 4), np.random.default_rng(7)) for _ in range(2))
    assert a.seed == b.seed
    np.testing.assert_array_equal(a.identities, b.identities)
    np.testing.assert_array_equal(a.rows.ids, b.rows.ids)


@pytest.mark.parametrize("masks", [1, 63, 64, 65, 128, 200])
def test_correspondence_is_eq_7(rng, masks):
    members = rng.random((8, 20, masks)) < 1.5 / masks
    found = correspondences(bool_to_bits(members))
    for k in range(8):
        for i in range(20):
            for j in range(20):
                dot = sum(int(a) * int(b) for a, b in zip(members[k, i], members[k, j], strict=True))
                if i != j:
                    assert bool(found[i, j] >> k & 1) == (dot > 0)


def test_weights_run_from_1_to_10(rng):
    inverse = 1 / rng.uniform(10, 1000, 30)
    slope, offset = pair_weights(inverse)
    products = [inverse[i] * inverse[j] for i in range(30) for j in range(i)]
    weights = [slope * p + offset for p in products]
    assert min(weights) == pytest.approx(1) and max(weights) == pytest.approx(10)
    assert int(np.argmax(weights)) == int(np.argmax(products))


def test_weights_of_equal_sizes_are_1():
    slope, offset = pair_weights(np.full(5, 0.01, np.float32))
    assert slope * 0.01**2 + offset == pytest.approx(1)


def test_draws_are_even_and_change_with_the_seed():
    draws = np.array([[int(pair_hash(i, j, seed)) for i in range(60) for j in range(i)] for seed in (1, 2)])
    wanted = [[mixed(i, j, seed) for i in range(60) for j in range(i)] for seed in (1, 2)]
    np.testing.assert_array_equal(draws, wanted)
    shares = (draws / 2**32 < 0.5).mean(axis=1)
    np.testing.assert_allclose(shares, 0.5, atol=0.06)  # 1770 draws: five standard deviations
    assert abs(np.corrcoef(draws[0] < 2**31, draws[1] < 2**31)[0, 1]) < 0.12


def case(rng, pixels, density, levels=8, spread=1.0):
    """Random features and masks; drawn again where a cosine sits on one of the loss's limits."""
    while True:
        base = rng.normal(size=(1, 1, 6))
        features = unit(base + spread * rng.normal(size=(levels, pixels, 6))).astype(np.float32)
        members = rng.random((1, pixels, 5)) < density
        members = members & (rng.random((levels, 1, 5)) < 0.9)
        inverse = (1 / rng.uniform(10, 1000, pixels)).astype(np.float32)
        seed = int(rng.integers(1 << 31))
        cosines = np.einsum("kic,kjc->kij", features.astype(float), features.astype(float))
        together = np.einsum("kim,kjm->kij", members.astype(int), members.astype(int)) > 0
        terms = pair_terms(cosines, together, inverse, seed)
        if terms.sure:
            return features, members, inverse, seed, cosines, terms.coefficients


@pytest.mark.parametrize("levels", [1, 3, 8])
@pytest.mark.parametrize("density", [0.0, 0.1, 0.4, 1.0])
@pytest.mark.parametrize("spread", [0.5, 3.0])
def test_pair_loss_and_gradient_pair_by_pair(rng, levels, density, spread):
    features, members, inverse, seed, cosines, coefficients = case(rng, 21, density, levels, spread)
    loss, gradient = pair_loss(features.copy(), correspondences(bool_to_bits(members)), inverse, seed)
    assert loss == pytest.approx((coefficients * np.maximum(cosines, 0)).sum(), abs=2e-5)
    slopes = coefficients * (cosines > 0)
    wanted = (slopes + slopes.transpose(0, 2, 1)) @ features.astype(float)
    np.testing.assert_allclose(gradient, wanted, atol=2e-5)


def test_nothing_inconsistent_leaves_the_hard_pairs(rng):
    """Two masks at all scales: the sets are the hard positives and the hard negatives alone."""
    features = unit(rng.normal(size=(1, 12, 3))).astype(np.float32)
    group = np.arange(12) % 2
    members = np.stack([group == 0, group == 1], axis=-1)[None]
    loss, _ = pair_loss(features, correspondences(bool_to_bits(members)), np.full(12, 0.1, np.float32), 3)
    cosines = features[0].astype(float) @ features[0].T
    pairs = [(i, j) for i in range(12) for j in range(i)]
    positive = [-max(cosines[p], 0) for p in pairs if group[p[0]] == group[p[1]] and cosines[p] < 0.75]
    negative = [cosines[p] for p in pairs if group[p[0]] != group[p[1]] and cosines[p] > 0.5]
    wanted = sum(part[0] for part in ((np.mean(x), 0) if x else (0, 0) for x in (positive, negative)))
    assert loss == pytest.approx(wanted, abs=1e-5)
