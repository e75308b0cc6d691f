"""The last message for the panels."""

from __future__ import annotations

from .log import journal, logger


class Status:
    """The status line of this Blender process; see `status` below.

    Attributes:
        message: the last message for the panels, or "".
        failed: whether it is an error.
    """

    def __init__(self) -> None:
        self.message, self.failed = "", False

    def tell(self, message: str, failed: bool = False) -> None:
        """Set the message that the panels show."""
        self.message, self.failed = message, failed
        if failed:
            journal.failed("panel", message)
        elif message:
            logger.info("panel: %s", message)

    def forget(self) -> None:
        """Reset the state."""
        self.message, self.failed = "", False


status = Status()
