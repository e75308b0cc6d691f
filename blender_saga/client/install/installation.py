"""An installation of the backend's environment in a thread (pure: no bpy)."""

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
    """The trial of an installed backend: it compiles its code, which would otherwise delay the first training."""

    def work(report: Report, cancelled: Callable[[], bool]) -> None:
        def line(text: str) -> None:
            found = _STEP.search(text)
            if found:
                step, total = int(found[1]), int(found[2])
                report(f"Compiling for this machine, {step + 1} of {total}", step / total)

        report("Testing the backend and compiling for this machine", 0.0)
        try:
            run([*launch.command(), "--warm-up"], cancelled, line, launch.environ())
        except CommandFailed as failure:
            raise failure.explain("The installed backend does not work") from failure
        report("Installed", 1.0)

    return work


class Installation:
    """Installs in a thread, which starts at once.

    Attributes:
        text: the current step, for the user.
        fraction: progress, 0 to 1.
        error: the error, or None.
        cancelled: whether the user cancelled it.
    """

    def __init__(self, work: Work) -> None:
        """
        Args:
            work: the function to run, like `Environments.install`.
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
        except OSError as error:  # the user chooses the folder
            why = f"{error.strerror or error}" + (f" ({error.filename})" if error.filename else "")
            fix = "Check the permissions of the backend folder, then press Install again"
            self.error = UserError("The backend could not be installed", why, fix, ErrorCode.FOLDER)
            self.error.__cause__ = error
            _log.warning("The installation failed at: %s", self.text, exc_info=True)
        except Exception as error:  # `outcome` raises bugs too, on the main thread
            self.error = error
            _log.warning("The installation failed at: %s", self.text, exc_info=True)

    def _report(self, text: str, fraction: float) -> None:
        self.text, self.fraction = text, fraction

    @property
    def problem(self) -> str:
        """The error as a sentence for the user; "" without an error."""
        if self.error is None or isinstance(self.error, UserError):
            return str(self.error or "")
        why = f"{type(self.error).__name__}: {self.error}"
        return UserError("The installation failed", why, REPORT, ErrorCode.BUG).sentence()

    @property
    def running(self) -> bool:
        """Whether the installation is running."""
        return self._thread.is_alive()

    def changed(self) -> bool:
        """Whether the progress has changed since the last call."""
        before, self._told = self._told, (self.text, self.fraction, self.running)
        return self._told != before

    def cancel(self) -> None:
        """Request a stop at the next step."""
        self._stop.set()

    def wait(self) -> None:
        """Block until the installation ends. Returns `outcome`."""
        self._thread.join()
        self.outcome()

    def outcome(self) -> None:
        """Raise the error of a failed installation.

        Raises:
            UserError: if the installation failed.
            Cancelled: if the user cancelled it.
        """
        if self.cancelled:
            raise Cancelled("installation")
        if self.error is not None:
            raise self.error
