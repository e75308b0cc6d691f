"""A backend elsewhere that cannot be reached or refuses: each reason is one sentence, and says what to do."""

from __future__ import annotations

import socket
import threading

import pytest

from blender_saga.client.backend import Backend
from blender_saga.client.connection.connection import ConnectionState
from blender_saga.client.connection.remote import Remote, remote_of
from blender_saga.errors import UserError
from blender_saga.wire import channel
from blender_saga.wire.messages import Status
from tests.fakes.tunnel import Tunnel
from tests.helpers.faraway import KEY, SECONDS, Elsewhere, answer, backend, elsewhere, tunnel

__all__ = ["backend", "elsewhere", "tunnel"]  # fixtures


def why_not(remote: Remote) -> UserError:
    backend = Backend(remote)
    backend.start()
    with pytest.raises(UserError) as caught:
        backend.wait_connected(SECONDS)
    assert backend.state is ConnectionState.failed and backend.error == caught.value.sentence()
    backend.stop()
    return caught.value


def test_nobody_at_the_port() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))  # it is nobody else's meanwhile
        address = other.getsockname()
        error = why_not(Remote(address, KEY))
    assert error.code == "unreachable"
    assert f"nothing answers at 127.0.0.1:{address[1]}" in error.sentence()
    assert f"Start the tunnel with 'ssh -N -L {address[1]}:127.0.0.1:{address[1]} USER@SERVER'" in error.sentence()


def test_a_tunnel_that_leads_nowhere(tunnel: Tunnel, elsewhere: Elsewhere) -> None:
    elsewhere.end()
    error = why_not(Remote(tunnel.address, KEY))
    assert error.code == "unreachable" and "Start 'saga_backend serve' at its other end" in error.sentence()


def test_a_tunnel_in_which_nothing_moves(tunnel: Tunnel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "HANDSHAKE_SECONDS", 0.2)
    tunnel.stall()
    assert why_not(Remote(tunnel.address, KEY)).code == "unreachable"


@pytest.mark.parametrize("banner", [b"SSH-2.0-OpenSSH_9.9\r\n", b"\0\0\0\x03hey", b""])
def test_something_else_at_the_port(banner: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "HANDSHAKE_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as other:

        def talk() -> None:
            sock = other.accept()[0]
            sock.sendall(banner)
            while sock.recv(4096):
                pass

        threading.Thread(target=talk, daemon=True).start()
        assert why_not(Remote(other.getsockname(), KEY)).code in ("unreachable", "wrong_key")


def test_a_wrong_key_is_told_and_counted(tunnel: Tunnel, elsewhere: Elsewhere, backend: Backend) -> None:
    for number in (1, 2):
        error = why_not(Remote(tunnel.address, bytes(32)))
        assert error.code == "wrong_key" and "Paste the key that 'serve' printed" in error.sentence()
        while elsewhere.server.refused < number:  # it counts when the client has been told
            assert answer(backend, Status()).device == "a fake"
    assert elsewhere.server.refused == 2


def test_another_version(tunnel: Tunnel, monkeypatch: pytest.MonkeyPatch) -> None:
    def other_version(hello: object) -> None:
        raise channel.version_error("they speak versions 3 and 4 of the protocol")

    monkeypatch.setattr(channel, "_check_version", other_version)
    error = why_not(Remote(tunnel.address, KEY))
    assert error.code == "version" and "Install the same version on both machines" in error.sentence()


@pytest.mark.parametrize(
    ("address", "key", "code"),
    [
        ("", KEY.hex(), "address"),
        ("7860", KEY.hex(), "address"),
        ("host:", KEY.hex(), "address"),
        (":7860", KEY.hex(), "address"),
        ("host:70000", KEY.hex(), "address"),
        ("host:0", KEY.hex(), "address"),
        ("host:٣", KEY.hex(), "address"),
        ("host:7860", "", "key"),
        ("host:7860", "hello", "key"),
        ("host:7860", "00" * 31, "key"),
    ],
)
def test_preferences_that_cannot_be(address: str, key: str, code: str) -> None:
    with pytest.raises(UserError) as caught:
        remote_of(address, key)
    assert caught.value.code == code


def test_preferences_that_can_be() -> None:
    remote = remote_of(" 127.0.0.1:7860 ", f" {KEY.hex().upper()}\n")
    assert (remote.address, remote.key, remote.name, remote.protected) == (
        ("127.0.0.1", 7860), KEY, "127.0.0.1:7860", True,
    )  # fmt: skip
    assert remote_of("[::1]:7860", KEY.hex()).name == "[::1]:7860"
    assert not remote_of("gpu-box:7860", KEY.hex()).protected
    assert KEY.hex() not in repr(remote) and str(KEY) not in repr(remote)
