"""Smoothing and Eq. 10, the whole loss (Eq. 13) and RowAdam against plain torch in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from saga_backend.methods.saga.batch import Batch
from saga_backend.methods.saga.blend import blend, blend_gradient, smooth
from saga_backend.methods.saga.optimizer import RowAdam
from saga_backend.methods.saga.step import Parameters, gates, step
from saga_backend.rasterizer.contributions import Contributions
from tests.helpers.twins import bool_to_bits, dense, pair_terms

N, D, K, P, S = 40, 12, 5, 18, 4


def random_rows(rng) -> Contributions:
    lengths = rng.integers(1, 6, P)
    ids = [rng.permutation(N // 2)[:length] for length in lengths]  # half of the Gaussians are seen by no pixel
    weights = rng.uniform(0.02, 0.19, lengths.sum()).astype(np.float32)
    return Contributions(np.concatenate([[0], np.cumsum(lengths)]), np.concatenate(ids).astype(np.int32), weights)


def random_neighbors(rng) -> np.ndarray:
    """Itself and K - 1 others, some twice: small clouds fill up with repeats."""
    others = rng.integers(0, N, (N, K - 1))
    return np.concatenate([np.arange(N)[:, None], others], axis=1).astype(np.int32)


def torch_pixels(features, neighbors, rows) -> torch.Tensor:
    """Eq. 10: the mean over the neighbors, as a unit vector, blended."""
    means = features[torch.as_tensor(neighbors, dtype=torch.long)].mean(dim=1)
    units = means / means.norm(dim=1, keepdim=True)
    return torch.as_tensor(dense(rows, N)) @ units


def test_smooth_is_the_mean_of_the_neighbors(rng):
    features, neighbors = rng.normal(size=(N, D)).astype(np.float32), random_neighbors(rng)
    ids = rng.permutation(N)[:9].astype(np.int32)
    units, norms = smooth(features, neighbors, ids)
    for row, i in enumerate(ids):
        mean = sum(features[j].astype(float) for j in neighbors[i]) / K
        assert norms[row] == pytest.approx(np.linalg.norm(mean), rel=1e-5)
        np.testing.assert_allclose(units[row], mean / np.linalg.norm(mean), atol=1e-5)


def test_smooth_of_nothing_is_finite():
    units, norms = smooth(np.zeros((3, D), np.float32), np.zeros((3, K), np.int32), np.arange(3, dtype=np.int32))
    assert np.isfinite(units).all() and np.isfinite(norms).all()


def test_blend_and_its_gradient(rng):
    features, neighbors, rows = rng.normal(size=(N, D)).astype(np.float32), random_neighbors(rng), random_rows(rng)
    upstream = rng.normal(size=(P, D)).astype(np.float32)
    leaf = torch.tensor(features, dtype=torch.float64, requires_grad=True)
    pixels = torch_pixels(leaf, neighbors, rows)
    (pixels * torch.as_tensor(upstream)).sum().backward()
    blended = blend(features, neighbors, rows)
    np.testing.assert_allclose(blended.pixels, pixels.detach(), atol=1e-5)
    out = np.ones_like(features)
    touched = blend_gradient(blended, neighbors, rows, upstream, out)
    np.testing.assert_allclose(out - 1, leaf.grad, atol=2e-5)  # it is added to what is there
    assert sorted(touched.tolist()) == sorted({int(j) for i in np.unique(rows.ids) for j in neighbors[i]})


def test_gates_are_eq_3(rng):
    gate, scales = rng.normal(size=(2, D)), rng.random(S)
    for k in range(S):
        for c in range(D):
            wanted = 1 / (1 + np.exp(-(gate[0, c] * scales[k] + gate[1, c])))
            assert gates(gate, scales)[k, c] == pytest.approx(wanted, rel=1e-5)


def torch_loss(features, gate, neighbors, batch, members) -> tuple[torch.Tensor, bool]:
    """Eq. 13 in float64; the pair sets are those of the twin. Also whether float32 decides them alike."""
    pixels = torch_pixels(features, neighbors, batch.rows)
    opened = torch.sigmoid(torch.as_tensor(batch.scales, dtype=torch.float64)[:, None] * gate[0] + gate[1])
    gated = pixels[None] * opened[:, None]
    units = gated / gated.norm(dim=2, keepdim=True)
    cosines = units @ units.transpose(1, 2)
    together = np.einsum("kim,kjm->kij", members.astype(int), members.astype(int)) > 0
    terms = pair_terms(cosines.detach().numpy(), together, batch.weights, batch.seed)
    contrast = (torch.as_tensor(terms.coefficients) * cosines.clamp_min(0)).sum()
    return contrast + (1 - pixels.norm(dim=1)).mean(), terms.sure


def random_step(rng):
    """Inputs of a step with their loss in torch; drawn again where a decision is too close for float32."""
    while True:
        features, neighbors = rng.normal(size=(N, D)).astype(np.float32), random_neighbors(rng)
        gate = rng.uniform(-1.5, 1.5, (2, D)).astype(np.float32)
        members = (rng.random((1, P, 6)) < 0.3) & (rng.random((S, 1, 6)) < 0.8)
        inverse = (1 / rng.uniform(20, 2000, P)).astype(np.float32)
        scales = np.sort(rng.random(S)).astype(np.float32)
        batch = Batch(bool_to_bits(members), scales, inverse, int(rng.integers(1 << 31)), random_rows(rng))
        leaves = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (features, gate)]
        loss, sure = torch_loss(*leaves, neighbors, batch, members)
        if sure:
            return Parameters(features, gate), neighbors, batch, leaves, loss


def test_step_is_eq_13_with_the_gradient_of_autograd(rng):
    for _ in range(4):
        parameters, neighbors, batch, leaves, loss = random_step(rng)
        gradient = np.zeros_like(parameters.features)
        result = step(parameters, neighbors, batch, gradient)
        loss.backward()
        assert result.loss == pytest.approx(loss.item(), abs=2e-5)
        np.testing.assert_allclose(gradient, leaves[0].grad, atol=2e-5)
        np.testing.assert_allclose(result.gate_gradient, leaves[1].grad, atol=2e-5)
        assert np.abs(leaves[0].grad.numpy()).max() > 1e-4  # there was something to compare
        untouched = np.setdiff1d(np.arange(N), result.touched)
        assert not gradient[untouched].any()


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_row_adam_is_sparse_adam(rng):
    values = rng.normal(size=(N, D)).astype(np.float32)
    ours, leaf = RowAdam(values.copy()), torch.nn.Parameter(torch.tensor(values))
    theirs = torch.optim.SparseAdam([leaf], lr=1.0, betas=(0.9, 0.999), eps=1e-15)
    for _ in range(12):
        rows = np.sort(rng.permutation(N)[: rng.integers(1, N)]).astype(np.int32)
        gradient = (rng.normal(size=(len(rows), D)) * 10 ** rng.uniform(-6, 3, (len(rows), 1))).astype(np.float32)
        rate = float(rng.uniform(1e-4, 1e-1))
        ours.gradient[rows] = gradient
        ours.step(rows, rate)
        theirs.param_groups[0]["lr"] = rate
        leaf.grad = torch.sparse_coo_tensor(
            torch.as_tensor(rows[None].astype(np.int64)), torch.as_tensor(gradient), (N, D), check_invariants=True
        ).coalesce()
        theirs.step()
        np.testing.assert_allclose(ours.values, leaf.detach(), atol=1e-5)
        assert not ours.gradient.any()


def test_row_adam_leaves_other_rows_and_zero_gradients_alone(rng):
    values = rng.normal(size=(N, D)).astype(np.float32)
    adam = RowAdam(values.copy())
    adam.gradient[3] = 1
    adam.step(np.array([3, 5], np.int32), 0.1)
    np.testing.assert_allclose(adam.values[3], values[3] - 0.1, atol=1e-6)  # Adam's first step is the rate itself
    others = np.arange(N) != 3
    np.testing.assert_array_equal(adam.values[others], values[others])
