"""Common code of the panels: their tab, the reason why an action is not possible, missing prerequisites."""

from __future__ import annotations

from collections.abc import Callable

import bpy

from ..errors import UserError
from ..scene.requests import click
from ..scene.requests.lookup import find_splat, is_trained, not_trained
from ..scene.requests.weights import clip_weights, weights, weights_property
from ..scene.state.downloads import downloads
from ..scene.state.launch import preferences, usable_backend
from .drawing import draw_progress, draw_text, remaining


def reason(check: Callable[[], object]) -> str:
    """The reason why an action is not possible now, as one sentence; "" if it is possible."""
    try:
        check()
    except UserError as error:
        return error.sentence()
    return ""


class SagaPanel:
    """Base class of the panels in the SAGA tab."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "SAGA"


def check_clickable(context: bpy.types.Context) -> None:
    """Check that the active splat can be clicked now.

    Raises:
        UserError: if a prerequisite is missing.
    """
    obj = find_splat(context, "")
    if context.scene.saga.select_by == "INSTANT":
        click.weights_chosen(weights("SAM"))
    elif not is_trained(obj):
        raise not_trained(obj)
    usable_backend()


def draw_missing_clip(layout: bpy.types.UILayout) -> bool:
    """Draw the choice of CLIP's weights if none are chosen. Returns whether they are missing."""
    missing = reason(clip_weights)
    if missing:
        draw_text(layout, missing, "INFO")
        layout.prop(preferences(), weights_property("CLIP"), text="CLIP")
        draw_fetch(layout, "CLIP")
    return bool(missing)


def draw_fetch(layout: bpy.types.UILayout, family: str) -> None:
    """Draw the progress of a download, or its button if no weights of the family ("SAM" or "CLIP") are chosen."""
    fetching = downloads.weights
    if fetching is not None and not fetching.ended:
        progress = fetching.job.progress
        draw_progress(layout, fetching.job.fraction, remaining(progress.eta) if progress else "Starting")
        if progress:
            draw_text(layout, f"{progress.phase.capitalize()}: {progress.step:,} of {progress.total:,} MB")
        layout.operator("saga.cancel", icon="CANCEL")
    elif not weights(family):
        kind = "ViT-B-16" if family == "CLIP" else "vit_b"
        layout.operator("saga.fetch_weights", icon="IMPORT", text=f"Download {family}").kind = kind
