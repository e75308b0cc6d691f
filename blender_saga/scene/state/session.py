"""What this run of Blender knows beyond the .blend: the backend, what it works on, the line that the panels show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...client.backend import Backend
from ...client.connection.connection import ConnectionState
from ...client.connection.jobs import Job, JobState
from ...client.connection.process import Launch
from ...client.connection.remote import Remote
from ...client.install.installation import Installation
from ...errors import ErrorCode, UserError
from ...wire.messages import (
    Candidates,
    Click,
    Cluster,
    Color,
    FetchModel,
    FetchWeights,
    FindText,
    LoadScene,
    LookAhead,
    NameSegments,
    Progress,
    Recolor,
    SceneState,
    Train,
    Trained,
)
from .log import journal, logger
from .monitor import LossCurve, MemoryWatch

Ask = Train | Click | Cluster | Color | FindText | NameSegments | Recolor | FetchModel | FetchWeights | LookAhead


class Request:
    """A message about a scene, before it the LoadScene that it needs: two jobs, one end.

    Attributes:
        message: a Train, Click, Cluster or the like.
        load: the scene that is sent before it, or None.
        job: the one that is under way, at the end the last one.
        ended: whether it is over, one way or the other.
    """

    def __init__(self, backend: Backend, load: LoadScene | None, message: Ask) -> None:
        self.message, self.ended = message, False
        self.on_end: Callable[[Request], None] = lambda _: None
        self.load = load
        self._backend, self._note = backend, ""
        first, then = (load, self._loaded) if load is not None else (message, self._end)
        self.job: Job = backend.submit(first, then)

    def _loaded(self, job: Job) -> None:
        if not isinstance(job.result, SceneState) or self.load is None:
            self._end(job)
            return
        self._note = job.result.note
        if self.load.model_file and not Path(self.load.model_file).is_file():
            self._note = f"The model {self.load.model_file} is gone"
        session.scene_loaded(self.load, self._backend.starts)
        session.levels[self.load.scene] = job.result.levels
        if job.cancelling:  # too late for the scene, in time for what it was sent for
            job.state = JobState.cancelled
            self._end(job)
            return
        try:
            self.job = self._backend.submit(self.message, self._end)
        except UserError as error:  # the backend died in between
            job.error = error
            self._end(job)

    def _end(self, job: Job) -> None:
        self.job, self.ended = job, True
        self.on_end(self)

    def wait(self, on_progress: Callable[[Progress], None] | None = None) -> object:
        """Block until it is over, for scripts and background mode; `outcome`."""
        while not self.ended:
            self._backend.wait(self.job, on_progress=on_progress)
        return self.outcome()

    def outcome(self) -> object:
        """The reply.

        Raises:
            UserError: what went wrong; a model that could not be opened is told by its own reason.
            Cancelled: if it was cancelled.
        """
        if self.job.error is not None and self.job.error.code == ErrorCode.NO_MODEL and self._note:
            raise UserError(self._note.rstrip("."), fix="Train it again", code=ErrorCode.NO_MODEL)
        return self.job.outcome()

    def cancel(self) -> None:
        """Ask the backend to stop it."""
        self._backend.cancel(self.job)


@dataclass(frozen=True, eq=False)
class Training:
    """One training of one object.

    Attributes:
        request: what the backend works on.
        uid: `session_uid` of the object: the name may change meanwhile, and undo ends references.
        fingerprint: of the cloud that was sent.
        count: number of its Gaussians.
    """

    request: Request
    uid: int
    fingerprint: str
    count: int


class Session:
    """One per Blender; `session` below.

    Attributes:
        backend: the one that was started last, or None.
        installation: the one that runs or ran last, or None.
        training: the training that runs or ran last, or None; `search`: the same for finding things and colors;
            `fetching`: for weights.
        trained: what the last training came to, None before and while it runs.
        interrupted: the training that the end of its backend has cut off, None without one.
        memory, losses: what the panels show of the backend and of its training.
        message: the last thing worth telling, for the panels; `failed` says whether it is an error.
        candidates: what the last text may mean, None before the first; `chosen`: number of the one that is selected, -1
            for none; `texts`: how many there were.
        models: fingerprint -> path of models trained in this run, so that an undo does not forget them.
        levels: fingerprint -> levels of granularity that its model knows, 0 for any scale.
        unsaved: fingerprint -> start number of the backend that alone has its model, and why that could not be saved.
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self.backend: Backend | None = None
        self.installation: Installation | None = None
        self.training: Request | None = None
        self.search: Request | None = None
        self.fetching: Request | None = None
        self.trained: Trained | None = None
        self.interrupted: Training | None = None
        self.memory, self.losses = MemoryWatch(), LossCurve()
        self.message, self.failed = "", False
        self.candidates: Candidates | None = None
        self.chosen, self.texts = -1, 0
        self.models: dict[str, str] = {}
        self.levels: dict[str, int] = {}
        self.unsaved: dict[str, tuple[int, str]] = {}
        self._loaded: dict[str, tuple[int, np.ndarray]] = {}

    def start(self, launch: Launch | Remote) -> Backend:
        """Start the backend if it is not running, or connect to it; it comes up in the background."""
        if self.backend is None:
            self.backend = Backend(launch)
        self.backend.launch = launch
        self.tell("")
        self.backend.start()
        return self.backend

    def stop(self) -> None:
        """End the backend and what it works on."""
        if self.backend is not None:
            self.backend.stop()

    def close(self) -> None:
        """End everything: the extension is being disabled."""
        if self.installation is not None:
            self.installation.cancel()
        self.stop()
        self._forget()

    def connected(self) -> Backend:
        """The running backend.

        Raises:
            UserError: if it is not running; the text says what to press.
        """
        state = self.backend.state if self.backend is not None else ConnectionState.stopped
        if self.backend is not None and state in (ConnectionState.connected, ConnectionState.starting):
            return self.backend
        if self.backend is None:
            raise UserError(
                "The backend is not running", fix="Press Start in the SAGA sidebar", code=ErrorCode.NOT_STARTED
            )
        what, _, fix = self.backend.not_running()
        if self.backend.error and self.backend.remote is not None:
            fix = ""  # the error of a connection says itself what to do
        raise UserError(what, self.backend.error.rstrip("."), fix, code=ErrorCode.NOT_STARTED)

    def request(self, load: LoadScene | None, message: Ask) -> Request:
        """Send a request to the running backend, before it the scene if it has to be (re)loaded."""
        return Request(self.connected(), load, message)

    def scene_loaded(self, load: LoadScene, starts: int) -> None:
        """Remember what the backend has of a scene, since its start number `starts`."""
        self._loaded[load.scene] = (starts, means_of(load))

    def holds(self, scene: str) -> bool:
        """Whether the running backend has a model of a scene that is in no file."""
        starts, _ = self.unsaved.get(scene, (0, ""))
        return self.backend is not None and starts == self.backend.starts

    def loaded_means(self, scene: str) -> np.ndarray | None:
        """[count,3] float32 centers by id as the running backend has them, NaN for missing ones; None: not loaded."""
        starts, means = self._loaded.get(scene, (0, None))
        return means if self.backend is not None and starts == self.backend.starts else None

    def poll(self) -> bool:
        """Take in what has happened and run the callbacks (main thread). Returns whether the panels should redraw."""
        changed = self.backend.poll() if self.backend is not None else False
        if self.training is not None and not self.training.ended:
            self.losses.look(self.training.job)
        changed = self.memory.look(self.backend) or changed
        return changed or (self.installation is not None and self.installation.changed())

    def tell(self, message: str, failed: bool = False) -> None:
        """Set the line that the panels show."""
        self.message, self.failed = message, failed
        if failed:
            journal.failed("panel", message)
        elif message:
            logger.info("panel: %s", message)


def means_of(load: LoadScene) -> np.ndarray:
    """[count,3] float32 centers by id as a message sends them, NaN for missing ones."""
    means = np.full((load.count, 3), np.nan, np.float32)
    means[load.ids if len(load.ids) else slice(None)] = load.cloud.means
    return means


session = Session()
