"""uv, the package installer: fetching it, and the variables to run it with (standard library only, Python 3.9)."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

from ...errors import ErrorCode, UserError
from .commands import CommandFailed, child_environ, run
from .install_progress import Report
from .pythons import VERSION, any_pythons, find_python

_PIP_TO_UV = (("index-url", "UV_DEFAULT_INDEX"), ("cert", "SSL_CERT_FILE"), ("proxy", "HTTPS_PROXY"))


def interpreter(environment: Path) -> Path:
    """The Python of a virtual environment, whether it is there yet or not."""
    return environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


class Uv:
    """uv in a small environment of its own.

    Attributes:
        program: where it is.
        environ: the environment variables to run it with.
    """

    def __init__(self, folder: Path, lock: Path, report: Report, cancelled: Callable[[], bool]) -> None:
        """Bring uv: nothing is fetched where it is there already.

        Args:
            folder: its environment.
            lock: requirements file with uv's version and checksums.
            report, cancelled: as for `Environment.install`.

        Raises:
            UserError: if no Python here can make the environment, or uv cannot be fetched.
            Cancelled: if it was stopped.
        """
        python = interpreter(folder)
        self.program = python.with_name("uv.exe" if sys.platform == "win32" else "uv")
        version = lock.read_text(encoding="utf-8").split()[0].partition("==")[2]
        if not _prints(self.program, version):
            report(f"Fetching uv {version}, the package installer", 0.0)
            _make_tools(folder)
            pip = [
                str(python),
                "-m",
                "pip",
                "install",
                "--quiet",
                "--retries",
                "1",
                "--require-hashes",
                "-r",
                str(lock),
            ]
            try:
                run(pip, cancelled)
            except CommandFailed as failure:
                raise failure.explain("The package installer uv could not be fetched") from failure
        self.environ = uv_environ(python)

    def python(self, report: Report, cancelled: Callable[[], bool]) -> Path:
        """A Python of the wanted version: one that is here, else uv's own, downloaded (and verified) if need be."""
        found = find_python()
        if found is not None:
            return found
        report(f"Fetching Python {VERSION}", 0.02)
        try:
            run([str(self.program), "python", "install", VERSION], cancelled, environ=self.environ)
            command = [str(self.program), "python", "find", "--managed-python", VERSION]
            return Path(run(command, environ=self.environ).strip())
        except CommandFailed as failure:
            why = f"none is on the PATH or among pyenv's, and uv could not fetch one: {failure.explain('').why}"
            fix = f"Install Python {VERSION} (python.org, or `pyenv install {VERSION}`), then try again"
            raise UserError(f"Python {VERSION} is missing", why, fix, ErrorCode.NO_PYTHON) from failure


def _prints(program: Path, text: str) -> bool:
    with contextlib.suppress(CommandFailed):
        return text in run([str(program), "--version"])
    return False


def _make_tools(folder: Path) -> None:
    """A virtual environment with pip, made by the first Python here that can."""
    for python in any_pythons():
        with contextlib.suppress(CommandFailed):
            run([str(python), "-m", "venv", "--clear", str(folder)])
            return
    fix = (
        "Install Python 3.13 with its venv module (on Debian and Ubuntu: the package python3-venv), then install again"
    )
    raise UserError("No Python on this machine can make a virtual environment", fix=fix, code=ErrorCode.NO_PYTHON)


def uv_environ(tools_python: Path) -> dict[str, str]:
    """Variables for uv. It does not read pip's settings, so those of a user who has no others are handed on.

    Extra indexes are not: every locked package is on the main one, and a second one could answer for it.
    """
    environ = child_environ()
    environ.setdefault("UV_HTTP_TIMEOUT", "120")
    environ.setdefault("UV_CONCURRENT_DOWNLOADS", "8")
    settings: dict[str, str] = {}
    with contextlib.suppress(CommandFailed):
        lines = run([str(tools_python), "-m", "pip", "config", "list"]).splitlines()
        for line in sorted(lines, key=lambda line: line.startswith(":env:")):  # variables win over files
            name, _, value = line.partition("=")
            settings[name.rpartition(".")[2]] = value.strip("'\"")
    for pip_name, uv_name in _PIP_TO_UV:
        if pip_name in settings and not (pip_name == "index-url" and "UV_INDEX_URL" in environ):
            environ.setdefault(uv_name, settings[pip_name])
    return environ
