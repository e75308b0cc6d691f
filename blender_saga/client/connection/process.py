"""The backend's process: start it, read where it listens, end it, say why it ended."""

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
"""How long a Python on a slow, cold disk may take to print where it listens."""
_STOP_SECONDS = 1.5
_DRAIN_SECONDS = 1.0
_NO_MEMORY = r"Thread creation failed|MemoryError|bad_alloc|allocate memory|out of memory"
"""Last words of a process that could not even say more."""
_KILLED = -9
"""Exit code of a POSIX process that was killed."""


@dataclass(frozen=True)
class Launch:
    """What is started.

    Attributes:
        python: the Python that has torch.
        launch_path: `backend/launch.py`.
        addon_dir: the folder with `wire/` and `gaussians/`, handed to launch.py.
        log_path: file for what the backend prints, bounded; every running backend needs one of its own.
        device: "auto", "cpu" or "cuda".
        cache_dir: where numba keeps what it compiles, unless NUMBA_CACHE_DIR says it; None: beside the source. That
            of an extension may be read-only, and goes with an upgrade.
    """

    python: Path
    launch_path: Path
    addon_dir: Path
    log_path: Path
    device: str = "auto"
    cache_dir: Path | None = None

    def command(self) -> list[str]:
        """The command line. `-I`: no user site, no current folder, nothing from PYTHON* variables."""
        script = [str(self.launch_path), "--addon-dir", str(self.addon_dir), "--device", self.device]
        return [str(self.python), "-I", "-X", "utf8", *script]

    def environ(self) -> dict[str, str]:
        """The environment variables of the child: ours without PYTHON*, which are meant for this Python."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        if self.cache_dir is not None:
            environ.setdefault("NUMBA_CACHE_DIR", str(self.cache_dir))
        return environ


class BackendProcess:
    """One backend process. Any thread may call its methods."""

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
        """Whether the process ended badly, and not by `stop`. To be asked after that: the system closes the socket of
        one that dies some time before it has ended."""
        code = self._child.poll() if self._child is not None else None
        return code is not None and code != 0 and not self._killed

    def start(self, timeout: float = START_SECONDS) -> Address:
        """Start the process and wait until it listens.

        Returns:
            Where it listens.

        Raises:
            UserError: if it cannot be started, ends at once, or does not listen in time (it is ended then).
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
            line = child.stdout.readline()  # ends with the child, whoever ends it
        except (OSError, ValueError):  # it has ended before it read its key, or `stop` closed the pipe
            line = b""
        finally:
            timer.cancel()
        if line.endswith(b"\n"):
            return self._address(line)
        self.stop()
        why = f"it did not start within {timeout:.0f} s" if late.is_set() else self.exit_note()
        raise UserError("The backend did not start", why, "Press Restart", code=ErrorCode.START)

    def stop(self) -> None:
        """End the process, within about 2 s; nothing happens if it does not run."""
        with self._lock:
            self._stopped = True
            child = self._child
        if child is None or child.stdin is None or child.stdout is None:
            return
        with contextlib.suppress(OSError):  # it may have ended already
            child.stdin.close()  # this tells it to end
        try:
            child.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._killed = True
            child.kill()
            child.wait()
        child.stdout.close()
        self._written()

    def _written(self) -> None:
        """Wait a moment for the last words of a process that has ended to be in its log."""
        if self._drain is not None:
            self._drain.wait(_DRAIN_SECONDS)

    def exit_note(self) -> str:
        """Why the process ended, in words: what its exit code means and the last line of its log."""
        code = self._child.poll() if self._child is not None else None
        if code is None:
            return "it still runs"
        if code == _KILLED:
            return "it was killed from outside, often because memory ran out"
        if code == 0:
            return "the connection to it broke off"
        self._written()
        last = _last_words(self.launch.log_path)
        if re.search(_NO_MEMORY, last):
            return f"memory ran out ({last})"
        crashed = f"it crashed ({signal.strsignal(-code) or -code})" if code < 0 else f"it ended with code {code}"
        return crashed + (f", its last words were: {last}" if last else "")

    def _spawn(self) -> subprocess.Popen[bytes]:
        launch = self.launch
        if not launch.python.is_file():
            why = f"there is no Python at {launch.python}"
            raise UserError(
                "The backend did not start", why, "Press Install in the preferences", code=ErrorCode.NOT_INSTALLED
            )
        try:
            with self._lock:
                if self._stopped:
                    raise UserError(
                        "The backend was stopped while it started",
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
                    start_new_session=True,  # Ctrl+C in Blender's terminal is not for the child
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
            raise version_error(f"the backend speaks version {protocol} of the protocol, Blender {PROTOCOL_VERSION}")
        return str(host), int(port)


def _last_words(path: Path) -> str:
    """The line of a log that says why a process ended: what Python says of a crash, else the last one; or ""."""
    lines = [line.strip() for line in tail(path, 400)]
    crashes = [line for line in lines if line.startswith("Fatal Python error:")]
    return (crashes or lines or [""])[-1]
