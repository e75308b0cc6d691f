"""Running a program and saying why it failed (standard library only, valid Python 3.9: see environment.py)."""

from __future__ import annotations

import os
import queue
import re
import subprocess
import threading
from collections.abc import Callable, Sequence

from ..wire.errors import Cancelled, UserError

_TICK = 0.5  # seconds between looks at `cancelled` while a program prints nothing

_KNOWN_FAILURES = (
    # what the program printed, the reason in words, what to do, code
    (
        r"UnknownIssuer|CERTIFICATE_VERIFY_FAILED|invalid peer certificate",
        "the certificate of the package index is not trusted here",
        "Set SSL_CERT_FILE to the file with your network's certificates, then install again",
        "certificate",
    ),
    (
        r"No space left|not enough space|os error 112|Disk quota exceeded",
        "the disk is full",
        "Free some space, then install again: what was downloaded is kept",
        "disk",
    ),
    (
        r"dns error|name resolution|Name or service not known|getaddrinfo|nodename nor servname|Network is unreachable"
        r"|No route to host|Connection refused|Connection reset|NewConnectionError|error sending request|timed out",
        "the network or the download server cannot be reached",
        "Check the network (HTTPS_PROXY names a proxy), then install again: what was downloaded is kept",
        "network",
    ),
    (
        r"Permission denied|Access is denied|os error 5\b",
        "a file could not be written",
        "Close programs that use the folder, check who owns it, then install again",
        "permission",
    ),
)


class CommandFailed(Exception):
    """A program ended with an error; `output` is everything it printed."""

    def __init__(self, output: str) -> None:
        super().__init__(output[-2000:])
        self.output = output

    def explain(self, what: str) -> UserError:
        """The same for the user: `what` could not be done, why, what to do."""
        for pattern, why, fix, code in _KNOWN_FAILURES:
            if re.search(pattern, self.output, re.IGNORECASE):
                return UserError(what, why, fix, code)
        last = [line.strip() for line in self.output.splitlines() if line.strip()][-3:]
        return UserError(what, " / ".join(last), "Install again; if that does not help, report this text", "install")


def child_environ() -> dict[str, str]:
    """The environment variables for other Pythons: all but PYTHON*, which are meant for the one that runs now."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith("PYTHON")}


def run(
    command: Sequence[str],
    cancelled: Callable[[], bool] = lambda: False,
    on_line: Callable[[str], None] = lambda _: None,
    environ: dict[str, str] | None = None,
) -> str:
    """Run a program to its end and return what it printed, stdout and stderr together.

    Args:
        command: program and arguments; no shell is involved.
        cancelled: asked a few times a second; when it says True the program is ended.
        on_line: called with every line, and with "" a few times a second while there is none.
        environ: environment variables; `child_environ()` if not given.

    Raises:
        CommandFailed: if it cannot be started or ends with an error.
        Cancelled: if it was cancelled.
    """
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=child_environ() if environ is None else environ,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # Windows: no console window
        )
    except OSError as error:
        raise CommandFailed(f"{command[0]} could not be started: {error}") from error
    try:
        output = _follow(process, cancelled, on_line)
    finally:
        process.kill()  # does nothing to one that has ended
        process.wait()
    if process.returncode != 0:
        raise CommandFailed(output)
    return output


def _follow(process: subprocess.Popen[bytes], cancelled: Callable[[], bool], on_line: Callable[[str], None]) -> str:
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read, args=(process, lines), daemon=True).start()
    seen: list[str] = []
    while True:
        try:
            line = lines.get(timeout=_TICK)
        except queue.Empty:
            line = ""
        if line is None:
            process.wait()
            return "".join(seen)
        seen.append(line)
        on_line(line.rstrip())
        if cancelled():
            raise Cancelled("installation")


def _read(process: subprocess.Popen[bytes], lines: queue.Queue[str | None]) -> None:
    assert process.stdout is not None
    for raw in process.stdout:
        lines.put(raw.decode("utf-8", "replace"))
    lines.put(None)
