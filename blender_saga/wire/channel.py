"""Messages over a loopback socket: HMAC handshake with a shared key, then Hello and Welcome, then messages.

The key handshake is that of `multiprocessing.connection` (which pickles nothing), and so is the framing (frames.py).
The sockets are made here, because a stalled handshake must be cut off and a blocked reader woken, and only a socket's
`shutdown` does that on every system. Loopback TCP with a port from the system is the one kind of socket on all of them.

A frame of no bytes says "I am still here" and nothing else: `keep_alive`.
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
"""How long the other side may take to prove that it knows the key and to say Hello."""
BEAT_SECONDS = 5.0
"""How often a side says that it is still there, where a tunnel may be cut without anybody being told."""
SILENCE_SECONDS = 60.0
"""After so long without a byte the other side is taken for gone; a machine under load may well pause for ten."""
_NONE_FREE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PAUSE = 0.1
"""Seconds until a handle is asked for again where none is free."""
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
        # A frame is written as length, then bytes: without this, the end of each waits for an acknowledgement.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = sock
        # It owns a copy of the handle, so that `shutdown` on ours never meets a number that was given away again.
        self._connection = Frames(sock.dup())
        self._send_lock = threading.Lock()
        self._closed = threading.Event()

    @property
    def silence(self) -> float:
        """Seconds since the last byte of the other side arrived."""
        return self._connection.silence

    def keep_alive(self, beat: float = BEAT_SECONDS, patience: float | None = SILENCE_SECONDS) -> None:
        """From now on say every `beat` seconds that we are still here, from a thread that ends with the channel.

        Args:
            beat: seconds.
            patience: seconds; when nothing arrives, or nothing can be sent, for so long, the channel closes. The other
                side must keep itself alive, too. None: wait for ever.
        """
        self._connection.limit(patience)
        threading.Thread(target=self._beat, args=(beat,), name="heartbeat", daemon=True).start()

    def _beat(self, seconds: float) -> None:
        try:
            while not self._closed.wait(seconds):
                self.send_frame(b"")
        except ChannelClosed:
            return  # who reads sees the same

    def send(self, message_id: int, message: object) -> None:
        """Send a message. Raises ChannelClosed, or what `codec.encode` raises."""
        self.send_frame(codec.encode(message_id, message))

    def send_frame(self, frame: bytes, on_sent: Callable[[int], None] | None = None) -> None:
        """Send a frame made by `codec.encode`; `on_sent` is told now and then how many bytes are out. Raises
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
            ChannelClosed: if there will be none.
            WireError: if the frame is not a message; the next one may be.
        """
        try:
            while not (frame := self._connection.recv_bytes(limit)):
                pass  # it is still there
        except (EOFError, OSError, MemoryError) as error:  # after these, where the next frame starts is not known
            raise ChannelClosed("The connection was closed") from error
        return codec.decode(frame)

    def close(self) -> None:
        """Close it (any thread, more than once): both sides' `receive` and `send` end with ChannelClosed."""
        self._closed.set()
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it was not connected any more
        finally:
            self._socket.close()

    def authenticate(self, key: bytes, first: bool) -> None:
        """Prove to each other that both know the key; the side that listens challenges first."""
        steps = (mp.deliver_challenge, mp.answer_challenge)
        frames: Any = self._connection  # all that they use of a connection
        try:
            for step in steps if first else steps[::-1]:
                step(frames, key)
        except (EOFError, OSError) as error:
            raise ChannelClosed("The connection was closed") from error


@contextmanager
def _deadline(channel: Channel, seconds: float) -> Iterator[None]:
    """Close the channel if the block takes longer, whichever read it hangs in."""
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
            UserError: if the address cannot be had.
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
        """Where clients connect."""
        return self._socket.getsockname()[:2]

    def accept(self) -> Channel:
        """Wait for a client; it has proved nothing yet. Raises ChannelClosed when the listener was closed."""
        while True:
            try:
                sock = self._socket.accept()[0]
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno not in _NONE_FREE or self._closed.is_set():
                    raise ChannelClosed("The listener was closed") from error
                self._closed.wait(_PAUSE)  # one that is in the handshake gives its own back soon
                continue
            try:
                return Channel(sock)
            except OSError:  # it has hung up already
                sock.close()

    def welcome(self, channel: Channel, answer: Callable[[], Welcome], seconds: float = HANDSHAKE_SECONDS) -> None:
        """Check the key and the version of an accepted client. Call it in a thread of the client's own.

        Args:
            channel: from `accept`; closed if the client is refused.
            answer: makes the Welcome, may take long, may raise UserError (which the client is told).
            seconds: limit of the client's part.

        Raises:
            UserError: why the client was refused.
            ChannelClosed: if the client went away or stalled.
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
            self._socket.shutdown(socket.SHUT_RDWR)  # closing alone does not wake accept on Linux
        except OSError:
            pass  # other systems refuse this on a listening socket, and wake accept on close
        finally:
            self._socket.close()


def _check_version(hello: object) -> None:
    if not isinstance(hello, Hello):
        raise codec.WireError("the first one must be Hello")
    if hello.protocol != PROTOCOL_VERSION:
        why = f"Blender speaks version {hello.protocol} of the protocol, the backend version {PROTOCOL_VERSION}"
        raise version_error(why)


def version_error(why: str) -> UserError:
    """The one sentence about sides that are not of the same version."""
    fix = "Stop the backend and start it from this version of the extension"
    return UserError("Blender and the backend do not fit together", why, fix, code=ErrorCode.VERSION)


def _refuse(channel: Channel, error: UserError) -> None:
    try:
        channel.send(_HELLO_ID, Failed.of(error))
    except ChannelClosed:
        pass  # it has gone already
    finally:
        channel.close()


# --- client -----------------------------------------------------------------------------------------------------


def open_socket(address: Address, seconds: float = HANDSHAKE_SECONDS) -> Channel:
    """Connect to a listener, without handshake.

    Raises:
        UserError: if nobody listens there.
    """
    try:
        return Channel(socket.create_connection(address, timeout=seconds))
    except OSError as error:
        why = f"nothing answers at {address[0]}:{address[1]} ({error.strerror or error})"
        raise UserError("Blender cannot reach the backend", why, "Press Restart", code=ErrorCode.UNREACHABLE) from error


def connect(channel: Channel, key: bytes, client: str = "", seconds: float = 120.0) -> Welcome:
    """Do the client's part of the handshake.

    Args:
        channel: from `open_socket`; closed if the server refuses us.
        key: shared secret.
        client: who we are, for the server's log.
        seconds: limit for all of it; the server may have to import torch and find its device first.

    Raises:
        UserError: why the server refused us (wrong key, another version, no such device, ...).
    """
    try:
        with _deadline(channel, seconds):
            with _deadline(channel, HANDSHAKE_SECONDS):  # at the end of a tunnel there may be nobody, or somebody else
                channel.authenticate(key, first=False)
            channel.send(_HELLO_ID, Hello(PROTOCOL_VERSION, client))
            return _check_answer(channel.receive(_MAX_HELLO)[1])
    except AuthenticationError as error:
        channel.close()
        why = "it has another key: it was started by another Blender"
        raise UserError("The backend refused Blender", why, "Press Restart", code=ErrorCode.WRONG_KEY) from error
    except ChannelClosed as error:
        channel.close()
        why = "it closed the connection or did not answer in time"
        raise UserError(
            "The backend did not greet Blender", why, "Press Restart", code=ErrorCode.UNREACHABLE
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
        why = f"Blender speaks version {PROTOCOL_VERSION} of the protocol, the backend version {answer.protocol}"
        raise version_error(why)
    return answer
