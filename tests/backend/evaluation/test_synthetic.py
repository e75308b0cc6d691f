"""Synthetic scenes: counts, labels, coverage, and the damage done to masks."""

from __future__ import annotations

import numpy as np
import pytest

from blender_saga.gaussians.view import View, look_at
from saga_backend.evaluation import surfaces
from saga_backend.evaluation.simulated import MaskDamage, SimulatedMasks, label_maps, simulate_masks
from saga_backend.evaluation.synthetic import standard_scene
from saga_backend.rasterizer.contributions import Contributions
from saga_backend.rasterizer.cpu import all_pixels, contributions, render
from saga_backend.tools.tabletop import make_tabletop, tabletop_names


@pytest.fixture(scope="module")
def scene():
    return standard_scene(objects=12, views=6, seed=3)


def test_standard_scene_is_the_one_of_the_design(scene):
    assert len(scene.cloud) == 95_000 and scene.labels.shape == (95_000, 2)
    assert (scene.labels[:, 0] == 0).sum() == 20_000 and ((scene.labels[:, 0] == 0) == (scene.labels[:, 1] == 0)).all()
    for number in range(12):
        parts, counts = np.unique(scene.labels[scene.labels[:, 0] == number + 1, 1], return_counts=True)
        assert parts.tolist() == [3 * number + 1, 3 * number + 2, 3 * number + 3]
        assert counts.tolist() == [2500, 2500, 1250]
    assert scene.cloud.opacities.min() >= 0.6 and scene.cloud.opacities.max() <= 0.98
    ratio = np.sort(scene.cloud.scales[scene.labels[:, 0] > 0], axis=1) / [0.003, 0.016, 0.016]
    assert ratio.min() > 0.69 and ratio.max() < 1.31


def test_standard_scene_stands_y_down_and_its_parts_touch(scene):
    means, parts = scene.cloud.means, scene.labels[:, 1]
    assert np.allclose(means[parts == 0, 1], 0)
    assert means[:, 1].max() < 1e-5 and means[:, 1].min() < -0.4  # up is -y
    for number in range(12):
        box, ball, knob = (means[parts == 3 * number + i] for i in (1, 2, 3))
        assert ball[:, 1].max() > box[:, 1].min()  # the sphere is sunk into the box
        distance = np.linalg.norm(ball[:, None] - knob[None], axis=2).min()
        assert distance < 0.02


def test_every_object_is_in_every_picture(scene):
    points = scene.cloud.means[scene.labels[:, 0] > 0]
    for view in scene.views:
        assert (view.width, view.height, view.K[0, 0]) == (480, 360, 432)
        p = points @ view.viewmat[:3, :3].T + view.viewmat[:3, 3]
        pixels = p[:, :2] / p[:, 2:] * view.K[0, 0] + view.K[:2, 2]
        assert (p[:, 2] > 0).all() and view.contains(pixels).all()
        down = view.camera_position
        assert 15 < np.degrees(np.arctan2(-down[1] - 0.3, np.hypot(down[0], down[2]))) < 65


def test_same_seed_same_scene_other_seed_another():
    first, again, other = (standard_scene(2, 1, seed) for seed in (5, 5, 6))
    assert first.cloud.fingerprint() == again.cloud.fingerprint() != other.cloud.fingerprint()


@pytest.mark.parametrize(
    ("surface", "area"),
    [
        (lambda r: surfaces.sphere(0.5, 4000, r), 4 * np.pi * 0.25),
        (lambda r: surfaces.box((0.1, 0.3, 0.5), 4000, r), 8 * (0.03 + 0.05 + 0.15)),
        (lambda r: surfaces.plane(1, 2, 4000, r), 8),
        (lambda r: surfaces.tube(np.array([[0, 0, z] for z in np.linspace(0, 3, 9)]), 0.2, 4000, r), 2 * np.pi * 0.6),
        (lambda r: surfaces.lathe(np.array([[1.0, 0], [1.0, 2.0]]), 4000, r), 4 * np.pi),
    ],
)
def test_surfaces_are_sampled_evenly_with_outward_normals(surface, area):
    spatial = pytest.importorskip("scipy.spatial")
    sample = surface(np.random.default_rng(0))
    assert len(sample) == 4000 and sample.spacing == pytest.approx(np.sqrt(area / 4000), rel=0.02)
    np.testing.assert_allclose(np.linalg.norm(sample.normals, axis=1), 1, atol=1e-9)
    out = sample.points - sample.points.mean(0)
    if sample.points[:, 2].any():  # closed about its middle (the plane is not)
        assert ((sample.normals * out).sum(1) > 0).all()
    else:
        np.testing.assert_array_equal(sample.normals, np.tile([0, 0, 1], (4000, 1)))
    nearest = spatial.cKDTree(sample.points).query(sample.points, k=2)[0][:, 1]
    assert np.median(nearest) > 0.55 * sample.spacing and nearest.max() < 2.5 * sample.spacing  # random: 0.47


def test_label_maps_show_the_strongest_label_and_nothing_where_thin():
    rows = Contributions(
        np.array([0, 2, 4, 5]), np.array([0, 1, 1, 2, 1], np.int32), np.array([0.6, 0.3, 0.3, 0.5, 0.4], np.float32)
    )
    labels = np.array([[1, 4], [2, 5], [0, 0]])
    maps = label_maps(rows, labels, 1, 3)
    np.testing.assert_array_equal(maps, [[[1, 0, 0]], [[4, 0, 0]]])


def blocks() -> np.ndarray:
    """Two levels: four things of 30 x 30 px in two touching pairs; the pairs; and a speck of 9 px."""
    things, pairs = np.zeros((2, 80, 80), np.int32)
    for index, (row, column) in enumerate([(5, 5), (5, 35), (45, 5), (45, 35)]):
        things[row : row + 30, column : column + 30] = index + 1
        pairs[row : row + 30, column : column + 30] = index // 2 + 1
    things[75:78, 76:79] = 9
    return np.stack([pairs, things])


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


def test_undamaged_masks_are_the_labels_without_specks():
    maps = blocks()
    masks = simulate_masks(maps, MaskDamage(dropped=0, merged=0, split=0, ragged=(0, 0)), np.random.default_rng(0))
    expected = [maps[0] == 1, maps[0] == 2, *(maps[1] == i for i in (1, 2, 3, 4))]
    np.testing.assert_array_equal(masks, expected)


def test_ragged_borders_stay_within_reach():
    mask = simulate_masks(blocks()[1:], MaskDamage(dropped=0, merged=0, split=0), np.random.default_rng(0))[0]
    true = blocks()[1] == 1
    assert 0.75 < iou(mask, true) < 0.99
    rows, columns = np.nonzero(mask ^ true)
    depth = np.minimum.reduce([abs(rows - 5), abs(rows - 34), abs(columns - 5), abs(columns - 34)])
    assert depth.max() <= 5


def test_shares_of_dropped_merged_and_split():
    random = np.random.default_rng(1)
    none = MaskDamage(dropped=0, merged=0, split=0, ragged=(0, 0))
    level = blocks()[1:]
    everything = MaskDamage(dropped=1)
    assert simulate_masks(level, everything, random).shape == (0, 80, 80)
    merged = simulate_masks(level, MaskDamage(dropped=0, merged=1, split=0, ragged=(0, 0)), random)
    assert [int(m.sum()) for m in merged] == [1800] * 4 and (merged[0] == (blocks()[0] == 1)).all()
    split = simulate_masks(level, MaskDamage(dropped=0, merged=0, split=1, ragged=(0, 0)), random)
    assert len(split) == 8 and (split[0] ^ split[1] == (level[0] == 1)).all() and split[:2].any(axis=(1, 2)).all()
    counts = [len(simulate_masks(level, MaskDamage(merged=0, split=0, ragged=(0, 0)), random)) for _ in range(300)]
    assert np.mean(counts) / 4 == pytest.approx(0.75, abs=0.05)
    assert len(simulate_masks(level, none, random)) == 4


def test_simulated_masks_of_a_scene_are_made_when_asked_for_and_differ_by_view(scene):
    views = [view.resized(240, 180) for view in scene.views[:2]] + [scene.views[0].resized(240, 180)]
    masks = SimulatedMasks(scene.cloud, scene.labels, views, seed=1)
    assert len(masks) == 3 and [m.shape[1:] for m in masks] == [(180, 240)] * 3
    np.testing.assert_array_equal(masks[0], masks[0])
    assert len(masks[0]) != len(masks[2]) or (masks[0] != masks[2]).any()  # the same view, other damage
    rows = contributions(scene.cloud, views[0], all_pixels(views[0]))
    maps = label_maps(rows, scene.labels, 180, 240)
    truth = [level == label for level in maps for label in np.unique(level[level > 0])]
    best = [max(iou(mask, true) for true in truth) for mask in masks[0]]
    assert np.median(best) > 0.8 and 15 < len(best) < 60
    with pytest.raises(IndexError):
        masks[3]


@pytest.fixture(scope="module")
def tabletop():
    return make_tabletop(0)


def test_tabletop_has_named_things_of_parts(tabletop):
    cloud, labels = tabletop
    objects, parts = tabletop_names()
    assert 90_000 < len(cloud) < 110_000 and cloud.sh_degree >= 1 and labels.shape == (len(cloud), 2)
    assert set(np.unique(labels[:, 0])) == {0, *objects} and set(np.unique(labels[:, 1])) == {0, *parts}
    for part, name in parts.items():
        owner = np.unique(labels[labels[:, 1] == part, 0])
        assert len(owner) == 1 and name.startswith(objects[int(owner[0])])
    assert np.isfinite(cloud.sh).all() and (np.abs(cloud.sh[:, 1:]).max(axis=(1, 2)) > 1e-3).mean() > 0.3
    assert cloud.means[labels[:, 0] > 0, 1].max() < 0.02  # y down: things are above the table


def test_tabletop_has_no_holes(tabletop):
    cloud, labels = tabletop
    K = np.array([[432, 0, 240], [0, 432, 180], [0, 0, 1.0]])
    viewmat = look_at(np.array([0.5, -2.2, -3.0]), np.array([0, -0.3, 0]), np.array([0, -1.0, 0]))
    view = View(viewmat, K, 480, 360)
    rows = contributions(cloud, view, all_pixels(view))
    inside = label_maps(rows, labels, 360, 480)[0] > 0
    alpha = render(cloud, view).alpha
    assert inside.mean() > 0.1 and alpha[inside].mean() > 0.98
