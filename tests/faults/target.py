"""A backend process that is fired at: frames through its socket with the right key, and what its memory comes to."""

from __future__ import annotations

import re
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from blender_saga.client.connection.process import BackendProcess, Launch
from blender_saga.wire import codec
from blender_saga.wire.channel import Address, Channel, ChannelClosed, connect, open_socket
from blender_saga.wire.codec import WireError
from blender_saga.wire.messages import BackendState, Cancel, Failed, Progress, Status, Train
from tests.faults.real import until
from tests.paths import ROOT

FAKE, REAL = ROOT / "tests" / "fakes" / "launch_fake.py", ROOT / "backend" / "launch.py"
SECONDS = 600.0
"""Limit of a wait that hangs; no single answer takes that long when all is well, also where everything is compiled
first on a busy machine."""
_ENDING = 64
"""Threads of clients that have gone which may still be ending; their stacks, too, are of the memory that is limited."""
_OWN = 1 << 40
"""Id of what is sent beside the frames."""


@dataclass
class Heard:
    """What a backend said to some frames.

    Attributes:
        kinds: how often each kind of answer came; codes: those of Failed.
        bugs: the reasons of those with code "bug", with a frame that had it.
        closed: connections that it closed, as it should.
        frames: sent.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    bugs: dict[str, bytes] = field(default_factory=dict)
    closed: int = 0
    frames: int = 0

    def take(self, answer: object, frame: bytes) -> None:
        """Note an answer."""
        self.kinds[type(answer).__name__] += 1
        if isinstance(answer, Failed):
            self.codes[answer.code] += 1
            assert answer.what
            if answer.code == "bug":
                self.bugs.setdefault(answer.why, frame)


class Target:
    """A running backend.

    Args:
        folder: for its log.
        script: FAKE or REAL.
    """

    def __init__(self, folder: Path, script: Path) -> None:
        self.process = BackendProcess(
            Launch(Path(sys.executable), script, ROOT / "blender_saga", folder / "log", "cpu")
        )
        self.address: Address = self.process.start()
        self.channel = self.connected()
        self._most_threads = sys.maxsize

    def connected(self) -> Channel:
        """A client that is welcome."""
        channel = open_socket(self.address)
        connect(channel, self.process.key, "a fuzzer")
        return channel

    def limit(self, more: int) -> None:
        """Let the process's address space grow by so many bytes and no further (Linux)."""
        if sys.platform == "linux":
            import resource

            self._most_threads = self._status(r"Threads:\s+(\d+)") + _ENDING
            most = self.memory("VmSize") + more
            resource.prlimit(self._pid, resource.RLIMIT_AS, (most, most))

    def memory(self, name: str = "VmHWM") -> int:
        """Bytes by a name of /proc/PID/status (Linux; else 0); VmHWM is the most that was ever resident."""
        return self._status(rf"{name}:\s+(\d+) kB") << 10

    def _status(self, line: str) -> int:
        if sys.platform != "linux":
            return 0
        found = re.search(f"^{line}", Path(f"/proc/{self._pid}/status").read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1])

    @property
    def _pid(self) -> int:
        assert self.process._child is not None
        return self.process._child.pid

    def ask(self, request: object) -> object:
        """The final answer to an honest request."""
        with _InTime(self.channel) as receive:
            self.channel.send(1, request)
            while True:
                message_id, answer = receive()
                if message_id == 1 and not isinstance(answer, Progress):
                    return answer

    def fire(self, frames: list[bytes], heard: Heard) -> None:
        """Send frames and wait for their answers; one without an id ends its connection, the next is a new one."""
        heard.frames += len(frames)
        while frames:
            answered, frames = _read_together(frames)
            until(lambda: self._status(r"Threads:\s+(\d+)") <= self._most_threads, "the end of former clients' threads")
            channel = self.connected()
            with _InTime(channel) as receive:
                self._exchange(receive, answered, heard)
                if frames:
                    channel.send_frame(frames[0])
                    _ended(receive)
                    frames, heard.closed = frames[1:], heard.closed + 1
            channel.close()

    def _exchange(self, receive: _InTime, frames: list[bytes], heard: Heard) -> None:
        """Send frames that have an id each; every one gets one final answer."""
        channel, expected = receive.channel, receive.expected
        for frame in frames:
            channel.send_frame(frame)
            message_id, message = _read(frame)
            expected.setdefault(message_id, []).append(frame)  # damage may give two of them one id
            if isinstance(message, Train) and not _short(message):
                channel.send(_OWN, Cancel(message_id))
        channel.send(_OWN, Status())
        alive = False
        while expected or not alive:
            message_id, answer = receive()
            alive = alive or (isinstance(answer, BackendState) and message_id == _OWN)
            if message_id != _OWN and not isinstance(answer, Progress):
                assert message_id in expected, f"{message_id} was answered twice, or never asked: {answer}"
                heard.take(answer, expected[message_id].pop(0))
                if not expected[message_id]:
                    del expected[message_id]

    def stop(self) -> None:
        """End it."""
        self.channel.close()
        self.process.stop()


def _short(request: Train) -> bool:
    """Whether a training ends soon by itself; what wild settings allow may take hours."""
    chosen, sam = request.settings, request.sources.sam
    sizes = (chosen.steps, chosen.views, chosen.width, chosen.height, chosen.pixels)
    found = request.sources.masks == "sam"
    quick = not found or (sam.points_per_side <= 3 and sam.longest_side <= 100 and sam.crop_layers <= 0)
    return quick and all(0 < size <= 100 for size in sizes)


class _InTime:
    """Receives from a channel; fails when nothing comes for so long, and says what was being waited for.

    Attributes:
        channel: the connection.
        expected: by id, the frames that have no final answer yet.
    """

    def __init__(self, channel: Channel) -> None:
        self.channel, self.expected = channel, dict[int, list[bytes]]()
        self._late = threading.Event()

    def __call__(self) -> tuple[int, object]:
        timer = threading.Timer(SECONDS, self._give_up)
        timer.daemon = True
        timer.start()
        try:
            return self.channel.receive()
        finally:
            timer.cancel()

    def __enter__(self) -> _InTime:
        return self

    def __exit__(self, *error: object) -> None:
        waiting = [str(_read(frame)[1]) for frames in self.expected.values() for frame in frames]
        assert not self._late.is_set(), f"no answer came for {SECONDS:.0f} s to any of: {'; '.join(waiting)}"

    def _give_up(self) -> None:
        self._late.set()
        self.channel.close()


def _read(frame: bytes) -> tuple[int, object]:
    """Id and message; (id, None) if it is none."""
    try:
        return codec.decode(frame)
    except WireError as error:
        return error.message_id, None


def _read_together(frames: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """The frames that can be answered up to the first that cannot, and the rest, beginning with that one."""
    for place, frame in enumerate(frames):
        message_id, message = _read(frame)
        if message is None and not message_id:
            return frames[:place], frames[place:]
    return frames, []


def _ended(receive: _InTime) -> None:
    with pytest.raises(ChannelClosed):
        while True:
            receive()
