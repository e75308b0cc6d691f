"""The connection to a backend: threads that connect, write and read, and a queue for the main thread."""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from enum import Enum

from ..wire import codec
from ..wire.channel import Channel, ChannelClosed
from ..wire.errors import UserError
from ..wire.messages import Welcome

log = logging.getLogger(__name__)

Event = tuple[int, object]
"""Id of the request, and what the backend says about it."""


class ConnectionState(Enum):
    """Where the connection stands; the values are words for the user."""

    stopped = "stopped"
    starting = "starting"
    connected = "connected"
    lost = "lost"
    failed = "failed"


class Connection:
    """Messages to and from one backend. Its methods never block, `wait` aside.

    Attributes:
        welcome: what the backend said of itself, once connected.
        error: why it failed or was lost.
    """

    def __init__(self, connect: Callable[[], tuple[Channel, Welcome]]) -> None:
        """Start to connect.

        Args:
            connect: starts the backend if it must and does the handshake; runs in a thread, may
                take its time, raises UserError.
        """
        self.welcome: Welcome | None = None
        self.error: UserError | None = None
        self._state = ConnectionState.starting
        self._connect = connect
        self._channel: Channel | None = None
        self._changed = threading.Condition()
        self._events: deque[Event] = deque()
        self._frames: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._last_id = 0
        threading.Thread(target=self._read, name="saga connection", daemon=True).start()

    @property
    def state(self) -> ConnectionState:
        """Where it stands; lost as soon as the system closes the socket of a backend that died."""
        return self._state

    def send(self, message: object) -> int:
        """Queue a request and return its id; while it connects, the request waits for that.

        The arrays are copied before this returns.

        Raises:
            UserError: if it is neither starting nor connected, or the message is too large.
        """
        if self._state not in (ConnectionState.starting, ConnectionState.connected):
            raise UserError("The backend is not running", fix="Press Start and try again", code="not_running")
        frame = codec.encode(self._last_id + 1, message)
        self._last_id += 1
        self._frames.put(frame)
        return self._last_id

    def events(self) -> list[Event]:
        """What has arrived since the last call, oldest first."""
        with self._changed:
            arrived = list(self._events)
            self._events.clear()
        return arrived

    def wait(self, timeout: float | None = None) -> bool:
        """Block until there is an event or the state is an end, at most `timeout` seconds; False when in vain."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._events) or self._is_over(), timeout)

    def wait_started(self, timeout: float | None = None) -> bool:
        """Block until the state is no longer starting, at most `timeout` seconds; False when in vain."""
        with self._changed:
            return self._changed.wait_for(lambda: self._state is not ConnectionState.starting, timeout)

    def close(self) -> None:
        """End it; what had arrived can still be read."""
        self._end(ConnectionState.stopped, None)

    def _is_over(self) -> bool:
        return self._state not in (ConnectionState.starting, ConnectionState.connected)

    def _read(self) -> None:
        """The reader thread."""
        try:
            channel, welcome = self._connect()
        except UserError as error:
            self._end(ConnectionState.failed, error)
            return
        except Exception as error:
            log.exception("The backend could not be started")
            self._end(ConnectionState.failed, _bug(error))
            return
        if not self._open(channel, welcome):
            channel.close()
            return
        threading.Thread(target=self._write, args=(channel,), name="saga sender", daemon=True).start()
        try:
            while True:
                self._arrived(channel.receive())
        except ChannelClosed:
            self._end(ConnectionState.lost, UserError("The backend has stopped", code="lost"))
        except UserError as error:  # not a message: the two do not understand each other
            self._end(ConnectionState.lost, error)

    def _write(self, channel: Channel) -> None:
        """The writer thread: a large scene or a backend that hangs must not freeze Blender."""
        while (frame := self._frames.get()) is not None:
            try:
                channel.send_frame(frame)
            except ChannelClosed:
                return  # the reader thread sees the same and says so

    def _open(self, channel: Channel, welcome: Welcome) -> bool:
        with self._changed:
            if self._is_over():
                return False
            self._channel, self.welcome = channel, welcome
            self._state = ConnectionState.connected
            self._changed.notify_all()
        return True

    def _arrived(self, event: Event) -> None:
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()

    def _end(self, state: ConnectionState, error: UserError | None) -> None:
        with self._changed:
            if self._is_over():
                return  # the first reason counts
            self._state, self.error = state, error
            self._changed.notify_all()
        self._frames.put(None)
        if self._channel is not None:
            self._channel.close()


def _bug(error: Exception) -> UserError:
    return UserError("The backend did not start", f"{type(error).__name__}: {error}", "Press Restart", code="bug")
