"""Training on a CUDA device: the same loss and parameters as the CPU's own code, and the same selection in the end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blender_saga.wire.messages import SelectOptions, TrainSettings
from saga_backend.common.progress import Control
from saga_backend.evaluation.synthetic import standard_scene
from saga_backend.methods.saga.settings import RECIPES
from saga_backend.methods.saga.step import Parameters, Stepper
from saga_backend.methods.saga.torch_step import TorchStepper
from saga_backend.rasterizer.cpu import contributions
from saga_backend.training.train import Sources, train
from tests.backend.methods.test_torch_step import random_case


def test_steps_agree_with_the_cpu() -> None:
    parameters, neighbors, batch = random_case(np.random.default_rng())
    on_gpu = TorchStepper(parameters, neighbors, "cuda")
    on_cpu = Stepper(Parameters(parameters.features.copy(), parameters.gate.copy()), neighbors)
    for _ in range(3):
        assert on_cpu.step(batch, 1e-3) == pytest.approx(on_gpu.step(batch, 1e-3), abs=1e-3)
    difference = np.abs(on_cpu.parameters().features - on_gpu.parameters().features)
    assert np.quantile(difference, 0.95) < 1e-3


def test_steps_of_click_gaussian_agree_with_the_cpu() -> None:
    from saga_backend.methods.click_gaussian.settings import PAPER
    from saga_backend.methods.click_gaussian.train import make_stepper

    rng = np.random.default_rng()
    _, _, batch = random_case(rng)
    features = rng.standard_normal((60, 24)).astype(np.float32)
    neighbors = rng.integers(0, 60, (60, 5)).astype(np.int32)
    clusters = [rng.standard_normal((4, 12 * level)).astype(np.float32) for level in (1, 2)]
    clusters = [c / np.linalg.norm(c, axis=1, keepdims=True) for c in clusters]
    labels = rng.integers(0, 5, (2, len(batch.rows))).astype(np.int32)
    sample = batch.rows, labels, rng.integers(0, 60, 15).astype(np.int32), clusters
    on_cpu = make_stepper(features.copy(), neighbors, PAPER)
    on_gpu = make_stepper(features.copy(), neighbors, replace(PAPER, device="cuda"))
    for _ in range(3):
        assert on_cpu.step(*sample) == pytest.approx(on_gpu.step(*sample), abs=1e-3)
    assert np.quantile(np.abs(on_cpu.features() - on_gpu.features()), 0.95) < 1e-3


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_click_selects_the_same_on_both_devices(recipe: str) -> None:
    scene = standard_scene(objects=1, views=12, seed=0)
    view = scene.views[0]
    row = contributions(scene.cloud, view, np.array([[view.width // 2, view.height // 2]]))
    masks = []
    for device in ("cpu", "cuda"):
        settings = TrainSettings(recipe=recipe, steps=60, pixels=256)
        model = train(scene.cloud, settings, Control(), Sources(list(scene.views), device=device)).model
        masks += [
            model.select(row, np.ones(1, bool), SelectOptions(method, 0.9, snap=False)).mask
            for method in ("saga", "segments")
        ]
    for ours, theirs in zip(masks[:2], masks[2:], strict=True):
        assert (ours & theirs).sum() > 0.95 * (ours | theirs).sum() > 0


def test_status_tells_the_memory_of_the_card() -> None:
    import torch

    from saga_backend.serving.memory import backend_state

    kept = torch.zeros(1 << 28, device="cuda")  # 1 GiB
    state = backend_state("cuda")
    assert state.device == torch.cuda.get_device_name() and len(kept) == 1 << 28
    assert 1024 <= state.device_memory <= state.device_total
