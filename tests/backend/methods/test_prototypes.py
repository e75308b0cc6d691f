"""One code a segment: prototypes and features by loops, gradients by autograd in float64, what is learned, and NaN."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from blender_saga.errors import UserError
from saga_backend.common.progress import Control
from saga_backend.methods.saga import prototypes as module
from saga_backend.methods.saga import step as step_module
from saga_backend.methods.saga.prototypes import (
    Prototypes,
    PrototypeTrainer,
    features_of,
    find_prototypes,
    trainable_segments,
)
from saga_backend.methods.saga.settings import RECIPES, SagaSettings
from saga_backend.methods.saga.step import ContrastResult
from saga_backend.methods.saga.train import SagaInput, train_saga
from saga_backend.rasterizer.contributions import Contributions
from saga_backend.segments.segments import from_sets, scale_table
from tests.backend.segments.test_segments import N, members_of, random_rows, random_sets
from tests.helpers.twins import bits_to_bool, bool_to_bits, dense, pair_terms

pytestmark = pytest.mark.usefixtures("one_thread")


# --- prototypes and features ------------------------------------------------------------------------------------------


def test_prototypes_by_loops(rng):
    segments = from_sets(random_sets(rng), rng.normal(size=(N, 3)))
    rows = [random_rows(rng) for _ in range(3)]  # without shares that are too close to a half for float32
    rows = [part.take((np.abs(segments.weight_shares(part) - 0.5) > 1e-5).all(axis=1)) for part in rows]
    found = find_prototypes(segments, rows)
    counts: dict[frozenset[int], int] = {}
    for part in rows:
        for row in dense(part, N):
            if row.sum() >= 0.3:
                shares = [sum(row[i] for i in m) / row.sum() for m in members_of(segments)]
                inside = frozenset(k for k, share in enumerate(shares) if share > 0.5) or frozenset([len(segments)])
                counts[inside] = counts.get(inside, 0) + 1
    got = {frozenset(np.flatnonzero(m).tolist()): size for m, size in zip(found.members, found.sizes, strict=True)}
    assert set(got) == set(counts)
    areas = [sum(n for inside, n in counts.items() if k in inside) for k in range(len(segments) + 1)]
    for inside, size in got.items():
        assert size == pytest.approx(np.mean([areas[k] for k in inside]), rel=1e-5)
    np.testing.assert_array_equal(bits_to_bool(found.bits, len(segments) + 1), found.members)
    assert (np.diff(found.scales) >= 0).all() and found.scales[-1] > segments.scales[-1]


def test_what_is_in_no_segment_is_the_rest():
    segments = from_sets([np.arange(9) < 3], np.eye(3).repeat(3, axis=0))
    rows = Contributions(np.arange(10), np.arange(9, dtype=np.int32), np.full(9, 0.9, np.float32))
    found = find_prototypes(segments, [rows])
    assert sorted(found.members.tolist()) == [[False, True], [True, False]]


def test_stages_on_the_way_to_the_whole_scene_are_not_trained_on():
    segments = from_sets([np.arange(9) < n for n in (2, 4, 6, 9)], np.arange(27.0).reshape(9, 3))
    assert trainable_segments(segments).all()
    stages = replace(segments, prominence=np.array([0.01, 0.3, 0.05, 0.1], np.float32))
    assert trainable_segments(stages).tolist() == [True, True, False, False]  # the first is small
    fleeting = replace(segments.take(np.arange(4) > 1), prominence=np.full(2, 0.01, np.float32))
    assert trainable_segments(fleeting).all()  # no segment would remain


def test_features_of_by_loops(rng):
    segments = from_sets(random_sets(rng)[:6], rng.normal(size=(N, 3)))
    codes = rng.normal(size=(len(segments) + 1, 5)).astype(np.float32)
    found = features_of(segments, codes)
    for i in range(N):
        inside = [k for k, m in enumerate(members_of(segments)) if i in m]
        wanted = np.sum([codes[k].astype(float) for k in inside], axis=0) if inside else codes[-1].astype(float)
        np.testing.assert_allclose(found[i], wanted / np.linalg.norm(wanted), atol=1e-5)
    nothing = features_of(from_sets([], np.zeros((4, 3))), codes[:1])
    np.testing.assert_allclose(nothing, np.tile(codes[0] / np.linalg.norm(codes[0]), (4, 1)), atol=1e-6)


# --- the step ---------------------------------------------------------------------------------------------------------


class Recorder:
    """In place of an optimizer: keeps the gradient."""

    def __init__(self, values: np.ndarray) -> None:
        self.gradient, self.values, self.steps = np.zeros_like(values), values, 0

    def step(self, rows: np.ndarray, rate: float) -> None:
        assert rows.tolist() == list(range(len(self.values))) and rate > 0
        self.steps += 1


def random_prototypes(rng, number: int = 14, segments: int = 9) -> Prototypes:
    members = rng.random((number, segments + 1)) < 0.35
    members[np.arange(number), rng.integers(segments + 1, size=number)] = True
    scales = np.sort(rng.uniform(0.1, 3, segments + 1)).astype(np.float32)
    return Prototypes(members, bool_to_bits(members), scales, rng.uniform(10, 500, number).astype(np.float32))


def loss_by_autograd(trainer, contrast, chosen, codes, gate) -> tuple[torch.Tensor, bool]:
    """Eq. 13 without the norm term, of prototypes whose features are sums of codes; float64."""
    members = torch.tensor(trainer._prototypes.members[chosen].astype(np.float64))
    units = torch.nn.functional.normalize(members @ codes, dim=1)
    scales = torch.tensor(contrast.scales.astype(np.float64))
    opened = torch.sigmoid(scales[:, None] * gate[0] + gate[1])
    gated = torch.nn.functional.normalize(units[None] * opened[:, None], dim=2)
    cosines = gated @ gated.transpose(1, 2)
    bits = bits_to_bool(contrast.identities, trainer._prototypes.members.shape[1])
    shared = (bits[:, :, None] & bits[:, None]).any(axis=-1)
    terms = pair_terms(cosines.detach().numpy(), shared, contrast.weights, contrast.seed)
    return (torch.tensor(terms.coefficients) * cosines.clamp_min(0)).sum(), terms.sure


def test_loss_and_gradients_are_those_of_autograd(rng):
    compared = 0
    for _ in range(6):
        settings = SagaSettings(pixels=12, channels=7, scales=4, seed=int(rng.integers(1000)))
        trainer = PrototypeTrainer(random_prototypes(rng), np.linspace(0.1, 3, 9), settings)
        state = trainer._rng.bit_generator.state
        contrast, chosen = trainer._sample()
        trainer._rng.bit_generator.state = state
        codes = torch.tensor(trainer.codes.astype(np.float64), requires_grad=True)
        gate = torch.tensor(trainer.gate.astype(np.float64), requires_grad=True)
        wanted, sure = loss_by_autograd(trainer, contrast, chosen, codes, gate)
        wanted.backward()
        trainer._optimizers = Recorder(trainer.codes), Recorder(trainer.gate)
        loss = trainer.step(0)
        if not sure:
            continue
        compared += 1
        assert loss == pytest.approx(wanted.item(), abs=1e-5)
        for recorder, parameter in zip(trainer._optimizers, (codes, gate), strict=True):
            np.testing.assert_allclose(recorder.gradient, parameter.grad.numpy(), atol=2e-5)
            assert recorder.steps == 1
    assert compared >= 3


# --- what is learned --------------------------------------------------------------------------------------------------


def things_of_parts(rng) -> SagaInput:
    """Two things of two parts each, seen in pixels of single Gaussians."""
    count = 200
    part = np.arange(count) // 50
    means = np.stack([10.0 * (part // 2) + 1.5 * (part % 2), *rng.normal(size=(2, count)) * 0.2], axis=1)
    segments = from_sets([part == k for k in range(4)] + [part // 2 == k for k in range(2)], means)
    rows = Contributions(np.arange(count + 1), np.arange(count, dtype=np.int32), np.full(count, 0.9, np.float32))
    return SagaInput(means, np.ones(count, bool), [rows] * 2, [], segments, scale_table(segments))


@pytest.mark.steady
def test_things_part_and_their_parts_part_at_small_scales_only(rng):
    data = things_of_parts(rng)
    model = train_saga(data, SagaSettings(steps=400, seed=int(rng.integers(1000))), Control())
    middle = np.arange(4) * 50 + 25  # of every part
    for scale, parts_alike in ((0.0, False), (1.0, True)):
        gated = model.features[middle] * model.scale_gate(scale)
        gated /= np.linalg.norm(gated, axis=1, keepdims=True)
        cosines = gated @ gated.T
        assert max(cosines[0, 2], cosines[0, 3], cosines[1, 2], cosines[1, 3]) < 0.4
        for pair in (cosines[0, 1], cosines[2, 3]):
            assert pair > 0.85 if parts_alike else pair < 0.6
    np.testing.assert_allclose(np.linalg.norm(model.features, axis=1), 1, atol=1e-5)
    assert model.steps == 400


@pytest.mark.parametrize("whole", [True, False])
def test_a_single_prototype_has_nothing_to_tell_apart(rng, whole):
    """One mask of everything, or of one Gaussian that alone is seen: features are finite and alike."""
    count = 30
    segments = from_sets([np.ones(count, bool)], rng.normal(size=(count, 3)))
    ids = np.arange(count, dtype=np.int32) if whole else np.zeros(count, np.int32)
    rows = Contributions(np.arange(count + 1), ids, np.full(count, 0.9, np.float32))
    seen = np.isin(np.arange(count), ids)
    data = SagaInput(rng.normal(size=(count, 3)), seen, [rows], [], segments, scale_table(segments))
    model = train_saga(data, SagaSettings(steps=5), Control())
    assert np.isfinite(model.features).all() and np.isfinite(model.gate).all()
    np.testing.assert_allclose(model.features @ model.features.T, 1, atol=1e-5)


def test_no_segments_and_no_masks_are_nothing_to_learn_from(rng):
    data = things_of_parts(rng)
    nothing = SagaInput(data.means, data.seen, data.rows, [], from_sets([], data.means), data.quantiles)
    for recipe in RECIPES:
        with pytest.raises(UserError) as caught:
            train_saga(nothing, SagaSettings(recipe, steps=2), Control())
        assert caught.value.code == "no_masks" and caught.value.fix


# --- not a number -----------------------------------------------------------------------------------------------------


def input_of(recipe: str, rng) -> SagaInput:
    """For both recipes: masks of the parts over the pixels."""
    from saga_backend.masks.sampled import SampledMasks

    data = things_of_parts(rng)
    members = np.stack([np.isin(np.arange(200), data.segments.members(k)) for k in range(6)], axis=1)
    masks = SampledMasks(bool_to_bits(members), data.segments.scales, members.sum(axis=0).astype(np.float32))
    return SagaInput(data.means, data.seen, data.rows, [masks] * 2, data.segments, data.quantiles)


@pytest.fixture
def broken(monkeypatch):
    """Makes the loss NaN in the given steps."""

    def breaks(steps: set[int]) -> None:
        done = {"steps": -1}
        real = step_module.contrast_step

        def sometimes(*given):
            done["steps"] += 1
            result = real(*given)
            if done["steps"] not in steps:
                return result
            return ContrastResult(float("nan"), result.pixels * np.nan, result.gate * np.nan)

        monkeypatch.setattr(module, "contrast_step", sometimes)
        monkeypatch.setattr(step_module, "contrast_step", sometimes)

    return breaks


@pytest.mark.parametrize("recipe", RECIPES)
def test_steps_that_went_wrong_are_left_out(rng, recipe, broken):
    """Ten on end are borne, again and again; what is trained stays numbers."""
    broken({0, *range(5, 15), *range(16, 26)})
    settings = SagaSettings(recipe, steps=30, pixels=32, seed=1)
    model = train_saga(input_of(recipe, rng), settings, Control())
    assert np.isfinite(model.features).all() and np.isfinite(model.gate).all() and model.steps == 30


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_training_that_stays_wrong_is_stopped_with_the_reason(rng, recipe, broken):
    broken(set(range(5, 1000)))
    heard: list[int] = []

    class Listens(Control):
        def emit(self, phase: str, step: int, total: int) -> None:
            heard.append(step)

    with pytest.raises(UserError) as caught:
        train_saga(input_of(recipe, rng), SagaSettings(recipe, steps=500, pixels=32), Listens())
    assert caught.value.code == "diverged" and "11 steps up to step 16" in str(caught.value) and caught.value.fix
    assert max(heard) == 15


@pytest.mark.parametrize("what", ["codes", "gate"])
def test_parameters_gone_nan_are_noticed(rng, what):
    """Not only a loss that says so: similarities that are no numbers fall out of every comparison."""
    data = things_of_parts(rng)
    trainer = PrototypeTrainer(find_prototypes(data.segments, data.rows), data.quantiles, SagaSettings(steps=10))
    getattr(trainer, what)[:, 0] = np.nan
    assert not np.isfinite(trainer.step(0))
    one = PrototypeTrainer(find_prototypes(data.segments, data.rows), data.quantiles, SagaSettings(steps=10))
    one.codes[0, 0] = np.nan
    assert not np.isfinite(one.step(0))
    assert np.isfinite(one.codes[1:]).all()
