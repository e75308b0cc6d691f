"""Transfer model files between this machine and a remote backend, as if both shared a disk.

A request names the local path of the model file. The backend never gets this path: the transfer sends or fetches the
content of the file before it delivers the answer. It runs in the connection's threads (pure: no bpy).
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ErrorCode, UserError
from ...gaussians.atomic_write import atomic_stream
from ...wire import codec
from ...wire.messages import (
    Candidates,
    Failed,
    FetchModel,
    LoadScene,
    ModelFile,
    Names,
    OpenModel,
    PathUse,
    Progress,
    SceneState,
    Train,
    Trained,
)

FIRST_ID = codec.MAX_ID // 2
"""First id of the transfer's own requests; other requests never reach it."""
_HEADER = 8  # bytes of the header length in a safetensors file

OutgoingFrame = bytes | Callable[[], bytes | None]
"""A frame, or a function that creates one in the writer thread; it returns None to send nothing."""
Event = tuple[int, object]


@dataclass(eq=False)
class _PendingTransfer:
    """An unanswered request with a model file.

    Attributes:
        message: the original message.
        path: the local file.
        answer: the backend's answer, held back until the transfer ends.
        opened: result of sending the file: SceneState or Failed; True if nothing had to be sent.
    """

    message: Any
    path: Path
    answer: Any = None
    opened: object = None


class ModelSync:
    """The transfers of one connection. Messages pass through in the order of sending and receiving.

    Args:
        deliver: passes an event to the receiver of answers.
        post: queues a frame for the writer thread, for the request with this id.

    Attributes:
        machine: name of the other machine, if known.
    """

    def __init__(self, deliver: Callable[[Event], None], post: Callable[[int, OutgoingFrame], None]) -> None:
        self.machine = ""
        self._deliver, self._post = deliver, post
        self._pending: dict[int, _PendingTransfer] = {}
        self._own: dict[int, int] = {}
        self._paths: dict[int, tuple[str, ...]] = {}
        self._there: dict[str, object] = {}
        self._last = FIRST_ID
        self._lock = threading.Lock()

    # --- sending ----------------------------------------------------------------------------------------------------

    def send(self, number: int, message: Any) -> None:
        """Send a request, with its model file if necessary."""
        path = getattr(message, "model_file", "")
        frame = codec.encode(number, replace(message, model_file="") if path else message)
        with self._lock:
            self._paths[number] = _paths(message)
            if path:
                self._pending[number] = _PendingTransfer(message, Path(path))
        if isinstance(message, Train) and path:
            self._post(number, lambda: self._if_writable(number, frame))
            return
        self._post(number, frame)
        if isinstance(message, LoadScene) and path:
            self._post(number, lambda: self._open(number))

    def _if_writable(self, number: int, frame: bytes) -> bytes | None:
        """The frame of a training; None, with an error, if its model file cannot be written."""
        path = self._pending[number].path
        trial = path.with_name(f".{path.name}.{os.getpid()}.trial")
        try:
            trial.touch()
            trial.unlink()
        except OSError as error:
            fix = "Choose a folder with write permission"
            why = error.strerror or str(error)
            self._end(
                number, _failed(UserError(f"The model cannot be saved to {path}", why, fix, ErrorCode.CANNOT_WRITE))
            )
            return None
        return frame

    def _open(self, number: int) -> bytes | None:
        """The frame with a scene's model file, unless the backend has it."""
        pending = self._pending.get(number)
        if pending is None:
            return None  # the backend has refused the scene in the meantime
        scene, path = pending.message.scene, pending.path
        try:
            stamp = _stamp(path) if path.is_file() else None
            if stamp is None or self._there.get(scene) == stamp:
                self._opened(number, True)
                return None
            frame = codec.encode(
                self._request(number), OpenModel(scene, np.frombuffer(path.read_bytes(), np.uint8), path.name)
            )
            self._there[scene] = stamp
            return frame
        except OSError as error:
            why = error.strerror or str(error)
            self._opened(
                number,
                _failed(
                    UserError(
                        f"The model file {path.name} cannot be read",
                        why,
                        fix="Train it again",
                        code=ErrorCode.BAD_MODEL,
                    )
                ),
            )
        except UserError as error:  # too large to send
            self._opened(number, _failed(error))
        return None

    # --- receiving --------------------------------------------------------------------------------------------------

    def receive(self, number: int, message: Any) -> None:
        """Process a message from the backend, and deliver the answers to the original requests."""
        with self._lock:
            owner = self._own.get(number)
            pending = self._pending.get(number)
        if isinstance(message, Progress):
            self._deliver((owner or number, message))
        elif owner is not None:
            self._arrived(number, owner, message)
        elif pending is None:
            self._end(number, message)
        elif isinstance(message, SceneState):
            pending.answer = message
            self._opened(number, pending.opened)
        elif isinstance(message, Trained) or (isinstance(message, Candidates | Names) and message.described):
            pending.answer = message
            self._deliver((number, Progress("fetching the model", 0, 1)))
            self._post(number, codec.encode(self._request(number), FetchModel(pending.message.scene)))
        else:
            self._end(number, message)

    def _arrived(self, own: int, number: int, message: Any) -> None:
        """Process the answer to a request of the transfer itself."""
        with self._lock:
            del self._own[own]
            pending = self._pending.get(number)
        if pending is None:
            return  # cancelled or refused
        if isinstance(pending.message, LoadScene):
            self._opened(number, message)
        else:
            self._end(number, self._with_file(pending, message))

    def _opened(self, number: int, outcome: object) -> None:
        """Combine the results of the scene and its model, which arrive in any order, into one answer."""
        with self._lock:
            pending = self._pending.get(number)
            if pending is None:
                return
            pending.opened = outcome
            if pending.answer is None or outcome is None:
                return
        if isinstance(outcome, Failed):
            self._there.pop(pending.message.scene, None)
            error = UserError(outcome.what, outcome.why, outcome.fix)
            self._end(number, replace(pending.answer, note=error.sentence()))
        else:
            self._end(number, pending.answer if outcome is True else outcome)

    def _with_file(self, pending: _PendingTransfer, message: Any) -> object:
        """The answer after the file was fetched, or an error."""
        error = _saved(pending.path, message, pending.message.scene)
        if error is None:
            with contextlib.suppress(OSError):  # the only consequence is another transfer
                self._there[pending.message.scene] = _stamp(pending.path)
        if isinstance(pending.answer, Trained):
            if error is not None and error.code == ErrorCode.CANNOT_WRITE:  # the backend still has the model
                return replace(pending.answer, model_file="", unsaved=error.sentence())
            return replace(pending.answer, model_file=str(pending.path)) if error is None else _failed(error)
        if error is None:
            return pending.answer
        note = f"{pending.answer.note.rstrip('.')}. " if pending.answer.note else ""
        return replace(pending.answer, note=f"{note}The text index could not be saved: {error.sentence()}")

    def _request(self, number: int) -> int:
        """An id for a request of the transfer, which belongs to an original request."""
        with self._lock:
            self._last += 1
            self._own[self._last] = number
            return self._last

    def _end(self, number: int, message: object) -> None:
        with self._lock:
            self._pending.pop(number, None)
            paths = self._paths.pop(number, ())
        if isinstance(message, Failed):
            message = self._placed(message, paths)
        self._deliver((number, message))

    def _placed(self, failed: Failed, paths: tuple[str, ...]) -> Failed:
        """Add the machine to an error about a path."""
        text = f"{failed.what} {failed.why}"
        if not any(path in text or os.path.basename(path.rstrip("/\\")) in text for path in paths):  # noqa: PTH119 - a path of another system
            return failed
        note = f"on {self.machine or 'the other machine'}, where the backend runs"
        return replace(failed, why=f"{failed.why}, {note}" if failed.why else note)


def _paths(message: Any) -> tuple[str, ...]:
    """The paths on the backend's machine in a request."""
    here = (PathUse.model, PathUse.saved_model)  # these are of this machine
    return tuple(path for path, use in message.paths() if use not in here and path.rstrip("/\\"))


def _saved(path: Path, message: Any, scene: str) -> UserError | None:
    """Write a fetched model file atomically. Returns the error, or None."""
    if isinstance(message, Failed):
        return message.error()
    if not isinstance(message, ModelFile) or not _is_model(message.data, scene):
        why = "the backend sent no model of this scene"
        return UserError(f"The model cannot be saved to {path}", why, "Train again", ErrorCode.BAD_MODEL)
    try:
        with atomic_stream(path) as stream:
            stream.write(message.data.data)
    except UserError as error:
        fix = "Free some space or choose another folder, then train again"
        return UserError(f"The model cannot be saved to {path}", error.why, fix, ErrorCode.CANNOT_WRITE)
    return None


def _is_model(data: np.ndarray, scene: str) -> bool:
    """Whether data starts like a model file of this scene; the backend checks the rest when it opens the file."""
    if data.dtype != np.uint8 or data.ndim != 1 or len(data) < _HEADER:
        return False
    end = _HEADER + int.from_bytes(data[:_HEADER].tobytes(), "little")
    try:
        about = json.loads(data[_HEADER:end].tobytes()) if end <= len(data) else {}
        return json.loads(about["__metadata__"]["saga"])["fingerprint"] == scene
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def _stamp(path: Path) -> object:
    """A value that changes with the file."""
    facts = path.stat()
    return str(path), facts.st_size, facts.st_mtime_ns


def _failed(error: UserError) -> Failed:
    return Failed.of(error)
