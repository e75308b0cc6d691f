"""What of a long training need not be done again when the process is killed: NAME.saga.unfinished, beside the model.

A folder of safetensors files, one for each part of a training (views, segments, features). Each says which training it
belongs to: settings, sources, cloud and version as one number, so that no other goes on from it. What it holds depends
on nothing else, so two processes may write the same one. It is removed when the model is saved.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from blender_saga.gaussians.atomic_write import atomic_write

from .. import __version__

log = logging.getLogger(__name__)

EVERY_SECONDS = 20.0
"""A training that takes longer is kept so often. Writing and the step that runs come on top of that."""
EVERY_VARIABLE = "BLENDER_SAGA_CHECKPOINT_SECONDS"
"""Sets another time."""
SUFFIX = ".unfinished"
_FORMAT = 1

State = dict[str, np.ndarray]
"""Arrays by name."""


class Checkpoint:
    """Keeps parts of one training; without a place it keeps nothing.

    Args:
        model_file: where the model will be saved; None or "": nothing is kept.
        key: of the training, see `training_key`.

    Attributes:
        notes: sentences for the user: that it went on from a step, that it could not be kept.
    """

    def __init__(self, model_file: str | Path | None = None, key: str = "") -> None:
        self.notes: list[str] = []
        self.folder = Path(f"{model_file}{SUFFIX}") if model_file else None
        self._key = key
        self._every = float(os.environ.get(EVERY_VARIABLE, EVERY_SECONDS))
        self._offered: dict[str, Callable[[], State]] = {}
        self._since = time.monotonic()

    def due(self) -> bool:
        """Whether it is time to save."""
        return self.folder is not None and time.monotonic() - self._since >= self._every

    def offer(self, name: str, make: Callable[[], State]) -> None:
        """Have a part that does not change any more saved, now if it is time to, else with the next one."""
        self._offered[name] = make
        if self.due():
            self._save_all({})

    def save(self, name: str, state: State) -> None:
        """Save a part, in place of an older one. A disk that is full ends no training: it is told in `notes`."""
        self._save_all({name: lambda: state})

    def _save_all(self, parts: dict[str, Callable[[], State]]) -> None:
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name, make in {**self._offered, **parts}.items():
                with atomic_write(self._path(name)) as part:
                    save_file({k: np.ascontiguousarray(v) for k, v in make().items()}, part, {"key": self._key})
                self._offered.pop(name, None)
        except (OSError, SafetensorError, MemoryError) as error:
            note = "The training could not be kept on the way: if the backend is killed, it begins anew"
            if note not in self.notes:
                self.notes.append(note)
                log.warning("%s (%s)", note, error)
        self._since = time.monotonic()

    def load(self, name: str) -> State | None:
        """A part as it was saved; None if there is none of this very training."""
        if self.folder is None or not self._path(name).is_file():
            return None
        try:
            with safe_open(str(self._path(name)), framework="numpy") as file:
                if (file.metadata() or {}).get("key") != self._key:
                    return None
                return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - a file, not a dict
        except (SafetensorError, OSError, ValueError, MemoryError) as error:
            log.warning("%s cannot be used (%s)", self._path(name), error)
            return None

    def remove(self) -> None:
        """Forget everything: the training is over."""
        if self.folder is None or not self.folder.is_dir():
            return
        with contextlib.suppress(OSError):  # what cannot be removed is overwritten by the next training
            for path in self.folder.glob("*.safetensors*"):
                path.unlink()
            self.folder.rmdir()

    def _path(self, name: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{name}.safetensors"


def training_key(*meanings: object, files: Iterable[str | Path] = ()) -> str:
    """What a training is made of, as one number.

    Args:
        meanings: settings and the like, as bytes or what JSON can say.
        files: paths of files and folders it reads; they count by names, sizes and times.
    """
    digest = hashlib.sha256(f"{_FORMAT} {__version__}".encode())
    for meaning in meanings:
        text = meaning if isinstance(meaning, bytes) else json.dumps(meaning, sort_keys=True, default=str).encode()
        digest.update(hashlib.sha256(text).digest())
    for name in files:
        path = Path(name)
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            with contextlib.suppress(OSError):  # what is missing says so when it is read
                facts = file.stat()
                digest.update(f"{file} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def prefixed(name: str, state: State) -> State:
    """The state under "name."."""
    return {f"{name}.{key}": value for key, value in state.items()}


def part_of(state: State, name: str) -> State:
    """What stands under "name."."""
    return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}


def fits(state: State, own: State) -> bool:
    """Whether a saved state has all that a trainer's own has, of the same shapes and kinds, and only numbers."""
    same = all(key in state and state[key].shape == a.shape and state[key].dtype == a.dtype for key, a in own.items())
    return same and all(np.isfinite(a).all() for a in state.values() if a.dtype.kind == "f")


def draws_of(rng: np.random.Generator) -> np.ndarray:
    """[512] uint8: where a random generator stands, as JSON and blanks."""
    return np.frombuffer(json.dumps(rng.bit_generator.state).encode().ljust(512), np.uint8)


def go_on_drawing(rng: np.random.Generator, draws: np.ndarray) -> None:
    """Set a random generator to where another stood.

    Raises:
        ValueError: if that is not what the array says.
    """
    try:
        rng.bit_generator.state = json.loads(draws.tobytes())
    except (TypeError, KeyError, UnicodeDecodeError) as error:
        raise ValueError(f"not a random generator's state: {error}") from error
