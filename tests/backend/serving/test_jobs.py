"""What goes out to a client, and in which order."""

from __future__ import annotations

import threading

import pytest

from blender_saga.wire import codec
from blender_saga.wire.channel import ChannelClosed, Listener, connect, open_socket
from blender_saga.wire.messages import Done, Progress
from saga_backend.serving import jobs, server
from saga_backend.serving.jobs import Outbox
from tests.fakes.session import open_session

SECONDS = 30
"""Limit of a test that hangs."""


class BusyClient:
    """A channel with a client that asks again the moment it is answered, until it has seen progress.

    Attributes:
        busy: set when something comes for the first time.
        takes: nothing is taken before it is set.
    """

    def __init__(self) -> None:
        self.outbox: Outbox | None = None
        self.busy, self.takes = threading.Event(), threading.Event()
        self.answers, self.progress, self.ended = 0, 0, threading.Event()

    def send_frame(self, frame: bytes) -> None:
        self.busy.set()
        self.takes.wait(SECONDS)
        if isinstance(codec.decode(frame)[1], Progress):
            self.progress += 1
        else:
            self.answers += 1
        if self.progress or self.answers == 1000:
            self.ended.set()
        elif self.outbox is not None:
            self.outbox.answer(self.answers, Done())


def test_progress_goes_out_between_answers_without_a_pause(monkeypatch):
    monkeypatch.setattr(jobs, "PROGRESS_SECONDS", 0.0)
    client = BusyClient()
    client.outbox = outbox = Outbox(client)
    outbox.answer(0, Done())
    outbox.progress(7, Progress("training", 1, 2, 1.0))
    client.takes.set()
    assert client.ended.wait(SECONDS) and client.progress == 1
    outbox.close(SECONDS)


def test_an_answer_drops_the_progress_that_waits_for_it():
    client = BusyClient()
    outbox = Outbox(client)
    outbox.answer(1, Done())
    assert client.busy.wait(SECONDS)
    outbox.progress(7, Progress("training", 1, 2, 1.0))
    outbox.answer(7, Done())
    client.takes.set()
    outbox.close(SECONDS)
    assert (client.answers, client.progress) == (2, 0)


class NoMemory:
    """A channel that has no room for what it is to send."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def send_frame(self, frame: bytes) -> None:
        raise MemoryError("no room")

    def close(self) -> None:
        self.closed.set()


def test_a_client_that_cannot_be_answered_is_parted_from():
    """Else it would wait for ever."""
    client = NoMemory()
    Outbox(client).answer(1, Done())
    assert client.closed.wait(SECONDS)


def test_a_client_that_has_no_thread_to_answer_it_is_parted_from(monkeypatch):
    def no_thread(channel):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(server, "Client", no_thread)
    listener = Listener(b"k" * 32)
    server.Server(listener, "cpu", open_session)
    channel = open_socket(listener.address)
    connect(channel, b"k" * 32)
    heard = threading.Event()

    def listen() -> None:
        with pytest.raises(ChannelClosed):
            channel.receive()
        heard.set()

    threading.Thread(target=listen, daemon=True).start()
    assert heard.wait(SECONDS)
    listener.close()
