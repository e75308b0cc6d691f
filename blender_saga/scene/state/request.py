"""A request to the backend, preceded by its scene if necessary."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...client.backend import Backend
from ...client.connection.jobs import Job, JobState
from ...errors import ErrorCode, UserError
from ...wire.messages import LoadScene, Progress, Request, SceneState


class SceneRequest:
    """A message about a scene, preceded by LoadScene if necessary: two jobs with one result.

    Args:
        backend: the running backend.
        load: the scene to send first, or None.
        message: for example Train, Click or Cluster.
        on_loaded: called after the scene is loaded, with the start number of the backend.

    Attributes:
        message, load: as above.
        job: the current job, or the last one after the end.
        ended: whether the request has ended, successfully or not.
        on_end: called at the end.
    """

    def __init__(
        self,
        backend: Backend,
        load: LoadScene | None,
        message: Request,
        on_loaded: Callable[[LoadScene, SceneState, int], None],
    ) -> None:
        self.message, self.ended = message, False
        self.on_end: Callable[[SceneRequest], None] = lambda _: None
        self.load = load
        self._backend, self._on_loaded, self._note = backend, on_loaded, ""
        first, then = (load, self._loaded) if load is not None else (message, self._end)
        self.job: Job = backend.submit(first, then)

    def _loaded(self, job: Job) -> None:
        if not isinstance(job.result, SceneState) or self.load is None:
            self._end(job)
            return
        self._note = job.result.note
        if self.load.model_file and not Path(self.load.model_file).is_file():
            self._note = f"The model file {self.load.model_file} is missing"
        self._on_loaded(self.load, job.result, self._backend.starts)
        if job.cancelling:  # the scene is loaded, but the main message can still be cancelled
            job.state = JobState.cancelled
            self._end(job)
            return
        try:
            self.job = self._backend.submit(self.message, self._end)
        except UserError as error:  # the backend died between the two jobs
            job.error = error
            self._end(job)

    def _end(self, job: Job) -> None:
        self.job, self.ended = job, True
        self.on_end(self)

    def wait(self, on_progress: Callable[[Progress], None] | None = None) -> object:
        """Block until the request ends, for scripts and background mode. Returns `outcome`."""
        while not self.ended:
            self._backend.wait(self.job, on_progress=on_progress)
        return self.outcome()

    def outcome(self) -> object:
        """The reply.

        Raises:
            UserError: if the request failed; an unreadable model file is reported with its own reason.
            Cancelled: if the request was cancelled.
        """
        if self.job.error is not None and self.job.error.code == ErrorCode.NO_MODEL and self._note:
            raise UserError(self._note.rstrip("."), fix="Train it again", code=ErrorCode.NO_MODEL)
        return self.job.outcome()

    def cancel(self) -> None:
        """Request the cancellation."""
        self._backend.cancel(self.job)
