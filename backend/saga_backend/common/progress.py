"""Progress and cancellation of long computations."""

from __future__ import annotations

import math

from blender_saga.errors import Cancelled


class Control:
    """Argument of every long function. The base class discards progress.

    Attributes:
        loss: loss of the latest training step, NaN outside training; sent with the progress.
    """

    loss: float = math.nan

    def __init__(self) -> None:
        self._cancelled = False

    def cancel(self) -> None:
        """Make the computation stop at its next step (callable from any thread)."""
        self._cancelled = True

    def progress(self, phase: str, step: int, total: int) -> None:
        """Report that `step` of `total` steps of `phase` are done.

        Raises:
            Cancelled: if `cancel` was called.
        """
        if self._cancelled:
            raise Cancelled(phase)
        self.emit(phase, step, total)

    def emit(self, phase: str, step: int, total: int) -> None:
        """Send the progress; overridden by the server (a message) and the command line (a line on stderr)."""
