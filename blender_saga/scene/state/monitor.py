"""Background information for the panels: the backend's memory use and the training loss."""

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
    """Polls the memory use of a connected backend.

    Attributes:
        state: the newest answer; None if there is none.
        silent: seconds that a connected backend is late with its answer; 0 while the delay is normal.
    """

    def __init__(self) -> None:
        self.state: BackendState | None = None
        self._status: Job | None = None
        self._next = 0.0
        self._refused = 0
        self._since = 0.0
        self.silent = 0

    def look(self, backend: Backend | None) -> bool:
        """Send a request if one is due. Returns whether there is new information to show."""
        before = self.state, self.silent
        if backend is None or backend.state is not ConnectionState.connected:
            self.state = self._status = None
        elif self._status is not None:
            self._take(backend)
        elif time.monotonic() >= self._next and self._refused != backend.starts:
            with contextlib.suppress(UserError):  # the connection is lost; the next poll reports it
                self._status, self._since = backend.submit(Status()), time.monotonic()
        waited = int(time.monotonic() - self._since) if self._status is not None else 0
        self.silent = waited if waited >= _PATIENCE_SECONDS else 0
        return self.state is not before[0] or self.silent != before[1]

    def _take(self, backend: Backend) -> None:
        if self._status is None or not self._status.ended:
            return
        try:
            answer = self._status.outcome()
        except UserError:  # not important to the user, and it would repeat
            self._refused = backend.starts
        else:
            assert isinstance(answer, BackendState)
            self.state = answer
        self._status, self._next = None, time.monotonic() + _EVERY_SECONDS


class LossCurve:
    """The losses of the current or last training.

    Attributes:
        points: step and loss of each progress report, in order.
        total: total number of steps.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Start a new curve."""
        self.points: list[tuple[int, float]] = []
        self.total = 0

    def look(self, job: Job | None) -> None:
        """Add the newest loss of a training."""
        progress = job.progress if job is not None else None
        if progress is None or not math.isfinite(progress.loss):
            return
        if not self.points or progress.step > self.points[-1][0]:
            self.points.append((progress.step, progress.loss))
            self.total = progress.total

    def columns(self, count: int) -> list[float]:
        """The mean loss in up to `count` equal parts of the training; an empty part repeats the one before."""
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
