"""The client of the backend: one object to start, stop, query and poll it (pure: threads, no bpy).

    backend = Backend(Launch(python, launch_path, addon_dir, log_path))
    backend.start()                                    # returns at once; state goes starting -> connected
    # Backend(remote_of("127.0.0.1:7860", key)) connects to a backend on another machine instead
    job = backend.submit(LoadScene(...), on_done=show)  # also while it starts: sent when it is connected
    backend.poll()                                     # from a timer on the main thread: runs the callbacks
    scene_state = backend.wait(job).outcome()          # alternative without a timer: headless, scripts, tests

Call all methods on the main thread; only `wait` and `stop` block.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from ..errors import ErrorCode, UserError
from ..wire.channel import Channel, connect, open_socket
from ..wire.messages import Progress, Request, Welcome
from .connection.connection import Connection, ConnectionState
from .connection.jobs import Job, JobTable
from .connection.process import BackendProcess, Launch
from .connection.remote import Remote

_log = logging.getLogger(__name__)
_RUNNING = (ConnectionState.starting, ConnectionState.connected)
_UNCHANGED = "Press Restart; the scene in Blender is unchanged"
_RECONNECT = "Press Reconnect; the scene in Blender is unchanged and will be sent again"


class Backend:
    """The backend's process, the connection to it and its jobs.

    Attributes:
        launch: how to start the backend, or the remote backend; changes take effect at the next `start`.
        remote: the remote backend of the last `start`; None for a local process.
        starts: number of starts; when it changes, loaded scenes are gone.
    """

    def __init__(self, launch: Launch | Remote) -> None:
        self.launch = launch
        self.remote: Remote | None = None
        self.starts = 0
        self._process: BackendProcess | None = None
        self._connection: Connection | None = None
        self._table = JobTable()
        self._callbacks: dict[Job, Callable[[Job], None]] = {}
        self._state = ConnectionState.stopped
        self._ended_by: UserError | None = None

    @property
    def error(self) -> str:
        """One sentence for the user if the state is lost or failed, otherwise ""."""
        return "" if self._ended_by is None else self._ended_by.sentence()

    @property
    def state(self) -> ConnectionState:
        """The state at the last poll: stopped, starting, connected, lost (it died) or failed (it did not start)."""
        return self._state

    @property
    def welcome(self) -> Welcome | None:
        """The backend's self-description (device, note) while connected."""
        return self._connection.welcome if self._connection and self._state is ConnectionState.connected else None

    @property
    def jobs(self) -> list[Job]:
        """The waiting and running jobs, oldest first."""
        return self._table.active

    def start(self) -> None:
        """Start the process and connect to it, or only connect, in the background; do nothing if already started."""
        self.poll()
        if self._state in _RUNNING:
            return
        self._release()
        self._state, self._ended_by = ConnectionState.starting, None
        self.starts += 1
        _log.info("Starting the backend (start %d)", self.starts)
        if isinstance(self.launch, Remote):
            self.remote, self._connection = self.launch, Connection(self.launch.connect, carries=True)
            return
        self.remote, process = None, BackendProcess(self.launch)

        def start_and_connect() -> tuple[Channel, Welcome]:
            channel = open_socket(process.start())
            return channel, connect(channel, process.key, "Blender")

        self._process, self._connection = process, Connection(start_and_connect)

    def stop(self) -> None:
        """Stop the process (within about 2 s), or disconnect from a remote backend, and end all jobs.

        Does nothing if it is stopped.
        """
        try:
            self.poll()  # handle answers that have already arrived
        finally:
            self._release()
            self._state, self._ended_by = ConnectionState.stopped, None
            self._finish(
                self._table.fail_all(
                    UserError("The backend was stopped", fix="Press Start to continue", code=ErrorCode.STOPPED)
                )
            )

    def restart(self) -> None:
        """Stop, then start. Scenes must be loaded again."""
        self.stop()
        self.start()

    def submit(self, message: Request, on_done: Callable[[Job], None] | None = None) -> Job:
        """Send a request, such as LoadScene or Click, and return its job at once.

        Args:
            message: the request.
            on_done: called exactly once by `poll` or `wait`, on their thread, when the job has finished, failed or
                was cancelled (also when the backend died or was stopped).

        Raises:
            UserError: if the backend is neither starting nor connected, or the message is too large.
        """
        if self._connection is None or (self.remote is not None and self._connection.state not in _RUNNING):
            raise UserError(*self.not_running(), code=ErrorCode.NOT_RUNNING)
        job = self._table.submit(self._connection, message)
        if on_done is not None:
            self._callbacks[job] = on_done
        return job

    def cancel(self, job: Job) -> None:
        """Ask the backend to cancel a job; the job finishes if the request comes too late."""
        if self._connection is not None and self._connection.state in _RUNNING:
            self._table.cancel(self._connection, job)

    def poll(self) -> bool:
        """Process received messages and run the callbacks of ended jobs. Never blocks.

        Returns:
            Whether the state, the progress or a job has changed, so that the UI must be redrawn.
        """
        if self._connection is None:
            return False
        state = self._connection.state  # read before the events, so that none that arrived before the end is lost
        touched = [self._table.handle(event) for event in self._connection.events()]
        changed = state is not self._state or any(touched)
        ended = [job for job in touched if job is not None and job.ended]
        if state is not self._state:
            ended += self._enter(state)
        self._finish(ended)
        return changed

    def wait(
        self, job: Job, timeout: float | None = None, on_progress: Callable[[Progress], None] | None = None
    ) -> Job:
        """Poll until the job has ended, for use without a timer.

        Args:
            job: a job from `submit`.
            timeout: limit in seconds, or None.
            on_progress: called with the newest progress of the job after every poll that changed it.

        Returns:
            The job; `job.outcome()` returns its answer or raises its error.

        Raises:
            UserError: after the timeout (code "timeout"); the job continues.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        seen = job.progress
        while not job.ended:
            left = _remaining(deadline)
            if self._connection is not None:
                self._connection.wait(left)
            self.poll()
            if on_progress is not None and job.progress is not None and job.progress is not seen:
                seen = job.progress
                on_progress(seen)
            if left == 0 and not job.ended:  # progress alone must not extend the wait
                raise _timeout(f"{job.kind} has not ended within {timeout:.0f} s")
        return job

    def wait_connected(self, timeout: float | None = None) -> Welcome:
        """Poll until the backend is connected. Returns its self-description.

        Raises:
            UserError: if it did not start or is not running, or after the timeout (code "timeout").
        """
        if self._connection is not None and not self._connection.wait_started(timeout):
            raise _timeout(f"it has not started within {timeout:.0f} s")
        self.poll()
        if self.welcome is None:
            raise self._why_not_running()
        return self.welcome

    def _why_not_running(self) -> UserError:
        return self._ended_by or UserError(*self.not_running(), code=ErrorCode.NOT_RUNNING)

    def not_running(self) -> tuple[str, str, str]:
        """What, why and fix of the error for a request without a backend."""
        if isinstance(self.launch, Remote):
            return "Blender is not connected to the backend", "", "Press Connect in the SAGA sidebar"
        return "The backend is not running", "", "Press Start in the SAGA sidebar"

    def _enter(self, state: ConnectionState) -> list[Job]:
        """Adopt a state change of the connection. Returns the jobs that it ended."""
        self._state = state
        _log.info("The backend is %s", state.value)
        error = self._connection.error if self._connection is not None else None
        if error is None:
            return []
        if self._process is not None:
            self._process.stop()
        if error.code == ErrorCode.LOST and self.remote is not None:
            why = f"the tunnel at {self.remote.name} was closed, or the backend at its other end has ended"
            error = UserError("The connection to the backend was lost", why, _RECONNECT, code=ErrorCode.LOST)
        elif self._process is not None and (
            error.code == ErrorCode.LOST or (error.code == ErrorCode.UNREACHABLE and self._process.died)
        ):
            error = UserError(error.what, self._process.exit_note(), _UNCHANGED, code=error.code)
        self._ended_by = error
        _log.warning("%s", self.error)
        return self._table.fail_all(error)

    def _finish(self, ended: list[Job]) -> None:
        """Run the callbacks of ended jobs; an error in one must not prevent the others."""
        errors = []
        for job in ended:
            callback = self._callbacks.pop(job, None)
            if callback is not None:
                try:
                    callback(job)
                except Exception as error:
                    errors.append(error)
        if errors:
            raise errors[0]

    def _release(self) -> None:
        """Close the connection and end the process, in any state."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.stop()
        self._connection = self._process = None


def _timeout(why: str) -> UserError:
    return UserError(
        "The backend did not answer in time", why, "Wait, or press Stop, then Start", code=ErrorCode.TIMEOUT
    )


def _remaining(deadline: float | None) -> float | None:
    """Seconds until a time of `time.monotonic`, at least 0; None for no deadline."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())
