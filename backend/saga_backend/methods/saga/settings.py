"""Hyper-parameters of SAGA."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RECIPES = ("prototypes", "paper")


@dataclass(frozen=True)
class SagaSettings:
    """Hyper-parameters.

    Attributes:
        recipe: "prototypes" trains a code for every segment on which the masks agree (prototypes.py), "paper" a feature
            for every Gaussian on pixels with the masks as they are.
        steps: optimizer steps.
        pixels: Np, pixels (or prototypes, at most) a step.
        scales: Ns, scales a step, at most 8.
        channels: D.
        rate: Adam's learning rate; it falls to a twentieth along a cosine.
        seed: of every draw.
        device: "cpu" or a torch device.
        snapshots: how many times a model is published during training, about.
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
