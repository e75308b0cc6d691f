"""Frames over a stream socket: a length, followed by that many bytes.

The format is that of `multiprocessing.connection`, whose key handshake uses it: 4 bytes of length, big-endian, or -1
and 8 bytes of length for 2 GiB and more. This module implements it again, because a tunnel may close unnoticed: only a
count of the transferred bytes distinguishes a slow connection from a dead one, and shows the progress of a large frame.
"""

from __future__ import annotations

import io
import socket
import struct
import time
from collections.abc import Callable

_SHORT, _LONG = struct.Struct("!i"), struct.Struct("!Q")
_LONGEST_SHORT = 0x7FFFFFFF
_PIECE = 1 << 20
"""Bytes to pass to the system at once."""


class Frames:
    """One end of a socket. One thread may send while another receives."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._heard = time.monotonic()

    @property
    def silence(self) -> float:
        """Seconds since the last received byte, or since the creation."""
        return time.monotonic() - self._heard

    def limit(self, seconds: float | None) -> None:
        """Raise TimeoutError (an OSError) after `seconds` without a transferred byte; None (default) for no limit."""
        self._socket.settimeout(seconds)

    def send_bytes(self, frame: bytes, on_sent: Callable[[int], None] | None = None) -> None:
        """Send a frame; `on_sent` gets the number of sent bytes after every piece.

        Raises:
            OSError: if the other side is gone.
        """
        size = len(frame)
        header = _SHORT.pack(size) if size <= _LONGEST_SHORT else _SHORT.pack(-1) + _LONG.pack(size)
        if size <= _PIECE:  # in one piece, otherwise its end waits for an acknowledgement
            self._send(memoryview(header + frame))
            return
        self._send(memoryview(header))
        view = memoryview(frame)
        for start in range(0, size, _PIECE):
            piece = view[start : start + _PIECE]
            self._send(piece)
            if on_sent is not None:
                on_sent(start + len(piece))

    def recv_bytes(self, limit: int) -> bytes:
        """Wait for a frame of at most `limit` bytes; memory is only allocated for received bytes.

        Raises:
            EOFError: if the other side has closed.
            OSError: if the connection is broken, or the frame is longer; the start of the next one is then unknown.
        """
        (size,) = _SHORT.unpack(self._receive(_SHORT.size))
        if size == -1:
            (size,) = _LONG.unpack(self._receive(_LONG.size))
        if not 0 <= size <= limit:
            raise OSError("bad message length")
        return self._receive(size)

    def _send(self, view: memoryview) -> None:
        while view:  # not sendall: its time limit applies to all data
            view = view[self._socket.send(view) :]

    def _receive(self, size: int) -> bytes:
        buffer = io.BytesIO()
        while (missing := size - buffer.tell()) > 0:
            piece = self._socket.recv(min(missing, _PIECE))
            if not piece:
                raise EOFError
            self._heard = time.monotonic()
            buffer.write(piece)
        return buffer.getvalue()
