"""The link to the backend: its process or connection, and the scenes that are loaded there."""

from __future__ import annotations

import numpy as np

from ...client.backend import Backend
from ...client.connection.connection import ConnectionState
from ...client.connection.process import Launch
from ...client.connection.remote import Remote
from ...errors import ErrorCode, UserError
from ...wire.messages import LoadScene, Request, SceneState, Welcome
from .models import models
from .monitor import MemoryWatch
from .request import SceneRequest
from .status import status


class BackendLink:
    """The link of this Blender process; see `link` below.

    Attributes:
        backend: the last started backend, or None.
        memory: its memory use, for the panels.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Reset the state; stop the backend first."""
        self.backend: Backend | None = None
        self.memory = MemoryWatch()
        self._loaded: dict[str, tuple[int, np.ndarray]] = {}

    @property
    def state(self) -> ConnectionState:
        """The state of the backend; stopped if none was started."""
        return self.backend.state if self.backend is not None else ConnectionState.stopped

    @property
    def welcome(self) -> Welcome | None:
        """What a connected backend says about itself, or None."""
        return self.backend.welcome if self.backend is not None else None

    def start(self, launch: Launch | Remote) -> Backend:
        """Start the backend in the background if it is not running, or connect to it."""
        if self.backend is None:
            self.backend = Backend(launch)
        self.backend.launch = launch
        status.tell("")
        self.backend.start()
        return self.backend

    def stop(self) -> None:
        """Stop the backend and its jobs."""
        if self.backend is not None:
            self.backend.stop()

    def connected(self) -> Backend:
        """The running backend.

        Raises:
            UserError: if the backend is not running; the text names the button to press.
        """
        if self.backend is not None and self.state in (ConnectionState.connected, ConnectionState.starting):
            return self.backend
        if self.backend is None:
            raise UserError(
                "The backend is not running", fix="Press Start in the SAGA sidebar", code=ErrorCode.NOT_STARTED
            )
        what, _, fix = self.backend.not_running()
        if self.backend.error and self.backend.remote is not None:
            fix = ""  # the error of a connection includes its own fix
        raise UserError(what, self.backend.error.rstrip("."), fix, code=ErrorCode.NOT_STARTED)

    def request(self, load: LoadScene | None, message: Request) -> SceneRequest:
        """Send a request to the running backend, after the scene if that has to be loaded."""
        return SceneRequest(self.connected(), load, message, self._scene_loaded)

    def _scene_loaded(self, load: LoadScene, reply: SceneState, starts: int) -> None:
        """Record the state of a scene in the backend with start number `starts`."""
        self._loaded[load.scene] = (starts, means_of(load))
        models.set_levels(load.scene, reply.levels)

    def loaded_means(self, scene: str) -> np.ndarray | None:
        """[count,3] float32 centers by id in the running backend, NaN for missing ones; None if not loaded."""
        starts, means = self._loaded.get(scene, (0, None))
        return means if self.backend is not None and starts == self.backend.starts else None

    def holds(self, scene: str) -> bool:
        """Whether the running backend has an unsaved model of a scene."""
        starts, _ = models.unsaved.get(scene, (0, ""))
        return self.backend is not None and starts == self.backend.starts

    def poll(self) -> bool:
        """Process events and run their callbacks. Returns whether to redraw the panels."""
        changed = self.backend.poll() if self.backend is not None else False
        return self.memory.look(self.backend) or changed


def means_of(load: LoadScene) -> np.ndarray:
    """[count,3] float32 centers by id in a message, NaN for missing ones."""
    means = np.full((load.count, 3), np.nan, np.float32)
    means[load.ids if len(load.ids) else slice(None)] = load.cloud.means
    return means


link = BackendLink()
