"""A backend that sends whatever it likes: Blender's side is left in a state it knows, with a sentence, and small."""

from __future__ import annotations

import struct
import threading
import tracemalloc

import pytest

from blender_saga.client.connection.connection import Connection, ConnectionState
from blender_saga.client.connection.jobs import Job, JobTable
from blender_saga.errors import UserError
from blender_saga.wire import codec
from blender_saga.wire.channel import Channel, Listener, connect, open_socket
from blender_saga.wire.codec import WireError
from blender_saga.wire.messages import (
    PROTOCOL_VERSION,
    Done,
    Failed,
    Hello,
    Progress,
    Selection,
    Welcome,
)
from tests.fakes.scripted import KEY, ScriptedBackend
from tests.faults.frames import Fuzzer
from tests.faults.honest import click, every_message

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numbers too large for float32
SECONDS = 60.0
ENDS = (ConnectionState.lost, ConnectionState.failed)


def receives(frames: list[bytes]) -> tuple[Connection, list[tuple[int, object]]]:
    """What a client has of a backend that sends these frames and hangs up."""

    def script(channel: Channel) -> None:
        for frame in frames:
            channel.send_frame(frame)

    backend = ScriptedBackend(script)
    connection = Connection(backend.connect)
    events = []
    while connection.wait(SECONDS) and not connection._is_over():
        events += connection.events()
    events += connection.events()
    backend.join()
    return connection, events


def test_any_frames(case, counts, seed: int) -> None:
    connections, each, taken = counts(reduced=150, full=2_000), 20, 0
    with case(f"fuzz: {connections * each:,} frames of a hostile backend at Blender's side") as row:
        fuzzer = Fuzzer(seed, every_message(seed))
        for _ in range(connections):
            frames = [fuzzer.frame(number) for number in range(1, each + 1)]
            connection, events = receives(frames)
            assert connection.state in ENDS and connection.error is not None
            assert connection.error.what and "\n" not in connection.error.what
            assert len(events) <= _readable(frames)
            table, jobs = asked(each)
            for event in events:
                table.handle(event)
            assert all(job.error is None or job.error.what for job in jobs)
            taken += len(events)
        row.lost, row.remark = "nothing", f"{taken:,} were messages and handed on; seed {seed}"


def _readable(frames: list[bytes]) -> int:
    """How many come before the first that is no message."""
    for place, frame in enumerate(frames):
        try:
            codec.decode(frame)
        except WireError:
            return place
    return len(frames)


class _Wire:
    """In place of a connection: it numbers what is sent."""

    def __init__(self) -> None:
        self._number = 0

    def send(self, message: object) -> int:
        self._number += 1
        return self._number


def asked(count: int) -> tuple[JobTable, list[Job]]:
    """A table that waits for answers to clicks."""
    table, wire = JobTable(), _Wire()
    return table, [table.submit(wire, click("toy")) for _ in range(count)]  # type: ignore[arg-type]


def test_only_answers_that_fit_become_results(counts, seed: int) -> None:
    fuzzer = Fuzzer(seed, every_message(seed))
    for _ in range(counts(reduced=200, full=5_000)):
        table, jobs = asked(1)
        try:
            _, message = codec.decode(fuzzer.harmless(fuzzer.scratch, 1))
        except WireError:
            continue
        table.handle((1, message))
        if jobs[0].result is not None:
            assert isinstance(message, Selection) and len(message.bits) == -(-message.total // 8)
        elif jobs[0].ended and not isinstance(message, Failed):
            assert jobs[0].error is None or jobs[0].error.code == "wire"


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xff\xff\xff" + struct.pack("!Q", codec.MAX_FRAME),
        b"\xff\xff\xff\xff" + struct.pack("!Q", codec.MAX_FRAME + 1),
        b"\x7f\xff\xff\xff",
        b"\x80\x00\x00\x00",
        b"\x00\x00",
    ],
    ids=["4 GiB", "more", "2 GiB", "negative", "half a length"],
)
def test_lengths_that_lie_cost_nothing(raw: bytes) -> None:
    backend = ScriptedBackend(lambda channel: channel._socket.sendall(raw + b"not as much"[: len(raw)]))
    tracemalloc.start()
    try:
        connection = Connection(backend.connect)
        assert connection.wait(SECONDS)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert connection.state is ConnectionState.lost and connection.error is not None
    backend.join()


def test_progress_does_not_pile_up_while_blender_looks_away() -> None:
    frames = [codec.encode(3, Progress("training", step, 5_000)) for step in range(5_000)]
    backend = ScriptedBackend(
        lambda channel: [channel.send_frame(frame) for frame in [*frames, codec.encode(3, Done())]]
    )
    connection = Connection(backend.connect)
    with connection._changed:
        assert connection._changed.wait_for(connection._is_over, SECONDS)
    assert [type(message) for _, message in connection.events()] == [Progress, Done]
    backend.join()


ANSWERS_TO_HELLO = {
    "not a message": b"\x00" * 100,
    "another kind": codec.encode(0, Done()),
    "Hello": codec.encode(0, Hello()),
    "another version": codec.encode(0, Welcome(protocol=PROTOCOL_VERSION + 1)),
    "too long": codec.encode(0, Welcome(note="x" * (1 << 17))),
    "a refusal": codec.encode(0, Failed("device", "No such device", "there is none", "Choose cpu")),
}


@pytest.mark.parametrize("frame", ANSWERS_TO_HELLO.values(), ids=ANSWERS_TO_HELLO)
def test_a_server_that_greets_wrongly(frame: bytes) -> None:
    listener = Listener(KEY)

    def serve() -> None:
        channel = listener.accept()
        channel.authenticate(KEY, first=True)
        channel.receive()
        channel.send_frame(frame)

    def meet() -> tuple[Channel, Welcome]:
        channel = open_socket(listener.address)
        return channel, connect(channel, KEY)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    connection = Connection(meet)
    assert connection.wait_started(SECONDS)
    assert connection.state is ConnectionState.failed
    assert isinstance(connection.error, UserError) and connection.error.what
    thread.join(SECONDS)
    assert not thread.is_alive()
    listener.close()


def test_what_cannot_be_taken_in_ends_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """No memory for an array that came, or a bug of ours: the reader does not end in silence."""

    def no_memory(frame: bytes) -> tuple[int, object]:
        raise MemoryError("no room for 3 GiB")

    hello = threading.Event()

    def script(channel: Channel) -> None:
        hello.wait(SECONDS)
        channel.send(1, Done())

    backend = ScriptedBackend(script)
    connection = Connection(backend.connect)
    assert connection.wait_started(SECONDS)
    monkeypatch.setattr(codec, "decode", no_memory)
    hello.set()
    assert connection.wait(SECONDS)
    assert connection.state is ConnectionState.lost
    assert connection.error is not None and "no room for 3 GiB" in connection.error.why and connection.error.fix
    backend.join()
