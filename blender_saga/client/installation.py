"""An installation of the backend's environment that runs beside Blender (pure: a thread, no bpy)."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path

from ..wire.errors import Cancelled, UserError
from .commands import CommandFailed, run
from .environment import Environment
from .install_progress import Report
from .process import Launch

Work = Callable[[Report, Callable[[], bool]], None]
"""Something long: told how to report, and asks whether it is cancelled."""
_INSTALLED = 0.9  # of the bar; the rest is for trying it out
_STEP = re.compile(r": (\d+) of (\d+)$")


def prepare(launch: Launch) -> Work:
    """Have what was installed compile what it needs, which would else delay the first training; and so try it out."""

    def work(report: Report, cancelled: Callable[[], bool]) -> None:
        def line(text: str) -> None:
            found = _STEP.search(text)
            if found:
                step, total = int(found[1]), int(found[2])
                report(
                    f"Preparing it for this machine, {step + 1} of {total}",
                    _INSTALLED + (1 - _INSTALLED) * step / total,
                )

        report("Preparing it for this machine", _INSTALLED)
        try:
            run([*launch.command(), "--warm-up"], cancelled, line, launch.environ())
        except CommandFailed as failure:
            raise failure.explain("The backend was installed, but it does not work") from failure
        report("Installed", 1.0)

    return work


class Installation:
    """Installs in a thread of its own from the moment it is made.

    Attributes:
        text: what it is doing, for the user.
        fraction: 0 to 1.
        error: what went wrong, or None.
        cancelled: whether it was stopped on request.
    """

    def __init__(self, environment: Environment, requirements: Path, then: Work | None = None) -> None:
        """
        Args:
            environment: what is installed.
            requirements: its lock file.
            then: done when that has ended well.
        """
        self.text, self.fraction = "Starting", 0.0
        self.error: Exception | None = None
        self.cancelled = False
        self._told: tuple[object, ...] = ()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(environment, requirements, then), daemon=True)
        self._thread.start()

    def _run(self, environment: Environment, requirements: Path, then: Work | None) -> None:
        try:
            share = 1.0 if then is None else _INSTALLED
            environment.install(requirements, lambda text, part: self._report(text, share * part), self._stop.is_set)
            if then is not None:
                then(self._report, self._stop.is_set)
        except Cancelled:
            self.cancelled = True
        except Exception as error:  # a bug too is raised on the main thread, by `outcome`
            self.error = error

    def _report(self, text: str, fraction: float) -> None:
        self.text, self.fraction = text, fraction

    @property
    def running(self) -> bool:
        """Whether it is still at work."""
        return self._thread.is_alive()

    def changed(self) -> bool:
        """Whether there is something new to show since the last call."""
        before, self._told = self._told, (self.text, self.fraction, self.running)
        return self._told != before

    def cancel(self) -> None:
        """Ask it to stop at the next step."""
        self._stop.set()

    def wait(self) -> None:
        """Block until it has ended; `outcome`."""
        self._thread.join()
        self.outcome()

    def outcome(self) -> None:
        """Do nothing if it ended well.

        Raises:
            UserError: what went wrong.
            Cancelled: if it was stopped on request.
        """
        if self.cancelled:
            raise Cancelled("installation")
        if isinstance(self.error, OSError):
            raise UserError("The backend could not be installed", str(self.error)) from self.error
        if self.error is not None:
            raise self.error
