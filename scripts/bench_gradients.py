"""Gradients by hand against torch's autograd on the CPU, a training step of each recipe, 100,000 Gaussians.

Usage: `OMP_NUM_THREADS=2 .venv/bin/python scripts/bench_gradients.py`
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable

import numpy as np
import torch
from torch.nn.functional import normalize

from bench_measure import times
from bench_scene import bench_scene
from bench_training import _batches, seen
from saga_backend.common.neighbors import nearest
from saga_backend.methods.saga.prototypes import PrototypeTrainer, find_prototypes
from saga_backend.methods.saga.settings import PAPER, PROTOTYPES
from saga_backend.methods.saga.step import Parameters, Stepper
from saga_backend.methods.saga.torch_step import TorchStepper, _pair_loss
from saga_backend.segments.segments import from_levels, scale_table

COUNT = 100_000


def autograd(trainer: PrototypeTrainer) -> Callable[[], float]:
    """A step of the default recipe in plain tensor operations."""
    codes, gate = (torch.tensor(v, requires_grad=True) for v in (trainer.codes, trainer.gate))
    optimizer, members = torch.optim.Adam([codes, gate], lr=1e-3), torch.as_tensor(trainer._members)

    def step() -> float:
        contrast, chosen = trainer._sample()
        units = normalize(members[torch.as_tensor(chosen)] @ codes, dim=1)
        scale_gates = torch.sigmoid(torch.as_tensor(contrast.scales)[:, None] * gate[0] + gate[1])
        loss = _pair_loss(normalize(units[None] * scale_gates[:, None], dim=2), contrast)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def main() -> None:
    """Print three turns of each, so that noise of other programs shows."""
    scene = bench_scene(COUNT, 4)
    rows, labels, scales = seen(scene)
    segments, random = from_levels(labels, scales, np.ones(len(scales))), np.random.default_rng(0)
    trainer = PrototypeTrainer(find_prototypes(segments, rows), scale_table(segments), PROTOTYPES)
    features = random.standard_normal((COUNT, PAPER.channels), dtype=np.float32)
    gate = random.uniform(-1, 1, (2, PAPER.channels)).astype(np.float32)
    start, neighbors = Parameters(features, gate), nearest(scene.cloud.means, 16)[0]
    by_hand = Stepper(Parameters(features.copy(), gate.copy()), neighbors)
    by_torch = TorchStepper(start, neighbors, "cpu")
    turn = itertools.cycle(_batches(scene, rows, labels, scales))
    steps = {
        "prototypes, by hand": lambda: trainer.step(0),
        "prototypes, autograd": autograd(trainer),
        "paper, by hand": lambda: by_hand.step(next(turn), 1e-3),
        "paper, autograd": lambda: by_torch.step(next(turn), 1e-3),
    }
    for _ in range(3):
        for name, step in steps.items():
            print(name, times(step, 10), f"load {os.getloadavg()[0]:.1f}", flush=True)


if __name__ == "__main__":
    main()
