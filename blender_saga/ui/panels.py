"""The sidebar tab SAGA, first part: the splat, how it is shown, the backend. Panels compute nothing."""

from __future__ import annotations

from collections.abc import Callable

import bpy

from ..client.connection import ConnectionState
from ..client.environment import EnvironmentState
from ..client.installation import Installation
from ..scene import foreign, point_cloud
from ..scene.lookup import find_splat, trained_model, trains_now
from ..scene.session import session
from ..scene.where import elsewhere, machine
from ..wire.errors import UserError
from ..wire.messages import BackendState
from . import splat_draw
from .drawing import draw_buttons, draw_progress, draw_text
from .preferences import check_launch, environment, own_python
from .splat_colours import MODE_ATTRIBUTES

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


def draw_backend(layout: bpy.types.UILayout, notes: bool = True) -> None:
    """The state of the backend and the buttons that change it; `notes`: also what it found on this machine."""
    state = session.backend.state if session.backend is not None else ConnectionState.stopped
    welcome = session.backend.welcome if session.backend is not None else None
    layout.label(text=_state_text(state), icon=_STATE_ICONS[state])
    if session.memory.state is not None:
        _draw_memory(layout, session.memory.state)
    if session.memory.silent:
        again = "Disconnect, then Connect" if elsewhere() else "Stop, then Start"
        text = f"It has not answered for {session.memory.silent} s. If it stays silent, press {again}"
        draw_text(layout, text, "ERROR")
    if welcome and welcome.note and notes:
        draw_text(layout, welcome.note)
    if welcome and welcome.obstacle:
        draw_text(layout, welcome.obstacle, "ERROR")
    if session.backend is not None and session.backend.error:
        draw_text(layout, session.backend.error, "ERROR")
    if session.installation is not None:
        _draw_installation(layout, session.installation)
        if session.installation.running:
            return
    if elsewhere():
        _draw_connecting(layout, state)
    else:
        _draw_starting(layout, state)
    layout.operator("saga.copy_report", icon="COPYDOWN")


def _state_text(state: ConnectionState) -> str:
    """Where the backend stands, and on which machine."""
    backend = session.backend
    welcome = backend.welcome if backend is not None else None
    if not elsewhere():
        return f"{state.value.capitalize()}, {welcome.device.upper()}" if welcome else state.value.capitalize()
    if welcome is not None:
        return f"Connected to {machine()}, {welcome.device.upper()}"
    return {ConnectionState.starting: "Connecting", ConnectionState.stopped: "Not connected"}.get(
        state, state.value.capitalize()
    )


def _draw_connecting(layout: bpy.types.UILayout, state: ConnectionState) -> None:
    """Buttons for a backend on another machine, and what is missing for it."""
    broken = state in (ConnectionState.lost, ConnectionState.failed)
    runs = state in (ConnectionState.connected, ConnectionState.starting)
    remote = session.backend.remote if session.backend is not None and runs else None
    if remote is not None and not remote.protected:
        draw_text(layout, f"What travels to {remote.name} is not encrypted", "ERROR")
    missing = "" if runs else reason(check_launch)
    if missing:
        draw_text(layout, missing, "INFO")
    draw_buttons(
        layout,
        ("saga.backend_start", "Reconnect" if broken else "Connect", not runs and not missing),
        ("saga.backend_stop", "Disconnect", runs),
    )


def _draw_starting(layout: bpy.types.UILayout, state: ConnectionState) -> None:
    """Buttons for a backend on this machine, and what is missing for it."""
    old = _draw_missing_backend(layout)
    missing = old is not None and not old
    start = "Restart" if state in (ConnectionState.lost, ConnectionState.failed) else "Start"
    runs = state in (ConnectionState.connected, ConnectionState.starting)
    draw_buttons(
        layout,
        ("saga.backend_install", "Upgrade" if old else "Install", old is not None or _broken(state)),
        ("saga.backend_start", start, not missing and not runs),
        ("saga.backend_stop", "Stop", runs),
    )


def _broken(state: ConnectionState) -> bool:
    """Whether what is installed may be damaged: Install tries it out and makes it anew."""
    return state is ConnectionState.failed and own_python() is None


def _draw_missing_backend(layout: bpy.types.UILayout) -> bool | None:
    """Say that the backend has to be installed. Returns whether an older one works meanwhile; None: nothing to do."""
    state = environment().state if own_python() is None else EnvironmentState.ready
    if state is EnvironmentState.ready:
        return None
    old = state is EnvironmentState.outdated
    button = "Upgrade takes about 7 GB; the old one works until then." if old else "Install takes about 7 GB."
    draw_text(layout, f"The backend is {state.value}. {button}", "INFO")
    return old


def _draw_memory(layout: bpy.types.UILayout, state: BackendState) -> None:
    """What the backend takes."""
    if state.device_total:
        draw_text(layout, f"{state.device}: {_gb(state.device_memory)} of {_gb(state.device_total)}")
    draw_text(layout, f"Memory: {_gb(state.memory)}, {_gb(state.available)} free")


def _gb(megabytes: int) -> str:
    return f"{megabytes / 1024:.1f} GB"


def _draw_installation(layout: bpy.types.UILayout, installation: Installation) -> None:
    """How far it is, or why it failed."""
    if installation.running:
        draw_progress(layout, installation.fraction, f"{installation.fraction:.0%}")
        draw_text(layout, installation.text)
        layout.operator("saga.cancel", icon="CANCEL")
    elif installation.problem:
        draw_text(layout, installation.problem, "ERROR")


class SagaPanel:
    """What all panels of the tab have in common."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "SAGA"


class SAGA_PT_scene(SagaPanel, bpy.types.Panel):
    """The active splat"""

    bl_label = "Splat"
    bl_order = 0

    def draw(self, context: bpy.types.Context) -> None:
        """Name, size and model of the splat; how it is shown."""
        layout = self.layout
        problem = reason(lambda: find_splat(context, ""))
        if problem:
            draw_text(layout, problem, "INFO")
            if foreign.can_adopt(context.view_layer.objects.active):
                layout.operator("saga.adopt", icon="POINTCLOUD_DATA")
            layout.operator("saga.import_splat", text="Import Splat", icon="IMPORT")
        else:
            obj = find_splat(context, "")
            layout.label(text=obj.name, icon="OUTLINER_OB_POINTCLOUD")
            layout.label(text=f"{len(obj.data.points):,} Gaussians, SH degree {point_cloud.sh_degree(obj)}")
            layout.label(text=_model_state(obj))
            if session.holds(obj.saga.fingerprint):
                draw_text(layout, session.unsaved[obj.saga.fingerprint][1], "ERROR")
                layout.operator("saga.save_model", icon="FILE_TICK")
        if session.message:
            draw_text(layout, session.message, "ERROR" if session.failed else "NONE")


def _model_state(obj: bpy.types.Object) -> str:
    if trains_now(obj):
        return "Model: being trained"
    if session.holds(obj.saga.fingerprint):
        return "Model: in memory, not saved"
    model = trained_model(obj)
    return f"Model: {bpy.path.basename(model)}" if model else "Model: not trained yet"


class SAGA_PT_view(SagaPanel, bpy.types.Panel):
    """How splats are shown"""

    bl_label = "View"
    bl_order = 1

    def draw(self, context: bpy.types.Context) -> None:
        """View mode, way of drawing, density."""
        layout, settings = self.layout, context.scene.saga
        layout.prop(settings, "view_mode", text="")
        self._draw_missing(context, settings.view_mode)
        row = layout.row(align=True)
        row.prop(settings, "drawing", text="")
        density = row.row(align=True)
        density.enabled = settings.drawing != "BLENDER"
        density.prop(settings, "density", slider=True)
        layout.prop(settings, "show_selection")
        if splat_draw.painter.error:
            draw_text(layout, "Drawing splats has failed; the console says why. Choose Draw As: Blender", "ERROR")

    def _draw_missing(self, context: bpy.types.Context, mode: str) -> None:
        """What to press where a view mode has nothing to show yet."""
        if mode == "COLOUR" or reason(lambda: find_splat(context, "")):
            return
        layout, attribute = self.layout, MODE_ATTRIBUTES[mode]
        if attribute in find_splat(context, "").data.attributes:
            if mode == "PCA":
                layout.operator("saga.colour_features", text="Update", icon="FILE_REFRESH")
            return
        if mode == "SIMILARITY":
            draw_text(layout, "Nothing was clicked yet. Click on a thing with the SAGA tool", "INFO")
        else:
            layout.operator("saga.colour_features" if mode == "PCA" else "saga.find_things")


class SAGA_PT_backend(SagaPanel, bpy.types.Panel):
    """The process that trains and answers"""

    bl_label = "Backend"
    bl_order = 2

    def draw(self, context: bpy.types.Context) -> None:
        """State, device, buttons."""
        draw_backend(self.layout, notes=False)


CLASSES = (SAGA_PT_scene, SAGA_PT_view, SAGA_PT_backend)
