"""Segment everything, on features whose things and parts are known."""

from __future__ import annotations

import numpy as np
import pytest

from blender_saga.errors import Cancelled, UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.wire.messages import Cluster, Clusters
from saga_backend.common.progress import Control
from saga_backend.methods.saga.model import AffinityModel
from saga_backend.model.clustering import DEFAULT_SCALES, cluster, from_segments
from saga_backend.model.scene_model import SceneModel
from saga_backend.segments.segments import from_sets, scale_table
from tests.helpers.twins import toy_scene, unit

D = 12


def cloud_of(opacities: np.ndarray) -> GaussianCloud:
    n = len(opacities)
    means = np.random.default_rng(1).normal(size=(n, 3))
    return GaussianCloud(means, np.tile([1.0, 0, 0, 0], (n, 1)), np.ones((n, 3)), opacities, np.zeros((n, 1, 3)))


def things_of_parts(rng: np.random.Generator, n: int) -> tuple[AffinityModel, np.ndarray, np.ndarray]:
    """Three things of two parts each. Half of the channels say which thing; the gate opens the others, which say
    which part, at small scales only."""
    part = rng.permutation(np.arange(n) % 6)
    features = np.zeros((n, D))
    features[np.arange(n), part // 2] = 1
    features[np.arange(n), 6 + part] = 1
    features += 0.03 * rng.normal(size=(n, D))
    gate = np.concatenate([np.tile([[0.0], [9.0]], (1, 6)), np.tile([[-60.0], [30.0]], (1, 6))], axis=1)
    quantiles = np.linspace(1, 3, 9).astype(np.float32)
    return AffinityModel(unit(features).astype(np.float32), gate, quantiles), part, part // 2


def inside(answer: Clusters, node: int) -> np.ndarray:
    below = [node]
    for child, parent in enumerate(answer.parents.tolist()):
        if parent in below:
            below.append(child)
    return np.isin(answer.labels, below)


@pytest.mark.steady
@pytest.mark.parametrize("n", [600, 9000])
def test_things_and_their_parts(rng, n):
    """9,000 are more than the sample holds: the rest is labeled by the nearest center."""
    model, part, thing = things_of_parts(rng, n)
    answer = cluster(cloud_of(np.full(n, 0.9)), model, Cluster("s"), Control())
    assert answer.scene == "s" and answer.note == "" and len(answer.parents) == 9
    found = {-1: 0}
    for node, parent in enumerate(answer.parents.tolist()):
        label = thing if parent < 0 else part
        mask, name = inside(answer, node), label[answer.representatives[node]]
        assert mask.sum() == answer.counts[node]
        assert (mask & (label == name)).sum() / (mask | (label == name)).sum() > 0.98
        assert parent < 0 or thing[answer.representatives[parent]] == name // 2
        found[node] = name
        assert answer.sizes[node] == pytest.approx(model.size_of(float(answer.scales[node])))
    assert len(set(found.values())) == 6
    assert (answer.scales[answer.parents < 0] == 1).all() and (answer.scales[answer.parents >= 0] < 0.6).all()
    assert answer.labels.dtype == answer.parents.dtype == answer.counts.dtype == np.int32


def test_it_is_the_same_each_time(rng):
    model, _, _ = things_of_parts(rng, 7000)
    a, b = (cluster(cloud_of(np.full(7000, 0.9)), model, Cluster("s"), Control()) for _ in range(2))
    np.testing.assert_array_equal(a.labels, b.labels)


def test_one_scale_gives_no_parts(rng):
    model, part, _ = things_of_parts(rng, 600)
    answer = cluster(cloud_of(np.full(600, 0.9)), model, Cluster("s", np.zeros(1, np.float32)), Control())
    assert (answer.parents == -1).all() and len(answer.parents) == 6
    assert all(len(np.unique(part[answer.labels == node])) == 1 for node in range(6))


def test_larger_clusters_on_request(rng):
    model, _, _ = things_of_parts(rng, 600)
    answer = cluster(cloud_of(np.full(600, 0.9)), model, Cluster("s", smallest=150), Control())
    assert len(answer.parents) == 3 and (answer.counts >= 150).all()


@pytest.mark.steady
def test_deleted_gaussians_get_no_label_and_what_is_like_nothing_neither(rng):
    n = 1200
    model, _, _ = things_of_parts(rng, n)
    opacities = np.full(n, 0.9)
    opacities[:100] = 0
    model.features[100:103] = -1 / D**0.5
    answer = cluster(cloud_of(opacities), model, Cluster("s"), Control())
    assert (answer.labels[:103] == -1).all() and (answer.labels[103:] >= 0).mean() > 0.99
    assert answer.counts[answer.parents < 0].sum() <= n - 103


def segmented(cloud: GaussianCloud, sets: list[np.ndarray]) -> SceneModel:
    segments = from_sets(sets, cloud.means)
    return SceneModel(segments, scale_table(segments))


def test_segments_make_the_same_kind_of_tree(rng):
    """Before anything is trained: things and parts are segments, as large as their Gaussians spread."""
    cloud, truth = toy_scene(rng)
    halves = 2 * truth + (cloud.means[:, 2] > 0)
    halves[::50] = -1  # some that no part holds
    sets = [halves == part for part in range(4)] + [truth == 0, truth == 1]
    model = segmented(cloud, [sets[i] for i in rng.permutation(6)])
    answer = from_segments(Cluster("s"), cloud, model, Control())
    assert len(answer.parents) == 6 and answer.note == "" and answer.scene == "s"
    for node, parent in enumerate(answer.parents.tolist()):
        mask = inside(answer, node)
        assert any(np.array_equal(mask, one) for one in (sets[4:] if parent < 0 else sets[:4]))
        assert mask[answer.representatives[node]]
        size = 2 * np.sqrt(cloud.means[mask].var(axis=0).sum())
        assert answer.sizes[node] == pytest.approx(size, rel=1e-4)
        assert answer.scales[node] == pytest.approx(model.scale_of(size), abs=1e-3)


def test_no_segments_are_an_empty_tree_that_says_so(rng):
    cloud, _ = toy_scene(rng)
    answer = from_segments(Cluster("s"), cloud, segmented(cloud, []), Control())
    assert len(answer.parents) == len(answer.sizes) == 0 and answer.note
    with pytest.raises(UserError):
        from_segments(Cluster("s", np.array([2], np.float32)), cloud, segmented(cloud, []), Control())


@pytest.mark.parametrize("kind", ["none", "one", "ten", "all alike", "noise", "deleted"])
def test_nothing_to_tell_apart_is_said(rng, kind):
    n = {"none": 0, "one": 1, "ten": 10}.get(kind, 300)
    features = rng.normal(size=(n, D)) if kind in ("ten", "noise") else np.ones((n, D))
    model = AffinityModel(unit(features).astype(np.float32), np.zeros((2, D)), np.ones(2, np.float32))
    opacities = np.full(n, 0.0 if kind == "deleted" else 0.9)
    answer = cluster(cloud_of(opacities), model, Cluster("s"), Control())
    assert answer.labels.shape == (n,)
    if kind != "noise":  # of which density may find a few clusters by chance
        assert len(answer.parents) == 0 and (answer.labels == -1).all() and answer.note
    assert bool(answer.note) == (len(answer.parents) == 0)


def test_ten_gaussians_of_two_kinds(rng):
    features = np.repeat(np.eye(D)[:2], 5, axis=0) + 1e-3 * rng.normal(size=(10, D))
    model = AffinityModel(unit(features).astype(np.float32), np.zeros((2, D)), np.ones(2, np.float32))
    answer = cluster(cloud_of(np.full(10, 0.9)), model, Cluster("s"), Control())
    assert answer.counts.tolist() == [5, 5] and answer.parents.tolist() == [-1, -1]


@pytest.mark.parametrize(
    "request_",
    [
        Cluster("s", np.array([0.5, 1.5], np.float32)),
        Cluster("s", np.array([-0.1], np.float32)),
        Cluster("s", np.array([np.nan], np.float32)),
        Cluster("s", np.full((2, 2), 0.5, np.float32)),
        Cluster("s", smallest=-1),
    ],
    ids=lambda r: f"{r.scales.tolist()} {r.smallest}",
)
def test_settings_out_of_range(rng, request_):
    model, _, _ = things_of_parts(rng, 60)
    with pytest.raises(UserError) as caught:
        cluster(cloud_of(np.full(60, 0.9)), model, request_, Control())
    assert caught.value.code == "bad_settings"


def test_every_phase_can_be_cancelled(rng):
    """Cancelled at the first word of each phase; every scale has one, and the nesting."""

    class At(Control):
        def __init__(self, phase: int) -> None:
            super().__init__()
            self.phases: list[str] = []
            self.at = phase

        def emit(self, phase: str, step: int, total: int) -> None:
            if phase not in self.phases:
                self.phases.append(phase)
            if len(self.phases) > self.at:
                self.cancel()

    n = 600
    model, _, _ = things_of_parts(rng, n)
    whole = At(10**9)
    cluster(cloud_of(np.full(n, 0.9)), model, Cluster("s"), whole)
    assert len(whole.phases) == len(DEFAULT_SCALES) + 1
    for phase in range(len(DEFAULT_SCALES)):
        control = At(phase)
        with pytest.raises(Cancelled):
            cluster(cloud_of(np.full(n, 0.9)), model, Cluster("s"), control)
        assert control.phases == whole.phases[: phase + 1]
