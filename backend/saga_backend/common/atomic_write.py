"""Atomic file replacement: a file keeps its old content until the new content is complete."""

from __future__ import annotations

import contextlib
import glob
import os
import time
from collections.abc import Iterator
from pathlib import Path

_ABANDONED_SECONDS = 60.0
"""A partial file without a write for this long belongs to a process that was killed."""


@contextlib.contextmanager
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
        with part.open("rb+") as file:
            os.fsync(file.fileno())  # without it, a crash of the machine may leave an empty file under the final name
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # the file may not exist
            part.unlink()
        raise


def create_file(path: Path) -> None:
    """Create an empty file if none exists. A symbolic link is removed first, so that nothing is written through it.

    Raises:
        OSError: if the file cannot be created.
    """
    if path.is_symlink():
        path.unlink()
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


def _sweep(path: Path) -> None:
    """Remove partial files of `path` that killed processes left."""
    for part in path.parent.glob(f"{glob.escape(path.name)}.*.part"):
        with contextlib.suppress(OSError):  # already removed, or owned by another user
            if time.time() - part.stat().st_mtime > _ABANDONED_SECONDS:
                part.unlink()
