"""How long work reports its progress and learns that it was cancelled."""

from __future__ import annotations

import math

from blender_saga.errors import Cancelled


class Control:
    """Handed to every long function. The base class reports to nobody and is never cancelled.

    Attributes:
        loss: of the newest training step, NaN where nothing is learned; goes out with the progress.
    """

    loss: float = math.nan

    def __init__(self) -> None:
        self._cancelled = False

    def cancel(self) -> None:
        """Ask the work to stop at its next step (any thread)."""
        self._cancelled = True

    def progress(self, phase: str, step: int, total: int) -> None:
        """Say that `step` of `total` steps of `phase` are done.

        Raises:
            Cancelled: if the work was cancelled.
        """
        if self._cancelled:
            raise Cancelled(phase)
        self.emit(phase, step, total)

    def emit(self, phase: str, step: int, total: int) -> None:
        """Pass the progress on; overridden by the server (a message) and the command line (a line on stderr)."""
