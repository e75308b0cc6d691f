"""The connection to a backend."""

from __future__ import annotations

from enum import Enum


class ConnectionState(Enum):
    """Where the connection stands; the values are words for the user."""

    stopped = "stopped"
    starting = "starting"
    connected = "connected"
    lost = "lost"
    failed = "failed"
