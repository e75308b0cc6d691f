"""Click-Gaussian: levels of masks, global clusters, training, clicks, label propagation, the .saga file, the tree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blender_saga.errors import UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.wire.messages import Cluster, SelectOptions, TrainSettings
from saga_backend.common.progress import Control
from saga_backend.masks.sampled import SampledMasks, from_labels
from saga_backend.methods.click_gaussian import train as click_train
from saga_backend.methods.click_gaussian.guidance import global_clusters
from saga_backend.methods.click_gaussian.levels import SegmentLevels, level_view, levels_of_masks
from saga_backend.methods.click_gaussian.model import LevelModel, model_of
from saga_backend.methods.click_gaussian.settings import BY_NAME, PAPER, Weights
from saga_backend.methods.click_gaussian.train import ClickInput, train_click_gaussian
from saga_backend.model import saga_file
from saga_backend.model.clustering import from_levels
from saga_backend.model.scene_model import SceneModel
from saga_backend.rasterizer.contributions import Contributions
from saga_backend.rasterizer.cpu import all_pixels, contributions
from saga_backend.segments.segments import Segments, from_sets, scale_table
from saga_backend.training.train import Sources, train
from tests.helpers.twins import bool_to_bits, toy_scene, toy_views, unit

RECIPES = tuple(BY_NAME)


def one_each(count: int) -> Contributions:
    """Rows of pixels that show one Gaussian each, all of it."""
    return Contributions(np.arange(count + 1), np.arange(count, dtype=np.int32), np.ones(count, np.float32))


# --- levels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [2, 3])
def test_levels_are_the_largest_and_the_smallest_mask(rng, levels: int) -> None:
    members = rng.random((60, 12)) < 0.2
    areas = rng.permutation(12).astype(np.float32) + 5
    masks = SampledMasks(bool_to_bits(members), np.arange(12, dtype=np.float32), areas)
    found = levels_of_masks(masks, levels)
    for p in range(60):
        covering = sorted(np.flatnonzero(members[p]), key=lambda m: -areas[m])
        if not covering:
            assert not found[:, p].any()
            continue
        assert found[0, p] == covering[0] + 1 and found[-1, p] == covering[-1] + 1
        if levels == 3:
            assert found[1, p] == covering[min(1, len(covering) - 1)] + 1


def test_a_view_without_masks_has_no_levels() -> None:
    empty = SampledMasks(bool_to_bits(np.zeros((3, 0), bool)), np.zeros(0, np.float32), np.zeros(0, np.float32))
    labels = levels_of_masks(empty, 2)
    assert labels.shape == (2, 3) and not labels.any() and level_view(one_each(3), labels) is None


def test_every_mask_is_sampled_alike(rng) -> None:
    """Importance by the count of a mask's pixels: one of 5 is met as often as one of 500. In none: by area."""
    labels = np.repeat([0, 1, 2], [300, 500, 5])[None].astype(np.int32)
    _, drawn = level_view(one_each(805), np.concatenate([labels, labels])).sample(30_000, rng)
    shares = np.bincount(drawn[0]) / 30_000
    rest = 2 * 300 / 505
    np.testing.assert_allclose(shares, np.array([rest, 1, 1]) / (rest + 2), atol=0.02)


def test_pixels_that_show_nothing_are_not_sampled(rng) -> None:
    rows = Contributions(np.array([0, 1, 1, 2, 3]), np.array([0, 1, 2], np.int32), np.array([1, 0.1, 0.9], np.float32))
    view = level_view(rows, np.array([[1, 1, 2, 2], [1, 1, 2, 2]], np.int32))
    sampled, labels = view.sample(200, rng)
    assert set(sampled.ids.tolist()) == {0, 2} and set(labels[0].tolist()) == {1, 2}


def test_levels_of_segments_are_those_of_a_click(rng) -> None:
    thing = np.arange(40) // 20
    part = np.arange(40) // 10
    means = np.stack([np.arange(40.0), np.zeros(40), np.zeros(40)], axis=1)
    segments = from_sets([thing == 0, thing == 1, part == 0, part == 1], means)  # the second thing has no parts
    coarse, fine = SegmentLevels(segments, 2).of(one_each(40))
    assert len(np.unique(coarse[:20])) == len(np.unique(coarse[20:])) == 1 and coarse[0] != coarse[20]
    assert len(np.unique(fine[:10])) == len(np.unique(fine[10:20])) == 1 and len({fine[0], fine[10], coarse[0]}) == 3
    np.testing.assert_array_equal(fine[20:], coarse[20:])


def test_a_thing_stays_whole_where_a_part_of_it_stands_out_more() -> None:
    """A knob that stands out by far is fine within its thing; of a thing that is mostly knob it is all that counts."""
    means = np.stack([np.arange(40.0), np.zeros(40), np.zeros(40)], axis=1)
    knob, thing = np.arange(40) < 5, np.arange(40) < 30
    segments = from_sets([knob, thing], means)
    outstanding = replace_standing(segments, np.array([50.0, 1.0]))
    levels = SegmentLevels(outstanding, 2)
    coarse, fine = levels.of_gaussians()
    np.testing.assert_array_equal(coarse, np.where(thing, 2, 0))
    np.testing.assert_array_equal(fine, np.where(knob, 1, np.where(thing, 2, 0)))
    np.testing.assert_array_equal(levels.of(one_each(40)), levels.of_gaussians())
    mostly = replace_standing(from_sets([np.arange(40) < 20, np.arange(40) < 28], means), np.array([50.0, 1.0]))
    coarse, _ = SegmentLevels(mostly, 2).of_gaussians()
    np.testing.assert_array_equal(coarse[:28], np.where(np.arange(28) < 20, 1, 2))


def test_what_is_nearly_all_of_a_thing_leaves_no_rim_of_it_over() -> None:
    """A thing without its rim stands out more than with it: both are the thing, and the rim is none by itself."""
    means = np.stack([np.arange(40.0), np.zeros(40), np.zeros(40)], axis=1)
    segments = from_sets([np.arange(40) < 24, np.arange(40) < 28], means)
    coarse, fine = SegmentLevels(replace_standing(segments, np.array([2.0, 1.0])), 2).of_gaussians()
    np.testing.assert_array_equal(coarse, np.where(np.arange(40) < 28, 2, 0))
    np.testing.assert_array_equal(fine, np.select([np.arange(40) < 24, np.arange(40) < 28], [1, 2]))


def replace_standing(segments: Segments, prominence: np.ndarray) -> Segments:
    return Segments(segments.offsets, segments.ids, segments.scales, segments.count, prominence.astype(np.float32))


# --- clusters -------------------------------------------------------------------------------------------------------


def test_global_clusters_are_the_means_of_what_is_alike(rng) -> None:
    """Masks of several views that show one of four directions each."""
    directions = np.eye(24, dtype=np.float32)[[0, 1, 12, 13]]
    features = (np.repeat(directions, 10, axis=0) + 0.01 * rng.standard_normal((40, 24))).astype(np.float32)
    features[20:, :12] += np.eye(12, dtype=np.float32)[5]  # fine differs where coarse is alike
    group = np.repeat(np.arange(4), 10)
    labels = np.stack([np.array([1, 2, 3, 3])[group], group + 1]).astype(np.int32)
    views = [level_view(one_each(40), labels) for _ in range(6)]
    coarse, fine = global_clusters(features, views, replace(PAPER, epsilons=(0.3, 0.3)), Control())
    assert len(coarse) == 3 and len(fine) == 4
    for centers, span, groups in ((coarse, slice(0, 12), labels[0]), (fine, slice(0, 24), labels[1])):
        np.testing.assert_allclose(np.linalg.norm(centers, axis=1), 1, atol=1e-5)
        for number in np.unique(groups):
            wanted = unit(features[groups == number][:, span].mean(axis=0))
            assert (centers @ wanted).max() > 0.999


# --- the model ------------------------------------------------------------------------------------------------------


def two_things() -> tuple[LevelModel, np.ndarray]:
    """Two things of two parts and a floor, ten Gaussians each; [50] which."""
    part = np.repeat(np.arange(5), 10)
    coarse, fine = np.eye(12, dtype=np.float32)[[0, 0, 1, 1, 2]], np.eye(12, dtype=np.float32)[:5]
    every = np.concatenate([coarse, fine], axis=1)
    means = np.random.default_rng(0).standard_normal((50, 3))
    clusters = [np.eye(12, dtype=np.float32)[:3], unit(every).astype(np.float32)]
    return model_of(every[part], clusters, [slice(0, 12), slice(0, 24)], means, 7), part


def clicked(model: LevelModel, yes: list[int], no: list[int] = (), scale: float | None = 1.0) -> np.ndarray:
    rows = one_each(50).take(np.array([*yes, *no]))
    return model.select(rows, np.arange(len(rows)) < len(yes), scale).mask


def test_a_click_means_its_cluster_of_the_level() -> None:
    model, part = two_things()
    np.testing.assert_array_equal(clicked(model, [3]), part < 2)
    np.testing.assert_array_equal(clicked(model, [3], scale=None), part < 2)
    np.testing.assert_array_equal(clicked(model, [3], scale=0.0), part == 0)
    np.testing.assert_array_equal(clicked(model, [3, 25], scale=0.0), (part == 0) | (part == 2))


def test_a_negative_click_takes_the_largest_that_is_not_wanted() -> None:
    model, part = two_things()
    np.testing.assert_array_equal(clicked(model, [3, 25], [35]), part < 3)  # of the thing that is wanted its part
    np.testing.assert_array_equal(clicked(model, [3], [15]), part == 0)  # the same thing: its part
    np.testing.assert_array_equal(clicked(model, [3], [45]), part < 2)
    assert not clicked(model, [], [3]).any()


def test_where_no_cluster_is_like_the_click_it_is_said() -> None:
    model, _ = two_things()
    half = Contributions(np.array([0, 5]), np.array([0, 10, 20, 30, 40], np.int32), np.full(5, 0.2, np.float32))
    answer = model.select(half, np.ones(1, bool), 0.0)
    assert not answer.mask.any() and "another level" in answer.note


def test_a_mask_in_one_view_is_propagated() -> None:
    """Of a ragged mask the clusters are taken of which it holds most."""
    model, part = two_things()
    inside = part == 2
    inside[[20, 21, 30, 40]] = False, False, True, True
    np.testing.assert_array_equal(model.propagate(one_each(50), inside, 0.0).mask, part == 2)
    np.testing.assert_array_equal(model.propagate(one_each(50), part >= 2, 1.0).mask, part >= 2)
    nothing = model.propagate(one_each(50), np.zeros(50, bool), 1.0)
    assert not nothing.mask.any() and nothing.note


def test_scores_are_cosines_with_the_click(rng) -> None:
    model, _ = two_things()
    rows = one_each(50).take(np.array([3, 25, 8]))
    positive = np.array([True, True, False])
    for level, end in ((0, 12), (1, 24)):
        part = unit(model.features[:, :end])
        wanted = (part @ part[[3, 25]].T).max(axis=1)
        np.testing.assert_allclose(model.scores(rows, positive, level), wanted, atol=1e-5)


def scene_model() -> tuple[SceneModel, np.ndarray]:
    model, part = two_things()
    means = np.random.default_rng(1).standard_normal((50, 3))
    segments = from_sets([part == 0, part == 4], means)
    return SceneModel(segments, scale_table(segments), levels=model), part


def test_the_scene_is_clicked_by_clusters() -> None:
    model, part = scene_model()
    rows = one_each(50).take(np.array([3]))
    yes = np.ones(1, bool)
    for method in ("auto", "click-gaussian"):
        np.testing.assert_array_equal(model.select(rows, yes, SelectOptions(method, 1.0, snap=False)).mask, part < 2)
    np.testing.assert_array_equal(model.select(rows, yes, SelectOptions("segments")).mask, part == 0)
    assert model.steps == 7 and model.granularity == 2 and model.trained_features() is model.levels
    with pytest.raises(UserError, match="no trained features"):
        model.select(rows, yes, SelectOptions("saga"))
    without = replace(model, levels=None)
    with pytest.raises(UserError, match="no clusters"):
        without.select(rows, yes, SelectOptions("click-gaussian"))
    assert without.granularity == 0


def test_a_click_that_is_like_no_cluster_falls_back_on_segments() -> None:
    model, part = scene_model()
    lonely = replace(
        model.levels, levels=tuple(replace(level, centers=-level.centers) for level in model.levels.levels)
    )
    rows = one_each(50).take(np.array([3]))
    fallen = replace(model, levels=lonely)
    np.testing.assert_array_equal(fallen.select(rows, np.ones(1, bool), SelectOptions()).mask, part == 0)
    assert not fallen.select(rows, np.ones(1, bool), SelectOptions("click-gaussian", snap=False)).mask.any()


def test_saved_and_loaded_it_answers_the_same(tmp_path) -> None:
    model, _ = scene_model()
    path = tmp_path / "x.saga"
    saga_file.save(path, model, saga_file.Header("f"))
    read, header = saga_file.load(path, "f")
    assert header.steps == read.steps == 7 and read.granularity == 2 and read.affinity is None
    for ours, theirs in zip(model.levels.levels, read.levels.levels, strict=True):
        assert ours.span == theirs.span and theirs.like == pytest.approx(ours.like)
        for name in ("centers", "labels", "sizes"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    np.testing.assert_array_equal(read.levels.features, model.levels.features)


@pytest.mark.parametrize("name", ["features", "spans", "0.centres", "0.labels", "1.sizes", "0.like"])
@pytest.mark.parametrize("fault", ["missing", "shape", "range"])
def test_damaged_arrays_are_refused(tmp_path, name: str, fault: str) -> None:
    from safetensors.numpy import load_file, save_file

    path, broken = tmp_path / "x.saga", tmp_path / "y.saga"
    saga_file.save(path, scene_model()[0], saga_file.Header("f"))
    tensors, key = load_file(path), f"levels.{name}"
    with __import__("safetensors").safe_open(str(path), "numpy") as file:
        facts = file.metadata()
    if fault == "missing":
        del tensors[key]
    elif fault == "shape":
        tensors[key] = tensors[key][:-1] if name != "spans" else tensors[key][:, :1].copy()
    elif name in ("spans", "0.labels"):
        tensors[key] = tensors[key] + 100
    else:
        tensors[key] = np.full_like(tensors[key], np.nan)
    save_file(tensors, broken, facts)
    if (name, fault) == ("features", "missing"):  # then it is a model without levels
        assert saga_file.load(broken, "f")[0].levels is None
        return
    if (name, fault) == ("0.like", "missing"):  # a file from before clusters had one
        assert saga_file.load(broken, "f")[0].levels.levels[0].like == pytest.approx(0.9)
        return
    with pytest.raises(UserError) as caught:
        saga_file.load(broken, "f")
    assert caught.value.code == "bad_model"


def test_the_tree_is_the_levels() -> None:
    model, part = two_things()
    cloud = GaussianCloud(
        np.random.default_rng(0).standard_normal((50, 3)), np.tile([1.0, 0, 0, 0], (50, 1)), np.full((50, 3), 0.1),
        np.where(np.arange(50) == 0, 0.0, 0.9), np.zeros((50, 1, 3)),
    )  # fmt: skip
    answer = from_levels(Cluster("toy"), cloud, model, Control())
    things = [node for node in range(len(answer.parents)) if answer.parents[node] < 0]
    assert len(things) == 3 and len(answer.parents) == 7  # the floor has no parts
    assert answer.labels[0] == -1  # a point that is gone
    for index in range(5):
        labels = answer.labels[1:][part[1:] == index]
        assert len(set(labels.tolist())) == 1 and labels[0] >= 0
    assert answer.parents[answer.labels[5]] == answer.parents[answer.labels[15]] >= 0
    assert sorted(set(answer.scales.tolist())) == [0.0, 1.0]


# --- training -------------------------------------------------------------------------------------------------------


def pictures_of(cloud, views, truth) -> list[np.ndarray]:
    """Masks of both balls together and of each."""
    out = []
    for view in views:
        rows = contributions(cloud, view, all_pixels(view))
        sets = np.stack([truth >= 0, truth == 0, truth == 1], axis=1).astype(float)
        out.append((rows.blend(sets) > 0.5).T.reshape(3, view.height, view.width))
    return out


@pytest.mark.steady
@pytest.mark.parametrize("recipe", RECIPES)
def test_it_learns_both_levels(rng, recipe: str) -> None:
    """Coarse both balls, fine each."""
    cloud, truth = toy_scene(rng)
    views = toy_views()
    steps = 300 if recipe == "prototypes" else 240
    settings = TrainSettings("click-gaussian", recipe, steps=steps, pixels=300, width=64, height=48)
    result = train(cloud, settings, Control(), Sources(views, pictures_of(cloud, views, truth)))
    levels = result.model.levels
    assert levels is not None and levels.steps == steps and len(levels.levels) == (3 if recipe == "three-levels" else 2)
    seen = np.zeros(len(cloud), bool)
    for view in views:
        rows = contributions(cloud, view, all_pixels(view))
        seen[rows.ids[rows.weights > 0.2]] = True
    fine = levels.levels[-1].labels
    for ball in (0, 1):
        here = fine[seen & (truth == ball)]
        share = np.bincount(here + 1).max() / len(here)
        assert share > 0.9
    ids = [np.bincount(fine[seen & (truth == ball)] + 1).argmax() for ball in (0, 1)]
    assert ids[0] != ids[1]


@pytest.mark.parametrize("recipe", RECIPES)
def test_same_seed_same_model(rng, recipe: str) -> None:
    cloud, truth = toy_scene(rng)
    views = toy_views()
    masks = pictures_of(cloud, views, truth)
    settings = TrainSettings("click-gaussian", recipe, steps=6, pixels=50, width=64, height=48)
    first, again, other = (
        train(cloud, replace(settings, seed=seed), Control(), Sources(views, masks)).model.levels for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.features, again.features)
    assert np.abs(first.features - other.features).max() > 0.01


def test_snapshots_come_once_features_say_something(rng) -> None:
    cloud, truth = toy_scene(rng)
    views, got = toy_views(), []
    settings = TrainSettings("click-gaussian", "paper", steps=30, pixels=50)
    train(cloud, settings, Control(), Sources(views, pictures_of(cloud, views, truth), publish=got.append))
    assert got[0].levels is None and len(got[0].segments)  # the segments at once: clicks need not wait
    assert [snapshot.steps for snapshot in got[1:]] == [21]


def test_without_masks_there_is_nothing_to_learn(rng) -> None:
    cloud, _ = toy_scene(rng)
    rows = [contributions(cloud, view, all_pixels(view)) for view in toy_views()]
    empty = [SampledMasks(bool_to_bits(np.zeros((len(r), 0), bool)), *np.zeros((2, 0), np.float32)) for r in rows]
    segments = from_sets([], cloud.means)
    data = ClickInput(cloud.means, np.ones(len(cloud), bool), rows, empty, segments)
    for recipe in RECIPES:
        with pytest.raises(UserError) as caught:
            train_click_gaussian(data, BY_NAME[recipe], Control())
        assert caught.value.code == "no_masks"


@pytest.mark.parametrize("change", [{"recipe": "magic"}, {"pixels": 1}, {"pixels": 20_000}, {"method": "click"}])
def test_settings_out_of_range_are_refused(rng, change: dict) -> None:
    cloud, _ = toy_scene(rng)
    with pytest.raises(UserError) as caught:
        train(cloud, replace(TrainSettings("click-gaussian"), **change), Control(), Sources(toy_views()))
    assert caught.value.code == "bad_settings"


def test_a_term_of_no_weight_is_left_out(rng, monkeypatch) -> None:
    """The ablation of Table 3 changes weights: without guidance no clusters are looked for while it trains."""
    cloud, truth = toy_scene(rng)
    rows = [contributions(cloud, view, all_pixels(view)) for view in toy_views()]
    masks = [from_labels(r.strongest(truth[:, None].astype(np.int32)), np.array([1.0, 1.2]), 1.0) for r in rows]
    data = ClickInput(cloud.means, np.ones(len(cloud), bool), rows, masks, from_sets([], cloud.means))
    settings, looks = replace(PAPER, steps=9, pixels=40, refresh=2), []
    monkeypatch.setattr(click_train, "global_clusters", lambda *a: looks.append(1) or global_clusters(*a))
    train_click_gaussian(data, settings, Control())
    assert len(looks) == 3  # after 6 and 8 steps, and at the end
    train_click_gaussian(data, replace(settings, weights=Weights(guidance=0)), Control())
    assert len(looks) == 4
