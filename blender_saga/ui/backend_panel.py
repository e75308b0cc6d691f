"""The backend in the sidebar and in the preferences: its state, what it takes, the buttons that change it."""

from __future__ import annotations

import bpy

from ..client.connection.connection import ConnectionState
from ..client.install.environment import EnvironmentState
from ..client.install.installation import Installation
from ..scene.requests.location import elsewhere, machine
from ..scene.state.session import session
from ..wire.messages import BackendState
from .drawing import draw_buttons, draw_progress, draw_text
from .launch import check_launch, environment, own_python
from .panel_base import SagaPanel, reason

_STATE_ICONS = {
    ConnectionState.stopped: "RADIOBUT_OFF",
    ConnectionState.starting: "SORTTIME",
    ConnectionState.connected: "CHECKMARK",
    ConnectionState.lost: "ERROR",
    ConnectionState.failed: "ERROR",
}


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


class SAGA_PT_backend(SagaPanel, bpy.types.Panel):
    """The process that trains and answers"""

    bl_label = "Backend"
    bl_order = 2

    def draw(self, context: bpy.types.Context) -> None:
        """State, device, buttons."""
        draw_backend(self.layout, notes=False)


CLASSES = (SAGA_PT_backend,)
