"""Writing a file so that its old content stays whole until the new one is complete, whatever happens meanwhile."""

from __future__ import annotations

import contextlib
import glob
import os
import time
from collections.abc import Iterator
from pathlib import Path

_ABANDONED_SECONDS = 60.0
"""A part that nobody has written to for so long is one whose writer was killed."""


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """The name to write to in place of `path`; it takes its place when the block ends well, else nothing is left.

    Raises:
        OSError: if it cannot be written.
    """
    _sweep(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        make_own(part)
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())  # else a crash of the machine may leave an empty file under the final name
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # it may never have come to be
            part.unlink()
        raise


def make_own(path: Path) -> None:
    """Make an empty file where there is none. A link that somebody laid there is removed, and not written through.

    Raises:
        OSError: if it cannot be made.
    """
    if path.is_symlink():
        path.unlink()
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


def _sweep(path: Path) -> None:
    """Remove parts of the same file that killed processes left."""
    for part in path.parent.glob(f"{glob.escape(path.name)}.*.part"):
        with contextlib.suppress(OSError):  # gone already, or not ours
            if time.time() - part.stat().st_mtime > _ABANDONED_SECONDS:
                part.unlink()
