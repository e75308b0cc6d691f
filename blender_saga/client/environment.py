"""The one installer: a Python 3.13 environment with the locked packages of the backend.

`scripts/bootstrap.py` and the Install button in Blender both use it, so it is standard library only and valid
Python 3.9, and it runs where nothing is installed yet. It brings its own uv (by pip, in a small environment beside the
folder) because uv installs the set in a fraction of pip's time and can bring Python 3.13 too.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path

from ..wire.errors import UserError
from .commands import CommandFailed, child_environ, run
from .install_progress import Report, SyncProgress
from .pythons import VERSION, any_pythons, find_python, is_usable

__all__ = ["MINIMUM_FREE_BYTES", "Environment", "EnvironmentState", "find_python"]

MINIMUM_FREE_BYTES = 10 * 1000**3
"""Torch for Linux carries CUDA: about 3 GB of downloads become 6.4 GB."""

_UV = "0.13.8"
_STAMP = "saga_installed.txt"
_PIP_TO_UV = (("index-url", "UV_DEFAULT_INDEX"), ("cert", "SSL_CERT_FILE"), ("proxy", "HTTPS_PROXY"))


class EnvironmentState(Enum):
    """Where an environment stands; the values are words for the user."""

    missing = "not installed"
    incomplete = "only partly installed"
    outdated = "installed for another version"
    ready = "ready"


class Environment:
    """A virtual environment in a folder of its own.

    Beside the folder lie `NAME-uv` (the small environment with uv) and `NAME.lock` (held while installing).

    Attributes:
        folder: the environment.
        python: its interpreter, whether it is there yet or not.
    """

    def __init__(self, folder: Path, requirements: Path | None = None) -> None:
        """
        Args:
            folder: the environment; need not exist.
            requirements: lock file that it has to match to be `ready`; None: any that was installed completely.
        """
        self.folder = Path(folder)
        self.python = _interpreter(self.folder)
        self._requirements = requirements

    @property
    def state(self) -> EnvironmentState:
        """Where it stands now, read from the disk."""
        return self._state(self._requirements)

    def _state(self, requirements: Path | None) -> EnvironmentState:
        if not self.folder.exists():
            return EnvironmentState.missing
        with contextlib.suppress(OSError):
            stamp = (self.folder / _STAMP).read_text(encoding="utf-8")
            if self.python.exists():
                fits = requirements is None or stamp == self._stamp_for(requirements)
                return EnvironmentState.ready if fits else EnvironmentState.outdated
        return EnvironmentState.incomplete

    def _stamp_for(self, requirements: Path) -> str:
        # Scripts of an environment name its folder: one that was moved has to be made again, hence the path.
        content = requirements.read_bytes() + os.fsencode(self.folder.resolve())
        return hashlib.sha256(content).hexdigest()

    def install(
        self, requirements: Path, report: Report, cancelled: Callable[[], bool], project: Path | None = None
    ) -> None:
        """Bring the environment to `ready`; does nothing if it is. What was downloaded before is not fetched again.

        Args:
            requirements: lock file, names and versions.
            report: called with what is being done and how far it is, 0 to 1.
            cancelled: asked a few times a second whether to stop.
            project: a Python project to add as editable, without its dependencies.

        Raises:
            UserError: code "busy" (another install is at work), "disk", "folder", "no_python", "network",
                "certificate", "permission" or "install"; the state is then what it was, or incomplete.
            Cancelled: if it was stopped.
        """
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with _exclusive(self._beside(".lock")):
            if self._state(requirements) is not EnvironmentState.ready:
                self._check_place()
                self._install(requirements, report, cancelled, project)

    def _install(self, requirements: Path, report: Report, cancelled: Callable[[], bool], project: Path | None) -> None:
        uv, environ = self._bring_uv(report, cancelled)
        if not is_usable(self.python):
            base = _bring_python(uv, environ, report, cancelled)
            report("Making the environment", 0.04)
            _do("The environment could not be made", [uv, "venv", "--clear", "--python", base, self.folder], environ)
        (self.folder / _STAMP).unlink(missing_ok=True)  # from here on it is incomplete
        report("Looking at what has to be installed", 0.05)
        progress = SyncProgress(report, self.folder)
        try:
            sync = [uv, "pip", "sync", "--python", self.python, requirements]
            run([str(part) for part in sync], cancelled, progress.line, environ)
            if project is not None:
                report("Adding the project", 0.98)
                add = [uv, "pip", "install", "--python", self.python, "--no-deps", "--editable", project]
                run([str(part) for part in add], cancelled, environ=environ)
        except CommandFailed as failure:
            raise failure.explain("The packages could not be installed") from failure
        self._write_stamp(requirements)
        report("Installed", 1.0)

    def _write_stamp(self, requirements: Path) -> None:
        half = self.folder / (_STAMP + ".part")
        half.write_text(self._stamp_for(requirements), encoding="utf-8")
        half.replace(self.folder / _STAMP)

    def _beside(self, ending: str) -> Path:
        return self.folder.with_name(self.folder.name + ending)

    def _check_place(self) -> None:
        if self.folder.exists() and not (self.folder / "pyvenv.cfg").exists() and any(self.folder.iterdir()):
            why = f"{self.folder} holds other files and no Python environment"
            raise UserError("The environment cannot be made there", why, "Choose an empty folder", "folder")
        free = shutil.disk_usage(self.folder.parent).free
        if free < MINIMUM_FREE_BYTES:
            why = f"{free / 1e9:.1f} GB are free at {self.folder.parent}, {MINIMUM_FREE_BYTES / 1e9:.0f} GB are needed"
            raise UserError(
                "There is not enough free disk space", why, "Free some space or choose another disk", "disk"
            )

    def _bring_uv(self, report: Report, cancelled: Callable[[], bool]) -> tuple[Path, dict[str, str]]:
        """uv, and the environment variables to run it with."""
        tools = self._beside("-uv")
        python = _interpreter(tools)
        uv = python.with_name("uv.exe" if sys.platform == "win32" else "uv")
        if not _prints(uv, _UV):
            report(f"Fetching uv {_UV}, the package installer", 0.0)
            _make_tools(tools)
            pip = [str(python), "-m", "pip", "install", "--quiet", "--retries", "1", f"uv=={_UV}"]
            try:
                run(pip, cancelled)
            except CommandFailed as failure:
                raise failure.explain("The package installer uv could not be fetched") from failure
        return uv, _uv_environ(python)


@contextlib.contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Hold a lock that the operating system drops when this process ends, however it ends."""
    with path.open("a+b") as file:
        try:
            if sys.platform == "win32":
                import msvcrt

                file.seek(0)
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            why = f"{path.with_suffix('')} is being installed by another program"
            raise UserError("The backend is being installed already", why, "Wait until it is done", "busy") from None
        yield


def _interpreter(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _prints(program: Path, text: str) -> bool:
    with contextlib.suppress(CommandFailed):
        return text in run([str(program), "--version"])
    return False


def _do(what: str, command: list[str | Path], environ: dict[str, str]) -> str:
    try:
        return run([str(part) for part in command], environ=environ)
    except CommandFailed as failure:
        raise failure.explain(what) from failure


def _make_tools(folder: Path) -> None:
    """A virtual environment with pip, made by the first Python here that can."""
    for python in any_pythons():
        with contextlib.suppress(CommandFailed):
            run([str(python), "-m", "venv", "--clear", str(folder)])
            return
    fix = "Install Python 3.13 with its venv module (on Debian and Ubuntu: the package python3-venv)"
    raise UserError("No Python on this machine can make a virtual environment", fix=fix, code="no_python")


def _uv_environ(tools_python: Path) -> dict[str, str]:
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


def _bring_python(uv: Path, environ: dict[str, str], report: Report, cancelled: Callable[[], bool]) -> Path:
    """A Python of the wanted version: one that is here, else uv's own, downloaded if need be."""
    found = find_python()
    if found is not None:
        return found
    report(f"Fetching Python {VERSION}", 0.02)
    try:
        run([str(uv), "python", "install", VERSION], cancelled, environ=environ)
        return Path(run([str(uv), "python", "find", "--managed-python", VERSION], environ=environ).strip())
    except CommandFailed as failure:
        why = f"none is on the PATH or among pyenv's, and uv could not fetch one: {failure.explain('').why}"
        fix = f"Install Python {VERSION} (python.org, or `pyenv install {VERSION}`), then try again"
        raise UserError(f"Python {VERSION} is missing", why, fix, "no_python") from failure
