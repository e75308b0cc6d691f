"""The panel Train: the views and masks, the button, the progress and the result. Panels compute nothing."""

from __future__ import annotations

import bpy

from ..client.connection.connection import ConnectionState
from ..scene.requests import train_sources
from ..scene.requests.location import elsewhere, machine
from ..scene.requests.lookup import find_splat
from ..scene.requests.train import unfinished
from ..scene.requests.weights import weights_property
from ..scene.state.launch import preferences, usable_backend
from ..scene.state.link import link
from ..scene.state.request import SceneRequest
from ..scene.state.sam_settings import CHOICES
from ..scene.state.trainings import trainings
from ..wire.messages import Trained
from .drawing import curve_width, draw_curve, draw_progress, draw_text, remaining
from .panel_base import SagaPanel, draw_fetch, reason


class SAGA_PT_train(SagaPanel, bpy.types.Panel):
    """Train a model of the active splat"""

    bl_label = "Train"
    bl_order = 3

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the settings and the button, or the progress of a running training; then its result."""
        layout, training, settings = self.layout, trainings.request, context.scene.saga
        if training is not None and not training.ended:
            _draw_running(layout, training)
            return
        if trainings.interrupted is not None:
            _draw_interrupted(layout, trainings.interrupted.request)
        header, body = layout.panel_prop(settings, "show_sources")
        header.label(text="Views and Masks")
        if body is not None:
            _draw_sources(body, settings)
            _draw_more(body, settings)
        problem = reason(lambda: find_splat(context, "")) or reason(usable_backend)
        problem = problem or reason(lambda: train_sources.check(context, settings))
        button = layout.column()
        button.scale_y = 1.6
        button.enabled = not problem
        button.operator("saga.train", icon="PLAY")
        if problem:
            draw_text(layout, problem, "INFO")
        elif trainings.result is not None:
            _draw_trained(layout, settings, trainings.result)
        elif trainings.interrupted is None and unfinished(find_splat(context, "")):
            draw_text(
                layout, "A training of this splat was not finished. Train with the same settings to continue", "INFO"
            )


def _draw_interrupted(layout: bpy.types.UILayout, training: SceneRequest) -> None:
    """Draw the progress of the interrupted training and the button that resumes it."""
    progress = training.job.progress
    where = f" while {progress.phase}" if progress else ""
    if progress is not None and progress.phase == "training":
        where = f" at step {progress.step:,} of {progress.total:,}"
    draw_text(layout, f"Training was interrupted{where}", "INFO")
    layout.operator("saga.train_resume", icon="PLAY")


def _draw_running(layout: bpy.types.UILayout, training: SceneRequest) -> None:
    draw_progress(layout, training.job.fraction, _what_runs(training))
    _draw_losses(layout)
    layout.operator("saga.cancel", icon="CANCEL").what = "TRAINING"


def _what_runs(training: SceneRequest) -> str:
    progress = training.job.progress
    if progress is not None:
        return f"{progress.phase[:1].upper()}{progress.phase[1:]}, {remaining(progress.eta)}"
    starts = link.state is ConnectionState.starting
    return "Starting the backend" if starts else "Sending the splat"


def _draw_losses(layout: bpy.types.UILayout) -> None:
    """Draw the loss curve from two columns on; it grows to the full width during training."""
    columns = trainings.losses.columns(curve_width())
    if len(columns) > 1:
        draw_curve(layout, columns)
        layout.label(text=f"Loss {columns[0]:.3g} to {columns[-1]:.3g}")


def _draw_sources(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    """Draw the choice of views, masks and method."""
    column = layout.column()
    column.use_property_split, column.use_property_decorate = True, False
    column.prop(settings, "views_from")
    if settings.views_from == "PHOTOS":
        column.prop(settings, "photos")
    elif settings.views_from == "CAMERAS":
        column.prop(settings, "cameras", text="Collection")
        column.prop(settings, "frame_step")
    column.prop(settings, "masks_from")
    if settings.masks_from == "SAM":
        column.prop(preferences(), weights_property("SAM"), text="Weights")
        draw_fetch(column, "SAM")
        column.prop(settings, "masks_folder", text="Store In")
    elif settings.masks_from == "FILES":
        column.prop(settings, "masks_folder")
    if elsewhere() and (settings.views_from == "PHOTOS" or settings.masks_from != "BUILTIN"):
        draw_text(column, f"Enter paths on {machine()}, where the backend runs", "INFO")
    column.prop(settings, "method")
    learns = column.column()
    learns.enabled = settings.method != "SEGMENTS"
    learns.prop(settings, "steps")


def _draw_trained(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup, trained: Trained) -> None:
    """Draw the results of the training: one line, and the details when opened."""
    header, body = layout.panel_prop(settings, "show_trained")
    icon = "INFO" if trained.notes else "NONE"
    header.label(text=f"Trained on {trained.views} views in {sum(trained.seconds):.0f} s", icon=icon)
    if body is None:
        return
    _draw_losses(body)
    column = body.column(align=True)
    seen = f", {trained.coverage:.0%} of the splat seen" if trained.coverage < 1 else ""
    draw_text(column, f"{trained.masks:,} masks{seen}")
    phases = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in zip(trained.phases, trained.seconds, strict=True))
    draw_text(column, f"{sum(trained.seconds):.0f} s: {phases}")
    for note in trained.notes:
        draw_text(column, note[:1].upper() + note[1:], "INFO")


def _draw_more(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    """Draw the advanced settings; 0 means the default."""
    header, body = layout.panel("saga_more_settings", default_closed=True)
    header.label(text="More Settings")
    if body is None:
        return
    column = body.column(align=True)
    column.use_property_split = True
    column.prop(settings, "views")
    learns = column.column(align=True)
    learns.enabled = settings.method != "SEGMENTS"
    learns.prop(settings, "recipe")
    if settings.masks_from == "SAM":
        for name in CHOICES:
            column.prop(settings, name)


CLASSES = (SAGA_PT_train,)
