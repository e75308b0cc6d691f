"""Hyper-parameters of SAGA."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RECIPES = ("prototypes", "paper")


@dataclass(frozen=True)
class SagaSettings:
    """Hyper-parameters.

    Attributes:
        recipe: "prototypes" trains one code per consensus segment (prototypes.py); "paper" trains one feature per
            Gaussian on pixels and the original masks.
        steps: optimizer steps.
        pixels: Np, pixels per step; maximum number of prototypes per step.
        scales: Ns, scales per step, at most 8.
        channels: D, channels of a feature.
        rate: Adam's first learning rate; a cosine schedule lowers it to a twentieth.
        seed: seed of all random generators.
        device: "cpu" or a torch device.
        snapshots: approximate number of snapshots during training.
    """

    recipe: str = "prototypes"
    steps: int = 3000
    pixels: int = 512
    scales: int = 8
    channels: int = 32
    rate: float = 0.03
    seed: int = 0
    device: str = "cpu"
    snapshots: int = 20

    def rate_at(self, step: int) -> float:
        """The learning rate at a step."""
        return self.rate * float(0.05 + 0.475 * (1 + np.cos(np.pi * step / self.steps)))


PROTOTYPES = SagaSettings()
PAPER = SagaSettings("paper", steps=10_000, pixels=1000, rate=0.02)
