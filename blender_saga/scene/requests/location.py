"""On which machine the backend runs, and so whose files the paths in a request are."""

from __future__ import annotations

import re
from pathlib import Path

import bpy

from ...client.connection.connection import ConnectionState
from ...errors import ErrorCode, UserError
from ..state.paths import PACKAGE, absolute
from ..state.session import session

_WHOLE = re.compile(r"/(?!/)|[A-Za-z]:[/\\]|\\\\")
"""How a whole path begins on Linux or macOS, on Windows with a drive, on Windows with a server."""


def elsewhere() -> bool:
    """Whether the backend is on another machine: the one in use, else the one that the preferences choose."""
    backend = session.backend
    if backend is not None and backend.state in (ConnectionState.starting, ConnectionState.connected):
        return backend.remote is not None
    addon = bpy.context.preferences.addons.get(PACKAGE)
    return addon is not None and addon.preferences.backend_where == "ELSEWHERE"


def machine() -> str:
    """Name of the other machine, as far as it is known."""
    welcome = session.backend.welcome if session.backend is not None else None
    return welcome.machine if welcome is not None and welcome.machine else "the other machine"


def backends_path(what: str, path: str) -> str:
    """A path that the user has chosen, as the backend is told of it.

    Args:
        what: what it leads to, for the user: "folder of photos".
        path: of this machine, perhaps relative to the .blend, or a whole one of the other machine.

    Raises:
        UserError: if it cannot be one of the other machine.
    """
    if not path:
        return ""
    if not elsewhere():
        return str(Path(absolute(path)).resolve())
    if not _WHOLE.match(path):
        why = f"the backend runs on {machine()}, and {path} is not a whole path there"
        raise UserError(f"The {what} cannot be used", why, "Type its path on that machine", code=ErrorCode.NO_FOLDER)
    return path
