"""Segments on which masks agree: toy scenes whose truth is known, masks that say nothing, odd views."""

from __future__ import annotations

import numpy as np
import pytest

from blender_saga.errors import Cancelled, UserError
from blender_saga.wire.messages import TrainSettings
from saga_backend.common.progress import Control
from saga_backend.rasterizer.contributions import Contributions
from saga_backend.rasterizer.cpu import all_pixels, contributions
from saga_backend.rasterizer.select import rasterizer
from saga_backend.segments.consensus.confirmed import confirmed
from saga_backend.segments.consensus.consensus import consensus
from saga_backend.segments.consensus.incidence import Incidence, IncidenceBuilder
from saga_backend.segments.consensus.sample import Sample, sample_of
from saga_backend.segments.consensus.supports import supports
from saga_backend.segments.consensus.votes import agreements, to_bits
from saga_backend.training.preparation import picture_masks, rasterize
from saga_backend.training.train import Sources, train
from tests.helpers import slow_consensus
from tests.helpers.slow_consensus import Dense
from tests.helpers.toy_masks import Toy, iou, sampled_masks
from tests.helpers.twins import CancelsAt, ball, toy_scene, toy_views

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.steady
@pytest.mark.parametrize(("merged", "split", "extra"), [(0.0, 0.0, 0), (0.04, 0.04, 1), (0.1, 0.1, 5)])
def test_damaged_masks_give_back_the_true_things(rng, merged, split, extra):
    """A quarter dropped, others merged or split: what is wrong in one view is not what is wrong in the next.

    At a tenth each, of the 40 views a fifth may by chance be wrong in the same way about one of the things: a few sets
    too many, never one too few.
    """
    toy = Toy(rng, views=40, merged=merged, split=split)
    truth = [*toy.truth, toy.knob]
    found = consensus(toy.incidence, Control())
    best = [max(iou(s, whole) for s in found) for whole in truth]
    assert min(best) > 0.8 and np.mean(best) > 0.95
    assert len(found) <= len(truth) + extra
    wrong = sum(max(iou(s, whole) for whole in truth) < 0.8 for s in found)
    assert wrong <= extra


def whole(toy: Toy) -> Sample:
    return sample_of(toy.incidence, np.arange(toy.count))


@pytest.mark.steady
def test_support_is_highest_for_true_masks(rng):
    toy = Toy(rng, views=24)
    sample = whole(toy)
    support, twins, likeness = supports(sample, Control())
    views, masks = len(sample.first) - 1, len(sample.masses)
    assert support.shape == (masks,) and twins.shape == likeness.shape == (masks, views)
    right = (agreements(sample, to_bits(np.stack(toy.truth)))[0] > 0.85).any(axis=0)
    assert np.median(support[right]) > 1.3 * np.median(support[~right])
    assert (likeness >= 0).all() and (likeness <= 1 + 1e-5).all()
    assert not likeness[np.arange(masks), sample.view_of].any()
    m, v = np.nonzero(likeness)
    assert (sample.view_of[twins[m, v]] == v).all()


def test_wrong_sets_are_not_confirmed(rng):
    toy = Toy(rng, views=24, merged=0.02, split=0.02)
    merged = [toy.truth[0] | toy.truth[1], toy.truth[2] | toy.truth[3]]
    halves = [np.arange(160) % 2 == 0, (np.arange(160) > 10) & (np.arange(160) < 30)]
    sets = np.stack([*merged, *toy.truth, *halves])
    assert confirmed(whole(toy), to_bits(sets)) == list(range(2, 2 + len(toy.truth)))
    assert confirmed(whole(toy), to_bits(np.stack([*sets, toy.knob])))[-1] == len(sets)
    assert confirmed(whole(toy), to_bits(sets[:0])) == []


def test_confirmed_by_loops(rng):
    """True sets, wrong ones and noise in any order: those that are left are the same."""
    toy = Toy(rng, views=10)
    noise = [truth ^ (rng.random(160) < rng.uniform(0, 0.2)) for truth in toy.truth]
    joined = [a | b for a, b in zip(toy.truth[:3], toy.truth[1:4], strict=True)]
    sets = [*toy.truth, *noise, *joined, np.zeros(160, bool), np.ones(160, bool)]
    sets = [sets[k] for k in rng.permutation(len(sets))]
    wanted = slow_consensus.confirmed(Dense(toy.inside, toy.shown, toy.incidence.first.tolist()), sets)
    assert confirmed(whole(toy), to_bits(np.stack(sets))) == wanted


@pytest.mark.steady
def test_exact_masks_give_the_things(rng):
    """Each once; at the rims a Gaussian shines through its neighbor's pixels."""
    toy = Toy(rng, views=10, dropped=0, merged=0, split=0, ragged=0)
    truth = [*toy.truth, toy.knob]
    found = consensus(toy.incidence, Control())
    ious = np.array([[iou(s, whole) for whole in truth] for s in found])
    assert ious.shape == (len(truth), len(truth)) and sorted(ious.argmax(axis=1).tolist()) == list(range(len(truth)))
    assert ious.max(axis=1).min() > 0.7 and ious.max(axis=1).mean() > 0.95


def evidence_of(views: list[tuple[Contributions, np.ndarray]], count: int) -> Incidence:
    """Incidence of masks [P,M] that all have scale 1."""
    builder = IncidenceBuilder(count)
    for rows, members in views:
        builder.add(rows, sampled_masks(members, np.ones(members.shape[1])))
    return builder.build()


def plain_rows(count: int) -> Contributions:
    return Contributions(np.arange(count + 1), np.arange(count, dtype=np.int32), np.full(count, 0.9, np.float32))


def test_masks_that_disagree_everywhere_give_nothing(rng):
    views = [(plain_rows(200), rng.random((200, 4)) < 0.2) for _ in range(8)]
    assert consensus(evidence_of(views, 200), Control()) == []


@pytest.mark.parametrize("views", [2, 6])
def test_one_mask_that_covers_everything(views):
    """In every view: the views agree, on everything."""
    found = consensus(evidence_of([(plain_rows(50), np.ones((50, 1), bool))] * views, 50), Control())
    assert len(found) == 1 and found[0].all()


def test_no_masks_at_all():
    assert consensus(evidence_of([(plain_rows(50), np.zeros((50, 0), bool))] * 3, 50), Control()) == []


def test_a_single_view_has_nothing_to_agree_with(rng):
    members = np.arange(60)[:, None] // 20 == np.arange(3)
    assert consensus(evidence_of([(plain_rows(60), members)], 60), Control()) == []


def test_identical_views_agree_on_their_masks():
    members = np.arange(60)[:, None] // 20 == np.arange(3)
    found = consensus(evidence_of([(plain_rows(60), members)] * 5, 60), Control())
    assert sorted(np.flatnonzero(s)[0] for s in found) == [0, 20, 40] and [s.sum() for s in found] == [20] * 3


def test_a_view_that_sees_nothing_does_not_disturb(rng):
    members = np.arange(60)[:, None] // 20 == np.arange(3)
    nothing = Contributions(np.zeros(61, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    seeing = [(plain_rows(60), members)] * 4
    blind = [(nothing, np.zeros((60, 0), bool)), (nothing, members)]
    found = consensus(evidence_of([*seeing, *blind], 60), Control())
    assert sorted(s.sum() for s in found) == [20] * 3
    assert consensus(evidence_of(blind, 60), Control()) == []


@pytest.mark.parametrize("count", [1, 30])
def test_one_gaussian_seen_and_many_unseen(count):
    """A single Gaussian in all views, of one or of thirty."""
    rows = Contributions(np.arange(11), np.zeros(10, np.int32), np.full(10, 0.8, np.float32))
    found = consensus(evidence_of([(rows, np.ones((10, 1), bool))] * 3, count), Control())
    assert len(found) == 1 and np.flatnonzero(found[0]).tolist() == [0]


@pytest.mark.steady
@pytest.mark.parametrize("limit", ["_SAMPLE", "_ENTRIES"])
def test_many_gaussians_are_searched_by_a_sample(rng, monkeypatch, limit):
    monkeypatch.setattr("saga_backend.segments.consensus.consensus._FEWEST", 60)
    monkeypatch.setattr(f"saga_backend.segments.consensus.consensus.{limit}", 60)
    toy = Toy(rng, views=12, dropped=0.1, merged=0, split=0, ragged=0)
    found = consensus(toy.incidence, Control())
    assert all(max(iou(s, whole) for s in found) > 0.9 for whole in toy.truth[: toy.parts_at])
    again = consensus(toy.incidence, Control())
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))  # the same sample each time


def test_consensus_can_be_cancelled(rng):
    with pytest.raises(Cancelled):
        consensus(Toy(rng, views=4).incidence, CancelsAt("comparing masks"))


# --- from pictures to segments ----------------------------------------------------------------------------------------


def pictures(cloud, truth, views) -> list[np.ndarray]:
    out = []
    for view in views:
        shown = contributions(cloud, view, all_pixels(view)).blend(
            np.stack([truth == 0, truth == 1], axis=1).astype(float)
        )
        out.append((shown > 0.5).T.reshape(2, view.height, view.width))
    return out


def found_of(cloud, views, masks):
    rasterized = rasterize(cloud, views, rasterizer("cpu"), 0, Control())
    return picture_masks(rasterized, masks, rasterizer("cpu"), Control())


@pytest.mark.steady
def test_segments_of_pictures_hold_the_unseen_too(rng):
    cloud, truth = toy_scene(rng)
    views = toy_views()[:2]
    found = found_of(cloud, views, pictures(cloud, truth, views))
    assert len(found.masks) == 2 and len(found.segments) == 2 and not found.visible.all()
    for index in (0, 1):
        assert max(iou(found.segments.mask([k]), truth == index) for k in (0, 1)) > 0.9
    assert found.segments.mask([0, 1]).mean() > 0.99  # what no view shows goes with its neighbor


@pytest.mark.parametrize("masks", ["none", "empty", "everything", "background"])
@pytest.mark.parametrize("recipe", ["prototypes", "paper", "segments"])
def test_masks_that_say_nothing_train_or_are_refused(rng, masks, recipe):
    """Everything: one segment, and a click selects all of it. The others: there is nothing to learn from, and that is
    said."""
    cloud, _ = toy_scene(rng)
    views = toy_views()
    shape = (0 if masks == "none" else 1, 48, 64)
    picture = np.ones(shape, bool) if masks == "everything" else np.zeros(shape, bool)
    if masks == "background":
        picture[:, :4] = True
    method = "segments" if recipe == "segments" else "saga"
    settings = TrainSettings(method, "paper" if recipe == "paper" else "prototypes", steps=3, pixels=32)
    if masks == "everything":
        model = train(cloud, settings, Control(), Sources(views, [picture] * 6)).model
        row = contributions(cloud, views[0], np.array([[32, 24], [20, 24]]))
        assert model.segments.sizes().tolist() == [len(cloud)]
        assert model.select(row, np.ones(2, bool)).mask.all()
        assert model.affinity is None or np.isfinite(model.affinity.features).all()
    else:
        with pytest.raises(UserError) as caught:
            train(cloud, settings, Control(), Sources(views, [picture] * 6))
        assert caught.value.code == "no_masks"


@pytest.mark.steady
@pytest.mark.parametrize("kind", ["one view", "identical views", "one sees nothing", "no view sees anything"])
def test_odd_views(rng, kind):
    cloud, truth = toy_scene(rng)
    views = toy_views()
    away = [type(v)(np.diag([1.0, -1, -1, 1]) @ v.viewmat, v.K, v.width, v.height) for v in views]
    views = {"one view": views[:1], "identical views": views[:1] * 4, "one sees nothing": [*views, away[0]]}.get(
        kind, away
    )
    settings = TrainSettings(method="segments")
    sources = Sources(views, pictures(cloud, truth, views))
    if kind in ("one view", "no view sees anything"):  # nobody to agree with
        with pytest.raises(UserError) as caught:
            train(cloud, settings, Control(), sources)
        assert caught.value.code == "no_masks"
        return
    model = train(cloud, settings, Control(), sources).model
    assert len(model.segments) == 2
    for index in (0, 1):
        assert max(iou(model.segments.mask([k]), truth == index) for k in (0, 1)) > 0.85


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("count", [1, 150])
def test_all_gaussians_in_one_point(rng, count):
    cloud = ball(rng, (1.5, 0, 0), 0.4, count, (1, 0, 0))
    cloud = type(cloud)(
        np.tile([1.5, 0, 0], (count, 1)), cloud.quats, np.full((count, 3), 0.3), cloud.opacities, cloud.sh
    )
    views = toy_views()
    masks = [contributions(cloud, v, all_pixels(v)).alphas().reshape(1, v.height, v.width) > 0.1 for v in views]
    for recipe in ("segments", "prototypes", "paper"):
        method = "segments" if recipe == "segments" else "saga"
        settings = TrainSettings(method, "paper" if recipe == "paper" else "prototypes", steps=3, pixels=32)
        model = train(cloud, settings, Control(), Sources(views, masks)).model
        answer = model.select(contributions(cloud, views[0], np.array([[32, 24]])), np.ones(1, bool))
        assert answer.mask.all() and np.isfinite([answer.scale, answer.size_units]).all()
