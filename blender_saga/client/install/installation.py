"""An installation of the backend's environment that runs beside Blender (pure: a thread, no bpy)."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable

from ...errors import REPORT, Cancelled, ErrorCode, UserError
from ..connection.process import Launch
from .commands import CommandFailed, run
from .install_progress import Report
from .versions import Work

_log = logging.getLogger(__name__)
_STEP = re.compile(r": (\d+) of (\d+)$")


def prepare(launch: Launch) -> Work:
    """Have what was installed compile what it needs, which would else delay the first training; and so try it out."""

    def work(report: Report, cancelled: Callable[[], bool]) -> None:
        def line(text: str) -> None:
            found = _STEP.search(text)
            if found:
                step, total = int(found[1]), int(found[2])
                report(f"Preparing it for this machine, {step + 1} of {total}", step / total)

        report("Trying it out and preparing it for this machine", 0.0)
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

    def __init__(self, work: Work) -> None:
        """
        Args:
            work: what is done, as `Environments.install`.
        """
        self.text, self.fraction = "Starting", 0.0
        self.error: Exception | None = None
        self.cancelled = False
        self._told: tuple[object, ...] = ()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Work) -> None:
        try:
            work(self._report, self._stop.is_set)
        except Cancelled:
            self.cancelled = True
            _log.info("The installation was cancelled at: %s", self.text)
        except OSError as error:  # the folder is the user's choice
            why = f"{error.strerror or error}" + (f" ({error.filename})" if error.filename else "")
            fix = "Check that you may write to the backend folder, then press Install again"
            self.error = UserError("The backend could not be installed", why, fix, ErrorCode.FOLDER)
            self.error.__cause__ = error
            _log.warning("The installation has failed at: %s", self.text, exc_info=True)
        except Exception as error:  # a bug too is raised on the main thread, by `outcome`
            self.error = error
            _log.warning("The installation has failed at: %s", self.text, exc_info=True)

    def _report(self, text: str, fraction: float) -> None:
        self.text, self.fraction = text, fraction

    @property
    def problem(self) -> str:
        """What went wrong, as a sentence for the user; "" if nothing did."""
        if self.error is None or isinstance(self.error, UserError):
            return str(self.error or "")
        why = f"{type(self.error).__name__}: {self.error}"
        return UserError("Something went wrong while it was installed", why, REPORT, ErrorCode.BUG).sentence()

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
        if self.error is not None:
            raise self.error
