"""The installer: a Python 3.13 environment with the locked packages of the backend.

`scripts/bootstrap.py` and the Install button in Blender (through versions.py) both use it, before anything is
installed: standard library only and valid Python 3.9. It fetches its own uv (with pip, in a small environment next to
the folder), because uv is much faster than pip and can also install Python 3.13. Downloads must match the checksums in
the lock; nothing is compiled.
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

from ...errors import ErrorCode, UserError
from ...gaussians.atomic_write import atomic_write
from .commands import CommandFailed, run
from .install_progress import Report, SyncProgress
from .pythons import find_python, is_usable
from .uv import Uv, interpreter

__all__ = ["MINIMUM_FREE_BYTES", "Environment", "EnvironmentState", "exclusive", "find_python"]

MINIMUM_FREE_BYTES = 10 * 1000**3
"""Torch for Linux includes CUDA: about 3 GB of downloads become 6.4 GB."""
UV_LOCK = "uv.txt"
"""File with uv's version and checksums, next to every lock."""

_STAMP = "saga_installed.txt"
_QUICK = {"UV_HTTP_TIMEOUT": "15", "UV_HTTP_CONNECT_TIMEOUT": "5", "UV_HTTP_RETRIES": "1"}
"""Settings for the list of downloads, so that a missing network shows quickly."""


class EnvironmentState(Enum):
    """The state of an environment; the values are texts for the user."""

    missing = "not installed"
    incomplete = "only partly installed"
    outdated = "installed for another version"
    ready = "ready"


class Environment:
    """A virtual environment.

    Next to its folder are `NAME-uv` (the small environment with uv) and `NAME.lock` (held during the installation).

    Attributes:
        folder: folder of the environment.
        python: path of its interpreter, which may not exist yet.
    """

    def __init__(self, folder: Path, requirements: Path | None = None, family: Path | None = None) -> None:
        """
        Args:
            folder: folder of the environment; may not exist.
            requirements: lock file that a `ready` environment matches; None for any complete installation.
            family: folder whose `-uv` and package cache are used; None for `folder` and uv's own cache.
        """
        self.folder = Path(folder)
        self.python = interpreter(self.folder)
        self._requirements = requirements
        self._tools = (family or self.folder).with_name((family or self.folder).name + "-uv")
        self._cache = cache_of(family) if family is not None else None

    @property
    def state(self) -> EnvironmentState:
        """The current state, read from the disk."""
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
        # The stamp includes the path: scripts contain it, so a moved environment must be rebuilt.
        content = _pins(requirements) + os.fsencode(self.folder.resolve())
        return hashlib.sha256(content).hexdigest()

    def install(
        self, requirements: Path, report: Report, cancelled: Callable[[], bool], project: Path | None = None
    ) -> None:
        """Install the environment, unless it is `ready`. Earlier downloads are reused.

        Args:
            requirements: lock file with names, versions and checksums, next to uv's own.
            report: called with a description and the progress, 0 to 1.
            cancelled: polled a few times a second; True stops the installation.
            project: a Python project to install as editable, without its dependencies.

        Raises:
            UserError: code "busy" (another installation is running), "disk", "folder", "no_python", "network",
                "certificate", "permission", "checksum", "index" or "install"; the state is then unchanged or
                incomplete.
            Cancelled: if it was cancelled.
        """
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(self.folder.with_name(self.folder.name + ".lock")):
            if self._state(requirements) is not EnvironmentState.ready:
                self.build(requirements, report, cancelled, project)

    def build(
        self, requirements: Path, report: Report, cancelled: Callable[[], bool], project: Path | None = None
    ) -> None:
        """`install` without taking the lock, for callers that hold it."""
        self._check_place()
        uv = Uv(self._tools, requirements.with_name(UV_LOCK), report, cancelled)
        if self._cache is not None:
            uv.environ.setdefault(
                "UV_CACHE_DIR", str(self._cache)
            )  # on the same disk, so that files are linked instead of copied
        if not is_usable(self.python):
            base = uv.python(report, cancelled)
            report("Creating the environment", 0.04)
            _do(
                "The environment could not be created",
                [uv.program, "venv", "--clear", "--python", base, self.folder],
                uv,
            )
        (self.folder / _STAMP).unlink(missing_ok=True)  # the environment is incomplete from here on
        report("Resolving the packages", 0.05)
        pip: list[str | Path] = [uv.program, "pip"]
        sync = [*pip, "sync", "--require-hashes", "--no-build", "--python", self.python, requirements]
        what = "The packages could not be installed"
        _do(what, [*sync, "--dry-run"], uv, cancelled, quick=True)
        _do(what, sync, uv, cancelled, SyncProgress(report, self.folder).line)
        if project is not None:
            report("Installing the project", 0.98)
            add = [*pip, "install", "--python", self.python, "--no-deps", "--editable", project]
            _do("The project could not be installed", add, uv, cancelled)
        self._write_stamp(requirements)
        report("Installed", 1.0)

    def _write_stamp(self, requirements: Path) -> None:
        with atomic_write(self.folder / _STAMP) as part:
            part.write_text(self._stamp_for(requirements), encoding="utf-8")

    def _check_place(self) -> None:
        if self.folder.exists() and not (self.folder / "pyvenv.cfg").exists() and any(self.folder.iterdir()):
            why = f"{self.folder} contains other files"
            raise UserError("The environment cannot be created", why, "Choose an empty folder", ErrorCode.FOLDER)
        have = (
            _size(self._cache) if self._cache is not None else 0
        )  # from an earlier run; it becomes part of the environment
        free, needed = shutil.disk_usage(self.folder.parent).free, MINIMUM_FREE_BYTES - have
        if free < needed:
            why = f"{self.folder.parent} has {free / 1e9:.1f} GB, and {needed / 1e9:.0f} GB are needed"
            fix = "Free some space or choose a folder on another disk, then install again"
            raise UserError("There is not enough free disk space", why, fix, ErrorCode.DISK)


def cache_of(family: Path) -> Path:
    """The folder of the downloads of a family of environments."""
    return family.with_name(family.name + "-cache")


def _pins(requirements: Path) -> bytes:
    """The names and versions in a lock, without checksums: those of other systems do not change the environment."""
    lines = requirements.read_bytes().splitlines()
    return b"".join(line.rstrip(b" \\") + b"\n" for line in lines if not line.startswith(b"    --hash="))


def _size(folder: Path) -> int:
    """Bytes on the disk below a folder; 0 without a folder."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += Path(place, name).lstat().st_size
    return total


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock that the operating system releases when this process ends, for any reason."""
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
            why = f"another program is installing {path.with_suffix('')}"
            raise UserError(
                "The backend is already being installed", why, "Wait until it is installed", ErrorCode.BUSY
            ) from None
        yield


def _do(
    what: str,
    command: list[str | Path],
    uv: Uv,
    cancelled: Callable[[], bool] = lambda: False,
    on_line: Callable[[str], None] = lambda _: None,
    quick: bool = False,
) -> None:
    try:
        run([str(part) for part in command], cancelled, on_line, {**uv.environ, **(_QUICK if quick else {})})
    except CommandFailed as failure:
        raise failure.explain(what) from failure
