"""The connection's states and its queue, against a scripted backend on a real socket."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from blender_saga.client.connection.connection import Connection, ConnectionState
from blender_saga.errors import UserError
from blender_saga.wire.channel import Channel, ChannelClosed
from blender_saga.wire.codec import MAX_HEADER
from blender_saga.wire.messages import Done, Progress, Selection, Unload
from tests.fakes.scripted import ScriptedBackend

SECONDS = 30


def connected(script: Callable[[Channel], None]) -> tuple[Connection, ScriptedBackend]:
    backend = ScriptedBackend(script)
    connection = Connection(backend.connect)
    assert connection.wait_started(SECONDS)
    assert connection.welcome is not None
    return connection, backend


def test_it_sends_and_receives_with_ids() -> None:
    def echo(channel: Channel) -> None:
        for _ in range(2):
            message_id, message = channel.receive()
            channel.send(message_id, Progress(message.scene, 1, 2))
        channel.receive()  # until the client hangs up

    connection, backend = connected(echo)
    assert connection.welcome.note == "a script"
    assert [connection.send(Unload("a")), connection.send(Unload("b"))] == [1, 2]
    events = []
    while len(events) < 2 and connection.wait(SECONDS):
        events += connection.events()
    assert [(number, progress.phase) for number, progress in events] == [(1, "a"), (2, "b")]
    assert connection.events() == []
    connection.close()
    assert connection.state is ConnectionState.stopped
    backend.join()


def test_what_is_sent_while_it_connects_waits_for_that() -> None:
    received = []
    backend = ScriptedBackend(lambda channel: received.append(channel.receive()[1].scene))
    may_connect = threading.Event()

    def slowly() -> tuple:
        may_connect.wait(SECONDS)
        return backend.connect()

    connection = Connection(slowly)
    connection.send(Unload("early"))
    assert connection.state is ConnectionState.starting
    assert not connection.wait_started(0)
    may_connect.set()
    backend.join()
    assert received == ["early"]
    connection.close()


def test_arrays_are_copied_when_sent() -> None:
    received = []
    backend = ScriptedBackend(lambda channel: received.append(channel.receive()[1].bits))
    may_connect = threading.Event()

    def slowly() -> tuple:
        may_connect.wait(SECONDS)
        return backend.connect()

    connection = Connection(slowly)
    bits = np.ones(4, np.uint8)
    connection.send(Selection(bits, 0, 0, 0, 0, 0))
    bits[:] = 7
    may_connect.set()
    backend.join()
    assert received[0].tolist() == [1, 1, 1, 1]
    connection.close()


def test_a_backend_that_hangs_up_is_lost_and_what_it_said_is_kept() -> None:
    connection, backend = connected(lambda channel: channel.send(1, Done()))
    backend.join()
    said = []
    while connection.state is ConnectionState.connected and connection.wait(SECONDS):
        said += connection.events()
    assert connection.state is ConnectionState.lost
    assert connection.error.code == "lost"
    assert [message_id for message_id, _ in said + connection.events()] == [1]
    with pytest.raises(UserError, match=r"The backend is not running\. Press Start"):
        connection.send(Done())


def test_a_reader_that_waits_is_woken_by_the_end() -> None:
    connection, _ = connected(lambda channel: None)
    assert connection.wait(SECONDS)
    assert connection.state is ConnectionState.lost


def test_a_backend_that_cannot_be_started_has_failed() -> None:
    def refuse() -> tuple:
        raise UserError("The backend did not start", "no Python", code="start")

    connection = Connection(refuse)
    assert connection.wait(SECONDS)
    assert connection.state is ConnectionState.failed
    assert connection.error.code == "start"


def test_a_bug_while_starting_is_not_starting_forever() -> None:
    connection = Connection(lambda: {}["bug"])
    assert connection.wait(SECONDS)
    assert connection.state is ConnectionState.failed
    assert "KeyError" in connection.error.sentence()


def test_noise_instead_of_messages_is_lost_with_the_reason() -> None:
    connection, _ = connected(lambda channel: channel.send_frame(b"noise"))
    assert connection.wait(SECONDS)
    assert connection.state is ConnectionState.lost
    assert connection.error.code == "wire"


def test_what_cannot_be_sent_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object) -> None:
        raise MemoryError("no room for a copy")

    connection, backend = connected(lambda channel: channel.receive())
    monkeypatch.setattr(Channel, "send_frame", no_memory)
    connection.send(Unload("scene"))
    while connection.state is ConnectionState.connected:
        connection.wait(SECONDS)
    assert connection.state is ConnectionState.lost
    assert connection.error.sentence().startswith("A request could not be sent: MemoryError: no room for a copy. Press")
    backend.join()


def test_closed_while_it_connects() -> None:
    closed = threading.Event()
    ended = threading.Event()

    def until_closed(channel: Channel) -> None:
        with pytest.raises(ChannelClosed):
            channel.receive()
        ended.set()

    backend = ScriptedBackend(until_closed)

    def slowly() -> tuple:
        closed.wait(SECONDS)
        return backend.connect()

    connection = Connection(slowly)
    connection.close()
    closed.set()
    assert ended.wait(SECONDS)  # the channel it got too late is closed, not kept
    assert connection.state is ConnectionState.stopped
    assert connection.error is None


def test_a_backend_that_reads_nothing_does_not_block_the_sender() -> None:
    done = threading.Event()
    connection, backend = connected(lambda channel: done.wait(SECONDS))
    big = Selection(np.zeros(50_000_000, np.uint8), 0, 0, 0, 0, 0)  # more than any socket buffer holds
    assert connection.send(big) == 1
    assert connection.send(Done()) == 2
    connection.close()
    done.set()
    backend.join()


def test_a_message_that_is_too_large_is_refused_and_costs_no_id() -> None:
    connection, _ = connected(lambda channel: channel.receive())
    with pytest.raises(UserError, match="it is too large"):
        connection.send(Unload("x" * MAX_HEADER))
    assert connection.send(Done()) == 1
    connection.close()
