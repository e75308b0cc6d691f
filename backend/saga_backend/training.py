"""From a cloud to a trained model: views, rows, masks, features."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View
from blender_saga.wire.errors import UserError
from blender_saga.wire.messages import TrainSettings

from .capture import CaptureSettings, capture
from .control import Control
from .masks.builtin import builtin_masks, visible
from .masks.pool import PoolMasks, from_pictures
from .methods.saga.train import SagaInput, SagaSettings, train_saga
from .model import AffinityModel
from .raster import all_pixels
from .rasteriser import Rasteriser, rasteriser
from .rows import Rows

POOL_PIXELS = 16_384
"""Pixels of a view whose rows are kept."""


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A model and how it came about: its views, the coverage reached (0..1), masks in all, seconds of each phase."""

    model: AffinityModel
    views: list[View]
    coverage: float
    masks: int
    phases: dict[str, float]


@dataclass(eq=False)
class Sources:
    """Where views and masks come from; the defaults need nothing but the cloud.

    Attributes:
        views: given views, or None for a virtual capture.
        masks: for every view its masks [M,H,W] bool, or None for the built-in ones; taken one view at a time.
        up: direction away from the ground, for upright virtual views; y is down in splat files.
        publish: gets snapshots of the model while it trains.
        device: "cpu" or "cuda", where the features are trained.
    """

    views: list[View] | None = None
    masks: Sequence[np.ndarray] | None = None
    up: tuple[float, float, float] = (0.0, -1.0, 0.0)
    publish: Callable[[AffinityModel], None] | None = None
    device: str = "cpu"


@dataclass
class _Stopwatch:
    seconds: dict[str, float] = field(default_factory=dict)
    _since: float = field(default_factory=time.perf_counter)

    def lap(self, phase: str) -> None:
        now = time.perf_counter()
        self.seconds[phase] = now - self._since
        self._since = now


def train(
    cloud: GaussianCloud, settings: TrainSettings, control: Control, sources: Sources | None = None
) -> TrainedModel:
    """Train a model of a cloud.

    Raises:
        UserError: if the cloud cannot be seen or learned from, or the settings are out of range.
        Cancelled: if the control was cancelled.
    """
    sources, settings = sources or Sources(), check_settings(settings)
    watch, coverage, views = _Stopwatch(), 1.0, sources.views
    if views is None:
        taken = capture(cloud, CaptureSettings(settings.views, settings.width, settings.height, sources.up), control)
        views, coverage = taken.views, taken.coverage
    watch.lap("views")
    raster = rasteriser(sources.device)
    pools, rows = _rows((cloud, views), raster, settings.seed, control)
    watch.lap("rows")
    if sources.masks is None:
        masks = builtin_masks(cloud, views, rows, control)
    else:
        masks = _given_masks((cloud, views), raster, pools, sources.masks, control)
    watch.lap("masks")
    data = SagaInput(cloud.means, visible(rows, len(cloud)), rows, masks)
    saga = SagaSettings(steps=settings.steps, pixels=settings.pixels, seed=settings.seed, device=sources.device)
    model = train_saga(data, saga, control, sources.publish)
    watch.lap("training")
    return TrainedModel(model, views, coverage, sum(len(m.scales) for m in masks), watch.seconds)


def check_settings(settings: TrainSettings) -> TrainSettings:
    """The settings with the defaults in place of zeros.

    Raises:
        UserError: if one is out of range.
    """
    defaults = {"steps": SagaSettings.steps, "views": 40, "width": 480, "height": 360, "pixels": SagaSettings.pixels}
    limits = {"steps": 100_000, "views": 1000, "width": 4096, "height": 4096, "pixels": 4096}
    chosen = {}
    for name, default in defaults.items():
        value = getattr(settings, name)
        lowest = 2 if name == "pixels" else 1  # the loss is about pairs
        if value and not lowest <= value <= limits[name]:
            why = f"{name} is {value}, it must be between {lowest} and {limits[name]} (0: the default, {default})"
            raise UserError("The training settings are not usable", why, code="bad_settings")
        chosen[name] = value or default
    if settings.seed < 0:
        why = f"seed is {settings.seed}, it must not be negative"
        raise UserError("The training settings are not usable", why, code="bad_settings")
    if settings.method != "saga":
        raise UserError(f"There is no method '{settings.method}'", fix="Use 'saga'", code="bad_settings")
    return TrainSettings(settings.method, seed=settings.seed, **chosen)


def _rows(
    scene: tuple[GaussianCloud, list[View]], raster: Rasteriser, seed: int, control: Control
) -> tuple[list[np.ndarray], list[Rows]]:
    """A random pool of pixels of every view and its rows: all that training will ever ask the rasteriser."""
    cloud, views = scene
    rng = np.random.default_rng(seed)
    pools, rows = [], []
    for index, view in enumerate(views):
        control.progress("rasterising", index, len(views))
        total = view.width * view.height
        chosen = rng.choice(total, min(POOL_PIXELS, total), replace=False)
        pools.append(all_pixels(view)[chosen])
        rows.append(raster.contributions(cloud, view, pools[-1]))
    return pools, rows


def _given_masks(scene, raster, pools, pictures, control) -> list[PoolMasks]:
    """Masks from pictures of them, one view's at a time; their 3D scales from the rendered depth."""
    cloud, views = scene
    if len(pictures) != len(views):
        raise UserError("The masks do not fit the views", f"{len(pictures)} for {len(views)} views", code="bad_masks")
    masks = []
    for index, (view, pixels) in enumerate(zip(views, pools, strict=True)):
        control.progress("masking views", index, len(views))
        picture = pictures[index]
        if picture.shape[1:] != (view.height, view.width):
            why = f"masks of view {index} are {picture.shape[2]} x {picture.shape[1]} pixels"
            raise UserError("The masks do not fit the views", why, code="bad_masks")
        masks.append(from_pictures(picture, raster.render(cloud, view).depth, view, pixels))
    return masks
