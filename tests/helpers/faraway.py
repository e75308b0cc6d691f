"""A backend elsewhere for tests: client and server with a fake session, and between them what plays the tunnel."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from blender_saga.client.backend import Backend
from blender_saga.client.connection.remote import Remote
from blender_saga.errors import UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.wire.channel import Listener
from saga_backend.serving.server import Server
from tests.fakes import session as fake
from tests.fakes.tunnel import Tunnel

KEY = bytes(range(32))
SECONDS = 60
"""Limit of a test that hangs; nothing waits that long when all is well."""


class Elsewhere:
    """The other machine: a server that can be ended and started again at its port, with a session of its own."""

    def __init__(self) -> None:
        self.address = ("127.0.0.1", 0)
        self.start()

    def start(self) -> None:
        listener = Listener(KEY, self.address)
        self.address, self.session = listener.address, fake.FakeSession("cpu")
        opened = fake.open_session("cpu")[0], self.session
        self.server = Server(listener, "cpu", lambda _: opened, lasting=True)

    def end(self) -> None:
        self.server.close()


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    elsewhere = Elsewhere()
    yield elsewhere
    elsewhere.end()


@pytest.fixture
def tunnel(elsewhere: Elsewhere) -> Iterator[Tunnel]:
    tunnel = Tunnel(elsewhere.address)
    yield tunnel
    tunnel.close()


@pytest.fixture
def backend(tunnel: Tunnel) -> Iterator[Backend]:
    backend = Backend(Remote(tunnel.address, KEY))
    backend.start()
    backend.wait_connected(SECONDS)
    yield backend
    backend.stop()


def a_cloud(n: int = 5) -> GaussianCloud:
    return GaussianCloud(*(np.ones((n, *s), np.float32) for s in [(3,), (4,), (3,), (), (1, 3)]))


def answer(backend: Backend, message: object) -> object:
    return backend.wait(backend.submit(message), SECONDS).outcome()


def refusal(backend: Backend, message: object) -> UserError:
    with pytest.raises(UserError) as caught:
        answer(backend, message)
    return caught.value
