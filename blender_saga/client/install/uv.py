"""Fetch and configure uv, the package installer (standard library only, Python 3.9)."""

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
    """The path of a virtual environment's Python, which may not exist yet."""
    return environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


class Uv:
    """uv in its own small environment.

    Attributes:
        program: path of the program.
        environ: environment variables of its process.
    """

    def __init__(self, folder: Path, lock: Path, report: Report, cancelled: Callable[[], bool]) -> None:
        """Fetch uv, unless it is installed.

        Args:
            folder: folder of its environment.
            lock: requirements file with uv's version and checksums.
            report, cancelled: as in `Environment.install`.

        Raises:
            UserError: if no Python can create the environment, or uv cannot be fetched.
            Cancelled: if it was cancelled.
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
        """A Python of the required version: an installed one, or one that uv downloads and verifies."""
        found = find_python()
        if found is not None:
            return found
        report(f"Fetching Python {VERSION}", 0.02)
        try:
            run([str(self.program), "python", "install", VERSION], cancelled, environ=self.environ)
            command = [str(self.program), "python", "find", "--managed-python", VERSION]
            return Path(run(command, environ=self.environ).strip())
        except CommandFailed as failure:
            why = f"it is neither on the PATH nor in pyenv, and uv could not fetch it: {failure.explain('').why}"
            fix = f"Install Python {VERSION} (python.org, or `pyenv install {VERSION}`), then install again"
            raise UserError(f"Python {VERSION} is missing", why, fix, ErrorCode.NO_PYTHON) from failure


def _prints(program: Path, text: str) -> bool:
    with contextlib.suppress(CommandFailed):
        return text in run([str(program), "--version"])
    return False


def _make_tools(folder: Path) -> None:
    """Create a virtual environment with pip, with the first Python that can do this."""
    for python in any_pythons():
        with contextlib.suppress(CommandFailed):
            run([str(python), "-m", "venv", "--clear", str(folder)])
            return
    fix = (
        "Install Python 3.13 with its venv module (on Debian and Ubuntu: the package python3-venv), then install again"
    )
    raise UserError("No Python on this machine can create a virtual environment", fix=fix, code=ErrorCode.NO_PYTHON)


def uv_environ(tools_python: Path) -> dict[str, str]:
    """Environment variables of uv, including pip's settings, which uv does not read itself.

    Extra indexes are left out: the main index has all locked packages, and a second one could impersonate it.
    """
    environ = child_environ()
    environ.setdefault("UV_HTTP_TIMEOUT", "120")
    environ.setdefault("UV_CONCURRENT_DOWNLOADS", "8")
    settings: dict[str, str] = {}
    with contextlib.suppress(CommandFailed):
        lines = run([str(tools_python), "-m", "pip", "config", "list"]).splitlines()
        for line in sorted(lines, key=lambda line: line.startswith(":env:")):  # variables override files
            name, _, value = line.partition("=")
            settings[name.rpartition(".")[2]] = value.strip("'\"")
    for pip_name, uv_name in _PIP_TO_UV:
        if pip_name in settings and not (pip_name == "index-url" and "UV_INDEX_URL" in environ):
            environ.setdefault(uv_name, settings[pip_name])
    return environ
