"""The tree of things and parts: its invariants on any labels, and what becomes of known ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from saga_backend.model.object_tree import Tree, nest_levels, representatives


def members(tree: Tree, node: int) -> np.ndarray:
    """[N] bool, by walking up from every label."""
    out = np.zeros(len(tree.labels), bool)
    for i, label in enumerate(tree.labels.tolist()):
        while label >= 0 and label != node:
            label = int(tree.parents[label])
        out[i] = label == node
    return out


LEVELS = hnp.arrays(np.int32, st.tuples(st.integers(0, 40), st.integers(1, 4)), elements=st.integers(-1, 5))


@given(LEVELS, st.integers(1, 4))
@settings(max_examples=80)
def test_invariants(levels: np.ndarray, smallest: int) -> None:
    tree = nest_levels(levels, smallest)
    nodes = range(len(tree.parents))
    everything = [members(tree, node) for node in nodes]
    assert tree.labels.shape == (len(levels),) and tree.labels.min(initial=-1) >= -1
    for node in nodes:
        inside, parent = everything[node], int(tree.parents[node])
        assert inside.sum() == tree.counts[node] >= smallest
        np.testing.assert_array_equal(inside, (tree.labels >= node) & (tree.labels < tree.ends[node]))
        if parent >= 0:
            assert parent < node < tree.ends[parent]
            assert tree.counts[node] < 0.9 * tree.counts[parent]
            assert tree.levels[node] < tree.levels[parent]
    for parent in {-1, *nodes}:
        counts = [tree.counts[n] for n in nodes if tree.parents[n] == parent]
        assert counts == sorted(counts, reverse=True)
    assert (tree.labels[(levels < 0).all(axis=1)] == -1).all()


def nested(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every Gaussian's part 0..5, thing 0..2 and whole; parts 2k and 2k+1 make thing k."""
    part = rng.permutation(np.concatenate([np.repeat(np.arange(6), 20), rng.choice(6, n - 120)]))
    return part, part // 2, np.zeros(n, int)


def test_nested_labels_become_themselves(rng):
    part, thing, _ = nested(rng, 900)
    tree = nest_levels(np.stack([part, thing + 10], axis=1))
    assert len(tree.parents) == 9 and (tree.parents == -1).sum() == 3
    for node in range(9):
        inside = members(tree, node)
        label = part if tree.levels[node] == 0 else thing
        assert len(np.unique(label[inside])) == 1
        assert inside.sum() == (label == label[inside][0]).sum()


def test_the_names_of_labels_do_not_matter(rng):
    part, thing, _ = nested(rng, 500)
    levels = np.stack([part, thing], axis=1)
    renamed = np.stack([rng.permutation(50)[part], rng.permutation(9)[thing] + 100], axis=1)
    a, b = nest_levels(levels), nest_levels(renamed)
    grouping = set(zip(a.labels.tolist(), b.labels.tolist(), strict=True))
    assert len(grouping) == len({x for x, _ in grouping}) == len(a.parents) - 3
    assert sorted(a.counts.tolist()) == sorted(b.counts.tolist())


def test_what_does_not_change_from_level_to_level_is_one_node(rng):
    part, thing, whole = nested(rng, 600)
    tree = nest_levels(np.stack([part, part, thing, thing, whole], axis=1))
    assert len(tree.parents) == 10 and (tree.parents == -1).sum() == 1
    assert sorted(tree.levels.tolist()) == [1] * 6 + [3] * 3 + [4]  # the coarsest level of each


def test_a_level_without_labels_is_passed_over(rng):
    part, thing, whole = nested(rng, 600)
    levels = np.stack([part, whole - 1, thing, whole - 1], axis=1)
    assert len(nest_levels(levels).parents) == 9


def test_a_cluster_that_reaches_into_another_thing_is_a_part_of_the_one_that_holds_most(rng):
    """5 % of part 0 lie in the other thing: they become that thing's own, not a part of it."""
    thing = np.repeat([0, 1], 1000)
    part = np.where(np.arange(2000) < 500, 0, np.where(thing == 0, 1, 2))
    part[1000:1025] = 0
    order = rng.permutation(2000)
    tree = nest_levels(np.stack([part, thing], axis=1)[order])
    inside = [members(tree, node) for node in range(len(tree.parents))]
    assert sorted(tree.counts.tolist()) == [500, 500, 1000, 1000]
    strays = np.isin(order, np.arange(1000, 1025))
    assert all(not (inside[n] & strays).any() or tree.counts[n] == 1000 for n in range(4))


def test_small_clusters_are_no_nodes(rng):
    part = np.repeat([0, 1, 2], [100, 95, 5])
    tree = nest_levels(np.stack([part, np.zeros(200, int)], axis=1), smallest=10)
    assert sorted(tree.counts.tolist()) == [95, 100, 200]
    assert (tree.labels[part == 2] == np.flatnonzero(tree.parents == -1)[0]).all()


@pytest.mark.parametrize("levels", [np.zeros((0, 3)), np.full((7, 2), -1), np.zeros((5, 0))], ids=str)
def test_nothing_labeled_is_an_empty_tree(levels):
    tree = nest_levels(levels.astype(np.int32))
    assert len(tree.parents) == 0 and (tree.labels == -1).all() and len(tree.labels) == len(levels)
    assert len(representatives(tree, np.zeros((len(levels), 3)), np.ones(len(levels)))) == 0


def test_representatives_lie_in_the_middle_of_their_node_and_are_solid(rng):
    part, thing, _ = nested(rng, 700)
    middle = rng.normal(size=(6, 3)) * 10
    points = middle[part] + rng.normal(size=(700, 3))
    opacities = np.where(rng.random(700) < 0.5, 0.1, 0.9)
    tree = nest_levels(np.stack([part, thing], axis=1))
    shown = representatives(tree, points, opacities)
    for node, index in enumerate(shown.tolist()):
        inside = members(tree, node)
        assert inside[index] and opacities[index] == 0.9
        solid = points[inside & (opacities > 0.5)]
        away = np.linalg.norm(solid - solid.mean(axis=0), axis=1)
        assert np.linalg.norm(points[index] - solid.mean(axis=0)) == pytest.approx(away.min())


def test_where_nothing_is_solid_a_faint_one_stands_for_it(rng):
    tree = nest_levels(np.zeros((20, 1), int))
    assert tree.labels[representatives(tree, rng.normal(size=(20, 3)), np.full(20, 0.2))].tolist() == [0]
