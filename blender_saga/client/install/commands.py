"""Run programs and explain their errors (standard library only, valid Python 3.9: see environment.py)."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from ...errors import REPORT, Cancelled, ErrorCode, UserError

_TICK = 0.5  # seconds between checks of `cancelled` while a program prints nothing
_END_SECONDS = 60.0  # time for the guard to end its program, which would otherwise survive on a busy machine
_GUARD = Path(__file__).with_name("guard.py")
_log = logging.getLogger(__name__)

_KNOWN_FAILURES = (
    # pattern of the output, reason, fix, code
    (
        r"hash mismatch|do not match the hashes|do not match.{0,40}hash|THESE PACKAGES DO NOT MATCH",
        "the checksum of a downloaded package is wrong, so it was not used",
        "Install again; if it happens again, a proxy or mirror changes the files: ask your network administrator",
        ErrorCode.CHECKSUM,
    ),
    (
        r"was not found in the|there is no version of|there are no versions of|No matching distribution"
        r"|has no wheels? with a matching|no usable wheels",
        "a package is missing on the package index, or does not support this system",
        "Install again later; if your network uses its own package mirror, ask its administrator",
        ErrorCode.INDEX,
    ),
    (
        r"UnknownIssuer|CERTIFICATE_VERIFY_FAILED|invalid peer certificate",
        "the certificate of the package index is not trusted",
        "Set SSL_CERT_FILE to the file with your network's certificates, then install again",
        ErrorCode.CERTIFICATE,
    ),
    (
        r"No space left|not enough space|os error 112|Disk quota exceeded",
        "the disk is full",
        "Free some space, then install again; finished downloads are kept",
        ErrorCode.DISK,
    ),
    (
        r"Failed to (?:extract|unzip|read).{0,200}(?:zip|archive|wheel)|invalid (?:zip|local file)"
        r"|unexpected end of file|InvalidChunkLength|end of file before message length|error decoding response body",
        "a download is incomplete or damaged",
        "Install again; finished downloads are kept",
        ErrorCode.NETWORK,
    ),
    (
        r"dns error|name resolution|Name or service not known|getaddrinfo|nodename nor servname|Network is unreachable"
        r"|No route to host|Connection refused|Connection reset|NewConnectionError|error sending request|timed out",
        "the network or the download server cannot be reached",
        "Check the network and HTTPS_PROXY, then install again; finished downloads are kept",
        ErrorCode.NETWORK,
    ),
    (
        r"Permission denied|Access is denied|os error 5\b",
        "a file could not be written",
        "Close programs that use the folder, check its owner, then install again",
        ErrorCode.PERMISSION,
    ),
)


class CommandFailed(Exception):
    """A program ended with an error; `output` is its complete output."""

    def __init__(self, output: str) -> None:
        super().__init__(output[-2000:])
        self.output = output

    def explain(self, what: str) -> UserError:
        """Convert to a UserError: `what` failed, with a reason and a fix."""
        for pattern, why, fix, code in _KNOWN_FAILURES:
            if re.search(pattern, self.output, re.IGNORECASE):
                return UserError(what, why, fix, code)
        last = [line.strip() for line in self.output.splitlines() if line.strip()]
        said = last[-1:] if "Traceback (most recent call last)" in self.output else last[-3:]
        return UserError(what, " / ".join(said), f"Install again. {REPORT}", ErrorCode.INSTALL)


def child_environ() -> dict[str, str]:
    """The environment variables for other Pythons, without PYTHON*, which apply to the current one."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith("PYTHON")}


def run(
    command: Sequence[str],
    cancelled: Callable[[], bool] = lambda: False,
    on_line: Callable[[str], None] = lambda _: None,
    environ: dict[str, str] | None = None,
) -> str:
    """Run a program and return its output, stdout and stderr combined.

    Args:
        command: program and arguments; no shell is involved.
        cancelled: polled a few times a second; True ends the program.
        on_line: called with every line, and with "" a few times a second without a line.
        environ: environment variables; default `child_environ()`.

    Raises:
        CommandFailed: if the program cannot start or ends with an error.
        Cancelled: if it was cancelled.
    """
    _log.debug("runs %s", " ".join(command))
    guarded = _guarded(command)
    try:
        process = subprocess.Popen(
            guarded or list(command),
            stdin=subprocess.PIPE if guarded else subprocess.DEVNULL,
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
        _end(process)
    if process.returncode != 0:
        raise CommandFailed(output)
    return output


def _guarded(command: Sequence[str]) -> list[str]:
    """The command line that runs a program under the guard, so that it ends with this process; [] without a Python."""
    if not Path(sys.executable or "").is_file():
        return []
    return [sys.executable, "-I", "-S", str(_GUARD), *command]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program and its children, if it still runs."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()  # makes the guard end it
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
    process.kill()  # has no effect after its end
    process.wait()


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
        if line.strip():
            _log.info("%s", line.rstrip())
        on_line(line.rstrip())
        if cancelled():
            raise Cancelled("installation")


def _read(process: subprocess.Popen[bytes], lines: queue.Queue[str | None]) -> None:
    assert process.stdout is not None
    for raw in process.stdout:
        lines.put(raw.decode("utf-8", "replace"))
    lines.put(None)
