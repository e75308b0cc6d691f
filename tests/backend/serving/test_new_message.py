"""A message that only this test knows is answered by a real server: its class and its handler are all that it takes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from blender_saga.wire.channel import Channel, Listener, connect, open_socket
from blender_saga.wire.messages import Failed, Progress, Request
from saga_backend.common.device import Device
from saga_backend.common.progress import Control
from saga_backend.serving.server import Server
from tests.fakes.session import FakeSession
from tests.helpers import new_message
from tests.helpers.new_message import Measured, MeasureLength


class Measures(FakeSession):
    def measure_length(self, request: MeasureLength, control: Control) -> Measured:
        control.progress("measuring", 0, 1)
        return Measured(float(len(request.scene)))


@pytest.fixture
def channel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Channel]:
    new_message.add(monkeypatch)
    key = secrets.token_bytes(32)
    listener = Listener(key)
    server = Server(listener, "cpu", lambda wanted: (Device("cpu", "a fake"), Measures("cpu")))
    channel = open_socket(listener.address)
    connect(channel, key, "a test")
    yield channel
    channel.close()
    server.close()


def answer(channel: Channel, request: Request) -> object:
    channel.send(7, request)
    while True:
        number, message = channel.receive()
        assert number == 7
        if not isinstance(message, Progress):
            return message


def test_it_is_answered_in_its_lane(channel: Channel) -> None:
    message = answer(channel, MeasureLength("four"))
    assert isinstance(message, Measured) and message.length == 4.0


def test_its_paths_are_checked(channel: Channel) -> None:
    message = answer(channel, MeasureLength("four", "not a whole path"))
    assert isinstance(message, Failed) and message.code == "bad_path"
