"""Logs with a bound: NAME.log and, before it, NAME.previous.log; whoever writes much writes over its own past.

The backend's output comes through a pipe and is written here, in Blender's process: so all of it is bounded, that of
libraries and of crashes too, and the last words of a process that died are not lost with it.
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
"""Of each of the two files."""
_LINE_BYTES = 1 << 16  # a line that never ends (a bar of progress) is written in pieces
_KEPT = 8  # logs of other Blenders that share the folder
_SECRET = 0o600  # paths and names stand in it


class BoundedLog(logging.handlers.RotatingFileHandler):
    """A handler, and a file to write bytes to. A disk that is full loses the log, never the work."""

    def __init__(self, path: Path, limit: int = MAX_BYTES) -> None:
        """
        Args:
            path: NAME.log; what a run before wrote becomes NAME.previous.log.
            limit: bytes of each of the two.

        Raises:
            OSError: if its folder cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(path, maxBytes=limit, backupCount=1, encoding="utf-8", errors="replace")
        self.namer = lambda name: str(Path(name.removesuffix(".1")).with_suffix(".previous.log"))
        Path(path).chmod(_SECRET)
        if path.stat().st_size:
            self.doRollover()

    def _open(self) -> IO[str]:  # type: ignore[override]
        stream = super()._open()
        os.chmod(self.baseFilename, _SECRET)  # noqa: PTH101 - also of the next file
        return stream

    def handleError(self, record: logging.LogRecord) -> None:
        """Say nothing: a full disk would fill the terminal, too."""

    def write_line(self, line: str) -> None:
        """Write a line as it is."""
        self.handle(logging.LogRecord("", logging.INFO, "", 0, line, None, None))


class Drain:
    """Reads a pipe to its end into a log, in a thread of its own."""

    def __init__(self, pipe: IO[bytes], path: Path) -> None:
        self._pipe, self._log = pipe, opened(path)
        self._thread = threading.Thread(target=self._run, name="saga log", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with self._pipe:
            while line := self._pipe.readline(_LINE_BYTES):  # also where there is no log: a full pipe would stop it
                if self._log is not None:
                    self._log.write_line(line.decode("utf-8", "replace").rstrip("\r\n"))
        if self._log is not None:
            self._log.close()

    def wait(self, seconds: float) -> None:
        """Until everything is written, or so long: a process that the backend started may hold the pipe open."""
        self._thread.join(seconds)


def opened(path: Path) -> BoundedLog | None:
    """The log at this place; None where it cannot be written, which is no reason not to work."""
    try:
        return BoundedLog(path)
    except OSError as error:
        logging.getLogger(__name__).warning("there is no log: %s", error)
        return None


def own_path(folder: Path, name: str) -> Path:
    """NAME-PID.log: of its own for each Blender, because several may use one folder; the oldest are removed."""
    path = folder / f"{name}-{os.getpid()}.log"
    mine = (path, path.with_suffix(".previous.log"))
    others = []
    for other in folder.glob(f"{name}-*.log"):
        with contextlib.suppress(OSError):  # another Blender has tidied up meanwhile
            others += [] if other in mine else [(other.stat().st_mtime, other)]
    for _, old in sorted(others)[: max(0, len(others) + 1 - _KEPT)]:
        old.unlink(missing_ok=True)
    return path


def tail(path: Path, lines: int, limit: int = 1 << 16) -> list[str]:
    """The last lines of a log that are not blank; none where there is no file."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - limit))
            found = [line.rstrip() for line in file.read().decode(errors="replace").splitlines()]
    except OSError:
        return []
    return [line for line in found if line][-lines:]
