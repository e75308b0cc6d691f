"""The backend in the sidebar and the preferences: its state, its memory and its buttons."""

from __future__ import annotations

import bpy

from ..client.connection.connection import ConnectionState
from ..client.install.environment import EnvironmentState
from ..client.install.installation import Installation
from ..scene.requests.location import elsewhere, machine
from ..scene.state.downloads import downloads
from ..scene.state.launch import check_launch, environment, own_python
from ..scene.state.link import link
from ..wire.messages import BackendState
from .drawing import draw_buttons, draw_progress, draw_text
from .panel_base import SagaPanel, reason

_STATE_ICONS = {
    ConnectionState.stopped: "RADIOBUT_OFF",
    ConnectionState.starting: "SORTTIME",
    ConnectionState.connected: "CHECKMARK",
    ConnectionState.lost: "ERROR",
    ConnectionState.failed: "ERROR",
}


def draw_backend(layout: bpy.types.UILayout, notes: bool = True) -> None:
    """Draw the state of the backend and its buttons; with `notes`, also its note about the device."""
    state = link.state
    welcome = link.welcome
    layout.label(text=_state_text(state), icon=_STATE_ICONS[state])
    if link.memory.state is not None:
        _draw_memory(layout, link.memory.state)
    if link.memory.silent:
        again = "Disconnect, then Connect" if elsewhere() else "Stop, then Start"
        text = f"The backend has not answered for {link.memory.silent} s. If this goes on, press {again}"
        draw_text(layout, text, "ERROR")
    if welcome and welcome.note and notes:
        draw_text(layout, welcome.note)
    if welcome and welcome.obstacle:
        draw_text(layout, welcome.obstacle, "ERROR")
    if link.backend is not None and link.backend.error:
        draw_text(layout, link.backend.error, "ERROR")
    if downloads.installation is not None:
        _draw_installation(layout, downloads.installation)
        if downloads.installation.running:
            return
    if elsewhere():
        _draw_connecting(layout, state)
    else:
        _draw_starting(layout, state)
    layout.operator("saga.copy_report", icon="COPYDOWN")


def _state_text(state: ConnectionState) -> str:
    """The state of the backend and its machine."""
    backend = link.backend
    welcome = backend.welcome if backend is not None else None
    if not elsewhere():
        return f"{state.value.capitalize()}, {welcome.device.upper()}" if welcome else state.value.capitalize()
    if welcome is not None:
        return f"Connected to {machine()}, {welcome.device.upper()}"
    return {ConnectionState.starting: "Connecting", ConnectionState.stopped: "Not connected"}.get(
        state, state.value.capitalize()
    )


def _draw_connecting(layout: bpy.types.UILayout, state: ConnectionState) -> None:
    """Draw the buttons of a backend on another machine, or the reason why it cannot be used."""
    broken = state in (ConnectionState.lost, ConnectionState.failed)
    runs = state in (ConnectionState.connected, ConnectionState.starting)
    remote = link.backend.remote if link.backend is not None and runs else None
    if remote is not None and not remote.protected:
        draw_text(layout, f"The connection to {remote.name} is not encrypted", "ERROR")
    missing = "" if runs else reason(check_launch)
    if missing:
        draw_text(layout, missing, "INFO")
    draw_buttons(
        layout,
        ("saga.backend_start", "Reconnect" if broken else "Connect", not runs and not missing),
        ("saga.backend_stop", "Disconnect", runs),
    )


def _draw_starting(layout: bpy.types.UILayout, state: ConnectionState) -> None:
    """Draw the buttons of a backend on this machine, or the reason why it cannot be used."""
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
    """Whether the installation may be damaged; Install then tests and replaces it."""
    return state is ConnectionState.failed and own_python() is None


def _draw_missing_backend(layout: bpy.types.UILayout) -> bool | None:
    """Draw the note that the backend must be installed.

    Returns whether an older installation works until then; None if nothing has to be installed.
    """
    state = environment().state if own_python() is None else EnvironmentState.ready
    if state is EnvironmentState.ready:
        return None
    old = state is EnvironmentState.outdated
    button = "Upgrade needs about 7 GB; the old version works until then." if old else "Install needs about 7 GB."
    draw_text(layout, f"The backend is {state.value}. {button}", "INFO")
    return old


def _draw_memory(layout: bpy.types.UILayout, state: BackendState) -> None:
    """Draw the memory use of the backend."""
    if state.device_total:
        draw_text(layout, f"{state.device}: {_gb(state.device_memory)} of {_gb(state.device_total)}")
    draw_text(layout, f"Memory: {_gb(state.memory)} used, {_gb(state.available)} free")


def _gb(megabytes: int) -> str:
    return f"{megabytes / 1024:.1f} GB"


def _draw_installation(layout: bpy.types.UILayout, installation: Installation) -> None:
    """Draw the progress of the installation, or the reason why it failed."""
    if installation.running:
        draw_progress(layout, installation.fraction, f"{installation.fraction:.0%}")
        draw_text(layout, installation.text)
        layout.operator("saga.cancel", icon="CANCEL")
    elif installation.problem:
        draw_text(layout, installation.problem, "ERROR")


class SAGA_PT_backend(SagaPanel, bpy.types.Panel):
    """The process that trains models and answers clicks"""

    bl_label = "Backend"
    bl_order = 2

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the state, the device and the buttons."""
        draw_backend(self.layout, notes=False)


CLASSES = (SAGA_PT_backend,)
