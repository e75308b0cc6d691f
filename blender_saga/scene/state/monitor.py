"""What the panels show of the backend's work that no request of the user asked for: its memory, and the loss."""

from __future__ import annotations

import contextlib
import math
import time

from ...client.backend import Backend
from ...client.connection.connection import ConnectionState
from ...client.connection.jobs import Job
from ...errors import UserError
from ...wire.messages import BackendState, Status

_EVERY_SECONDS = 2.0
_PATIENCE_SECONDS = 5


class MemoryWatch:
    """Asks a connected backend now and then what it takes; never one that is stopped.

    Attributes:
        state: the newest answer, None while nothing is known.
        silent: whole seconds for which a connected backend has owed its answer; 0 as long as that is no matter.
    """

    def __init__(self) -> None:
        self.state: BackendState | None = None
        self._asked: Job | None = None
        self._next = 0.0
        self._refused = 0
        self._since = 0.0
        self.silent = 0

    def look(self, backend: Backend | None) -> bool:
        """Ask if it is time to. Returns whether there is something new to show."""
        before = self.state, self.silent
        if backend is None or backend.state is not ConnectionState.connected:
            self.state = self._asked = None
        elif self._asked is not None:
            self._take(backend)
        elif time.monotonic() >= self._next and self._refused != backend.starts:
            with contextlib.suppress(UserError):  # it is gone, and the next poll will say so
                self._asked, self._since = backend.submit(Status()), time.monotonic()
        waited = int(time.monotonic() - self._since) if self._asked is not None else 0
        self.silent = waited if waited >= _PATIENCE_SECONDS else 0
        return self.state is not before[0] or self.silent != before[1]

    def _take(self, backend: Backend) -> None:
        if self._asked is None or not self._asked.ended:
            return
        try:
            answer = self._asked.outcome()
        except UserError:  # nothing that the user needs to hear of; it would say the same again
            self._refused = backend.starts
        else:
            assert isinstance(answer, BackendState)
            self.state = answer
        self._asked, self._next = None, time.monotonic() + _EVERY_SECONDS


class LossCurve:
    """The losses of the training that runs or ran last.

    Attributes:
        points: step and loss, in order; as often as the progress arrived.
        total: steps in all.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.points: list[tuple[int, float]] = []
        self.total = 0

    def look(self, job: Job | None) -> None:
        """Take in the newest loss of a training."""
        progress = job.progress if job is not None else None
        if progress is None or not math.isfinite(progress.loss):
            return
        if not self.points or progress.step > self.points[-1][0]:
            self.points.append((progress.step, progress.loss))
            self.total = progress.total

    def columns(self, count: int) -> list[float]:
        """The mean loss in `count` equal parts of the training, as far as it has come; a part without one goes on."""
        sums, numbers = [0.0] * count, [0] * count
        for step, loss in self.points:
            column = min(count - 1, step * count // max(self.total, 1))
            sums[column] += loss
            numbers[column] += 1
        means: list[float] = []
        for total, number in zip(sums, numbers, strict=True):
            if number:
                means.append(total / number)
            elif means:
                means.append(means[-1])
        reached = self.points[-1][0] * count // max(self.total, 1) + 1 if self.points else 0
        return means[: min(reached, count)]
