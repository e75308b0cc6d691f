"""The sidebar tab SAGA in the 3D viewport: it shows states, computes nothing, and says why a button is off."""

from __future__ import annotations

from collections.abc import Callable

import bpy
import numpy as np

from ..client.connection import ConnectionState
from ..client.installation import Installation
from ..scene import point_cloud
from ..scene.lookup import find_splat, not_trained, participants, trained_model, trains_now
from ..scene.session import session
from ..wire.errors import UserError
from . import tool
from .drawing import draw_buttons, draw_progress, draw_text, remaining
from .preferences import environment, is_installed

_STATE_ICONS = {
    ConnectionState.stopped: "RADIOBUT_OFF",
    ConnectionState.starting: "SORTTIME",
    ConnectionState.connected: "CHECKMARK",
    ConnectionState.lost: "ERROR",
    ConnectionState.failed: "ERROR",
}


def reason(check: Callable[[], object]) -> str:
    """Why something is not possible now, in one sentence; "" if it is."""
    try:
        check()
    except UserError as error:
        return error.sentence()
    return ""


def draw_backend(layout: bpy.types.UILayout) -> None:
    """The state of the backend and the buttons that change it; in the sidebar and in the preferences."""
    state = session.backend.state if session.backend is not None else ConnectionState.stopped
    welcome = session.backend.welcome if session.backend is not None else None
    text = f"{state.value.capitalize()}, {welcome.device.upper()}" if welcome else state.value.capitalize()
    layout.label(text=text, icon=_STATE_ICONS[state])
    if welcome and welcome.note:
        draw_text(layout, welcome.note)
    if session.backend is not None and session.backend.error:
        draw_text(layout, session.backend.error, "ERROR")
    if session.installation is not None:
        _draw_installation(layout, session.installation)
        if session.installation.running:
            return
    missing = not is_installed()
    if missing:
        draw_text(layout, f"The backend is {environment().state.value}. Install takes about 7 GB.", "INFO")
    start = "Restart" if state in (ConnectionState.lost, ConnectionState.failed) else "Start"
    runs = state in (ConnectionState.connected, ConnectionState.starting)
    draw_buttons(
        layout,
        ("saga.backend_install", "Install", missing),
        ("saga.backend_start", start, not missing and not runs),
        ("saga.backend_stop", "Stop", runs),
    )


def _draw_installation(layout: bpy.types.UILayout, installation: Installation) -> None:
    """How far it is, or why it failed."""
    if installation.running:
        draw_progress(layout, installation.fraction, installation.text)
        layout.operator("saga.cancel", icon="CANCEL")
    elif installation.error is not None:
        draw_text(layout, str(installation.error), "ERROR")


class SagaPanel:
    """What all panels of the tab have in common."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "SAGA"


class SAGA_PT_scene(SagaPanel, bpy.types.Panel):
    """The active splat"""

    bl_label = "Splat"

    def draw(self, context: bpy.types.Context) -> None:
        """Name, size and model of the splat."""
        layout = self.layout
        problem = reason(lambda: find_splat(context, ""))
        if problem:
            draw_text(layout, problem, "INFO")
            layout.operator("saga.import_splat", text="Import Splat", icon="IMPORT")
        else:
            obj = find_splat(context, "")
            layout.label(text=obj.name, icon="OUTLINER_OB_POINTCLOUD")
            layout.label(text=f"{len(obj.data.points):,} Gaussians, SH degree {point_cloud.sh_degree(obj)}")
            layout.label(text=_model_state(obj))
        if session.message:
            draw_text(layout, session.message, "ERROR" if session.failed else "NONE")


def _model_state(obj: bpy.types.Object) -> str:
    if trains_now(obj):
        return "Model: being trained"
    model = trained_model(obj)
    return f"Model: {bpy.path.basename(model)}" if model else "Model: not trained yet"


class SAGA_PT_backend(SagaPanel, bpy.types.Panel):
    """The process that trains and answers"""

    bl_label = "Backend"

    def draw(self, context: bpy.types.Context) -> None:
        """State, device, buttons."""
        draw_backend(self.layout)


class SAGA_PT_train(SagaPanel, bpy.types.Panel):
    """Train Affinity"""

    bl_label = "Train"

    def draw(self, context: bpy.types.Context) -> None:
        """Settings and the button, or the progress of what runs."""
        layout, training = self.layout, session.training
        if training is not None and not training.ended:
            progress = training.job.progress
            text = f"{progress.phase}, {remaining(progress.eta)}" if progress else "Sending the splat"
            draw_progress(layout, training.job.fraction, text)
            layout.operator("saga.cancel", icon="CANCEL")
            return
        layout.use_property_split = True
        layout.prop(context.scene.saga, "steps")
        layout.prop(context.scene.saga, "views")
        problem = reason(lambda: (find_splat(context, ""), session.connected()))
        button = layout.column()
        button.scale_y = 1.6
        button.enabled = not problem
        button.operator("saga.train", icon="PLAY")
        if problem:
            draw_text(layout, problem, "INFO")


class SAGA_PT_select(SagaPanel, bpy.types.Panel):
    """Select by click"""

    bl_label = "Select"

    def draw(self, context: bpy.types.Context) -> None:
        """The tool and what it does with a click."""
        layout, settings = self.layout, context.scene.saga
        problem = reason(lambda: _check_clickable(context))
        if problem:
            draw_text(layout, problem, "INFO")
        column = layout.column()
        column.enabled = not problem
        column.operator("wm.tool_set_by_id", text="Select by Click", icon="RESTRICT_SELECT_OFF").name = tool.IDNAME
        column.prop(settings, "mode", expand=False)
        for value, auto in (("scale", "scale_auto"), ("threshold", "threshold_auto")):
            row = column.row(align=True)
            number = row.row(align=True)
            number.enabled = not getattr(settings, auto)
            number.prop(settings, value, slider=True)
            row.prop(settings, auto, toggle=True)
        if not problem:
            layout.label(text=_count(context))


def _check_clickable(context: bpy.types.Context) -> None:
    obj = find_splat(context, "")
    if not trained_model(obj) and not trains_now(obj):
        raise not_trained(obj)
    session.connected()


def _count(context: bpy.types.Context) -> str:
    obj = find_splat(context, "")
    masks = [point_cloud.selection(o) for o in participants(context, obj)] if obj.visible_get() else []
    selected, total = sum(int(np.count_nonzero(m)) for m in masks), sum(map(len, masks))
    objects = f" in {len(masks)} objects" if len(masks) > 1 else ""
    return f"Selected: {selected:,} of {total:,}{objects}"


class SAGA_PT_edit(SagaPanel, bpy.types.Panel):
    """What to do with the selection"""

    bl_label = "Edit"

    def draw(self, context: bpy.types.Context) -> None:
        """Split, invert, clear, export."""
        layout = self.layout
        problem = reason(lambda: find_splat(context, ""))
        if problem:
            draw_text(layout, problem, "INFO")
        column = layout.column()
        column.enabled = not problem
        column.operator("saga.split", icon="MOD_EXPLODE")
        draw_buttons(column, ("saga.invert", "Invert", True), ("saga.clear", "Clear", True))
        column.separator()
        column.operator("saga.export_ply", text="Export Splat", icon="EXPORT").selection_only = False
        column.operator("saga.export_ply", text="Export Selection").selection_only = True


CLASSES = (SAGA_PT_scene, SAGA_PT_backend, SAGA_PT_train, SAGA_PT_select, SAGA_PT_edit)
