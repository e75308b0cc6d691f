"""Clients before their handshake: those that wait, and those that were rejected."""

from __future__ import annotations

import logging
import threading

from blender_saga.errors import ErrorCode, UserError
from blender_saga.wire.channel import Channel

log = logging.getLogger(__name__)

MOST_WAITING = 32
"""Maximum number of clients that have not proved yet that they know the key. The proof takes milliseconds. One more
client drops the oldest, so waiting clients cannot lock others out."""
_LOGGED = 10  # rejections with a log line each; later only every power of two, so a flood does not fill the disk


class HandshakeQueue:
    """The queue of clients before their handshake; safe to call from several threads.

    Attributes:
        refused: number of clients without the right key.
    """

    def __init__(self) -> None:
        self.refused = 0
        self._rejected = 0
        self._waiting: dict[Channel, None] = {}  # oldest first
        self._lock = threading.Lock()

    def enter(self, channel: Channel) -> None:
        """Add a client that has just connected."""
        with self._lock:
            self._waiting[channel] = None
            oldest = next(iter(self._waiting)) if len(self._waiting) > MOST_WAITING else None
            if oldest is not None:
                del self._waiting[oldest]
        if oldest is not None:
            oldest.close()

    def leave(self, channel: Channel) -> None:
        """Remove a client that has proved its key, or is gone."""
        with self._lock:
            self._waiting.pop(channel, None)

    def reject(self, error: Exception) -> None:
        """Count and log a rejected client."""
        with self._lock:
            self._rejected += 1
            self.refused += isinstance(error, UserError) and error.code == ErrorCode.WRONG_KEY
            count, refused = self._rejected, self.refused
        if count <= _LOGGED or not count & (count - 1):
            log.warning("A client was rejected: %s (number %d; %d did not know the key)", error, count, refused)
