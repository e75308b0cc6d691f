"""The machine of the backend, which the paths in requests refer to."""

from __future__ import annotations

import re
from pathlib import Path

import bpy

from ...client.connection.connection import ConnectionState
from ...errors import ErrorCode, UserError
from ..state.link import link
from ..state.paths import PACKAGE, absolute

_WHOLE = re.compile(r"/(?!/)|[A-Za-z]:[/\\]|\\\\")
"""Start of an absolute path on Linux or macOS, on Windows with a drive, and on Windows with a server."""


def elsewhere() -> bool:
    """Whether the running backend, or else the one in the preferences, is on another machine."""
    backend = link.backend
    if backend is not None and backend.state in (ConnectionState.starting, ConnectionState.connected):
        return backend.remote is not None
    addon = bpy.context.preferences.addons.get(PACKAGE)
    return addon is not None and addon.preferences.backend_where == "ELSEWHERE"


def machine() -> str:
    """Name of the other machine, or a generic name while it is unknown."""
    welcome = link.welcome
    return welcome.machine if welcome is not None and welcome.machine else "the other machine"


def backends_path(what: str, path: str) -> str:
    """Convert a path from the user to a path on the backend's machine.

    Args:
        what: name of the path in errors, for example "folder of photos".
        path: a path on this machine, possibly relative to the .blend, or an absolute path on the other machine.

    Raises:
        UserError: if the path is not absolute on the other machine.
    """
    if not path:
        return ""
    if not elsewhere():
        return str(Path(absolute(path)).resolve())
    if not _WHOLE.match(path):
        why = f"the backend runs on {machine()}, and {path} is not an absolute path there"
        raise UserError(
            f"The {what} cannot be used", why, "Enter the full path on that machine", code=ErrorCode.NO_FOLDER
        )
    return path
