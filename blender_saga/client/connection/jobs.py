"""The client's jobs: requests to the backend and their results."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ...errors import Cancelled, ErrorCode, UserError
from ...wire.messages import Cancel, Failed, Progress, Request, Stopped
from .connection import Connection, Event
from .reply_checks import RequestInfo, complaint, request_info

_LONGEST = 1000  # characters of a sentence


class JobState(Enum):
    """The state of a job; the values are texts for the user."""

    waiting = "waiting"
    running = "running"
    finished = "finished"
    failed = "failed"
    cancelled = "cancelled"


@dataclass(eq=False)
class Job:
    """A request and its result.

    Attributes:
        id: id of the request in messages.
        kind: class name of the request ("Train").
        state: waiting until the first message about it, then running, then one of the three ends.
        progress: the newest progress, or None.
        result: the reply (SceneState, Trained, Selection, Done, ...) of a finished job.
        error: the error of a failed job.
        cancelling: whether a cancellation was requested.
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
        """Progress of the current phase, 0 to 1."""
        return self.progress.step / self.progress.total if self.progress and self.progress.total > 0 else 0.0

    def outcome(self) -> object:
        """The reply of a finished job.

        Raises:
            UserError: if the job failed.
            Cancelled: if it was cancelled.
        """
        if self.error is not None:
            raise self.error
        if self.state is JobState.cancelled:
            raise Cancelled(self.kind)
        return self.result


def _line(text: str) -> str:
    """A text from another process as one line of limited length with valid characters."""
    return " ".join(text.split())[:_LONGEST].encode("utf-8", "replace").decode()


class JobTable:
    """The jobs that have not ended, by id."""

    def __init__(self) -> None:
        self._jobs: dict[int, Job] = {}
        self._info: dict[int, RequestInfo] = {}

    @property
    def active(self) -> list[Job]:
        """The waiting and running jobs, oldest first."""
        return list(self._jobs.values())

    def submit(self, connection: Connection, message: Request) -> Job:
        """Send a request. Raises UserError as `Connection.send` does."""
        job = Job(connection.send(message), type(message).__name__)
        self._jobs[job.id], self._info[job.id] = job, request_info(message)
        return job

    def cancel(self, connection: Connection, job: Job) -> None:
        """Request the cancellation of a job once, unless it has ended."""
        if not job.ended and not job.cancelling:
            connection.send(Cancel(job.id))
            job.cancelling = True

    def handle(self, event: Event) -> Job | None:
        """Process a message from the backend.

        Returns:
            The job of the message, or None if there is none (for the answer to a Cancel).
        """
        job_id, message = event
        job = self._jobs.get(job_id)
        if job is None:
            return None
        if isinstance(message, Progress):
            job.state, job.progress = JobState.running, message
            return job
        del self._jobs[job_id]
        about = self._info.pop(job_id)
        if isinstance(message, Failed):
            job.state = JobState.failed
            what = _line(message.what) or "The backend refused the request without a reason"
            job.error = UserError(what, _line(message.why), _line(message.fix), ErrorCode.of(message.code))
        elif isinstance(message, Stopped):
            job.state = JobState.cancelled
        elif why := complaint(about, message):
            fix = "Press Restart; nothing was changed"
            job.state, job.error = (
                JobState.failed,
                UserError("The backend's answer cannot be used", why, fix, ErrorCode.WIRE),
            )
        else:
            job.state, job.result = JobState.finished, message
        return job

    def fail_all(self, error: UserError) -> list[Job]:
        """End all jobs with this error when the backend is gone. Returns the jobs."""
        failed = self.active
        self._jobs.clear()
        self._info.clear()
        for job in failed:
            job.state, job.error = JobState.failed, error
        return failed
