"""The backend as Blender sees it: one object to start, stop, ask and poll (pure: threads, no bpy).

    backend = Backend(Launch(python, launch_path, addon_dir, log_path))
    backend.start()                                    # returns at once; state goes starting -> connected
    # Backend(remote_of("127.0.0.1:7860", key)) connects to one on another machine instead
    job = backend.submit(LoadScene(...), on_done=show)  # also while it starts: sent when it is connected
    backend.poll()                                     # from a timer on the main thread: runs the callbacks
    scene_state = backend.wait(job).outcome()          # instead, without a timer: headless, scripts, tests

Every method belongs to the main thread; none of them but `wait` and `stop` ever blocks.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from ..errors import ErrorCode, UserError
from ..wire.channel import Channel, connect, open_socket
from ..wire.messages import Progress, Welcome
from .connection.connection import Connection, ConnectionState
from .connection.jobs import Job, JobTable
from .connection.process import BackendProcess, Launch
from .connection.remote import Remote

_log = logging.getLogger(__name__)
_RUNNING = (ConnectionState.starting, ConnectionState.connected)
_UNCHANGED = "Press Restart; the scene in Blender is unchanged"
_RECONNECT = "Press Reconnect; the scene in Blender is unchanged and will be sent anew"


class Backend:
    """The backend's process, the connection to it and the jobs it works on.

    Attributes:
        launch: what is started, or connected to; a change takes effect at the next `start`.
        remote: what it is connected to since the last `start`, None for a process of ours.
        starts: how often it was started; a loaded scene is gone when this number has changed.
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
        """One sentence for the user when the state is lost or failed, else ""."""
        return "" if self._ended_by is None else self._ended_by.sentence()

    @property
    def state(self) -> ConnectionState:
        """Stopped, starting, connected, lost (it died) or failed (it could not be started), as of the last poll."""
        return self._state

    @property
    def welcome(self) -> Welcome | None:
        """What the backend said of itself (device, note), while connected."""
        return self._connection.welcome if self._connection and self._state is ConnectionState.connected else None

    @property
    def jobs(self) -> list[Job]:
        """The jobs that wait or run, oldest first."""
        return self._table.active

    def start(self) -> None:
        """Start the process and connect, or only connect, in the background; nothing if that is so or under way."""
        self.poll()
        if self._state in _RUNNING:
            return
        self._release()
        self._state, self._ended_by = ConnectionState.starting, None
        self.starts += 1
        _log.info("The backend is being started, for the %d. time", self.starts)
        if isinstance(self.launch, Remote):
            self.remote, self._connection = self.launch, Connection(self.launch.connect, carries=True)
            return
        self.remote, process = None, BackendProcess(self.launch)

        def start_and_connect() -> tuple[Channel, Welcome]:
            channel = open_socket(process.start())
            return channel, connect(channel, process.key, "Blender")

        self._process, self._connection = process, Connection(start_and_connect)

    def stop(self) -> None:
        """End the process (within about 2 s), or part from the one elsewhere, and end every job with it. Does nothing
        if it is stopped."""
        try:
            self.poll()  # what had arrived still counts
        finally:
            self._release()
            self._state, self._ended_by = ConnectionState.stopped, None
            self._finish(
                self._table.fail_all(
                    UserError("The backend was stopped", fix="Press Start to go on", code=ErrorCode.STOPPED)
                )
            )

    def restart(self) -> None:
        """Stop, then start. Scenes have to be loaded again."""
        self.stop()
        self.start()

    def submit(self, message: object, on_done: Callable[[Job], None] | None = None) -> Job:
        """Send a request (LoadScene, Train, Click, Unload) and return its job at once.

        Args:
            message: one of `wire.messages.REQUESTS`.
            on_done: called by `poll` or `wait`, on their thread, exactly once, when the job has
                finished, failed or was cancelled (also when the backend died or was stopped).

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
        """Ask the backend to stop a job; it ends as cancelled, or finishes if it was too late for that."""
        if self._connection is not None and self._connection.state in _RUNNING:
            self._table.cancel(self._connection, job)

    def poll(self) -> bool:
        """Take in what has arrived and run the callbacks of jobs that ended. Never blocks.

        Returns:
            Whether anything changed (state, progress, a job), so that the UI knows when to redraw.
        """
        if self._connection is None:
            return False
        state = self._connection.state  # before the events: what arrived before the end is not lost
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
        """Poll until the job has ended, for use where no timer runs.

        Args:
            job: from `submit`.
            timeout: seconds, None for no limit.
            on_progress: called with the newest progress of this job after every poll that changed it.

        Returns:
            The job; `job.outcome()` is its answer or raises what went wrong.

        Raises:
            UserError: when the time is over (code "timeout"); the job goes on.
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
            if left == 0 and not job.ended:  # progress that keeps coming is no answer
                raise _timeout(f"{job.kind} has not ended after {timeout:.0f} s")
        return job

    def wait_connected(self, timeout: float | None = None) -> Welcome:
        """Poll until the backend is connected and return what it said of itself.

        Raises:
            UserError: if it could not be started or is not running, or the time is over (code "timeout").
        """
        if self._connection is not None and not self._connection.wait_started(timeout):
            raise _timeout(f"it has not started after {timeout:.0f} s")
        self.poll()
        if self.welcome is None:
            raise self._why_not_running()
        return self.welcome

    def _why_not_running(self) -> UserError:
        return self._ended_by or UserError(*self.not_running(), code=ErrorCode.NOT_RUNNING)

    def not_running(self) -> tuple[str, str, str]:
        """What, why and what to do where a backend is needed and there is none."""
        if isinstance(self.launch, Remote):
            return "Blender is not connected to the backend", "", "Press Connect in the SAGA sidebar"
        return "The backend is not running", "", "Press Start in the SAGA sidebar"

    def _enter(self, state: ConnectionState) -> list[Job]:
        """Take over a state that the connection came to by itself, and return the jobs that it ended."""
        self._state = state
        _log.info("The backend is %s", state.value)
        error = self._connection.error if self._connection is not None else None
        if error is None:
            return []
        if self._process is not None:
            self._process.stop()
        if error.code == ErrorCode.LOST and self.remote is not None:
            why = f"the tunnel at {self.remote.name} was cut, or the backend at its other end has ended"
            error = UserError("The connection to the backend was lost", why, _RECONNECT, code=ErrorCode.LOST)
        elif self._process is not None and (
            error.code == ErrorCode.LOST or (error.code == ErrorCode.UNREACHABLE and self._process.died)
        ):
            error = UserError(error.what, self._process.exit_note(), _UNCHANGED, code=error.code)
        self._ended_by = error
        _log.warning("%s", self.error)
        return self._table.fail_all(error)

    def _finish(self, ended: list[Job]) -> None:
        """Run the callbacks of jobs that ended; one that raises must not cost the others theirs."""
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
        """End connection and process, whatever their state."""
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
    """Seconds until a moment of `time.monotonic`, at least 0; None for never."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())
