"""Training on two balls: it learns them, repeats itself, stops when told to, and refuses what it cannot learn from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blender_saga.errors import Cancelled, UserError
from blender_saga.wire.messages import SelectOptions, TrainSettings
from saga_backend.common.progress import Control
from saga_backend.methods.saga.settings import SagaSettings
from saga_backend.methods.saga.train import SagaInput, scale_quantiles, train_saga
from saga_backend.rasterizer.cpu import all_pixels, contributions
from saga_backend.segments.segments import from_sets, scale_table
from saga_backend.training.train import Sources, check_settings, train
from tests.helpers.twins import PHASES, CancelsAt, ball, pixel_over, toy_scene, toy_views

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = TrainSettings(steps=200, views=6, width=64, height=48, pixels=96)
BY_FEATURES = SelectOptions("saga", 1.0, snap=False)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / max((a | b).sum(), 1)


def clicked(model, cloud, view, gaussian: int, how: SelectOptions):
    rows = contributions(cloud, view, pixel_over(cloud, view, gaussian)[None])
    return model.select(rows, np.ones(1, bool), how)


@pytest.fixture(scope="module")
def trained():
    """The scene with its truth, and a model trained on it (virtual views, built-in masks)."""
    cloud, truth = toy_scene(np.random.default_rng(0))
    return cloud, truth, train(cloud, SMALL, Control())


def front(cloud, view, truth, index: int) -> int:
    """The Gaussian of ball `index` nearest to the camera."""
    depth = cloud.means @ view.viewmat[2, :3] + view.viewmat[2, 3]
    return int(np.argmin(np.where(truth == index, depth, np.inf)))


@pytest.mark.parametrize(
    "how", [SelectOptions(scale=1.0), SelectOptions("segments", 1.0), SelectOptions("saga", 1.0), BY_FEATURES], ids=str
)
@pytest.mark.parametrize("index", [0, 1])
def test_a_click_selects_the_ball_under_it(trained, index, how):
    """At the scale of the largest things."""
    cloud, truth, result = trained
    for view in toy_views():
        answer = clicked(result.model, cloud, view, front(cloud, view, truth, index), how)
        assert iou(answer.mask, truth == index) > 0.9
        assert answer.note == ""


@pytest.mark.parametrize(
    "how",
    [SelectOptions(), SelectOptions("segments"), SelectOptions("saga"), SelectOptions("saga", snap=False)],
    ids=str,
)
@pytest.mark.parametrize("index", [0, 1])
def test_at_a_chosen_scale_it_selects_of_that_ball_only(trained, index, how):
    """How much of it depends on the scale that the click suggests; a part is no mistake, the other ball is."""
    cloud, truth, result = trained
    for view in toy_views():
        answer = clicked(result.model, cloud, view, front(cloud, view, truth, index), how)
        assert 0 <= answer.scale <= 1
        assert answer.mask[truth == index].sum() > 5 and not answer.mask[truth != index].any()


def test_result_says_how_it_came_about(trained):
    cloud, _, result = trained
    assert 1 <= len(result.views) <= 6 and 0.8 < result.coverage <= 1 and result.masks > 0
    assert set(result.phases) == {"views", "rows", "masks", "training"}
    features = result.model.features().features
    assert result.model.steps == 200 and features.shape == (len(cloud), 32)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    assert (np.diff(result.model.quantiles) >= 0).all() and (np.diff(result.model.segments.scales) >= 0).all()
    assert result.model.segments.count == len(cloud)


@pytest.mark.parametrize("recipe", ["prototypes", "paper"])
def test_same_seed_same_features_and_another_seed_others(trained, recipe):
    cloud = trained[0]
    settings, views = replace(SMALL, recipe=recipe, steps=20), Sources(toy_views())
    first, again = (train(cloud, settings, Control(), views).model for _ in range(2))
    np.testing.assert_array_equal(again.features().features, first.features().features)
    np.testing.assert_array_equal(again.features().gate, first.features().gate)
    np.testing.assert_array_equal(again.segments.ids, first.segments.ids)
    other = train(cloud, replace(settings, seed=5), Control(), views).model
    assert np.abs(other.features().features - first.features().features).max() > 0.1


def pictures_of(cloud, views, truth) -> list[np.ndarray]:
    """Masks of the balls themselves, as SAM or files would give them."""
    out = []
    for view in views:
        rows = contributions(cloud, view, all_pixels(view))
        part = rows.blend(np.stack([truth == 0, truth == 1], axis=1).astype(float)) > 0.5
        out.append(part.T.reshape(2, view.height, view.width))
    return out


@pytest.mark.steady
@pytest.mark.parametrize("recipe", ["prototypes", "paper"])
def test_given_views_and_masks_are_used(rng, recipe):
    cloud, truth = toy_scene(rng)
    views = toy_views()
    masks = pictures_of(cloud, views, truth)
    settings = replace(SMALL, recipe=recipe, steps=100)
    result = train(cloud, settings, Control(), Sources(views=views, masks=masks))
    assert result.views is views and result.masks == sum(int(m.any(axis=(1, 2)).sum()) for m in masks)
    assert len(result.model.segments) == 2
    for index in (0, 1):
        gaussian = front(cloud, views[0], truth, index)
        assert (
            iou(clicked(result.model, cloud, views[0], gaussian, SelectOptions(scale=1.0)).mask, truth == index) > 0.9
        )
    if recipe == "prototypes":  # from noise the far sides have learned little after 100 steps
        for index in (0, 1):
            gaussian = front(cloud, views[0], truth, index)
            assert iou(clicked(result.model, cloud, views[0], gaussian, BY_FEATURES).mask, truth == index) > 0.9


@pytest.mark.steady
def test_evidence_trains_no_features(rng):
    cloud, truth = toy_scene(rng)
    views, published = toy_views(), []
    sources = Sources(views=views, masks=pictures_of(cloud, views, truth), publish=published.append)
    result = train(cloud, replace(SMALL, method="segments"), Control(), sources)
    assert result.model.affinity is None and result.model.steps == 0
    answer = clicked(result.model, cloud, views[0], front(cloud, views[0], truth, 1), SelectOptions())
    assert iou(answer.mask, truth == 1) > 0.9


@pytest.mark.parametrize("masks", [[], [np.zeros((1, 48, 64), bool)] * 3, [np.zeros((1, 4, 4), bool)] * 6])
def test_masks_that_do_not_fit_are_refused(rng, masks):
    cloud, _ = toy_scene(rng)
    with pytest.raises(UserError) as caught:
        train(cloud, SMALL, Control(), Sources(views=toy_views(), masks=masks))
    assert caught.value.code == "bad_masks"


@pytest.mark.steady
def test_training_from_noise_learns_too(rng):
    """The paper's recipe: after training the balls are more alike inside than between."""
    cloud, truth = toy_scene(rng)
    rows = [contributions(cloud, view, all_pixels(view)) for view in toy_views()]
    settings = SagaSettings("paper", steps=150, pixels=96, rate=0.02)
    model = train_saga(ball_input(cloud, truth, rows), settings, Control())
    opened = model.features * model.scale_gate(1.0)
    opened /= np.linalg.norm(opened, axis=1, keepdims=True)
    seen = np.zeros(len(cloud), bool)
    for part in rows:
        seen[part.ids[part.weights > 0.3]] = True
    a, b = opened[seen & (truth == 0)], opened[seen & (truth == 1)]
    assert (a @ a.T).mean() > 0.8 and (b @ b.T).mean() > 0.8 and (a @ b.T).mean() < 0.5


def ball_input(cloud, truth, rows) -> SagaInput:
    """What training works on when the masks are the balls."""
    segments = from_sets([truth == 0, truth == 1], cloud.means)
    everything = np.ones(len(cloud), bool)
    return SagaInput(cloud.means, everything, rows, ball_masks(rows, truth), segments, scale_table(segments))


def ball_masks(rows, truth):
    from saga_backend.masks.sampled import from_labels

    return [from_labels(part.strongest(truth[:, None].astype(np.int32)), np.array([1.0, 1.2]), 1.0) for part in rows]


def test_what_no_view_sees_takes_its_nearest_neighbors_feature(rng):
    cloud, _ = toy_scene(rng)
    views = toy_views()[:1]
    features = train(cloud, replace(SMALL, steps=3), Control(), Sources(views=views)).model.features().features
    seen = np.zeros(len(cloud), bool)
    for view in views:
        rows = contributions(cloud, view, all_pixels(view))
        seen[rows.ids[rows.weights >= 0.02]] = True
    assert 0 < (~seen).sum() < len(cloud)
    for i in np.flatnonzero(~seen):
        nearest = np.flatnonzero(seen)[np.argmin(np.linalg.norm(cloud.means[seen] - cloud.means[i], axis=1))]
        np.testing.assert_array_equal(features[i], features[nearest])


@pytest.mark.parametrize("recipe", ["prototypes", "paper"])
def test_snapshots_are_published(rng, recipe):
    cloud, _ = toy_scene(rng)
    got = []
    settings = replace(SMALL, recipe=recipe, steps=41, pixels=16)
    model = train(cloud, settings, Control(), Sources(views=toy_views()[:2], publish=got.append)).model
    assert got[0].affinity is None and len(got[0].segments)  # the segments at once: clicks need not wait for features
    assert [snapshot.steps for snapshot in got[1:]] == list(range(1, 41, 2))
    assert all(snapshot.segments is model.segments for snapshot in got)
    features = [snapshot.features().features for snapshot in got[1:]]
    assert np.abs(features[0] - features[-1]).max() > 0  # a snapshot, not the array that is being trained
    assert all(np.isfinite(f).all() for f in features)


# --- cancel and progress --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", PHASES)
def test_cancelled_in_every_phase(rng, phase):
    cloud, _ = toy_scene(rng)
    with pytest.raises(Cancelled, match=phase):
        train(cloud, SMALL, CancelsAt(phase))


def test_progress_counts_up_in_known_phases(rng):
    class Listens(Control):
        def emit(self, phase, step, total):
            heard.append((phase, step, total))

    heard: list[tuple[str, int, int]] = []
    cloud, _ = toy_scene(rng)
    train(cloud, replace(SMALL, steps=5), Listens())
    assert tuple(dict.fromkeys(phase for phase, _, _ in heard)) == PHASES
    for phase in PHASES:
        steps = [(step, total) for name, step, total in heard if name == phase]
        assert [step for step, _ in steps] == list(range(len(steps)))
        assert all(0 <= step < total for step, total in steps)


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"steps": -1},
        {"steps": 10**9},
        {"views": -1},
        {"width": 100_000},
        {"height": -5},
        {"pixels": 10**6},
        {"pixels": 1},
        {"seed": -1},
        {"method": "magic"},
        {"method": "auto"},  # is about clicks
        {"recipe": "soup"},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(rng, change):
    with pytest.raises(UserError) as caught:
        train(toy_scene(rng)[0], replace(SMALL, **change), Control())
    assert caught.value.code == "bad_settings"


def test_zeros_are_the_defaults():
    chosen = check_settings(TrainSettings())
    assert min(chosen.steps, chosen.views, chosen.width, chosen.height, chosen.pixels) > 0
    assert check_settings(replace(SMALL, seed=3)) == replace(SMALL, seed=3)
    assert check_settings(TrainSettings(recipe="paper")).steps == 10_000  # as published


@pytest.mark.parametrize("opacity", [0.0, 0.002, 0.03])
def test_transparent_cloud_is_refused(rng, opacity):
    cloud, _ = toy_scene(rng)
    with pytest.raises(UserError) as caught:
        train(replace(cloud, opacities=np.full(len(cloud), opacity)), SMALL, Control())
    assert caught.value.code == "empty_scene"


@pytest.mark.parametrize("count", [0, 1, 2, 10])
def test_few_gaussians_train_or_are_refused(rng, count):
    cloud = ball(rng, (0, 0, 0), 1.0, 10, (1, 0, 0)).take(np.arange(count))
    try:
        result = train(cloud, replace(SMALL, steps=2), Control())
    except UserError as error:
        assert error.code in ("empty_scene", "no_masks")
    else:
        assert count > 1 and np.isfinite(result.model.features().features).all()


@pytest.mark.filterwarnings("error")
def test_all_gaussians_in_one_point_train_or_are_refused(rng):
    cloud = ball(rng, (0, 0, 0), 1.0, 200, (1, 0, 0))
    try:
        result = train(replace(cloud, means=np.zeros((200, 3))), replace(SMALL, steps=2), Control())
    except UserError as error:
        assert error.code == "no_masks"
    else:
        assert np.isfinite(result.model.features().features).all()


def test_views_that_see_nothing_are_refused(rng):
    cloud, _ = toy_scene(rng)
    away = [replace(view, viewmat=np.diag([1.0, -1, -1, 1]) @ view.viewmat) for view in toy_views()]
    with pytest.raises(UserError) as caught:
        train(cloud, SMALL, Control(), Sources(views=away))
    assert caught.value.code == "no_masks"


# --- quantiles ------------------------------------------------------------------------------------------------------


def test_scale_quantiles_weigh_a_mask_by_its_extent(rng):
    cloud, truth = toy_scene(rng)
    rows = [contributions(cloud, view, all_pixels(view)) for view in toy_views()]
    masks = ball_masks(rows, truth)
    table = scale_quantiles(masks)
    assert (np.diff(table) >= 0).all() and table[0] == pytest.approx(1.0) and table[-1] == pytest.approx(1.2)
    extents = {s: sum(np.sqrt(m.areas[m.scales == np.float32(s)]).sum() for m in masks) for s in (1.0, 1.2)}
    # Half of the way from 1.0 to 1.2 is where the smaller scale's weight ends.
    middle = np.argmin(np.abs(table - 1.1)) / (len(table) - 1)
    share = extents[1.0] / sum(extents.values())
    assert middle == pytest.approx(share, abs=0.15)
