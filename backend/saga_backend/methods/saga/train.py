"""The training of SAGA: on prototypes, or the loop over pixels of the paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from blender_saga.errors import ErrorCode, UserError

from ...common.neighbors import nearest
from ...common.progress import Control
from ...masks.sampled import SampledMasks
from ...rasterizer.contributions import Contributions
from ...segments.segments import Segments
from ..checkpoint import Checkpoint, State, draws_of, go_on_drawing
from ..loop import Trainer, Watchers, run
from .batch import Batch, TrainingView, sample, training_view
from .blend import smooth
from .model import AffinityModel
from .prototypes import PrototypeTrainer, features_of, find_prototypes, trainable_segments
from .settings import SagaSettings
from .step import Parameters, Stepper

SMOOTHING_NEIGHBORS = 16
_QUANTILES = 257


@dataclass(frozen=True, eq=False)
class SagaInput:
    """Input of the training.

    Attributes:
        means: [N,3] centers, scene units.
        seen: [N] bool, the Gaussians that at least one view sees.
        rows: rows of the sampled pixels of every view.
        masks: masks at the same pixels, for the recipe "paper".
        segments: consensus segments of the masks, for the recipe "prototypes".
        quantiles: [Q] scale table of the segments.
    """

    means: np.ndarray
    seen: np.ndarray
    rows: list[Contributions]
    masks: list[SampledMasks]
    segments: Segments
    quantiles: np.ndarray


Publish = Callable[[AffinityModel], None]


def train_saga(
    data: SagaInput,
    settings: SagaSettings,
    control: Control,
    publish: Publish | None = None,
    checkpoint: Checkpoint | None = None,
) -> AffinityModel:
    """Train affinity features.

    Args:
        data: the frozen geometry and the masks.
        settings: hyper-parameters.
        control: progress and cancellation.
        publish: receives snapshots for queries during training; None: no snapshots.
        checkpoint: checkpoint of the training; None: no checkpoint.

    Raises:
        UserError: if there is no usable mask, or if the features become NaN.
        Cancelled: if the control was cancelled.
    """
    control.progress("starting features", 0, 1)
    on_prototypes = settings.recipe == "prototypes"
    trainer: Trainer[AffinityModel] = (
        _PrototypeTraining(data, settings) if on_prototypes else _PixelTraining(data, settings)
    )
    every = max(1, settings.steps // settings.snapshots)
    watchers = Watchers(control, publish, checkpoint or Checkpoint())
    return run(trainer, settings.steps, range(0, settings.steps, every), watchers)


class _PrototypeTraining:
    """Trains one code per segment; see prototypes.py."""

    def __init__(self, data: SagaInput, settings: SagaSettings) -> None:
        if not len(data.segments):
            why = "the masks of different views agree on nothing, or there are none"
            fix = "Use other masks, more views, or the recipe 'paper'"
            raise UserError("There is nothing to learn from", why, fix, ErrorCode.NO_MASKS)
        self._data, self._segments = data, data.segments.take(trainable_segments(data.segments))
        self._neighbors, _ = nearest(data.means, SMOOTHING_NEIGHBORS)
        self._trainer = PrototypeTrainer(find_prototypes(self._segments, data.rows), data.quantiles, settings)

    def step(self, index: int) -> float:
        return self._trainer.step(index)

    def state(self) -> State:
        return self._trainer.state()

    def resume(self, state: State) -> None:
        self._trainer.resume(state)

    def model(self, steps: int) -> AffinityModel:
        features = features_of(self._segments, self._trainer.codes)
        return _build_model(
            Parameters(features, self._trainer.gate), self._data, self._neighbors, self._data.quantiles, steps
        )


class _PixelTraining:
    """The loop of the paper: pixels and masks of a random view train the features of all Gaussians."""

    def __init__(self, data: SagaInput, settings: SagaSettings) -> None:
        self._views = [v for v in map(training_view, data.rows, data.masks) if v is not None]
        if not self._views:
            why = "no mask covers anything in any view"
            raise UserError("There is nothing to learn from", why, "Use other masks or more views", ErrorCode.NO_MASKS)
        self._data, self._settings = data, settings
        self._quantiles = scale_quantiles(data.masks)
        self._neighbors, _ = nearest(data.means, SMOOTHING_NEIGHBORS)
        self._stepper = make_stepper(_random_parameters(len(data.means), settings), self._neighbors, settings.device)
        self._rng = np.random.default_rng(settings.seed + 1)

    def step(self, index: int) -> float:
        s = self._settings
        view: TrainingView = self._views[self._rng.integers(len(self._views))]
        batch = sample(view, self._quantiles, (s.pixels, s.scales), self._rng)
        return self._stepper.step(batch, s.rate_at(index))

    def state(self) -> State:
        return self._stepper.state() | {"draws": draws_of(self._rng)}

    def resume(self, state: State) -> None:
        go_on_drawing(self._rng, state["draws"])
        self._stepper.resume(state)

    def model(self, steps: int) -> AffinityModel:
        return _build_model(self._stepper.parameters(), self._data, self._neighbors, self._quantiles, steps)


def _random_parameters(count: int, settings: SagaSettings) -> Parameters:
    rng = np.random.default_rng(settings.seed)
    features = rng.standard_normal((count, settings.channels)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return Parameters(features, rng.uniform(-1, 1, (2, settings.channels)).astype(np.float32))


def _build_model(
    parameters: Parameters, data: SagaInput, neighbors: np.ndarray, quantiles: np.ndarray, steps: int
) -> AffinityModel:
    """The model with smoothed unit vectors, as in the paper. Unseen Gaussians copy their nearest seen neighbor."""
    all_ids = np.arange(len(data.means), dtype=np.int32)
    features, _ = smooth(parameters.features, neighbors, all_ids)
    if data.seen.any() and not data.seen.all():
        closest, _ = nearest(data.means[data.seen], 1, data.means[~data.seen])
        features[~data.seen] = features[data.seen][closest[:, 0]]
    return AffinityModel(features, parameters.gate.copy(), quantiles, steps)


def scale_quantiles(masks: list[SampledMasks]) -> np.ndarray:
    """[Q] mask scales (scene units) at evenly spaced quantiles 0..1, the table of the paper's quantile transform.

    The weight of a mask is the square root of its area, its extent in the picture. With the equal weights of the paper,
    the few large objects get only a small part of the slider.
    """
    scales = np.concatenate([m.scales for m in masks])
    weights = np.sqrt(np.concatenate([m.areas for m in masks]).astype(np.float64))
    order = np.argsort(scales, kind="stable")
    middle = np.cumsum(weights[order]) - weights[order] / 2
    return np.interp(np.linspace(0, 1, _QUANTILES), middle / weights.sum(), scales[order]).astype(np.float32)


class _AnyStepper(Protocol):
    """The interface of step.Stepper and torch_step.TorchStepper."""

    def step(self, batch: Batch, rate: float) -> float: ...
    def parameters(self) -> Parameters: ...
    def state(self) -> State: ...
    def resume(self, state: State) -> None: ...


def make_stepper(parameters: Parameters, neighbors: np.ndarray, device: str) -> _AnyStepper:
    """Make the stepper for a device."""
    if device == "cpu":
        return Stepper(parameters, neighbors)
    from .torch_step import TorchStepper  # the import of torch takes seconds, and the CPU does not need it

    return TorchStepper(parameters, neighbors, device)
