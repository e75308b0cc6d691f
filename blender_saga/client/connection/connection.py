"""The connection to a backend: threads that connect, write and read, and an event queue for the main thread."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from enum import Enum

from ...errors import ErrorCode, UserError
from ...wire import codec
from ...wire.channel import Channel, ChannelClosed
from ...wire.messages import Progress, Welcome
from .model_sync import ModelSync, OutgoingFrame

log = logging.getLogger(__name__)

_UNCHANGED = "Press Restart; the scene in Blender is unchanged"

Event = tuple[int, object]
"""Id of a request and a message about it."""
_TOLD_BYTES = 1 << 23
"""Frames above this size report progress."""
_TOLD_SECONDS = 0.1


class ConnectionState(Enum):
    """The state of the connection; the values are texts for the user."""

    stopped = "stopped"
    starting = "starting"
    connected = "connected"
    lost = "lost"
    failed = "failed"


class Connection:
    """Messages to and from one backend. Only the `wait` methods block.

    Attributes:
        welcome: the backend's self-description, once connected.
        error: the reason why the connection failed or was lost.
    """

    def __init__(self, connect: Callable[[], tuple[Channel, Welcome]], carries: bool = False) -> None:
        """Start to connect.

        Args:
            connect: starts the backend if necessary and does the handshake; runs in a thread, may block, and raises
                UserError.
            carries: whether the backend is on another machine, so that model files must be transferred.
        """
        self.welcome: Welcome | None = None
        self.error: UserError | None = None
        self._state = ConnectionState.starting
        self._connect = connect
        self._channel: Channel | None = None
        self._changed = threading.Condition()
        self._events: deque[Event] = deque()
        self._outgoing: queue.SimpleQueue[tuple[int, OutgoingFrame] | None] = queue.SimpleQueue()
        self._last_id = 0
        self._sync = ModelSync(self._arrived, self._post) if carries else None
        threading.Thread(target=self._read, name="saga connection", daemon=True).start()

    @property
    def state(self) -> ConnectionState:
        """The current state; lost as soon as the system closes the socket of a dead backend."""
        return self._state

    def send(self, message: object) -> int:
        """Queue a request and return its id; the request waits until the connection is up.

        Copies the arrays before it returns.

        Raises:
            UserError: if the connection is neither starting nor up, or the message is too large.
        """
        if self._state not in (ConnectionState.starting, ConnectionState.connected):
            raise UserError("The backend is not running", fix="Press Start, then try again", code=ErrorCode.NOT_RUNNING)
        number = self._last_id + 1
        if self._sync is not None:
            self._sync.send(number, message)
        else:
            self._post(number, codec.encode(number, message))
        self._last_id = number
        return number

    def events(self) -> list[Event]:
        """The events since the last call, oldest first."""
        with self._changed:
            arrived = list(self._events)
            self._events.clear()
        return arrived

    def wait(self, timeout: float | None = None) -> bool:
        """Block until an event or an end state, for at most `timeout` seconds. Returns False after the timeout."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._events) or self._is_over(), timeout)

    def wait_started(self, timeout: float | None = None) -> bool:
        """Block while the state is starting, for at most `timeout` seconds. Returns False after the timeout."""
        with self._changed:
            return self._changed.wait_for(lambda: self._state is not ConnectionState.starting, timeout)

    def close(self) -> None:
        """Close the connection; received events can still be read."""
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
                self._receive(*channel.receive())
        except ChannelClosed:
            self._end(ConnectionState.lost, UserError("The backend has stopped", fix=_UNCHANGED, code=ErrorCode.LOST))
        except UserError as error:  # not a valid message: the versions or programs do not match
            self._end(ConnectionState.lost, UserError(error.what, error.why, _UNCHANGED, error.code))
        except Exception as error:  # out of memory, or a bug: the thread must not end silently
            log.exception("An answer could not be processed")
            self._end(ConnectionState.lost, _broken("The backend's answer could not be processed", error))

    def _write(self, channel: Channel) -> None:
        """The writer thread, so that a large scene or a hanging backend does not freeze Blender."""
        try:
            while (outgoing := self._outgoing.get()) is not None:
                number, frame = outgoing[0], outgoing[1]() if callable(outgoing[1]) else outgoing[1]
                if frame is not None:
                    channel.send_frame(frame, self._teller(number, len(frame)))
        except ChannelClosed:
            pass  # the reader thread sees and reports the same error
        except Exception as error:  # out of memory, or a bug: the thread must not end silently
            log.exception("A request could not be sent")
            self._end(ConnectionState.lost, _broken("A request could not be sent", error))

    def _post(self, number: int, outgoing: OutgoingFrame) -> None:
        """Queue a frame that belongs to a request."""
        self._outgoing.put((number, outgoing))

    def _teller(self, number: int, size: int) -> Callable[[int], None] | None:
        """The progress callback of a large frame to another machine, or None."""
        if self._sync is None or size < _TOLD_BYTES:
            return None
        began = told = time.monotonic()

        def tell(sent: int) -> None:
            nonlocal told
            now = time.monotonic()
            if now - told >= _TOLD_SECONDS:
                told = now
                eta = (now - began) * (size - sent) / sent
                self._arrived((number, Progress("sending the splat", sent >> 20, size >> 20, eta)))

        return tell

    def _receive(self, number: int, message: object) -> None:
        if self._sync is not None:
            self._sync.receive(number, message)
        else:
            self._arrived((number, message))

    def _open(self, channel: Channel, welcome: Welcome) -> bool:
        with self._changed:
            if self._is_over():
                return False
            self._channel, self.welcome = channel, welcome
            if self._sync is not None:
                self._sync.machine = welcome.machine
            self._state = ConnectionState.connected
            self._changed.notify_all()
        return True

    def _arrived(self, event: Event) -> None:
        with self._changed:
            if isinstance(event[1], Progress) and self._events:
                number, last = self._events[-1]
                if number == event[0] and isinstance(last, Progress):
                    self._events.pop()  # replace older progress: Blender may not read events for hours while it renders
            self._events.append(event)
            self._changed.notify_all()

    def _end(self, state: ConnectionState, error: UserError | None) -> None:
        with self._changed:
            if self._is_over():
                return  # keep the first reason
            self.error, self._state = error, state  # in this order, so that the reason is set when the state changes
            self._changed.notify_all()
        self._outgoing.put(None)
        if self._channel is not None:
            self._channel.close()


def _broken(what: str, error: Exception) -> UserError:
    return UserError(what, f"{type(error).__name__}: {error}"[:300], _UNCHANGED, ErrorCode.WIRE)


def _bug(error: Exception) -> UserError:
    return UserError(
        "The backend did not start", f"{type(error).__name__}: {error}", "Press Restart", code=ErrorCode.BUG
    )
