"""Requests that the backend works on, as the client sees them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ..wire.errors import Cancelled, UserError
from ..wire.messages import Progress


class JobState(Enum):
    """How far a job is; the values are words for the user."""

    waiting = "waiting"
    running = "running"
    finished = "finished"
    failed = "failed"
    cancelled = "cancelled"


@dataclass(eq=False)
class Job:
    """One request and what became of it.

    Attributes:
        id: its number on the wire.
        kind: class name of the request ("Train").
        state: waiting until the backend says something about it, then running, then one of the three ends.
        progress: the newest, or None.
        result: the reply (SceneState, Trained, Selection, Done, ...) once finished.
        error: what to tell the user once failed.
        cancelling: whether a cancel was asked for.
    """

    id: int
    kind: str
    state: JobState = JobState.waiting
    progress: Progress | None = None
    result: object | None = None
    error: UserError | None = None
    cancelling: bool = False

    @property
    def ended(self) -> bool:
        """Whether it has finished, failed or was cancelled."""
        return self.state in (JobState.finished, JobState.failed, JobState.cancelled)

    @property
    def fraction(self) -> float:
        """Progress of the present phase, 0 to 1."""
        return self.progress.step / self.progress.total if self.progress and self.progress.total > 0 else 0.0

    def outcome(self) -> object:
        """The reply of a finished job.

        Raises:
            UserError: what went wrong, if it failed.
            Cancelled: if it was cancelled.
        """
        if self.error is not None:
            raise self.error
        if self.state is JobState.cancelled:
            raise Cancelled(self.kind)
        return self.result
