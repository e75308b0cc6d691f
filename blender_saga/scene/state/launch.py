"""How the add-on starts the backend: the folder, Python and device from the preferences."""

from __future__ import annotations

import os
from pathlib import Path

import bpy

from ...client.connection.connection import ConnectionState
from ...client.connection.process import Launch
from ...client.connection.remote import Remote, remote_of
from ...client.install.versions import Environments
from ...client.support.log_files import own_path
from ...errors import ErrorCode, UserError
from .downloads import downloads
from .link import link
from .paths import ADDON_DIR, LAUNCH, PACKAGE, REQUIREMENTS, absolute, extension_version, user_folder


def preferences() -> bpy.types.AddonPreferences:
    """The preferences of the enabled extension."""
    return bpy.context.preferences.addons[PACKAGE].preferences


def backend_folder() -> Path:
    """The folder of the backend's environment and logs."""
    chosen = preferences().backend_folder
    return Path(absolute(chosen)) if chosen else user_folder("backend")


def environment() -> Environments:
    """The environment that Install creates and replaces."""
    return Environments(backend_folder() / "environment", REQUIREMENTS)


def is_installed() -> bool:
    """Whether a Python with the backend's packages is available: the user's own or the installed environment."""
    return own_python() is not None or environment().usable


def own_python() -> Path | None:
    """The Python that the user chose instead of the installed environment, or None."""
    chosen = os.environ.get("BLENDER_SAGA_PYTHON") or absolute(preferences().backend_python)
    return Path(chosen) if chosen else None


def usable_backend() -> None:
    """Check that a request can be sent: the backend runs or can be started.

    Raises:
        UserError: if it is not installed or has died.
    """
    state = link.state
    if state in (ConnectionState.lost, ConnectionState.failed):
        link.connected()  # raises the reason
    if state is ConnectionState.stopped:
        check_launch()


def ensure_started() -> None:
    """Start the backend if it is stopped; requests wait until it runs.

    Raises:
        UserError: as `usable_backend`.
    """
    usable_backend()
    if link.state is ConnectionState.stopped:
        link.start(backend_launch())


def check_launch() -> None:
    """Check that the backend can be started or connected to; fast enough for a panel.

    Raises:
        UserError: as `backend_launch`.
    """
    if preferences().backend_where == "ELSEWHERE":
        _remote()
    else:
        _python()


def backend_launch() -> Launch | Remote:
    """The backend that Start starts or connects to.

    Raises:
        UserError: if no Python has the backend's packages, or the address or key of a remote backend is unusable.
    """
    return _remote() if preferences().backend_where == "ELSEWHERE" else launch_with(_python())


def _remote() -> Remote:
    remote = remote_of(preferences().remote_address, preferences().remote_key)
    if not remote.protected and not bpy.app.online_access:
        why = f"online access is disabled, and {remote.name} is not a tunnel on this machine"
        fix = "Use an SSH tunnel, or enable Allow Online Access in Preferences > System > Network"
        raise UserError("Blender does not connect to the backend", why, fix, code=ErrorCode.OFFLINE)
    return remote


def launch_with(python: Path) -> Launch:
    """The backend started with a Python that has its packages."""
    home = environment().holds(python) or backend_folder()
    compiled = home / "compiled" / extension_version()  # numba cannot read what it compiled from other names of types
    return Launch(python, LAUNCH, ADDON_DIR, log_path(), preferences().device, compiled)


def _python() -> Path:
    python = own_python()
    if python is not None:
        if python.is_file():
            return python
        fix = "Choose another Own Python in the preferences of Blender SAGA, or leave it empty"
        raise UserError("The backend's Python is missing", f"there is no file {python}", fix, code=ErrorCode.NO_PYTHON)
    installed = environment()
    if not installed.usable:
        if downloads.installing:
            raise UserError(
                "The backend is being installed", fix="Wait until the installation ends", code=ErrorCode.NOT_INSTALLED
            )
        what = f"The backend is {installed.state.value}"
        raise UserError(what, fix="Press Install in the SAGA sidebar", code=ErrorCode.NOT_INSTALLED)
    return installed.current.python


def log_path() -> Path:
    """The log file with the output of this Blender's backend."""
    return own_path(backend_folder() / "logs", "backend")
