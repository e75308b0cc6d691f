"""The training of Click-Gaussian: on prototypes, or the loop over pixels of the paper."""

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
from ..checkpoint import Checkpoint, State, draws_of, go_on_drawing, part_of, prefixed
from ..loop import Trainer, Watchers, run
from .guidance import global_clusters
from .levels import LevelView, SegmentLevels, level_view, levels_of_masks
from .merging import merge_levels
from .model import LevelModel, model_of
from .prototypes import CodeTrainer
from .settings import ClickSettings
from .step import Stepper


@dataclass(frozen=True, eq=False)
class ClickInput:
    """Input of the training.

    Attributes:
        means: [N,3] centers, scene units.
        seen: [N] bool, the Gaussians that at least one view sees.
        rows: rows of the sampled pixels of every view.
        masks: masks at the same pixels.
        segments: consensus segments of the masks; they provide the levels of the recipe "prototypes".
    """

    means: np.ndarray
    seen: np.ndarray
    rows: list[Contributions]
    masks: list[SampledMasks]
    segments: Segments


def train_click_gaussian(
    data: ClickInput,
    settings: ClickSettings,
    control: Control,
    publish: Callable[[LevelModel], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> LevelModel:
    """Train features and find their clusters.

    Args:
        data: the frozen geometry and the masks.
        settings: hyper-parameters.
        control: progress and cancellation.
        publish: receives snapshots for queries as soon as the features are usable; None: no snapshots.
        checkpoint: checkpoint of the training; None: no checkpoint.

    Raises:
        UserError: if there is no usable mask, or if the features become NaN.
        Cancelled: if the control was cancelled.
    """
    control.progress("starting features", 0, 1)
    by_segments = settings.recipe == "prototypes" and len(data.segments)
    levels = SegmentLevels(data.segments, settings.levels) if by_segments else None
    views = training_views(data, settings, levels)
    if not views:
        why = "no mask covers anything in any view"
        raise UserError("There is nothing to learn from", why, "Use other masks or more views", ErrorCode.NO_MASKS)
    if levels is not None:
        trainer: Trainer[LevelModel] = _PrototypeTraining(data, views, settings, levels)
    else:
        trainer = _PixelTraining(data, views, settings, control)
    due = range(settings.begin, settings.steps, settings.refresh)
    return run(trainer, settings.steps, due, Watchers(control, publish, checkpoint or Checkpoint()))


class _PrototypeTraining:
    """Trains one code per segment; see prototypes.py."""

    def __init__(
        self, data: ClickInput, views: list[LevelView], settings: ClickSettings, levels: SegmentLevels
    ) -> None:
        self._data, self._settings = data, settings
        self._trainer = CodeTrainer(levels, views, settings)

    def step(self, index: int) -> float:
        return self._trainer.step()

    def state(self) -> State:
        return self._trainer.state()

    def resume(self, state: State) -> None:
        self._trainer.resume(state)

    def model(self, steps: int) -> LevelModel:
        return _build_model(self._trainer.features(), self._trainer.clusters(), self._data, self._settings, steps)


class _PixelTraining:
    """The loop of the paper: pixels and masks of a random view train the features of all Gaussians."""

    def __init__(self, data: ClickInput, views: list[LevelView], settings: ClickSettings, control: Control) -> None:
        self._data, self._views, self._settings, self._control = data, views, settings, control
        neighbors = nearest(data.means, settings.neighbors + 1)[0][:, 1:]  # the nearest is the Gaussian itself
        self._rng = np.random.default_rng(settings.seed)
        noise = self._rng.standard_normal((len(data.means), settings.channels)).astype(np.float32)
        width = settings.channels // settings.levels
        self._stepper = make_stepper(noise / np.float32(np.sqrt(width)), np.ascontiguousarray(neighbors), settings)
        self._clusters: list[np.ndarray] | None = None

    def step(self, index: int) -> float:
        s, rng, count = self._settings, self._rng, len(self._data.means)
        if s.weights.guidance and index in range(s.begin, s.steps, s.refresh):
            self._clusters = self._find_clusters()
        rows, labels = self._views[rng.integers(len(self._views))].sample(s.pixels, rng)
        # Sorted ids read the memory in sequence.
        around = np.sort(rng.integers(count, size=min(s.around, count))).astype(np.int32)
        return self._stepper.step(rows, labels, around, self._clusters)

    def state(self) -> State:
        clusters = {str(level): centers for level, centers in enumerate(self._clusters or [])}
        return self._stepper.state() | prefixed("clusters", clusters) | {"draws": draws_of(self._rng)}

    def resume(self, state: State) -> None:
        s, clusters = self._settings, part_of(state, "clusters")
        saved = [clusters[str(level)] for level in range(s.levels) if str(level) in clusters]
        widths = [s.span(level).stop - s.span(level).start for level in range(s.levels)]
        if saved and [(c.dtype, c.shape[1:]) for c in saved] != [(np.float32, (width,)) for width in widths]:
            raise ValueError("the clusters have other types or widths")
        go_on_drawing(self._rng, state["draws"])
        self._stepper.resume(state)
        self._clusters = saved or None

    def model(self, steps: int) -> LevelModel:
        features = self._stepper.features().copy()
        clusters = merge_levels(features, self._find_clusters(), self._views, self._settings)
        return _build_model(features, clusters, self._data, self._settings, steps)

    def _find_clusters(self) -> list[np.ndarray]:
        return global_clusters(self._stepper.features(), self._views, self._settings, self._control)


def _build_model(
    features: np.ndarray, clusters: list[np.ndarray], data: ClickInput, settings: ClickSettings, steps: int
) -> LevelModel:
    """The model. Unseen Gaussians copy their nearest seen neighbor."""
    if data.seen.any() and not data.seen.all():
        closest, _ = nearest(data.means[data.seen], 1, data.means[~data.seen])
        features[~data.seen] = features[data.seen][closest[:, 0]]
    spans = [settings.span(level) for level in range(settings.levels)]
    return model_of(features, clusters, spans, data.means, steps, settings.recipe != "prototypes")


def training_views(data: ClickInput, settings: ClickSettings, levels: SegmentLevels | None) -> list[LevelView]:
    """The views with masked Gaussians, with their masks of every level.

    Args:
        data: rows and masks.
        settings: number of levels.
        levels: levels of the segments; None: levels of the masks.
    """
    if settings.recipe == "prototypes" and levels is None:
        return []  # there are no segments
    views = []
    for rows, masks in zip(data.rows, data.masks, strict=True):
        labels = levels_of_masks(masks, settings.levels) if levels is None else levels.of(rows)
        views.append(level_view(rows, labels))
    return [view for view in views if view is not None]


class _AnyStepper(Protocol):
    """The interface of step.Stepper and torch_step.TorchStepper."""

    def step(
        self, rows: Contributions, labels: np.ndarray, around: np.ndarray, clusters: list[np.ndarray] | None
    ) -> float: ...
    def features(self) -> np.ndarray: ...
    def state(self) -> State: ...
    def resume(self, state: State) -> None: ...


def make_stepper(features: np.ndarray, neighbors: np.ndarray, settings: ClickSettings) -> _AnyStepper:
    """Make the stepper for a device."""
    if settings.device == "cpu":
        return Stepper(features, neighbors, settings)
    from .torch_step import TorchStepper  # the import of torch takes seconds, and the CPU does not need it

    return TorchStepper(features, neighbors, settings)
