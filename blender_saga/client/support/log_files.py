"""Bounded logs: NAME.log, and the older NAME.previous.log.

Blender's process writes the backend's output, which comes through a pipe. The bound thus applies to the output of
libraries and crashes too, and the last output of a dead process is not lost.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import threading
from pathlib import Path
from typing import IO

MAX_BYTES = 2_000_000
"""Size limit of each of the two files."""
_LINE_BYTES = 1 << 16  # an endless line (a progress bar) is written in pieces
_KEPT = 8  # logs of other Blender processes that share the folder
_SECRET = 0o600  # logs contain paths and names


class BoundedLog(logging.handlers.RotatingFileHandler):
    """A log handler that also accepts raw lines. A full disk loses the log, but does not stop the work."""

    def __init__(self, path: Path, limit: int = MAX_BYTES) -> None:
        """
        Args:
            path: NAME.log; the log of the previous run becomes NAME.previous.log.
            limit: size limit of each of the two files in bytes.

        Raises:
            OSError: if the folder is not writable.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(path, maxBytes=limit, backupCount=1, encoding="utf-8", errors="replace")
        self.namer = lambda name: str(Path(name.removesuffix(".1")).with_suffix(".previous.log"))
        Path(path).chmod(_SECRET)
        if path.stat().st_size:
            self.doRollover()

    def _open(self) -> IO[str]:  # type: ignore[override]
        stream = super()._open()
        os.chmod(self.baseFilename, _SECRET)  # noqa: PTH101 - applies to the next file too
        return stream

    def handleError(self, record: logging.LogRecord) -> None:
        """Ignore errors: with a full disk, messages would flood the terminal."""

    def write_line(self, line: str) -> None:
        """Write a raw line."""
        self.handle(logging.LogRecord("", logging.INFO, "", 0, line, None, None))


class Drain:
    """Copies a pipe to a log until its end, in a thread."""

    def __init__(self, pipe: IO[bytes], path: Path) -> None:
        self._pipe, self._log = pipe, opened(path)
        self._thread = threading.Thread(target=self._run, name="saga log", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with self._pipe:
            while line := self._pipe.readline(_LINE_BYTES):  # also without a log: a full pipe would block the backend
                if self._log is not None:
                    self._log.write_line(line.decode("utf-8", "replace").rstrip("\r\n"))
        if self._log is not None:
            self._log.close()

    def wait(self, seconds: float) -> None:
        """Wait until everything is written, with a limit: a child of the backend may hold the pipe open."""
        self._thread.join(seconds)


def opened(path: Path) -> BoundedLog | None:
    """Open the log at a path; None if it is not writable, which must not stop the work."""
    try:
        return BoundedLog(path)
    except OSError as error:
        logging.getLogger(__name__).warning("there is no log: %s", error)
        return None


def own_path(folder: Path, name: str) -> Path:
    """NAME-PID.log, because several Blender processes may share the folder; removes the oldest logs."""
    path = folder / f"{name}-{os.getpid()}.log"
    mine = (path, path.with_suffix(".previous.log"))
    others = []
    for other in folder.glob(f"{name}-*.log"):
        with contextlib.suppress(OSError):  # another Blender may have removed it
            others += [] if other in mine else [(other.stat().st_mtime, other)]
    for _, old in sorted(others)[: max(0, len(others) + 1 - _KEPT)]:
        old.unlink(missing_ok=True)
    return path


def tail(path: Path, lines: int, limit: int = 1 << 16) -> list[str]:
    """The last non-blank lines of a log; none without a file."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - limit))
            found = [line.rstrip() for line in file.read().decode(errors="replace").splitlines()]
    except OSError:
        return []
    return [line for line in found if line][-lines:]
