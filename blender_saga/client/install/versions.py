"""The backend's environments in Blender: an upgrade is installed and tested next to the old one, which remains usable.

backend/environment-2        the current environment
backend/environment.current  its name; written atomically after a complete installation and a successful test
backend/environment-3        an unfinished upgrade; the next run removes it
backend/environment-cache    downloads (linked into the environments, so they take no extra space)
backend/environment-uv       uv, the package installer
backend/environment.lock     held during an installation
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from ...errors import UserError
from ...gaussians.atomic_write import atomic_write
from .environment import Environment, EnvironmentState, cache_of, exclusive
from .install_progress import Report
from .owner import check_owner

Work = Callable[[Report, Callable[[], bool]], None]
"""A long task; takes a progress callback and a cancellation check."""

_INSTALLED = 0.9  # of the progress bar; the rest is for the test
_IN_USE = "saga_in_use.lock"  # a running backend holds it (launch.py)


class Environments:
    """The environments that Install creates and the backend runs in."""

    def __init__(self, folder: Path, requirements: Path) -> None:
        """
        Args:
            folder: prefix of their paths; may itself be an environment.
            requirements: lock file that the current environment must match to be `ready`.
        """
        self._folder, self._requirements = Path(folder), requirements
        self._pointer = self._folder.with_name(self._folder.name + ".current")

    @property
    def current(self) -> Environment:
        """The current environment; `missing` before the first installation."""
        name = self._folder.name
        with contextlib.suppress(OSError, UnicodeDecodeError):
            name = self._pointer.read_text(encoding="utf-8").strip()
        if not re.fullmatch(re.escape(self._folder.name) + r"(-\d+)?", name):
            name = self._folder.name
        return self._environment(self._folder.with_name(name))

    @property
    def state(self) -> EnvironmentState:
        """The state of the current environment; incomplete after an unfinished first installation."""
        state = self.current.state
        begun = state is EnvironmentState.missing and any(self._all())
        return EnvironmentState.incomplete if begun else state

    @property
    def usable(self) -> bool:
        """Whether the backend can run in the current environment; an outdated one is usable until an upgrade."""
        return self.current.state in (EnvironmentState.ready, EnvironmentState.outdated)

    def holds(self, python: Path) -> Path | None:
        """The folder of the environment with this Python; None for other Pythons."""
        home = python.parent.parent
        return home if home in (*self._all(), self._folder) else None

    def install(self, report: Report, cancelled: Callable[[], bool], trial: Callable[[Path], Work]) -> None:
        """Install an environment for the lock, test it, and only then replace the old one.

        An error does not affect the current environment, and downloads are kept. An environment that matches the lock
        is only tested; a damaged one is replaced.

        Args:
            report: called with a description and the progress, 0 to 1.
            cancelled: polled a few times a second; True stops the installation.
            trial: tests a backend with a Python; raises errors for the user.

        Raises:
            UserError: as `Environment.install`, and errors of the trial.
            Cancelled: if it was cancelled.
        """
        check_owner(self._folder)
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(self._folder.with_name(self._folder.name + ".lock")):
            if self.current.state is EnvironmentState.ready:
                with contextlib.suppress(UserError):
                    trial(self.current.python)(report, cancelled)
                    return
                shutil.rmtree(cache_of(self._folder), ignore_errors=True)  # the damaged files are in the cache too
            self._tidy()
            fresh = self._environment(self._next())
            try:
                self._make(fresh, report, cancelled, trial)
            except BaseException:
                _remove(fresh.folder)
                raise
            self._tidy()
            _drop_unlinked(cache_of(self._folder))

    def _make(
        self, fresh: Environment, report: Report, cancelled: Callable[[], bool], trial: Callable[[Path], Work]
    ) -> None:
        fresh.build(self._requirements, lambda text, part: report(text, _INSTALLED * part), cancelled)
        trial(fresh.python)(lambda text, part: report(text, _INSTALLED + (1 - _INSTALLED) * part), cancelled)
        with atomic_write(self._pointer) as part:
            part.write_text(fresh.folder.name, encoding="utf-8")

    def _environment(self, folder: Path) -> Environment:
        return Environment(folder, self._requirements, family=self._folder)

    def _all(self) -> Iterator[Path]:
        """The numbered environments on the disk, complete or not."""
        with contextlib.suppress(OSError):
            for path in sorted(self._folder.parent.glob(f"{self._folder.name}-*")):
                if path.name[len(self._folder.name) + 1 :].isdecimal() and path.is_dir():
                    yield path

    def _next(self) -> Path:
        numbers = [int(path.name[len(self._folder.name) + 1 :]) for path in self._all()]
        return self._folder.with_name(f"{self._folder.name}-{max(numbers, default=0) + 1}")

    def _tidy(self) -> None:
        """Remove all environments except the current one and those with a running backend."""
        keep = self.current.folder
        plain = [self._folder] if (self._folder / "pyvenv.cfg").exists() else []
        for folder in [*self._all(), *plain]:
            if folder != keep and not _in_use(folder):
                _remove(folder)


def _in_use(folder: Path) -> bool:
    """Whether a backend runs in this environment."""
    try:
        with exclusive(folder / _IN_USE):
            return False
    except UserError:
        return True
    except OSError:  # the lock file cannot be created: the environment is broken anyway
        return False


def _remove(folder: Path) -> None:
    """Remove an environment; open files (on Windows) remain for the next run, under an unused name."""
    trash = folder
    if sys.platform == "win32":
        trash = folder.with_name(folder.name + "0")  # still numbered, so that the next run tries again
        with contextlib.suppress(OSError):
            folder.rename(trash)
    shutil.rmtree(trash, ignore_errors=True)


def _drop_unlinked(cache: Path) -> None:
    """Remove downloads that no environment uses any longer, such as those of upgraded packages."""
    for package in (cache / "archive-v0").glob("*"):
        files = [Path(place, name) for place, _, names in os.walk(package) for name in names]
        if not any(file.lstat().st_nlink > 1 for file in files):
            shutil.rmtree(package, ignore_errors=True)
