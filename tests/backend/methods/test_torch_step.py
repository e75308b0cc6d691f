"""The CPU's hand-written step and the tensor one say the same: loss, gradients, parameters after a few steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from saga_backend.methods.saga.batch import Batch
from saga_backend.methods.saga.step import Parameters, Stepper, step
from saga_backend.methods.saga.torch_step import TorchStepper, torch_step
from saga_backend.rasterizer.contributions import Contributions


def random_case(rng: np.random.Generator, count: int = 60, pixels: int = 40) -> tuple[Parameters, np.ndarray, Batch]:
    lengths = rng.integers(1, 6, pixels)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    weights = rng.uniform(0.05, 0.9 / 5, offsets[-1]).astype(np.float32)
    rows = Contributions(offsets, rng.integers(0, count, offsets[-1]).astype(np.int32), weights)
    identities = (rng.random((8, pixels, 2, 64)) < 0.03).astype(np.uint8)
    bits = np.packbits(identities, axis=-1, bitorder="little").view(np.uint64)[..., 0]
    scales = np.sort(rng.random(8)).astype(np.float32)
    sizes = rng.uniform(10, 500, pixels).astype(np.float32)
    features = rng.standard_normal((count, 16)).astype(np.float32)
    gate = rng.uniform(-1, 1, (2, 16)).astype(np.float32)
    neighbors = rng.integers(0, count, (count, 4)).astype(np.int32)
    return Parameters(features, gate), neighbors, Batch(bits, scales, 1 / sizes, int(rng.integers(1 << 31)), rows)


@pytest.fixture
def rng() -> np.random.Generator:
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"seed {seed}")
    return np.random.default_rng(seed)


def test_loss_and_gradients_agree(rng: np.random.Generator) -> None:
    for _ in range(5):
        parameters, neighbors, batch = random_case(rng)
        gradient = np.zeros_like(parameters.features)
        fast = step(parameters, neighbors, batch, gradient)
        features = torch.tensor(parameters.features, requires_grad=True)
        gate = torch.tensor(parameters.gate, requires_grad=True)
        slow = torch_step(features, gate, torch.as_tensor(neighbors).long(), batch)
        slow.loss.backward()
        assert fast.loss == pytest.approx(slow.loss.item(), abs=1e-5)
        np.testing.assert_allclose(gradient, features.grad.numpy(), atol=2e-5)
        np.testing.assert_allclose(fast.gate_gradient, gate.grad.numpy(), atol=2e-5)
        assert fast.touched.tolist() == slow.touched.tolist()


def test_parameters_agree_after_steps(rng: np.random.Generator) -> None:
    parameters, neighbors, batch = random_case(rng)
    slow = TorchStepper(parameters, neighbors, "cpu")
    fast = Stepper(Parameters(parameters.features.copy(), parameters.gate.copy()), neighbors)
    for _ in range(3):
        assert fast.step(batch, 1e-3) == pytest.approx(slow.step(batch, 1e-3), abs=1e-4)
    # Adam divides by the gradient's size: where that is only rounding, the two may part, but by no more than a step.
    difference = np.abs(fast.parameters().features - slow.parameters().features)
    assert difference.max() < 7e-3
    assert np.quantile(difference, 0.95) < 1e-4
