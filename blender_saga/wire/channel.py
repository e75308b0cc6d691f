"""Messages over a loopback socket: HMAC handshake with a shared key, then Hello and Welcome, then messages.

The key handshake and the framing (frames.py) are those of `multiprocessing.connection`, without pickle. This module
creates the sockets itself, because a stalled handshake must be aborted and a blocked reader woken, and only a socket's
`shutdown` does this on every system. Loopback TCP is the only kind of socket that all systems have.

An empty frame is a heartbeat: see `keep_alive`.
"""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import AuthenticationError
from multiprocessing import connection as mp
from typing import Any

from ..errors import ErrorCode, UserError
from . import codec
from .frames import Frames
from .messages import PROTOCOL_VERSION, Failed, Hello, Welcome

Address = tuple[str, int]
"""Host and port."""
HANDSHAKE_SECONDS = 10.0
"""Time limit for the other side to prove the key and send Hello."""
BEAT_SECONDS = 5.0
"""Interval of heartbeats through a tunnel, which may close unnoticed."""
SILENCE_SECONDS = 60.0
"""Silence after which the other side counts as gone; a machine under load may pause for ten seconds."""
_NONE_FREE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PAUSE = 0.1
"""Seconds between attempts to get a free file handle."""
_HELLO_ID = 0
"""Id of Hello and its answer; requests count from 1."""
_MAX_HELLO = 1 << 16
"""Bytes of a Hello or its answer."""


class ChannelClosed(Exception):
    """The other side is gone, or this side closed the channel."""


class Channel:
    """One open connection. Any thread may send; one thread receives."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(True)
        # A frame is written as length, then bytes: without this, the end of each frame waits for an acknowledgement.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = sock
        # It owns a copy of the handle, so that `shutdown` on ours never affects a reused handle.
        self._connection = Frames(sock.dup())
        self._send_lock = threading.Lock()
        self._closed = threading.Event()

    @property
    def silence(self) -> float:
        """Seconds since the last byte from the other side."""
        return self._connection.silence

    def keep_alive(self, beat: float = BEAT_SECONDS, patience: float | None = SILENCE_SECONDS) -> None:
        """Start a thread that sends a heartbeat every `beat` seconds until the channel closes.

        Args:
            beat: seconds.
            patience: seconds without received or sent data after which the channel closes; the other side must send
                heartbeats, too. None for no limit.
        """
        self._connection.limit(patience)
        threading.Thread(target=self._beat, args=(beat,), name="heartbeat", daemon=True).start()

    def _beat(self, seconds: float) -> None:
        try:
            while not self._closed.wait(seconds):
                self.send_frame(b"")
        except ChannelClosed:
            return  # the reader sees the same error

    def send(self, message_id: int, message: object) -> None:
        """Send a message. Raises ChannelClosed, or what `codec.encode` raises."""
        self.send_frame(codec.encode(message_id, message))

    def send_frame(self, frame: bytes, on_sent: Callable[[int], None] | None = None) -> None:
        """Send a frame from `codec.encode`; `on_sent` gets the number of sent bytes from time to time. Raises
        ChannelClosed."""
        try:
            with self._send_lock:
                self._connection.send_bytes(frame, on_sent)
        except OSError as error:
            raise ChannelClosed("The connection was closed") from error

    def receive(self, limit: int = codec.MAX_FRAME) -> tuple[int, object]:
        """Wait for the next message.

        Args:
            limit: bytes; a larger frame closes the channel.

        Raises:
            ChannelClosed: if the channel is closed.
            WireError: if the frame is not a message; the next one may be.
        """
        try:
            while not (frame := self._connection.recv_bytes(limit)):
                pass  # a heartbeat
        except (EOFError, OSError, MemoryError) as error:  # the start of the next frame is unknown then
            raise ChannelClosed("The connection was closed") from error
        return codec.decode(frame)

    def close(self) -> None:
        """Close the channel, from any thread and any number of times; `receive` and `send` of both sides then raise."""
        self._closed.set()
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it was already disconnected
        finally:
            self._socket.close()

    def authenticate(self, key: bytes, first: bool) -> None:
        """Verify on both sides that the other knows the key; the listening side challenges first."""
        steps = (mp.deliver_challenge, mp.answer_challenge)
        frames: Any = self._connection  # has all methods that they use
        try:
            for step in steps if first else steps[::-1]:
                step(frames, key)
        except (EOFError, OSError) as error:
            raise ChannelClosed("The connection was closed") from error


@contextmanager
def _deadline(channel: Channel, seconds: float) -> Iterator[None]:
    """Close the channel if the block takes longer, in any of its reads."""
    timer = threading.Timer(seconds, channel.close)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


# --- server -----------------------------------------------------------------------------------------------------


class Listener:
    """The server's socket."""

    def __init__(self, key: bytes, address: Address = ("127.0.0.1", 0)) -> None:
        """Listen.

        Args:
            key: shared secret.
            address: port 0 lets the system choose.

        Raises:
            UserError: if the address is not available.
        """
        self._key, self._closed = key, threading.Event()
        try:
            self._socket = socket.create_server(address)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise UserError(
                f"The backend cannot listen at {address[0]}:{address[1]}",
                why,
                fix="Choose another address",
                code=ErrorCode.ADDRESS,
            ) from error

    @property
    def address(self) -> Address:
        """The address for clients."""
        return self._socket.getsockname()[:2]

    def accept(self) -> Channel:
        """Wait for a client, which is not authenticated yet. Raises ChannelClosed when the listener is closed."""
        while True:
            try:
                sock = self._socket.accept()[0]
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno not in _NONE_FREE or self._closed.is_set():
                    raise ChannelClosed("The listener was closed") from error
                self._closed.wait(_PAUSE)  # a client in the handshake soon frees a handle
                continue
            try:
                return Channel(sock)
            except OSError:  # the client has disconnected
                sock.close()

    def welcome(self, channel: Channel, answer: Callable[[], Welcome], seconds: float = HANDSHAKE_SECONDS) -> None:
        """Check the key and the version of an accepted client. Call this in a separate thread for each client.

        Args:
            channel: from `accept`; closed if the client is refused.
            answer: creates the Welcome; may block, and may raise a UserError, which is sent to the client.
            seconds: time limit of the client's part.

        Raises:
            UserError: if the client was refused.
            ChannelClosed: if the client disconnected or stalled.
        """
        try:
            with _deadline(channel, seconds):
                channel.authenticate(self._key, first=True)
                _check_version(channel.receive(_MAX_HELLO)[1])
            channel.send(_HELLO_ID, answer())
        except AuthenticationError as error:
            channel.close()
            raise UserError("A client was refused", "it does not know the key", code=ErrorCode.WRONG_KEY) from error
        except UserError as error:
            _refuse(channel, error)
            raise
        except BaseException:
            channel.close()
            raise

    def close(self) -> None:
        """Stop listening; a waiting `accept` ends."""
        self._closed.set()
        try:
            self._socket.shutdown(socket.SHUT_RDWR)  # close alone does not wake accept on Linux
        except OSError:
            pass  # other systems refuse this on a listening socket, and wake accept on close
        finally:
            self._socket.close()


def _check_version(hello: object) -> None:
    if not isinstance(hello, Hello):
        raise codec.WireError("the first one must be Hello")
    if hello.protocol != PROTOCOL_VERSION:
        why = f"Blender uses protocol version {hello.protocol}, the backend uses {PROTOCOL_VERSION}"
        raise version_error(why)


def version_error(why: str) -> UserError:
    """The error for two sides with different versions."""
    fix = "Stop the backend and start it from this version of the extension"
    return UserError("Blender and the backend have different versions", why, fix, code=ErrorCode.VERSION)


def _refuse(channel: Channel, error: UserError) -> None:
    try:
        channel.send(_HELLO_ID, Failed.of(error))
    except ChannelClosed:
        pass  # the client has disconnected
    finally:
        channel.close()


# --- client -----------------------------------------------------------------------------------------------------


def open_socket(address: Address, seconds: float = HANDSHAKE_SECONDS) -> Channel:
    """Connect to a listener, without handshake.

    Raises:
        UserError: if nothing listens there.
    """
    try:
        return Channel(socket.create_connection(address, timeout=seconds))
    except OSError as error:
        why = f"nothing answers at {address[0]}:{address[1]} ({error.strerror or error})"
        raise UserError("Blender cannot reach the backend", why, "Press Restart", code=ErrorCode.UNREACHABLE) from error


def connect(channel: Channel, key: bytes, client: str = "", seconds: float = 120.0) -> Welcome:
    """Do the client's part of the handshake.

    Args:
        channel: from `open_socket`; closed if the server refuses the client.
        key: shared secret.
        client: name of the client, for the server's log.
        seconds: time limit; the server may first have to import torch and find its device.

    Raises:
        UserError: if the server refuses the client (wrong key, another version, no such device, ...).
    """
    try:
        with _deadline(channel, seconds):
            with _deadline(channel, HANDSHAKE_SECONDS):  # nothing, or another program, may be at the end of a tunnel
                channel.authenticate(key, first=False)
            channel.send(_HELLO_ID, Hello(PROTOCOL_VERSION, client))
            return _check_answer(channel.receive(_MAX_HELLO)[1])
    except AuthenticationError as error:
        channel.close()
        why = "its key differs, because another Blender started it"
        raise UserError("The backend refused Blender", why, "Press Restart", code=ErrorCode.WRONG_KEY) from error
    except ChannelClosed as error:
        channel.close()
        why = "it closed the connection or did not answer in time"
        raise UserError(
            "The backend did not answer Blender", why, "Press Restart", code=ErrorCode.UNREACHABLE
        ) from error
    except BaseException:
        channel.close()
        raise


def _check_answer(answer: object) -> Welcome:
    if isinstance(answer, Failed):
        raise answer.error()
    if not isinstance(answer, Welcome):
        raise codec.WireError("the answer to Hello must be Welcome")
    if answer.protocol != PROTOCOL_VERSION:
        why = f"Blender uses protocol version {PROTOCOL_VERSION}, the backend uses {answer.protocol}"
        raise version_error(why)
    return answer
