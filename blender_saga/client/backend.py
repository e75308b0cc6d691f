"""The backend as Blender sees it: one object to start, stop, ask and poll (pure: threads, no bpy).

    backend = Backend(Launch(python, launch_path, addon_dir, log_path))
    backend.start()                                    # returns at once; state goes starting -> connected
    job = backend.submit(LoadScene(...), on_done=show)  # also while it starts: sent when it is connected
    backend.poll()                                     # from a timer on the main thread: runs the callbacks
    scene_state = backend.wait(job).outcome()          # instead, without a timer: headless, scripts, tests

Every method belongs to the main thread; none of them but `wait` and `stop` ever blocks.
"""

from __future__ import annotations

from collections.abc import Callable

from ..wire.messages import Progress, Welcome
from .connection import ConnectionState
from .jobs import Job
from .process import Launch


class Backend:
    """The backend's process, the connection to it and the jobs it works on.

    Attributes:
        launch: what is started; a change takes effect at the next `start`.
        state: stopped, starting, connected, lost (it died) or failed (it could not be started).
        error: one sentence for the user when the state is lost or failed, else "".
        welcome: what the backend said of itself (device, note) once connected, else None.
        starts: how often it was started; a loaded scene is gone when this number has changed.
        jobs: the jobs that wait or run, oldest first.
    """

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.starts = 0

    @property
    def state(self) -> ConnectionState: ...

    @property
    def error(self) -> str: ...

    @property
    def welcome(self) -> Welcome | None: ...

    @property
    def jobs(self) -> list[Job]: ...

    def start(self) -> None:
        """Start the process and connect, in the background. Does nothing if it is starting or connected."""

    def stop(self) -> None:
        """End the process (within about 2 s) and every job with it. Does nothing if it is stopped."""

    def restart(self) -> None:
        """Stop, then start. Scenes have to be loaded again."""

    def submit(self, message: object, on_done: Callable[[Job], None] | None = None) -> Job:
        """Send a request (LoadScene, Train, Click, Unload) and return its job at once.

        Args:
            message: one of `wire.messages.REQUESTS`.
            on_done: called by `poll` or `wait`, on their thread, exactly once, when the job has
                finished, failed or was cancelled (also when the backend died or was stopped).

        Raises:
            UserError: if the backend is neither starting nor connected, or the message is too large.
        """

    def cancel(self, job: Job) -> None:
        """Ask the backend to stop a job; it ends as cancelled, or finishes if it was too late for that."""

    def poll(self) -> bool:
        """Take in what has arrived and run the callbacks of jobs that ended. Never blocks.

        Returns:
            Whether anything changed (state, progress, a job), so that the UI knows when to redraw.
        """

    def wait(
        self, job: Job, timeout: float | None = None, on_progress: Callable[[Progress], None] | None = None
    ) -> Job:
        """Poll until the job has ended, for use where no timer runs.

        Args:
            job: from `submit`.
            timeout: seconds, None for no limit.
            on_progress: called with every progress of this job that was taken in.

        Returns:
            The job; `job.outcome()` is its answer or raises what went wrong.

        Raises:
            UserError: when the time is over (code "timeout"); the job goes on.
        """

    def wait_connected(self, timeout: float | None = None) -> Welcome:
        """Poll until the backend is connected and return what it said of itself.

        Raises:
            UserError: if it could not be started, or the time is over (code "timeout").
        """
