"""Jobs of the server: their threads, progress, answers and cancellation."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from blender_saga.errors import REPORT, Cancelled, ErrorCode, UserError
from blender_saga.wire import codec
from blender_saga.wire.channel import Channel, ChannelClosed
from blender_saga.wire.messages import Failed, Progress, Stopped

from ..common.progress import Control

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 0.05
"""Minimum time between two progress messages."""


class Outbox:
    """The messages on their way to one client. Answers keep their order; each job queues only its newest progress."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._changed = threading.Condition()
        self._answers: deque[bytes] = deque()
        self._progress: dict[int, bytes] = {}
        self._closing = False
        self._next_progress = 0.0
        self._thread = threading.Thread(target=self._write, name="sender", daemon=True)
        self._thread.start()

    def answer(self, message_id: int, message: object) -> None:
        """Queue the final answer of a request and drop its waiting progress."""
        frame = codec.encode(message_id, message)
        with self._changed:
            self._progress.pop(message_id, None)
            self._answers.append(frame)
            self._changed.notify()

    def progress(self, message_id: int, message: Progress) -> None:
        """Queue progress in place of waiting progress of the same job."""
        frame = codec.encode(message_id, message)
        with self._changed:
            self._progress[message_id] = frame
            self._changed.notify()

    def close(self, timeout: float = 0.0) -> None:
        """Send the waiting messages, for at most `timeout` seconds, and end."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout)

    def _write(self) -> None:
        try:
            while (frames := self._take()) is not None:
                for frame in frames:
                    self._channel.send_frame(frame)
        except ChannelClosed:
            pass  # the reader thread sees the same and cleans up
        except Exception as error:  # for example no memory: the client must see that no answer will come
            self._channel.close()
            log.error("A client cannot be answered: %s", error)

    def _take(self) -> list[bytes] | None:
        """Wait for frames to send: answers at once, progress at its rate even among many answers; None at the end.

        Due progress goes before the answers: it is small, and older than they are.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._answers or self._progress or self._closing)
            pause = self._next_progress - time.monotonic()
            if pause > 0:
                self._changed.wait_for(lambda: self._answers or self._closing, pause)
            frames: list[bytes] = []
            if self._progress and time.monotonic() >= self._next_progress:
                frames = list(self._progress.values())
                self._progress.clear()
                self._next_progress = time.monotonic() + PROGRESS_SECONDS
            if self._answers:
                frames.append(self._answers.popleft())
            return frames or (None if self._closing else [])


class Job(Control):
    """One request of one client, with the outbox for its answer."""

    def __init__(self, job_id: int, request: Any, outbox: Outbox) -> None:
        super().__init__()
        self.id = job_id
        self.request = request
        self._outbox = outbox
        self._phase = ""
        self._phase_began = (0.0, 0)

    @property
    def name(self) -> str:
        """The name for the log."""
        return f"{type(self.request).__name__} {self.id}"

    def emit(self, phase: str, step: int, total: int) -> None:
        """Send the progress, with an estimate of the remaining time of the phase."""
        now = time.monotonic()
        if phase != self._phase:
            self._phase, self._phase_began = phase, (now, step)
        began, first = self._phase_began
        eta = (now - began) / (step - first) * (total - step) if step > first else -1.0
        self._outbox.progress(self.id, Progress(phase, step, total, eta, self.loss))

    def answer(self, message: object) -> None:
        """Send the final answer."""
        self._outbox.answer(self.id, message)

    def check(self) -> None:
        """Raise Cancelled if the job was cancelled in the queue."""
        if self._cancelled:
            raise Cancelled(self.name)

    def run(self, work: Callable[[Job], object]) -> None:
        """Do the work and answer with its result or its error. Never raises."""
        try:
            self.answer(work(self))
        except Cancelled:
            log.info("%s was cancelled", self.name)
            self.answer(Stopped())
        except UserError as error:
            log.info("%s: %s", self.name, error)
            self.answer(Failed.of(error))
        except Exception as error:
            self.answer(failed_by_bug(error))
            log.error("%s failed with a bug", self.name, exc_info=error)


_NO_MEMORY = ("out of memory", "allocate memory", "not enough memory", "start new thread", "Cannot allocate")
"""Messages of torch, the system and Python's threads without memory; numpy and numba raise MemoryError."""


def failed_by_bug(error: BaseException) -> Failed:
    """The failure for the user after an unexpected exception, or after memory ran out."""
    why = f"{type(error).__name__}: {error}"[:500]
    if isinstance(error, MemoryError) or any(words in why for words in _NO_MEMORY):
        fix = "Close other programs, or train with fewer or smaller views; Restart frees the memory of the backend"
        return Failed(ErrorCode.NO_MEMORY, "The backend ran out of memory", str(error)[:500], fix)
    return Failed(ErrorCode.BUG, "Something went wrong in the backend", why, REPORT)


class Worker:
    """A thread with a queue of work."""

    def __init__(self, name: str) -> None:
        self._queue: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def put(self, work: Callable[[], None]) -> None:
        """Queue work; it should not raise."""
        self._queue.put(work)

    def _work(self) -> None:
        while True:
            try:
                self._queue.get()()
            except Exception:  # without memory even an answer may fail; the next work must still run
                with contextlib.suppress(Exception):
                    log.exception("Work failed with a bug")
