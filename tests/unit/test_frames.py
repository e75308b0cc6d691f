"""Frames: the standard library's own connections are the oracle of the format; silence is told from slowness."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import connection as mp

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from blender_saga.wire import frames
from blender_saga.wire.channel import Channel, ChannelClosed
from blender_saga.wire.frames import Frames
from blender_saga.wire.messages import Done

SECONDS = 30
"""Limit of a test that hangs; nothing waits that long when all is well."""


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a TCP connection (of a pair of UNIX sockets there is no TCP_NODELAY)."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted = server.accept()[0]
    with client, accepted:
        yield client, accepted


@given(st.lists(st.binary(max_size=3 * 512), min_size=1, max_size=5), st.integers(1, 700))
@example([bytes(3 * 512)], 1)
def test_it_is_the_format_of_the_standard_library(contents: list[bytes], piece: int) -> None:
    ours, theirs = socket.socketpair()
    with pytest.MonkeyPatch.context() as patch, ours, ThreadPoolExecutor(1) as pool:
        patch.setattr(frames, "_PIECE", piece)  # many pieces without megabytes
        oracle = mp.Connection(theirs.detach())
        for content in contents:
            sent: list[int] = []
            sending = pool.submit(Frames(ours).send_bytes, content, sent.append)  # some hundred pieces fill the socket
            assert oracle.recv_bytes() == content
            sending.result(SECONDS)
            assert sent == sorted(sent) and (not sent or sent[-1] == len(content))
            oracle.send_bytes(content)
            assert Frames(ours).recv_bytes(len(content)) == content
        oracle.close()


def test_lengths_beyond_two_gigabytes_are_read_as_the_library_writes_them(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    sockets[1].sendall((-1).to_bytes(4, "big", signed=True) + (5).to_bytes(8, "big") + b"hello")
    assert Frames(sockets[0]).recv_bytes(10) == b"hello"


@pytest.mark.parametrize("length", [11, 2**31 - 1, -2, -(2**31)])
def test_a_length_that_is_none_is_refused_before_anything_is_read(
    sockets: tuple[socket.socket, socket.socket], length: int
) -> None:
    sockets[1].sendall(length.to_bytes(4, "big", signed=True))
    with pytest.raises(OSError, match="bad message length"):
        Frames(sockets[0]).recv_bytes(10)


def test_silence_closes_a_channel_that_has_a_limit(sockets: tuple[socket.socket, socket.socket]) -> None:
    channel = Channel(sockets[0])
    channel.keep_alive(beat=SECONDS, patience=0.05)
    with pytest.raises(ChannelClosed):
        channel.receive()
    assert channel.silence >= 0.05
    channel.close()


def test_a_side_that_takes_nothing_is_given_up(sockets: tuple[socket.socket, socket.socket]) -> None:
    channel = Channel(sockets[0])
    channel.keep_alive(beat=SECONDS, patience=0.05)
    with pytest.raises(ChannelClosed):
        channel.send_frame(bytes(50_000_000))  # more than any socket buffer holds
    channel.close()


def test_heartbeats_keep_a_quiet_channel_and_are_no_messages(
    sockets: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet, listening = Channel(sockets[0]), Channel(sockets[1])
    beats, enough, send = [], threading.Event(), quiet.send_frame

    def counted(frame: bytes) -> None:
        send(frame)
        beats.append(frame)
        if len(beats) == 40:
            enough.set()

    monkeypatch.setattr(quiet, "send_frame", counted)
    listening.keep_alive(beat=SECONDS, patience=SECONDS)
    with ThreadPoolExecutor(1) as pool:
        received = pool.submit(listening.receive)
        quiet.keep_alive(beat=0.001)
        assert enough.wait(SECONDS)
        assert set(beats) == {b""} and not received.done()
        quiet.send(3, Done())
        assert received.result(SECONDS)[0] == 3
    quiet.close()
    listening.close()
