"""The backend's process: start it, read its address, end it, and explain why it ended."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from ...errors import ErrorCode, UserError
from ...wire.channel import Address, version_error
from ...wire.messages import PROTOCOL_VERSION
from ..support.log_files import Drain, tail

START_SECONDS = 60.0
"""Time limit of the start, for a Python on a slow, cold disk."""
_STOP_SECONDS = 1.5
_DRAIN_SECONDS = 1.0
_NO_MEMORY = r"Thread creation failed|MemoryError|bad_alloc|allocate memory|out of memory"
"""Log lines of a process that ran out of memory."""
_KILLED = -9
"""Exit code of a killed POSIX process."""


@dataclass(frozen=True)
class Launch:
    """How to start the backend.

    Attributes:
        python: a Python with torch.
        launch_path: path of `backend/launch.py`.
        addon_dir: the folder with `wire/` and `gaussians/`, an argument of launch.py.
        log_path: bounded log file for the backend's output; every running backend needs its own.
        device: "auto", "cpu" or "cuda".
        cache_dir: numba's cache folder, unless NUMBA_CACHE_DIR is set; None for the source folder, which may be
            read-only in an extension and disappears with an upgrade.
    """

    python: Path
    launch_path: Path
    addon_dir: Path
    log_path: Path
    device: str = "auto"
    cache_dir: Path | None = None

    def command(self) -> list[str]:
        """The command line. `-I` ignores the user site, the current folder and PYTHON* variables."""
        script = [str(self.launch_path), "--addon-dir", str(self.addon_dir), "--device", self.device]
        return [str(self.python), "-I", "-X", "utf8", *script]

    def environ(self) -> dict[str, str]:
        """The environment variables of the child, without PYTHON*, which apply to Blender's Python."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        if self.cache_dir is not None:
            environ.setdefault("NUMBA_CACHE_DIR", str(self.cache_dir))
        return environ


class BackendProcess:
    """A backend process. Its methods are thread-safe."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.key = secrets.token_bytes(32)
        self._child: subprocess.Popen[bytes] | None = None
        self._drain: Drain | None = None
        self._stopped = self._killed = False
        self._lock = threading.Lock()

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._child is not None and self._child.poll() is None

    @property
    def died(self) -> bool:
        """Whether the process ended with an error, and not by `stop`. Check this some time after the connection is
        lost, because the system closes the socket of a dying process before it ends."""
        code = self._child.poll() if self._child is not None else None
        return code is not None and code != 0 and not self._killed

    def start(self, timeout: float = START_SECONDS) -> Address:
        """Start the process and wait until it listens.

        Returns:
            The address of the backend.

        Raises:
            UserError: if the process cannot start, ends at once, or does not listen in time (it is then killed).
        """
        child = self._spawn()
        assert child.stdin and child.stdout  # they are pipes
        late = threading.Event()

        def give_up() -> None:
            late.set()
            child.kill()

        timer = threading.Timer(timeout, give_up)
        timer.daemon = True
        timer.start()
        try:
            child.stdin.write(self.key.hex().encode() + b"\n")
            child.stdin.flush()
            line = child.stdout.readline()  # returns when the child ends
        except (OSError, ValueError):  # the child ended before it read its key, or `stop` closed the pipe
            line = b""
        finally:
            timer.cancel()
        if line.endswith(b"\n"):
            return self._address(line)
        self.stop()
        why = f"it did not start within {timeout:.0f} s" if late.is_set() else self.exit_note()
        raise UserError("The backend did not start", why, "Press Restart", code=ErrorCode.START)

    def stop(self) -> None:
        """End the process within about 2 s; do nothing if it does not run."""
        with self._lock:
            self._stopped = True
            child = self._child
        if child is None or child.stdin is None or child.stdout is None:
            return
        with contextlib.suppress(OSError):  # the child may have ended
            child.stdin.close()  # the child ends when its stdin is closed
        try:
            child.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._killed = True
            child.kill()
            child.wait()
        child.stdout.close()
        self._written()

    def _written(self) -> None:
        """Wait until the last output of an ended process is in its log."""
        if self._drain is not None:
            self._drain.wait(_DRAIN_SECONDS)

    def exit_note(self) -> str:
        """The reason why the process ended, from its exit code and the last line of its log."""
        code = self._child.poll() if self._child is not None else None
        if code is None:
            return "it is still running"
        if code == _KILLED:
            return "it was killed, probably because memory ran out"
        if code == 0:
            return "the connection was lost"
        self._written()
        last = _last_words(self.launch.log_path)
        if re.search(_NO_MEMORY, last):
            return f"memory ran out ({last})"
        crashed = f"it crashed ({signal.strsignal(-code) or -code})" if code < 0 else f"it ended with code {code}"
        return crashed + (f", its last output was: {last}" if last else "")

    def _spawn(self) -> subprocess.Popen[bytes]:
        launch = self.launch
        if not launch.python.is_file():
            why = f"the Python {launch.python} does not exist"
            raise UserError(
                "The backend did not start", why, "Press Install in the preferences", code=ErrorCode.NOT_INSTALLED
            )
        try:
            with self._lock:
                if self._stopped:
                    raise UserError(
                        "The backend was stopped during its start",
                        fix="Press Start to try again",
                        code=ErrorCode.STOPPED,
                    )
                self._child = subprocess.Popen(
                    launch.command(),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env=launch.environ(),
                    creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # Windows only
                    start_new_session=True,  # Ctrl+C in Blender's terminal must not reach the child
                )
                assert self._child.stderr is not None  # it is a pipe
                self._drain = Drain(self._child.stderr, launch.log_path)
                return self._child
        except OSError as error:
            why = f"{launch.python} cannot be run ({error.strerror or error})"
            raise UserError("The backend did not start", why, "Press Install again", code=ErrorCode.START) from error

    def _address(self, line: bytes) -> Address:
        try:
            said = json.loads(line)
            (host, port), protocol = said["address"], said["protocol"]
        except (ValueError, KeyError, TypeError) as error:
            self.stop()
            why = f"its first line was {line[:200].decode(errors='replace').strip()!r}"
            raise UserError("The backend did not start", why, "Press Install again", code=ErrorCode.START) from error
        if protocol != PROTOCOL_VERSION:
            self.stop()
            raise version_error(f"the backend uses protocol version {protocol}, Blender uses {PROTOCOL_VERSION}")
        return str(host), int(port)


def _last_words(path: Path) -> str:
    """The log line that explains the end of a process: Python's crash message, or the last line; "" without a log."""
    lines = [line.strip() for line in tail(path, 400)]
    crashes = [line for line in lines if line.startswith("Fatal Python error:")]
    return (crashes or lines or [""])[-1]
