"""State of this run of Blender that is not in the .blend: the backend, its requests, the panels' message."""

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
    """A message about a scene, preceded by LoadScene if necessary: two jobs with one result.

    Attributes:
        message: for example Train, Click or Cluster.
        load: the scene to send first, or None.
        job: the current job, or the last one after the end.
        ended: whether the request has ended, successfully or not.
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
            self._note = f"The model file {self.load.model_file} is missing"
        session.scene_loaded(self.load, self._backend.starts)
        session.levels[self.load.scene] = job.result.levels
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


@dataclass(frozen=True, eq=False)
class Training:
    """One training of one object.

    Attributes:
        request: the request to the backend.
        uid: `session_uid` of the object, because names can change and undo invalidates references.
        fingerprint: fingerprint of the sent cloud.
        count: number of its Gaussians.
    """

    request: Request
    uid: int
    fingerprint: str
    count: int


class Session:
    """The state of this Blender process; see `session` below.

    Attributes:
        backend: the last started backend, or None.
        installation: the current or last installation, or None.
        training: the current or last training, or None; `search`: the same for searches and colors; `fetching`: the
            same for weights.
        trained: result of the last training; None before its end.
        interrupted: the training that was interrupted when its backend ended, or None.
        memory, losses: memory use and losses for the panels.
        message: the last message for the panels; `failed` says whether it is an error.
        candidates: candidates of the last text search, or None; `chosen`: number of the selected candidate, -1 for
            none; `texts`: number of searches.
        models: fingerprint -> path of models trained in this run, so that undo does not lose them.
        levels: fingerprint -> granularity levels of the model, 0 for a continuous scale.
        unsaved: fingerprint -> start number of the only backend with the model, and the reason why saving failed.
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
        """Start the backend in the background if it is not running, or connect to it."""
        if self.backend is None:
            self.backend = Backend(launch)
        self.backend.launch = launch
        self.tell("")
        self.backend.start()
        return self.backend

    def stop(self) -> None:
        """Stop the backend and its jobs."""
        if self.backend is not None:
            self.backend.stop()

    def close(self) -> None:
        """Stop everything when the extension is disabled."""
        if self.installation is not None:
            self.installation.cancel()
        self.stop()
        self._forget()

    def connected(self) -> Backend:
        """The running backend.

        Raises:
            UserError: if the backend is not running; the text names the button to press.
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
            fix = ""  # the error of a connection includes its own fix
        raise UserError(what, self.backend.error.rstrip("."), fix, code=ErrorCode.NOT_STARTED)

    def request(self, load: LoadScene | None, message: Ask) -> Request:
        """Send a request to the running backend, after the scene if that has to be loaded."""
        return Request(self.connected(), load, message)

    def scene_loaded(self, load: LoadScene, starts: int) -> None:
        """Record the state of a scene in the backend with start number `starts`."""
        self._loaded[load.scene] = (starts, means_of(load))

    def holds(self, scene: str) -> bool:
        """Whether the running backend has an unsaved model of a scene."""
        starts, _ = self.unsaved.get(scene, (0, ""))
        return self.backend is not None and starts == self.backend.starts

    def loaded_means(self, scene: str) -> np.ndarray | None:
        """[count,3] float32 centers by id in the running backend, NaN for missing ones; None if not loaded."""
        starts, means = self._loaded.get(scene, (0, None))
        return means if self.backend is not None and starts == self.backend.starts else None

    def poll(self) -> bool:
        """Process events and run their callbacks on the main thread. Returns whether to redraw the panels."""
        changed = self.backend.poll() if self.backend is not None else False
        if self.training is not None and not self.training.ended:
            self.losses.look(self.training.job)
        changed = self.memory.look(self.backend) or changed
        return changed or (self.installation is not None and self.installation.changed())

    def tell(self, message: str, failed: bool = False) -> None:
        """Set the message that the panels show."""
        self.message, self.failed = message, failed
        if failed:
            journal.failed("panel", message)
        elif message:
            logger.info("panel: %s", message)


def means_of(load: LoadScene) -> np.ndarray:
    """[count,3] float32 centers by id in a message, NaN for missing ones."""
    means = np.full((load.count, 3), np.nan, np.float32)
    means[load.ids if len(load.ids) else slice(None)] = load.cloud.means
    return means


session = Session()
