"""The channel: who gets in, who is refused with which sentence, and that nobody can hold up anybody else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from blender_saga.errors import UserError
from blender_saga.wire import channel as wire
from blender_saga.wire.channel import Channel, ChannelClosed, Listener, connect, open_socket
from blender_saga.wire.codec import WireError
from blender_saga.wire.messages import PROTOCOL_VERSION, Done, Failed, Hello, Selection, Unload, Welcome

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
SECONDS = 30
"""Limit of a test that hangs; nothing waits that long when all is well."""


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener(KEY)
    yield listener
    listener.close()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def let_in(listener: Listener, pool: ThreadPoolExecutor, seconds: float = SECONDS) -> Future[Channel]:
    """Accept the next client and greet it, each in a thread as the server does."""

    channel = pool.submit(listener.accept)
    return pool.submit(lambda: greet(listener, channel.result(SECONDS), seconds))


def greet(listener: Listener, channel: Channel, seconds: float = SECONDS) -> Channel:
    """What the server does with a client that it has accepted."""
    listener.welcome(channel, lambda: Welcome(device="cpu", note="a test"), seconds)
    return channel


def pair(listener: Listener, pool: ThreadPoolExecutor) -> tuple[Channel, Channel]:
    """The two ends of a greeted connection: client, server."""
    greeted = let_in(listener, pool)
    client = open_socket(listener.address)
    assert connect(client, KEY).note == "a test"
    return client, greeted.result(SECONDS)


def test_messages_travel_both_ways(listener: Listener, threads: ThreadPoolExecutor) -> None:
    client, server = pair(listener, threads)
    client.send(5, Unload("scene"))
    message_id, message = server.receive()
    assert (message_id, message.scene) == (5, "scene")
    server.send(5, Done())
    assert isinstance(client.receive()[1], Done)
    client.close()
    server.close()


def test_it_listens_on_this_machine_only(listener: Listener) -> None:
    assert listener.address[0] == "127.0.0.1"


def test_a_wrong_key_is_refused_and_the_next_client_is_not(listener: Listener, threads: ThreadPoolExecutor) -> None:
    refused = let_in(listener, threads)
    with pytest.raises(UserError) as caught:
        connect(open_socket(listener.address), OTHER_KEY)
    assert caught.value.code == "wrong_key"
    assert caught.value.sentence().startswith("The backend refused Blender: its key differs")
    with pytest.raises(UserError) as caught:
        refused.result(SECONDS)
    assert caught.value.code == "wrong_key"
    client, server = pair(listener, threads)
    client.close()
    server.close()


def test_a_server_with_another_key_is_no_server_of_ours(listener: Listener, threads: ThreadPoolExecutor) -> None:
    """The key is proved both ways: a client does not talk to whoever took the port."""
    accepted = threads.submit(listener.accept)
    client = open_socket(listener.address)
    server = accepted.result(SECONDS)
    answer = threads.submit(connect, client, KEY)
    threads.submit(_accept_any_proof, server)
    with pytest.raises(UserError) as caught:
        answer.result(SECONDS)
    assert caught.value.code == "wrong_key"
    server.close()


def _accept_any_proof(server: Channel) -> None:
    """Play a server that does not know the key: take any answer, then answer the challenge wrongly."""
    raw = server._connection
    raw.send_bytes(b"#CHALLENGE#" + b"{sha256}" + bytes(40))
    raw.recv_bytes(256)
    raw.send_bytes(b"#WELCOME#")
    raw.recv_bytes(256)
    raw.send_bytes(b"{sha256}" + bytes(32))


def test_another_version_of_blender_is_refused_with_one_sentence(
    listener: Listener, threads: ThreadPoolExecutor
) -> None:
    greeted = let_in(listener, threads)
    client = open_socket(listener.address)
    client.authenticate(KEY, first=False)
    client.send(0, Hello(protocol=PROTOCOL_VERSION + 1))
    _, answer = client.receive()
    assert isinstance(answer, Failed)
    sentence = UserError(answer.what, answer.why, answer.fix).sentence()
    assert sentence == (
        "Blender and the backend have different versions: "
        f"Blender uses protocol version {PROTOCOL_VERSION + 1}, the backend uses {PROTOCOL_VERSION}. "
        "Stop the backend and start it from this version of the extension"
    )
    with pytest.raises(ChannelClosed):
        client.receive()
    with pytest.raises(UserError) as caught:
        greeted.result(SECONDS)
    assert caught.value.code == "version"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Welcome(protocol=PROTOCOL_VERSION + 1), "version"),
        (Failed("device", "CUDA cannot be used"), "device"),
        (Done(), "wire"),
    ],
)
def test_what_the_server_answers_to_hello(
    listener: Listener, threads: ThreadPoolExecutor, answer: object, code: str
) -> None:
    accepted = threads.submit(listener.accept)
    client = open_socket(listener.address)
    connecting = threads.submit(connect, client, KEY)
    server = accepted.result(SECONDS)
    server.authenticate(KEY, first=True)
    server.receive()
    server.send(0, answer)
    with pytest.raises(UserError) as caught:
        connecting.result(SECONDS)
    assert caught.value.code == code
    server.close()


def test_why_the_device_cannot_be_had_is_told(listener: Listener, threads: ThreadPoolExecutor) -> None:
    def no_device() -> Welcome:
        raise UserError("CUDA cannot be used", "there is no GPU", "Choose cpu", code="device")

    accepted = threads.submit(listener.accept)
    refused = threads.submit(lambda: listener.welcome(accepted.result(SECONDS), no_device))
    with pytest.raises(UserError, match=r"CUDA cannot be used: there is no GPU\. Choose cpu"):
        connect(open_socket(listener.address), KEY)
    assert isinstance(refused.exception(SECONDS), UserError)


def test_the_first_message_must_be_hello(listener: Listener, threads: ThreadPoolExecutor) -> None:
    greeted = let_in(listener, threads)
    client = open_socket(listener.address)
    client.authenticate(KEY, first=False)
    client.send(0, Done())
    assert isinstance(client.receive()[1], Failed)
    assert isinstance(greeted.exception(SECONDS), WireError)


@pytest.mark.parametrize("knows_key", [False, True])
def test_a_client_that_stalls_blocks_nobody(listener: Listener, threads: ThreadPoolExecutor, knows_key: bool) -> None:
    accepting = threads.submit(listener.accept)
    stalled = open_socket(listener.address)
    greeted = threads.submit(greet, listener, accepting.result(SECONDS))  # the next accept is the other client's
    if knows_key:
        stalled.authenticate(KEY, first=False)  # and falls silent before its Hello
    client, server = pair(listener, threads)
    client.send(1, Done())
    assert isinstance(server.receive()[1], Done)
    assert not greeted.done()
    stalled.close()
    assert isinstance(greeted.exception(SECONDS), ChannelClosed)
    client.close()
    server.close()


def test_a_client_that_stalls_is_dropped(listener: Listener, threads: ThreadPoolExecutor) -> None:
    greeted = let_in(listener, threads, seconds=0.1)
    stalled = open_socket(listener.address)
    assert isinstance(greeted.exception(SECONDS), ChannelClosed)
    while stalled._socket.recv(4096):  # the challenge it never answered, then the end
        pass
    stalled.close()


def test_a_backend_that_never_greets(listener: Listener) -> None:
    with pytest.raises(UserError) as caught:  # the system takes the connection, but nobody accepts it
        connect(open_socket(listener.address), KEY, seconds=0.2)
    assert caught.value.code == "unreachable"


def test_nobody_listens() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))  # it is nobody else's meanwhile
        with pytest.raises(UserError) as caught:
            open_socket(other.getsockname())
    assert caught.value.code == "unreachable"


def test_an_address_that_is_taken(listener: Listener) -> None:
    with pytest.raises(UserError, match=r"cannot listen at 127\.0\.0\.1"):
        Listener(KEY, listener.address)


def test_frames_beyond_the_limit_close_the_channel(listener: Listener, threads: ThreadPoolExecutor) -> None:
    client, server = pair(listener, threads)
    sending = threads.submit(client.send, 1, Selection(np.zeros(10_000, np.uint8), 0, 0, 0, 0, 0))
    with pytest.raises(ChannelClosed):
        server.receive(limit=5_000)
    sending.exception(SECONDS)
    client.close()
    server.close()


def test_a_frame_that_is_no_message_costs_only_itself(listener: Listener, threads: ThreadPoolExecutor) -> None:
    client, server = pair(listener, threads)
    client.send_frame(b"\x80\x04N.")  # a pickle
    client.send(2, Done())
    with pytest.raises(WireError):
        server.receive()
    assert server.receive()[0] == 2
    client.close()
    server.close()


def test_a_client_that_dies_in_the_middle_of_an_array(listener: Listener, threads: ThreadPoolExecutor) -> None:
    client, server = pair(listener, threads)
    client._socket.sendall((1_000_000).to_bytes(4, "big") + b"half of it")
    client.close()
    with pytest.raises(ChannelClosed):
        server.receive()
    server.close()


def test_closing_wakes_a_reader_and_may_be_done_twice(listener: Listener, threads: ThreadPoolExecutor) -> None:
    client, server = pair(listener, threads)
    reading = threads.submit(client.receive)
    client.close()
    client.close()
    assert isinstance(reading.exception(SECONDS), ChannelClosed)
    with pytest.raises(ChannelClosed):
        server.receive()
    with pytest.raises(ChannelClosed):
        client.send(1, Done())
    server.close()


def test_closing_the_listener_ends_accept(threads: ThreadPoolExecutor) -> None:
    listener = Listener(KEY)
    begun = threading.Event()

    def accept() -> Channel:
        begun.set()
        return listener.accept()

    accepting = threads.submit(accept)
    begun.wait(SECONDS)
    listener.close()
    assert isinstance(accepting.exception(SECONDS), ChannelClosed)


def test_frames_of_several_threads_stay_whole(listener: Listener, threads: ThreadPoolExecutor) -> None:
    client, server = pair(listener, threads)

    def send(number: int) -> None:
        for _ in range(20):
            server.send(number, Selection(np.full(50_000, number, np.uint8), 0, 0, 0, 0, 0))

    senders = [threads.submit(send, number) for number in range(1, 4)]
    for _ in range(60):
        number, selection = client.receive()
        assert (selection.bits == number).all()
    assert all(sender.exception(SECONDS) is None for sender in senders)
    client.close()
    server.close()


def test_the_module_never_unpickles() -> None:
    """`Connection.send` and `recv` pickle; only their byte versions may be used."""
    names = set(wire.Channel.receive.__code__.co_names) | set(wire.Channel.send_frame.__code__.co_names)
    assert "recv_bytes" in names and "recv" not in names
    assert "send_bytes" in names and "send" not in names
