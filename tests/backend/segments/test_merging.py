"""Joining patches across borders: slow twins, links to what floats free, sides that no view shows together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree
from scipy.spatial.distance import cdist

from blender_saga.gaussians.cloud import concatenate
from blender_saga.gaussians.view import View, look_at
from saga_backend.common.neighbors import nearest
from saga_backend.evaluation.metrics import iou
from saga_backend.rasterizer.cpu import all_pixels, contributions
from saga_backend.segments.builtin.hierarchy import segment
from saga_backend.segments.builtin.masks import segment_cloud, visible
from saga_backend.segments.builtin.merging import Graph, JoinSettings, bridges, cut, join_patches, never_together
from tests.helpers.twins import ball, unit

GRAY = (0.5, 0.5, 0.5)


def has_segments(labels: np.ndarray, truth: np.ndarray) -> bool:
    """Whether every thing of `truth` is a segment of some level."""
    return all(any(_is_segment(level, truth == thing) for level in labels.T) for thing in np.unique(truth))


def _is_segment(level: np.ndarray, thing: np.ndarray) -> bool:
    numbers = np.unique(level[thing])
    return len(numbers) == 1 and not (level[~thing] == numbers[0]).any()


# --- never together -------------------------------------------------------------------------------------------------


def test_never_together_is_its_slow_twin(rng):
    masses = rng.random((9, 6)) * (rng.random((9, 6)) < 0.5)
    sides = np.array([(a, b) for a in range(9) for b in range(a)])
    wanted = []
    for a, b in sides:
        shown = []
        for patch in (a, b):
            best = max(masses[patch])
            shown.append([min(mass / (0.2 * best), 1) if best > 0 else 0 for mass in masses[patch]])
        fewer = min(sum(shown[0]), sum(shown[1]))
        common = sum(min(x, y) for x, y in zip(*shown, strict=True))
        wanted.append(max(0, 1 - common / fewer / 0.5) if fewer > 0 else 0)
    np.testing.assert_allclose(never_together(masses, sides), wanted, atol=1e-9)


def test_never_together_at_its_ends():
    masses = np.array([[1.0, 1, 0, 0], [2, 2, 0, 0], [0, 0, 1, 3], [0, 0, 0, 0]])
    found = never_together(masses, np.array([[0, 1], [0, 2], [0, 3]]))
    assert found.tolist() == [0, 1, 0]  # same views; no view in common; never seen at all: nothing is known


# --- bridges --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 9])
def test_bridges_are_the_shortest_tree(rng, count):
    component = np.concatenate([np.arange(count), rng.integers(0, count, 60)])
    means = (rng.normal(size=(count, 3)) * 5)[component] + rng.normal(size=(len(component), 3))
    links = bridges(means.astype(np.float32), component)
    apart = np.array(
        [[cdist(means[component == a], means[component == b]).min() for a in range(count)] for b in range(count)]
    )
    assert len(links) == count - 1
    assert (
        connected_components(np.bincount(component[links] @ [count, 1], minlength=count**2).reshape(count, count))[0]
        == 1
    )
    length = np.linalg.norm(means[links[:, 0]] - means[links[:, 1]], axis=1).sum()
    assert length == pytest.approx(minimum_spanning_tree(apart).sum(), rel=1e-5)


def test_no_bridges_within_one_component(rng):
    assert bridges(rng.normal(size=(5, 3)).astype(np.float32), np.zeros(5, int)).shape == (0, 2)


# --- joining --------------------------------------------------------------------------------------------------------


def slow_joins(graph: Graph, patches: np.ndarray, settings: JoinSettings) -> list[set[frozenset]]:
    """The partition after every join; all costs anew each time, from the edges."""
    parts = [frozenset(np.flatnonzero(patches == p).tolist()) for p in range(patches.max() + 1)]
    history = []
    while len(parts) > 1:
        best = None
        for a in range(len(parts)):
            for b in range(a):
                across = [
                    w for (i, j), w in zip(graph.pairs.tolist(), graph.weights.tolist(), strict=True)
                    if (i in parts[a] and j in parts[b]) or (i in parts[b] and j in parts[a])
                ]  # fmt: skip
                if across:
                    area = sum(float(graph.spacing[i]) ** 2 for i in parts[a] | parts[b])
                    share = len(across) / min(len(parts[a]), len(parts[b])) ** 0.5
                    cost = np.mean(across) * area**settings.whole_power / share**settings.border_power
                    best = min(best, (cost, a, b)) if best else (cost, a, b)
        union = parts[best[1]] | parts[best[2]]
        parts = [part for part in parts if not part <= union] + [union]
        history.append(set(parts))
    return history


def random_graph(rng, points=40) -> tuple[Graph, np.ndarray]:
    means = rng.normal(size=(points, 3)).astype(np.float32)
    neighbors, distances = nearest(means, 5)
    pairs = np.unique(np.sort([(i, j) for i, row in enumerate(neighbors[:, 1:]) for j in row], axis=1), axis=0)
    pairs = np.concatenate([pairs, [(i, i + 1) for i in range(points - 1)]]).astype(np.int32)  # nothing floats free
    patches = np.unique(nearest(means[:12], 1, means)[0][:, 0], return_inverse=True)[1].astype(np.int32)
    return Graph(means, distances[:, 2], pairs, rng.random(len(pairs)).astype(np.float32)), patches


def test_joins_are_their_slow_twin(rng):
    graph, patches = random_graph(rng)
    settings = JoinSettings()
    joins = join_patches(graph, patches, (), settings)
    count = patches.max() + 1
    history = slow_joins(graph, patches, settings)
    assert len(joins.steps) == len(history) == count - 1
    levels = cut(joins, count, tuple(range(count - 1, 0, -1)))[patches]
    for level, wanted in zip(levels.T, history, strict=True):
        assert {frozenset(np.flatnonzero(level == number).tolist()) for number in np.unique(level)} == wanted


def test_standing_is_what_the_next_join_costs_over_what_the_own_did(rng):
    graph, patches = random_graph(rng)
    joins = join_patches(graph, patches, (), JoinSettings())
    count = patches.max() + 1
    prominence = joins.prominence(count)
    assert (prominence > 0).all() and len(prominence) == count + len(joins.steps)
    np.testing.assert_allclose(prominence[:count], np.log(50), rtol=1e-6)  # patches cost nothing
    for number in range(count, len(prominence)):
        own = joins.costs[joins.steps[:, 2] == number].item()
        after = joins.costs[(joins.steps[:, :2] == number).any(axis=1)]
        ratio = min(after.item() / own, 50) if len(after) else 50
        assert prominence[number] == pytest.approx(np.log(max(ratio, 1 + 1e-4)), rel=1e-4, abs=1e-6)


def test_a_border_that_no_view_shows_is_joined_last(rng):
    graph, patches = random_graph(rng)
    half = patches % 2
    seen = [(half == side).astype(float) for side in (0, 1)]
    joins = join_patches(graph, patches, seen, JoinSettings(unseen=1e6))
    # Patches of one side that are connected by their own are joined before anything crosses to the other side.
    within = half[graph.pairs[:, 0]] == half[graph.pairs[:, 1]]
    sides = patches[graph.pairs[within]]
    count = patches.max() + 1
    matrix = np.bincount(sides @ [count, 1], minlength=count**2).reshape(count, count)
    islands, island = connected_components(matrix, directed=False)
    level = cut(joins, count, (islands,))[:, 0]
    assert len(set(zip(level.tolist(), island.tolist(), strict=True))) == islands


# --- what it is for -------------------------------------------------------------------------------------------------


def sheet(rng, half: float, height: float, count: int) -> np.ndarray:
    return np.concatenate([rng.uniform(-half, half, (count, 2)), np.full((count, 1), height)], axis=1).astype(
        np.float32
    )


@pytest.mark.steady
def test_a_rug_and_the_floor_beneath_it_are_two_things(rng):
    """The rug lies nearer to the floor than the floor's points to each other; no view shows the floor beneath it."""
    floor, rug = sheet(rng, 2.0, 0.0, 3600), sheet(rng, 1.0, 0.04, 900)
    means, truth = np.concatenate([floor, rug]), np.repeat([0, 1], [3600, 900])
    covered = (truth == 0) & (np.abs(means[:, :2]).max(axis=1) < 1)
    above, below = (~covered).astype(float), (truth == 0).astype(float)
    toward = np.where(covered, -1, 1)[:, None] * np.array([[0, 0, 1.0]])
    colors = np.full((len(means), 3), 0.5)
    colors[truth == 1] = 0.42
    found = best_iou(segment(means, colors, toward, None, [above, above, below, below]).labels, truth == 1)
    blind = best_iou(segment(means, colors, toward).labels, truth == 1)
    assert found > 0.75 and found > blind + 0.05


def best_iou(labels: np.ndarray, thing: np.ndarray) -> float:
    return max(iou(level == number, thing) for level in labels.T for number in np.unique(level[thing]))


@pytest.mark.steady
def test_what_floats_joins_what_it_floats_over(rng):
    parts = [
        ball(rng, (0, 0, 0), 1.0, 900, GRAY),
        ball(rng, (0, 0, 1.7), 0.3, 200, GRAY),
        ball(rng, (6, 0, 0), 1.0, 900, GRAY),
    ]
    cloud, ball_of = concatenate(parts), np.repeat([0, 1, 2], [900, 200, 900])
    middles = np.array([[0, 0, 0], [0, 0, 1.7], [6, 0, 0]])
    labels = segment(cloud.means, np.full((2000, 3), 0.5), unit(cloud.means - middles[ball_of])).labels
    assert has_segments(labels, ball_of) and has_segments(labels, np.array([0, 0, 1])[ball_of])


@pytest.mark.steady
def test_haze_that_is_seen_gets_the_segments_of_what_is_nearest(rng):
    cloud = concatenate([ball(rng, (0, 0, 0), 1.0, 400, GRAY), ball(rng, (2.5, 0, 0), 1.0, 300, GRAY)])
    faint = rng.random(len(cloud)) < 0.2
    cloud = replace(cloud, opacities=np.where(faint, 0.08, cloud.opacities).astype(np.float32))
    K = np.array([[50, 0, 32], [0, 50, 24], [0, 0, 1.0]])
    views = [View(look_at(e, (1.25, 0, 0), (0, 0, 1)), K, 64, 48) for e in ((1.25, 6, 0.5), (1.25, -6, -0.5))]
    rows = [contributions(cloud, view, all_pixels(view)) for view in views]
    labels, seen = segment_cloud(cloud, views, rows).labels, visible(rows, len(cloud))
    assert (seen & faint).any()
    clear = np.flatnonzero(seen & ~faint)
    for point in np.flatnonzero(seen & faint):
        distances = np.linalg.norm(cloud.means[clear] - cloud.means[point], axis=1)
        np.testing.assert_array_equal(labels[point], labels[clear[distances.argmin()]])
    np.testing.assert_array_equal((labels >= 0).any(axis=1), seen)
