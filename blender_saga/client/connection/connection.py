"""The connection to a backend: threads that connect, write and read, and a queue for the main thread."""

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
"""Id of the request, and what the backend says about it."""
_TOLD_BYTES = 1 << 23
"""Of larger frames it is told how far they are."""
_TOLD_SECONDS = 0.1


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

    def __init__(self, connect: Callable[[], tuple[Channel, Welcome]], carries: bool = False) -> None:
        """Start to connect.

        Args:
            connect: starts the backend if it must and does the handshake; runs in a thread, may
                take its time, raises UserError.
            carries: the backend is on another machine: `.saga` files are carried there and back.
        """
        self.welcome: Welcome | None = None
        self.error: UserError | None = None
        self._state = ConnectionState.starting
        self._connect = connect
        self._channel: Channel | None = None
        self._changed = threading.Condition()
        self._events: deque[Event] = deque()
        self._parcels: queue.SimpleQueue[tuple[int, OutgoingFrame] | None] = queue.SimpleQueue()
        self._last_id = 0
        self._sync = ModelSync(self._arrived, self._post) if carries else None
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
            raise UserError("The backend is not running", fix="Press Start and try again", code=ErrorCode.NOT_RUNNING)
        number = self._last_id + 1
        if self._sync is not None:
            self._sync.send(number, message)
        else:
            self._post(number, codec.encode(number, message))
        self._last_id = number
        return number

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
                self._receive(*channel.receive())
        except ChannelClosed:
            self._end(ConnectionState.lost, UserError("The backend has stopped", fix=_UNCHANGED, code=ErrorCode.LOST))
        except UserError as error:  # not a message: the two do not understand each other
            self._end(ConnectionState.lost, UserError(error.what, error.why, _UNCHANGED, error.code))
        except Exception as error:  # no memory for what came, a bug of ours: never a thread that ends in silence
            log.exception("An answer could not be taken in")
            self._end(ConnectionState.lost, _broken("The backend was not understood", error))

    def _write(self, channel: Channel) -> None:
        """The writer thread: a large scene or a backend that hangs must not freeze Blender."""
        try:
            while (parcel := self._parcels.get()) is not None:
                number, frame = parcel[0], parcel[1]() if callable(parcel[1]) else parcel[1]
                if frame is not None:
                    channel.send_frame(frame, self._teller(number, len(frame)))
        except ChannelClosed:
            pass  # the reader thread sees the same and says so
        except Exception as error:  # no memory for what is sent, a bug of ours: never a thread that ends in silence
            log.exception("A request could not be sent")
            self._end(ConnectionState.lost, _broken("A request could not be sent", error))

    def _post(self, number: int, parcel: OutgoingFrame) -> None:
        """Queue what is sent for the sake of a request."""
        self._parcels.put((number, parcel))

    def _teller(self, number: int, size: int) -> Callable[[int], None] | None:
        """Tells how far a large frame is, where that may take long: to another machine."""
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
                    self._events.pop()  # a newer one replaces it: Blender may not look for hours, while it renders
            self._events.append(event)
            self._changed.notify_all()

    def _end(self, state: ConnectionState, error: UserError | None) -> None:
        with self._changed:
            if self._is_over():
                return  # the first reason counts
            self.error, self._state = error, state  # in this order: who sees the state finds the reason
            self._changed.notify_all()
        self._parcels.put(None)
        if self._channel is not None:
            self._channel.close()


def _broken(what: str, error: Exception) -> UserError:
    return UserError(what, f"{type(error).__name__}: {error}"[:300], _UNCHANGED, ErrorCode.WIRE)


def _bug(error: Exception) -> UserError:
    return UserError(
        "The backend did not start", f"{type(error).__name__}: {error}", "Press Restart", code=ErrorCode.BUG
    )
