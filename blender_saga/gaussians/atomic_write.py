"""Atomic file replacement: a file keeps its old content until the new content is complete.

Splats, models, masks, checkpoints and the installer's records are all written here.
"""

from __future__ import annotations

import glob
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ..errors import ErrorCode, UserError

_ABANDONED_SECONDS = 60.0
"""A partial file without a write for this long belongs to a process that was killed."""


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary path to write to. It replaces `path` when the block succeeds and is removed when the block fails.

    Raises:
        OSError: if the file cannot be written.
    """
    _sweep(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        create_file(part)
        yield part
        replace_file(path, part)
    except BaseException:
        with suppress(OSError):  # the file may not exist
            part.unlink()
        raise


@contextmanager
def atomic_stream(path: str | Path) -> Iterator[BinaryIO]:
    """A stream that replaces the file at the end; after an error, an older file stays unchanged.

    Raises:
        UserError: if the file cannot be written (missing folder, no permission, full disk).
    """
    path = Path(path)
    try:
        with atomic_write(path) as part, part.open("wb") as stream:
            yield stream
    except OSError as error:
        raise UserError(
            f"The file {path} cannot be written",
            error.strerror or str(error),
            fix="Choose another folder or name",
            code=ErrorCode.FILE,
        ) from error


def replace_file(path: Path, part: Path) -> None:
    """Give a complete file its final name.

    Raises:
        OSError: if that fails; the file keeps the name `part`.
    """
    with part.open("rb+") as file:
        os.fsync(file.fileno())  # without it, a crash of the machine may leave an empty file under the final name
    part.replace(path)


def create_file(path: Path) -> None:
    """Create an empty file if none exists. A link is removed first, so that nothing is written through it.

    Raises:
        OSError: if the file cannot be created.
    """
    with suppress(FileNotFoundError):
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_nlink > 1):
            path.unlink()
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


def _sweep(path: Path) -> None:
    """Remove partial files of `path` that killed processes left."""
    for part in path.parent.glob(f"{glob.escape(path.name)}.*.part"):
        number = part.name[len(path.name) + 1 : -len(".part")]
        with suppress(OSError):  # already removed, or owned by another user
            if number.isdecimal() and time.time() - part.lstat().st_mtime > _ABANDONED_SECONDS:
                part.unlink()
