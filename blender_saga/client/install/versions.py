"""The backend's environment in Blender: a new one is made and tried out beside the old one, which works until then.

backend/environment-2        the one in use
backend/environment.current  its name; written, in one piece, when it is complete and has been tried out
backend/environment-3        an upgrade that is being made; whatever ends it, the next run removes it
backend/environment-cache    what was downloaded (linked into the environments, so it takes no room of its own)
backend/environment-uv       uv, the package installer
backend/environment.lock     held while installing
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
"""Something long: told how to report, and asks whether it is cancelled."""

_INSTALLED = 0.9  # of the bar; the rest is for trying it out
_IN_USE = "saga_in_use.lock"  # a running backend holds it (launch.py)


class Environments:
    """What Install makes, and what the backend is started with."""

    def __init__(self, folder: Path, requirements: Path) -> None:
        """
        Args:
            folder: what their names begin with; a plain environment there is one of them too.
            requirements: lock file that the one in use has to match to be `ready`.
        """
        self._folder, self._requirements = Path(folder), requirements
        self._pointer = self._folder.with_name(self._folder.name + ".current")

    @property
    def current(self) -> Environment:
        """The one in use; it is `missing` where there is none yet."""
        name = self._folder.name
        with contextlib.suppress(OSError, UnicodeDecodeError):
            name = self._pointer.read_text(encoding="utf-8").strip()
        if not re.fullmatch(re.escape(self._folder.name) + r"(-\d+)?", name):
            name = self._folder.name
        return self._environment(self._folder.with_name(name))

    @property
    def state(self) -> EnvironmentState:
        """Where the one in use stands; partly installed where only a first installation was begun."""
        state = self.current.state
        begun = state is EnvironmentState.missing and any(self._all())
        return EnvironmentState.incomplete if begun else state

    @property
    def usable(self) -> bool:
        """Whether the backend can be started with it: also one of another version, until an upgrade has replaced it."""
        return self.current.state in (EnvironmentState.ready, EnvironmentState.outdated)

    def holds(self, python: Path) -> Path | None:
        """The folder of the environment that this Python is of; None if it is another one."""
        home = python.parent.parent
        return home if home in (*self._all(), self._folder) else None

    def install(self, report: Report, cancelled: Callable[[], bool], trial: Callable[[Path], Work]) -> None:
        """Make one for the lock, try it out, and only then put it in the place of the old one.

        Whatever goes wrong, the one in use stays as it is. What was downloaded is kept for the next try. One that fits
        the lock already is only tried out; if it has been damaged, it is replaced.

        Args:
            report: called with what is being done and how far it is, 0 to 1.
            cancelled: asked a few times a second whether to stop.
            trial: tries out a backend with a Python; raises what the user is to be told.

        Raises:
            UserError: as `Environment.install`, and what the trial raises.
            Cancelled: if it was stopped.
        """
        check_owner(self._folder)
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(self._folder.with_name(self._folder.name + ".lock")):
            if self.current.state is EnvironmentState.ready:
                with contextlib.suppress(UserError):
                    trial(self.current.python)(report, cancelled)
                    return
                shutil.rmtree(cache_of(self._folder), ignore_errors=True)  # its files are those that are damaged
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
        """The numbered ones that lie there, complete or not."""
        with contextlib.suppress(OSError):
            for path in sorted(self._folder.parent.glob(f"{self._folder.name}-*")):
                if path.name[len(self._folder.name) + 1 :].isdecimal() and path.is_dir():
                    yield path

    def _next(self) -> Path:
        numbers = [int(path.name[len(self._folder.name) + 1 :]) for path in self._all()]
        return self._folder.with_name(f"{self._folder.name}-{max(numbers, default=0) + 1}")

    def _tidy(self) -> None:
        """Remove all but the one in use and those that a backend still runs from."""
        keep = self.current.folder
        plain = [self._folder] if (self._folder / "pyvenv.cfg").exists() else []
        for folder in [*self._all(), *plain]:
            if folder != keep and not _in_use(folder):
                _remove(folder)


def _in_use(folder: Path) -> bool:
    """Whether a backend runs from this environment."""
    try:
        with exclusive(folder / _IN_USE):
            return False
    except UserError:
        return True
    except OSError:  # it holds no such file yet, and none can be made: then it is broken anyway
        return False


def _remove(folder: Path) -> None:
    """Remove an environment; what is open (on Windows) stays for the next time, under a name that nobody starts."""
    trash = folder
    if sys.platform == "win32":
        trash = folder.with_name(folder.name + "0")  # still a number: the next run tries again
        with contextlib.suppress(OSError):
            folder.rename(trash)
    shutil.rmtree(trash, ignore_errors=True)


def _drop_unlinked(cache: Path) -> None:
    """Remove downloads that no environment holds any more: those of packages that were upgraded."""
    for package in (cache / "archive-v0").glob("*"):
        files = [Path(place, name) for place, _, names in os.walk(package) for name in names]
        if not any(file.lstat().st_nlink > 1 for file in files):
            shutil.rmtree(package, ignore_errors=True)
