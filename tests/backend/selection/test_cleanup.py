"""Clean-up of selections: pieces against scipy's, specks, gaps and knobs whose fate is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from blender_saga.gaussians.cloud import GaussianCloud, concatenate
from blender_saga.wire.messages import CleanUp
from saga_backend.selection.cleanup import ClickedMask, Neighborhood, clean, components, holes, neighborhood
from tests.helpers.twins import ball

NOBODY = np.zeros(0, np.int32)
pytestmark = pytest.mark.usefixtures("one_thread")


def cloud_of(means: np.ndarray, size: float = 0.01, opacity: float = 0.9) -> GaussianCloud:
    n = len(means)
    quats = np.tile([1.0, 0, 0, 0], (n, 1))
    return GaussianCloud(means, quats, np.full((n, 3), size), np.full(n, opacity), np.zeros((n, 1, 3)))


def sheet(side: int) -> np.ndarray:
    """[side^2,3] points of a square lattice of spacing 1."""
    x, y = np.mgrid[:side, :side]
    return np.stack([x.ravel(), y.ravel(), np.zeros(side * side)], axis=1).astype(np.float32)


def piece(mask: np.ndarray, wanted=NOBODY, refused=NOBODY) -> ClickedMask:
    return ClickedMask(mask, np.asarray(wanted, np.int32), np.asarray(refused, np.int32))


# --- neighbors and pieces --------------------------------------------------------------------------------------------


def test_neighbors_by_loops(rng):
    """Ten nearest; they touch if not farther apart than 2.5 times the mean (geometric) of both fifth distances."""
    cloud = cloud_of(rng.normal(size=(80, 3)) * rng.choice([0.1, 1.0], (80, 1)))
    near = neighborhood(cloud)
    distance = np.linalg.norm(cloud.means[:, None] - cloud.means[None], axis=2)
    order = np.argsort(distance, axis=1)
    spacing = distance[np.arange(80), order[:, 5]]
    for i in range(80):
        expected = {j for j in order[i, 1:11] if distance[i, j] <= 2.5 * np.sqrt(spacing[i] * spacing[j])}
        found = near.ids[i][near.ids[i] >= 0].tolist()
        assert set(found) == expected and len(found) == len(expected)
        assert (near.ids[i][len(found) :] == -1).all()


def test_transparent_gaussians_are_nobodys_neighbors(rng):
    cloud = cloud_of(rng.normal(size=(60, 3)))
    cloud.opacities[:20] = 0
    near = neighborhood(cloud)
    assert (near.ids[:20] == -1).all() and not np.isin(near.ids, np.arange(20)).any()
    alone = neighborhood(cloud_of(cloud.means[20:]))
    np.testing.assert_array_equal(np.where(near.ids[20:] >= 0, near.ids[20:] - 20, -1), alone.ids)


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_few_gaussians(rng, count):
    cloud = cloud_of(rng.normal(size=(count, 3)))
    near = neighborhood(cloud)
    assert near.ids.shape == (count, 10)
    everything = CleanUp(True, True, True, True)
    result = clean(piece(np.ones(count, bool)), everything, cloud, near)
    assert result.mask.all()


def test_all_gaussians_in_one_point_are_one_piece():
    near = neighborhood(cloud_of(np.zeros((30, 3))))
    assert components(np.ones(30, bool), near).max() == 0


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8, 1.0])
def test_pieces_are_those_of_scipy(rng, share):
    n = 500
    cloud = cloud_of(rng.normal(size=(n, 3)))
    near = neighborhood(cloud)
    mask = rng.random(n) < share
    found = components(mask, near)
    i, k = np.nonzero(near.ids >= 0)
    j = near.ids[i, k]
    both = mask[i] & mask[j]
    graph = coo_array((np.ones(both.sum()), (i[both], j[both])), shape=(n, n))
    _, expected = connected_components(graph, directed=False)
    assert (found[~mask] == -1).all()
    pairs = set(zip(found[mask].tolist(), expected[mask].tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    assert set(found[mask].tolist()) == set(range(len(pairs)))


# --- steps ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def two_balls(rng) -> tuple[GaussianCloud, np.ndarray]:
    """Two balls of 2,000 and 1,500 Gaussians that do not touch, and which of them each Gaussian is of."""
    parts = [ball(rng, (0, 0, 0), 0.5, 2000, (1, 0, 0)), ball(rng, (2, 0, 0), 0.5, 1500, (0, 1, 0))]
    return concatenate(parts), np.repeat([0, 1], [2000, 1500])


def test_only_the_clicked_piece_stays(two_balls):
    cloud, label = two_balls
    everything, near = np.ones(len(label), bool), neighborhood(cloud)
    for index in (0, 1):
        clicked = np.flatnonzero(label == index)[:1]
        result = clean(piece(everything, clicked), CleanUp(connected=True), cloud, near)
        np.testing.assert_array_equal(result.mask, label == index)
        np.testing.assert_array_equal(result.connected, label != index)
    both = clean(piece(everything, [0, 2000]), CleanUp(connected=True), cloud, near)
    assert both.mask.all() and not both.connected.any()


def test_without_a_clicked_gaussian_in_the_selection_all_pieces_stay(two_balls):
    cloud, label = two_balls
    mask = label == 1
    result = clean(piece(mask, [0]), CleanUp(connected=True), cloud, neighborhood(cloud))
    np.testing.assert_array_equal(result.mask, mask)


def test_specks_are_dropped_and_large_pieces_stay(rng, two_balls):
    cloud, label = two_balls
    mask = label == 0
    stray = rng.choice(np.flatnonzero(label == 1), 12, replace=False)
    mask[stray] = True
    result = clean(piece(mask, [0]), CleanUp(floaters=True), cloud, neighborhood(cloud))
    np.testing.assert_array_equal(result.mask, label == 0)
    assert np.count_nonzero(result.floaters) == 12
    both = clean(piece(np.ones(len(label), bool), [0]), CleanUp(floaters=True), cloud, neighborhood(cloud))
    assert both.mask.all()


def test_a_clicked_speck_stays(two_balls):
    cloud, label = two_balls
    mask = label == 0
    mask[2000:2003] = True
    result = clean(piece(mask, [2001]), CleanUp(floaters=True), cloud, neighborhood(cloud))
    assert result.mask[2001]


def test_a_selection_of_specks_only_is_not_emptied(rng, two_balls):
    cloud, label = two_balls
    mask = np.zeros(len(label), bool)
    mask[rng.choice(len(label), 6, replace=False)] = True
    result = clean(piece(mask), CleanUp(floaters=True), cloud, neighborhood(cloud))
    np.testing.assert_array_equal(result.mask, mask)


def test_huge_faint_gaussians_are_dropped(rng):
    cloud = cloud_of(rng.normal(size=(400, 3)) * 0.1)
    cloud.scales[:5] = 0.5
    cloud.opacities[:10] = 0.1  # five huge and faint, five only faint; 395 to 399 only huge
    cloud.scales[395:] = 0.5
    result = clean(piece(np.ones(400, bool)), CleanUp(floaters=True), cloud, neighborhood(cloud))
    np.testing.assert_array_equal(np.flatnonzero(result.floaters), np.arange(5))


def test_gaps_in_a_sheet_are_filled_and_its_edge_is_not(rng):
    """Of a lattice its inner square is selected, with gaps of one and of nine points."""
    side = 60
    means = sheet(side)
    cell = means[:, :2].astype(int)
    inner = ((cell >= 12) & (cell < 48)).all(axis=1)
    gap = (cell == (20, 30)).all(axis=1) | ((cell >= 35) & (cell < 38)).all(axis=1)
    mask = inner & ~gap
    near = neighborhood(cloud_of(means))
    np.testing.assert_array_equal(holes(piece(mask), near), gap)
    result = clean(piece(mask), CleanUp(holes=True), cloud_of(means), near)
    np.testing.assert_array_equal(result.mask, inner)
    assert np.count_nonzero(result.holes) == 10
    order = rng.permutation(len(means))
    again = holes(piece(mask[order]), neighborhood(cloud_of(means[order])))
    np.testing.assert_array_equal(again, gap[order])


def test_what_was_clicked_away_is_not_filled_in_again():
    means = sheet(40)
    cell = means[:, :2].astype(int)
    gap = ((cell >= 15) & (cell < 18)).all(axis=1)
    near = neighborhood(cloud_of(means))
    refused = np.flatnonzero((cell == (16, 16)).all(axis=1))
    assert not holes(piece(~gap, refused=refused), near).any()
    assert holes(piece(~gap), near).sum() == 9


def test_a_knob_on_a_ball_is_not_a_gap(rng):
    """It is small, and its only neighbors are selected, but they lie on one side."""
    large, knob = ball(rng, (0, 0, 0), 0.5, 6000, (1, 0, 0)), ball(rng, (0, 0, 0.56), 0.05, 60, (0, 1, 0))
    cloud = concatenate([large, knob])
    mask = np.arange(len(cloud)) < 6000
    near = neighborhood(cloud)
    touching = near.ids[6000:]
    assert (touching[touching >= 0] < 6000).any()  # they do touch
    assert not holes(piece(mask), near).any()


def test_large_gaps_stay(rng):
    means = sheet(60)
    cell = means[:, :2].astype(int)
    gap = ((cell >= 20) & (cell < 40)).all(axis=1)
    assert not holes(piece(~gap), neighborhood(cloud_of(means))).any()


def test_nothing_asked_for_changes_nothing(rng, two_balls):
    cloud, label = two_balls
    mask = rng.random(len(label)) < 0.5
    result = clean(piece(mask, [0]), CleanUp(), cloud, Neighborhood(np.zeros((0, 0), np.int32), cloud.means))
    np.testing.assert_array_equal(result.mask, mask)
    assert not (result.floaters | result.connected | result.holes).any()


def test_an_empty_selection_stays_empty(two_balls):
    cloud, label = two_balls
    result = clean(piece(np.zeros(len(label), bool), [3]), CleanUp(True, True, True), cloud, neighborhood(cloud))
    assert not result.mask.any()
