"""What an SSH tunnel is to the two who talk through it: a port that forwards bytes until something happens to it."""

from __future__ import annotations

import contextlib
import socket
import threading


class Tunnel:
    """Forwards connections to an address.

    Attributes:
        address: of its near end.
        piece: bytes that are forwarded at once; few make it slow.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.target, self.piece = target, 1 << 16
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._server.getsockname()
        self._open = threading.Event()
        self._open.set()
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End all connections, as when the ssh client ends; new ones are forwarded."""
        self._open.set()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def stall(self) -> None:
        """Forward nothing more while everything stays open: the network is gone, and nobody was told."""
        self._open.clear()

    def go_on(self) -> None:
        """Undo `stall`."""
        self._open.set()

    def close(self) -> None:
        """End the tunnel: nobody listens at its near end."""
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near = self._server.accept()[0]
                self._sockets.append(near)
                try:
                    far = socket.create_connection(self.target)
                except OSError:  # as ssh does: it has taken the connection, and hangs up
                    near.close()
                    continue
                self._sockets.append(far)
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(self.piece):
                self._open.wait()
                sink.sendall(data)
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
