"""From a cloud to a trained model: views, rows, masks, features."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from blender_saga.errors import ErrorCode, UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View
from blender_saga.wire.messages import TrainSettings

from ..cameras.virtual import Capture, CaptureSettings, capture
from ..common.progress import Control
from ..methods.checkpoint import Checkpoint
from ..methods.click_gaussian.model import LevelModel
from ..methods.click_gaussian.settings import BY_NAME as CLICK_RECIPES
from ..methods.click_gaussian.settings import ClickSettings
from ..methods.click_gaussian.train import ClickInput, train_click_gaussian
from ..methods.saga.model import AffinityModel
from ..methods.saga.settings import PAPER, PROTOTYPES, RECIPES, SagaSettings
from ..methods.saga.train import SagaInput, train_saga
from ..model.scene_model import SceneModel
from ..rasterizer.select import Rasterizer, rasterizer
from ..segments.segments import scale_table
from .preparation import RasterizedViews, TrainingMasks, builtin_masks, picture_masks, rasterize
from .resume import capture_from_state, capture_state, masks_from_state, masks_state

METHODS = ("saga", "click-gaussian", "segments")
"""The methods of training: features of either kind, or only the common segments of the masks."""


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A trained model with its views, their coverage (0..1), the number of masks, and the seconds of each phase."""

    model: SceneModel
    views: list[View]
    coverage: float
    masks: int
    phases: dict[str, float]


@dataclass(eq=False)
class Sources:
    """The sources of a training beside the cloud; the defaults need only the cloud.

    Attributes:
        views: the views, or None for a virtual capture.
        masks: for every view its masks [M,H,W] bool, or None for the built-in masks; read one view at a time.
        up: direction away from the ground, for upright virtual views; y is down in splat files.
        publish: receives snapshots of the model during the training.
        device: "cpu" or "cuda", for the training of the features.
        checkpoint: stores the progress of a training, and restores the progress of an interrupted one.
    """

    views: list[View] | None = None
    masks: Sequence[np.ndarray] | None = None
    up: tuple[float, float, float] = (0.0, -1.0, 0.0)
    publish: Callable[[SceneModel], None] | None = None
    device: str = "cpu"
    checkpoint: Checkpoint = field(default_factory=Checkpoint)


@dataclass(frozen=True, eq=False)
class TrainingData:
    """The rasterized views of a training and their masks."""

    views: RasterizedViews
    masks: TrainingMasks


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
        UserError: if the cloud is not usable for training, or the settings are out of range.
        Cancelled: if the control was cancelled.
    """
    sources, settings = sources or Sources(), check_settings(settings)
    try:
        return _train(cloud, settings, control, sources)
    except UserError:
        sources.checkpoint.remove()  # it would fail in the same way again
        raise


def _train(cloud: GaussianCloud, settings: TrainSettings, control: Control, sources: Sources) -> TrainedModel:
    watch, coverage, views = _Stopwatch(), 1.0, sources.views
    if views is None:
        captured = _capture_views(cloud, settings, sources, control)
        views, coverage = captured.views, captured.coverage
    watch.lap("views")
    raster = rasterizer(sources.device)
    rasterized = rasterize(cloud, views, raster, settings.seed, control)
    watch.lap("rows")
    masks = _find_masks(rasterized, sources, raster, control)
    watch.lap("masks")
    model = SceneModel(masks.segments, scale_table(masks.segments))
    if settings.method != "segments":
        model = _train_features(model, TrainingData(rasterized, masks), settings, sources, control)
    elif not len(masks.segments):
        why = "the masks of different views agree on nothing, or there are none"
        raise UserError("The masks give no segments", why, "Use other masks or more views", ErrorCode.NO_MASKS)
    watch.lap("training")
    return TrainedModel(model, views, coverage, sum(len(m.scales) for m in masks.masks), watch.seconds)


def _capture_views(cloud: GaussianCloud, settings: TrainSettings, sources: Sources, control: Control) -> Capture:
    """Virtual views of the cloud."""
    kept = capture_from_state(sources.checkpoint.load("views"))
    if kept is not None:
        return kept
    size = CaptureSettings(settings.views, settings.width, settings.height, sources.up)
    captured = capture(cloud, size, control)
    sources.checkpoint.offer("views", lambda: capture_state(captured))
    return captured


def _find_masks(rasterized: RasterizedViews, sources: Sources, raster: Rasterizer, control: Control) -> TrainingMasks:
    """Masks and segments."""
    kept = masks_from_state(sources.checkpoint.load("segments"), rasterized)
    if kept is not None:
        return kept
    if sources.masks is None:
        masks = builtin_masks(rasterized, control)
    else:
        masks = picture_masks(rasterized, sources.masks, raster, control)
    sources.checkpoint.offer("segments", lambda: masks_state(masks))
    return masks


def _train_features(
    model: SceneModel, prepared: TrainingData, settings: TrainSettings, sources: Sources, control: Control
) -> SceneModel:
    """Train the features of a model; publishes snapshots, the first one without features."""
    publish_model = sources.publish or (lambda model: None)
    publish_model(model)
    views, masks = prepared.views, prepared.masks
    inputs = views.cloud.means, masks.visible, views.rows, masks.masks, masks.segments
    if settings.method == "click-gaussian":

        def publish_levels(levels: LevelModel) -> None:
            publish_model(replace(model, levels=levels))

        click = click_settings(settings, sources.device)
        levels = train_click_gaussian(ClickInput(*inputs), click, control, publish_levels, sources.checkpoint)
        return replace(model, levels=levels)

    def publish(affinity: AffinityModel) -> None:
        publish_model(replace(model, affinity=affinity))

    saga = saga_settings(settings, sources.device)
    return replace(
        model, affinity=train_saga(SagaInput(*inputs, model.quantiles), saga, control, publish, sources.checkpoint)
    )


def click_settings(settings: TrainSettings, device: str) -> ClickSettings:
    """The hyper-parameters of a Click-Gaussian recipe with the changes of the settings."""
    base = CLICK_RECIPES[settings.recipe]
    steps, pixels = settings.steps or base.steps, settings.pixels or base.pixels
    return replace(base, steps=steps, pixels=pixels, seed=settings.seed, device=device)


def saga_settings(settings: TrainSettings, device: str) -> SagaSettings:
    """The hyper-parameters of a SAGA recipe with the changes of the settings."""
    base = PAPER if settings.recipe == "paper" else PROTOTYPES
    steps, pixels = settings.steps or base.steps, settings.pixels or base.pixels
    return replace(base, steps=steps, pixels=pixels, seed=settings.seed, device=device)


def check_settings(settings: TrainSettings) -> TrainSettings:
    """The settings with defaults in place of zeros.

    Raises:
        UserError: if a setting is out of range.
    """
    _check_names(settings)
    base = click_settings(settings, "cpu") if settings.method == "click-gaussian" else saga_settings(settings, "cpu")
    defaults = {"steps": base.steps, "views": 40, "width": 480, "height": 360, "pixels": base.pixels}
    most = 16_384 if settings.method == "click-gaussian" else 4096  # pairs: Click-Gaussian has one scale
    limits = {"steps": 100_000, "views": 1000, "width": 4096, "height": 4096, "pixels": most}
    chosen: dict[str, int] = {}
    for name, default in defaults.items():
        value = getattr(settings, name)
        lowest = 2 if name == "pixels" else 1  # the loss is about pairs
        if value and not lowest <= value <= limits[name]:
            why = f"{name} is {value}, it must be between {lowest} and {limits[name]} (0: the default, {default})"
            raise UserError(
                "The training settings are not usable",
                why,
                fix="Use one in range",
                code=ErrorCode.BAD_SETTINGS,
            )
        chosen[name] = value or default
    if settings.seed < 0:
        why = f"seed is {settings.seed}, it must not be negative"
        raise UserError(
            "The training settings are not usable", why, fix="Use 0 or a positive seed", code=ErrorCode.BAD_SETTINGS
        )
    return TrainSettings(settings.method, settings.recipe, seed=settings.seed, **chosen)


def _check_names(settings: TrainSettings) -> None:
    recipes = tuple(CLICK_RECIPES) if settings.method == "click-gaussian" else RECIPES
    for name, value, known in (("method", settings.method, METHODS), ("recipe", settings.recipe, recipes)):
        if value not in known:
            raise UserError(
                f"There is no {name} '{value}'", fix=f"Use one of: {', '.join(known)}", code=ErrorCode.BAD_SETTINGS
            )
