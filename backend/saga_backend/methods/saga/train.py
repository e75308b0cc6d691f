"""The training loop of SAGA."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from blender_saga.wire.errors import UserError

from ...control import Control
from ...masks.pool import PoolMasks
from ...model import AffinityModel
from ...neighbours import nearest
from ...rows import Rows
from .batch import Batch, TrainingView, sample, training_view
from .blend import smooth
from .step import Parameters, Stepper
from .warm_start import warm_start

SMOOTHING_NEIGHBOURS = 16
_QUANTILES = 257


@dataclass(frozen=True)
class SagaSettings:
    """Hyper-parameters; the paper's where it gives them.

    Attributes:
        steps: optimiser steps.
        pixels: Np, pixels a step.
        scales: Ns, scales a step, at most 8.
        channels: D.
        rate: Adam's learning rate; it falls to a twentieth along a cosine.
        recipe: "warm" starts from the masks' codes (warm_start.py), "paper" from noise.
        seed: of every draw.
        device: "cpu" or a torch device.
        snapshot_every: steps between two snapshots for queries during training.
    """

    steps: int = 600
    pixels: int = 512
    scales: int = 8
    channels: int = 32
    rate: float = 0.003
    recipe: str = "warm"
    seed: int = 0
    device: str = "cpu"
    snapshot_every: int = 100


@dataclass(frozen=True, eq=False)
class SagaInput:
    """What training works on: N centres [N,3], which Gaussians some view sees [N] bool, rows and masks of each view."""

    means: np.ndarray
    seen: np.ndarray
    rows: list[Rows]
    masks: list[PoolMasks]


def train_saga(
    data: SagaInput,
    settings: SagaSettings,
    control: Control,
    publish: Callable[[AffinityModel], None] | None = None,
) -> AffinityModel:
    """Train affinity features.

    Args:
        data: the frozen geometry and the masks.
        settings: hyper-parameters.
        control: progress and cancel.
        publish: gets a snapshot now and then, for queries while training runs.

    Raises:
        UserError: if there is nothing to learn from.
        Cancelled: if the control was cancelled.
    """
    views = [v for v in map(training_view, data.rows, data.masks) if v is not None]
    if not views:
        why = "no mask covers anything in any view"
        raise UserError("There is nothing to learn from", why, "Use other masks or more views", "no_masks")
    quantiles = scale_quantiles(data.masks)
    control.progress("starting features", 0, 1)
    neighbours, _ = nearest(data.means, SMOOTHING_NEIGHBOURS)
    parameters = _start(views, quantiles, len(data.means), settings)
    trainer = _Trainer(views, quantiles, neighbours, parameters, settings)
    for index in range(settings.steps):
        control.progress("training", index, settings.steps)
        trainer.step(index)
        if publish and index % settings.snapshot_every == 0:  # the first at once: a warm start answers clicks already
            publish(trainer.model(data, index + 1))
    return trainer.model(data, settings.steps)


def scale_quantiles(masks: list[PoolMasks]) -> np.ndarray:
    """[Q] mask scales (scene units) at evenly spaced quantiles 0..1, the table of the paper's quantile transform.

    A mask counts by the square root of its area, its extent in the picture. The paper counts masks alike, which leaves
    the few large things a sliver at the end of the slider.
    """
    scales = np.concatenate([m.scales for m in masks])
    weights = np.sqrt(np.concatenate([m.areas for m in masks]).astype(np.float64))
    order = np.argsort(scales, kind="stable")
    middle = np.cumsum(weights[order]) - weights[order] / 2
    return np.interp(np.linspace(0, 1, _QUANTILES), middle / weights.sum(), scales[order]).astype(np.float32)


def _start(views: list[TrainingView], quantiles: np.ndarray, count: int, settings: SagaSettings) -> Parameters:
    if settings.recipe == "warm":
        return warm_start(views, quantiles, count, settings.channels, settings.seed)
    rng = np.random.default_rng(settings.seed)
    features = rng.standard_normal((count, settings.channels)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return Parameters(features, rng.uniform(-1, 1, (2, settings.channels)).astype(np.float32))


class _Steps(Protocol):
    """What the loop needs of step.Stepper and of torch_step.TorchStepper."""

    def step(self, batch: Batch, rate: float) -> float: ...
    def parameters(self) -> Parameters: ...


def _stepper(parameters: Parameters, neighbours: np.ndarray, device: str) -> _Steps:
    if device == "cpu":
        return Stepper(parameters, neighbours)
    from .torch_step import TorchStepper  # torch takes seconds to import and the CPU does without

    return TorchStepper(parameters, neighbours, device)


class _Trainer:
    """State of the loop: parameters with their optimiser, random source."""

    def __init__(self, views, quantiles, neighbours, parameters, settings) -> None:
        self._views, self._quantiles, self._neighbours, self._settings = views, quantiles, neighbours, settings
        self._stepper = _stepper(parameters, neighbours, settings.device)
        self._rng = np.random.default_rng(settings.seed + 1)

    def step(self, index: int) -> float:
        """One optimiser step; returns the loss."""
        s = self._settings
        view = self._views[self._rng.integers(len(self._views))]
        batch = sample(view, self._quantiles, (s.pixels, s.scales), self._rng)
        return self._stepper.step(batch, s.rate * (0.05 + 0.475 * (1 + np.cos(np.pi * index / s.steps))))

    def model(self, data: SagaInput, steps: int) -> AffinityModel:
        """The features as the paper saves them: smoothed unit vectors. What no view sees takes its neighbour's."""
        parameters = self._stepper.parameters()
        everyone = np.arange(len(data.means), dtype=np.int32)
        features, _ = smooth(parameters.features, self._neighbours, everyone)
        if data.seen.any() and not data.seen.all():
            closest, _ = nearest(data.means[data.seen], 1, data.means[~data.seen])
            features[~data.seen] = features[data.seen][closest[:, 0]]
        return AffinityModel(features, parameters.gate.copy(), self._quantiles, steps)
