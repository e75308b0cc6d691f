"""A connected client of the server and the jobs that it has asked for."""

from __future__ import annotations

import threading

from blender_saga.wire.channel import Channel

from .jobs import Job, Outbox


class Client:
    """A connected client.

    Attributes:
        channel: to it.
        scenes: those that it has loaded.
        outbox: what is on its way to it.
    """

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.scenes: set[str] = set()
        self.outbox = Outbox(channel)
        self._jobs: dict[int, Job] = {}
        self._lock = threading.Lock()

    def add(self, job_id: int, request: object) -> Job | None:
        """A new job; None if one of that id has not ended: in its place it could not be cancelled any more."""
        job = Job(job_id, request, self.outbox)
        with self._lock:
            return job if self._jobs.setdefault(job_id, job) is job else None

    def remove(self, job: Job) -> None:
        """Forget a job that has ended."""
        with self._lock:
            self._jobs.pop(job.id, None)

    def cancel(self, job_id: int) -> None:
        """Cancel a job; one that has ended, or never was, is no error: its answer may have crossed the request."""
        with self._lock:
            job = self._jobs.get(job_id)
        if job is not None:
            job.cancel()

    def close(self) -> None:
        """Cancel every job: nobody is left to hear of it, and it would keep others from training.

        The channel first: whom we part from is to see that, not trainings that look as if somebody had cancelled them.
        """
        self.channel.close()
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.cancel()
        self.outbox.close()
