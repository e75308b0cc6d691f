"""Training checkpoints: the folder NAME.saga.unfinished next to the model file.

The folder has one safetensors file per part of a training (views, segments, features). Each file stores a key of the
training: settings, sources, cloud and version. Only a training with the same key resumes from it. The content depends
on the key alone, so two processes may write the same file. The folder is removed when the model is saved.
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
"""Seconds between two checkpoints, without the time of the write and of the running step."""
EVERY_VARIABLE = "BLENDER_SAGA_CHECKPOINT_SECONDS"
"""Environment variable that overrides EVERY_SECONDS."""
SUFFIX = ".unfinished"
_FORMAT = 1

State = dict[str, np.ndarray]
"""Arrays by name."""


class Checkpoint:
    """Stores and loads the parts of one training; does nothing without a model file.

    Args:
        model_file: path of the future model; None or "": no checkpoint.
        key: key of the training, see `training_key`.

    Attributes:
        notes: sentences for the user about a resumed training or a failed write.
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
        """Save a final part: now if a checkpoint is due, otherwise with the next one."""
        self._offered[name] = make
        if self.due():
            self._save_all({})

    def save(self, name: str, state: State) -> None:
        """Save a part and replace its older version. A full disk does not stop the training; `notes` report it."""
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
            note = "The checkpoint could not be written: an interrupted training would start over"
            if note not in self.notes:
                self.notes.append(note)
                log.warning("%s (%s)", note, error)
        self._since = time.monotonic()

    def load(self, name: str) -> State | None:
        """A saved part; None if this training has none."""
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
        """Remove the checkpoint after the end of the training."""
        if self.folder is None or not self.folder.is_dir():
            return
        with contextlib.suppress(OSError):  # the next training overwrites files that cannot be removed
            for path in self.folder.glob("*.safetensors*"):
                path.unlink()
            self.folder.rmdir()

    def _path(self, name: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{name}.safetensors"


def training_key(*meanings: object, files: Iterable[str | Path] = ()) -> str:
    """SHA-256 of all inputs of a training.

    Args:
        meanings: settings and other values, as bytes or JSON values.
        files: input files and folders; their names, sizes and times count.
    """
    digest = hashlib.sha256(f"{_FORMAT} {__version__}".encode())
    for meaning in meanings:
        text = meaning if isinstance(meaning, bytes) else json.dumps(meaning, sort_keys=True, default=str).encode()
        digest.update(hashlib.sha256(text).digest())
    for name in files:
        path = Path(name)
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            with contextlib.suppress(OSError):  # a missing file is reported when it is read
                facts = file.stat()
                digest.update(f"{file} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def prefixed(name: str, state: State) -> State:
    """The state with the prefix "name." on every key."""
    return {f"{name}.{key}": value for key, value in state.items()}


def part_of(state: State, name: str) -> State:
    """The entries with the prefix "name.", without the prefix."""
    return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}


def fits(state: State, own: State) -> bool:
    """Whether a saved state has all arrays of a trainer's state with their shapes and types, and is finite."""
    same = all(key in state and state[key].shape == a.shape and state[key].dtype == a.dtype for key, a in own.items())
    return same and all(np.isfinite(a).all() for a in state.values() if a.dtype.kind == "f")


def draws_of(rng: np.random.Generator) -> np.ndarray:
    """[512] uint8: state of a random generator, as JSON padded with blanks."""
    return np.frombuffer(json.dumps(rng.bit_generator.state).encode().ljust(512), np.uint8)


def go_on_drawing(rng: np.random.Generator, draws: np.ndarray) -> None:
    """Restore the state of a random generator.

    Raises:
        ValueError: if the array is not such a state.
    """
    try:
        rng.bit_generator.state = json.loads(draws.tobytes())
    except (TypeError, KeyError, UnicodeDecodeError) as error:
        raise ValueError(f"not a random generator's state: {error}") from error
