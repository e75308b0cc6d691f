"""A connected client of the server, and its jobs."""

from __future__ import annotations

import threading

from blender_saga.wire.channel import Channel

from .jobs import Job, Outbox


class Client:
    """A connected client.

    Attributes:
        channel: the channel to the client.
        scenes: names of its loaded scenes.
        outbox: the messages on their way to it.
    """

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.scenes: set[str] = set()
        self.outbox = Outbox(channel)
        self._jobs: dict[int, Job] = {}
        self._lock = threading.Lock()

    def add(self, job_id: int, request: object) -> Job | None:
        """Add a job; None if a job of that id still runs, which could not be cancelled any more."""
        job = Job(job_id, request, self.outbox)
        with self._lock:
            return job if self._jobs.setdefault(job_id, job) is job else None

    def remove(self, job: Job) -> None:
        """Remove a job that has ended."""
        with self._lock:
            self._jobs.pop(job.id, None)

    def cancel(self, job_id: int) -> None:
        """Cancel a job. An unknown id is no error: the answer of the job may have crossed the request."""
        with self._lock:
            job = self._jobs.get(job_id)
        if job is not None:
            job.cancel()

    def close(self) -> None:
        """Cancel every job: nobody waits for its answer, and it would block the trainings of others.

        The channel closes first, so the client sees a lost connection instead of cancelled trainings.
        """
        self.channel.close()
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.cancel()
        self.outbox.close()
