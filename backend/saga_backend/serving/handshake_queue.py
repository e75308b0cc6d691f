"""Who waits to be let in, and who was not: what is done before it is known that a client is the user's own."""

from __future__ import annotations

import logging
import threading

from blender_saga.errors import ErrorCode, UserError
from blender_saga.wire.channel import Channel

log = logging.getLogger(__name__)

MOST_WAITING = 32
"""Clients that have not proved yet that they know the key. It takes a client of ours milliseconds; with one more, the
one that has waited longest is dropped, so that nobody shuts others out by waiting."""
_TOLD = 10  # refusals that are all logged; of more only every power of two, or who floods us fills the disk


class HandshakeQueue:
    """Any thread may call it.

    Attributes:
        refused: how many clients did not know the key.
    """

    def __init__(self) -> None:
        self.refused = 0
        self._rejected = 0
        self._waiting: dict[Channel, None] = {}  # oldest first
        self._lock = threading.Lock()

    def enter(self, channel: Channel) -> None:
        """A client has connected and has proved nothing yet."""
        with self._lock:
            self._waiting[channel] = None
            oldest = next(iter(self._waiting)) if len(self._waiting) > MOST_WAITING else None
            if oldest is not None:
                del self._waiting[oldest]
        if oldest is not None:
            oldest.close()

    def leave(self, channel: Channel) -> None:
        """It has proved that it knows the key, or is gone."""
        with self._lock:
            self._waiting.pop(channel, None)

    def reject(self, error: Exception) -> None:
        """Count and log a client that did not get in."""
        with self._lock:
            self._rejected += 1
            self.refused += isinstance(error, UserError) and error.code == ErrorCode.WRONG_KEY
            count, refused = self._rejected, self.refused
        if count <= _TOLD or not count & (count - 1):
            log.warning("A client did not get in: %s (number %d; %d did not know the key)", error, count, refused)
