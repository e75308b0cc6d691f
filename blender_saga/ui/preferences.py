"""Preferences: where the backend lives, which Python and device it uses; install, start, stop."""

from __future__ import annotations

import os
from pathlib import Path

import bpy
from bpy.props import EnumProperty, StringProperty

from ..client.connection import ConnectionState
from ..client.environments import Environments
from ..client.log_files import own_path
from ..client.process import Launch
from ..client.remote import Remote, remote_of
from ..scene.paths import ADDON_DIR, LAUNCH, PACKAGE, REQUIREMENTS, absolute, user_folder
from ..scene.session import session
from ..wire.errors import UserError
from .drawing import draw_text

PLACES = (
    ("HERE", "On This Machine", "Blender starts it, with the packages that Install has brought"),
    ("ELSEWHERE", "Elsewhere", "On another machine, where 'saga_backend serve' runs, at the end of an SSH tunnel"),
)
DEVICES = (
    ("auto", "Automatic", "The NVIDIA GPU where there is one, else the processor"),
    ("cpu", "Processor", "Always the processor"),
    ("cuda", "NVIDIA GPU", "Always the GPU; an error where there is none"),
)


class SagaPreferences(bpy.types.AddonPreferences):
    """Where the backend lives and what it runs on."""

    bl_idname = PACKAGE

    backend_folder: StringProperty(
        name="Backend folder",
        description="Where the backend's packages are installed, about 7 GB; empty: Blender's folder for extensions",
        subtype="DIR_PATH",
    )
    backend_python: StringProperty(
        name="Own Python",
        description="A Python that has the backend's packages already; empty: the one that Install makes",
        subtype="FILE_PATH",
    )
    device: EnumProperty(name="Device", items=DEVICES)
    sam_checkpoint: StringProperty(
        name="SAM weights",
        description="File of Segment Anything's weights (vit_h, vit_l, vit_b) on the backend's machine",
        subtype="FILE_PATH",
    )
    clip_checkpoint: StringProperty(
        name="CLIP weights",
        description="File of OpenCLIP weights (ViT-B-16) on the backend's machine, for finding things by words",
        subtype="FILE_PATH",
    )

    backend_where: EnumProperty(name="Backend Runs", items=PLACES)
    remote_address: StringProperty(name="Address", description="HOST:PORT of the tunnel's near end: 127.0.0.1:7860")
    remote_key: StringProperty(
        name="Key",
        description="What 'saga_backend serve' has printed. It is kept in Blender's preferences file, as plain text",
        subtype="PASSWORD",
    )
    remote_sam_checkpoint: StringProperty(
        name="SAM weights there", description="File of Segment Anything's weights, its whole path on the other machine"
    )
    remote_clip_checkpoint: StringProperty(
        name="CLIP weights there", description="File of OpenCLIP weights, its whole path on the other machine"
    )

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the settings and the backend's state."""
        from .panels import draw_backend

        layout = self.layout
        layout.use_property_split = True
        layout.row().prop(self, "backend_where", expand=True)
        if self.backend_where == "ELSEWHERE":
            names = ("remote_address", "remote_key", "remote_sam_checkpoint", "remote_clip_checkpoint")
        else:
            names = ("backend_folder", "backend_python", "device", "sam_checkpoint", "clip_checkpoint")
        for name in names:
            layout.prop(self, name)
        if self.backend_where == "ELSEWHERE":
            draw_text(layout, "The key is kept in Blender's preferences file, as plain text", "INFO")
        draw_backend(layout)


def preferences() -> SagaPreferences:
    """The preferences of the enabled extension."""
    return bpy.context.preferences.addons[PACKAGE].preferences


def backend_folder() -> Path:
    """The folder of the backend's environment and logs."""
    chosen = preferences().backend_folder
    return Path(absolute(chosen)) if chosen else user_folder("backend")


def environment() -> Environments:
    """The environment that Install makes, and exchanges for a newer one."""
    return Environments(backend_folder() / "environment", REQUIREMENTS)


def is_installed() -> bool:
    """Whether there is a Python to start the backend with: the user's own, or an installed environment."""
    return own_python() is not None or environment().usable


def own_python() -> Path | None:
    """The Python that the user chose in place of an installed environment, or None."""
    chosen = os.environ.get("BLENDER_SAGA_PYTHON") or absolute(preferences().backend_python)
    return Path(chosen) if chosen else None


def usable_backend() -> None:
    """Make sure that a request can be sent: the backend runs, or it can be started.

    Raises:
        UserError: if it is not installed, or has died.
    """
    state = session.backend.state if session.backend is not None else ConnectionState.stopped
    if state in (ConnectionState.lost, ConnectionState.failed):
        session.connected()  # says why not
    if state is ConnectionState.stopped:
        check_launch()


def ensure_started() -> None:
    """Start the backend where it is merely stopped; requests wait until it is up.

    Raises:
        UserError: as `usable_backend`.
    """
    usable_backend()
    if session.backend is None or session.backend.state is ConnectionState.stopped:
        session.start(backend_launch())


def check_launch() -> None:
    """Make sure that there is something to start or connect to; quick enough for a panel.

    Raises:
        UserError: as `backend_launch`.
    """
    if preferences().backend_where == "ELSEWHERE":
        _remote()
    else:
        _python()


def backend_launch() -> Launch | Remote:
    """What Start starts, or connects to.

    Raises:
        UserError: if there is no Python with the backend's packages; or no usable address and key of one elsewhere.
    """
    return _remote() if preferences().backend_where == "ELSEWHERE" else launch_with(_python())


def _remote() -> Remote:
    remote = remote_of(preferences().remote_address, preferences().remote_key)
    if not remote.protected and not bpy.app.online_access:
        why = f"online access is switched off, and {remote.name} is not the end of a tunnel on this machine"
        fix = "Use an SSH tunnel, or allow it in Preferences > System > Network"
        raise UserError("Blender does not connect to the backend", why, fix, code="offline")
    return remote


def launch_with(python: Path) -> Launch:
    """The backend in a Python that has its packages."""
    home = environment().holds(python) or backend_folder()
    return Launch(python, LAUNCH, ADDON_DIR, log_path(), preferences().device, home / "compiled")


def _python() -> Path:
    python = own_python()
    if python is not None:
        if python.is_file():
            return python
        fix = "Choose another one in the preferences of Blender SAGA, or leave it empty"
        raise UserError("The backend's Python is missing", f"there is no file {python}", fix, code="no_python")
    installed = environment()
    if not installed.usable:
        if session.installation is not None and session.installation.running:
            raise UserError("The backend is being installed", fix="Wait for its end", code="not_installed")
        what = f"The backend is {installed.state.value}"
        raise UserError(what, fix="Press Install in the SAGA sidebar", code="not_installed")
    return installed.current.python


def log_path() -> Path:
    """The log of what the backend of this Blender prints."""
    return own_path(backend_folder() / "logs", "backend")


CLASSES = (SagaPreferences,)
