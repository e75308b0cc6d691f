"""The training of Click-Gaussian: pixels of a random view, their masks at every level, features of all Gaussians."""

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
from .joining import join_levels
from .levels import LevelView, SegmentLevels, level_view, levels_of_masks
from .model import LevelModel, model_of
from .prototypes import CodeTrainer
from .settings import ClickSettings
from .step import Stepper


@dataclass(frozen=True, eq=False)
class ClickInput:
    """Input of the training.

    Attributes:
        means: [N,3] centers, scene units.
        seen: [N] bool, which Gaussians some view sees.
        rows: of every view's sampled pixels.
        masks: over the same pixels.
        segments: on which the masks agree; the recipe "prototypes" takes its levels from them.
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
        control: progress and cancel.
        publish: receives snapshots for queries during training, once the features are usable.
        checkpoint: checkpoint of the training; None: none.

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
        trainer: Trainer[LevelModel] = _ByPrototypes(data, views, settings, levels)
    else:
        trainer = _ByPixels(data, views, (settings, control))
    due = range(settings.begin, settings.steps, settings.refresh)
    return run(trainer, settings.steps, due, Watchers(control, publish, checkpoint or Checkpoint()))


class _ByPrototypes:
    """A code for every segment; see prototypes.py."""

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
        return _finished(self._trainer.features(), self._trainer.clusters(), self._data, (self._settings, steps))


class _ByPixels:
    """The paper's loop."""

    def __init__(self, data: ClickInput, views: list[LevelView], how: tuple[ClickSettings, Control]) -> None:
        self._data, self._views = data, views
        self._settings, self._control = settings, _ = how
        neighbors = nearest(data.means, settings.neighbors + 1)[0][:, 1:]  # the nearest is the Gaussian itself
        self._rng = np.random.default_rng(settings.seed)
        noise = self._rng.standard_normal((len(data.means), settings.channels)).astype(np.float32)
        width = settings.channels // settings.levels
        self._stepper = stepper(noise / np.float32(np.sqrt(width)), np.ascontiguousarray(neighbors), settings)
        self._clusters: list[np.ndarray] | None = None

    def step(self, index: int) -> float:
        s, rng, count = self._settings, self._rng, len(self._data.means)
        if s.weights.guidance and index in range(s.begin, s.steps, s.refresh):
            self._clusters = self._found()
        rows, labels = self._views[rng.integers(len(self._views))].sample(s.pixels, rng)
        around = np.sort(rng.integers(count, size=min(s.around, count))).astype(
            np.int32
        )  # sorted for sequential memory access
        return self._stepper.step(rows, labels, around, self._clusters)

    def state(self) -> State:
        clusters = {str(level): centers for level, centers in enumerate(self._clusters or [])}
        return self._stepper.state() | prefixed("clusters", clusters) | {"draws": draws_of(self._rng)}

    def resume(self, state: State) -> None:
        s, clusters = self._settings, part_of(state, "clusters")
        found = [clusters[str(level)] for level in range(s.levels) if str(level) in clusters]
        widths = [s.span(level).stop - s.span(level).start for level in range(s.levels)]
        if found and [(c.dtype, c.shape[1:]) for c in found] != [(np.float32, (width,)) for width in widths]:
            raise ValueError("its clusters are of another kind")
        go_on_drawing(self._rng, state["draws"])
        self._stepper.resume(state)
        self._clusters = found or None

    def model(self, steps: int) -> LevelModel:
        features = self._stepper.features().copy()
        clusters = join_levels(features, self._found(), self._views, self._settings)
        return _finished(features, clusters, self._data, (self._settings, steps))

    def _found(self) -> list[np.ndarray]:
        return global_clusters(self._stepper.features(), self._views, self._settings, self._control)


def _finished(
    features: np.ndarray, clusters: list[np.ndarray], data: ClickInput, trained: tuple[ClickSettings, int]
) -> LevelModel:
    """The model. Unseen Gaussians copy their nearest seen neighbor."""
    settings, steps = trained
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
        levels: of the segments, in place of the masks.
    """
    if settings.recipe == "prototypes" and levels is None:
        return []  # there are no segments
    found = []
    for rows, masks in zip(data.rows, data.masks, strict=True):
        labels = levels_of_masks(masks, settings.levels) if levels is None else levels.of(rows)
        found.append(level_view(rows, labels))
    return [view for view in found if view is not None]


class _Steps(Protocol):
    """The interface of step.Stepper and torch_step.TorchStepper."""

    def step(
        self, rows: Contributions, labels: np.ndarray, around: np.ndarray, clusters: list[np.ndarray] | None
    ) -> float: ...
    def features(self) -> np.ndarray: ...
    def state(self) -> State: ...
    def resume(self, state: State) -> None: ...


def stepper(features: np.ndarray, neighbors: np.ndarray, settings: ClickSettings) -> _Steps:
    """The stepper for a device."""
    if settings.device == "cpu":
        return Stepper(features, neighbors, settings)
    from .torch_step import TorchStepper  # the import of torch takes seconds, and the CPU does not need it

    return TorchStepper(features, neighbors, settings)
