"""The searches for segments, text matches and colors: one at a time, and the candidates of the last text search."""

from __future__ import annotations

from ...errors import ErrorCode, UserError
from ...wire.messages import Candidates
from .request import SceneRequest


class Searches:
    """The searches of this Blender process; see `searches` below.

    Attributes:
        request: the current or last search, or None.
        candidates: candidates of the last text search, or None.
        chosen: number of the selected candidate, -1 for none.
        texts: number of answered text searches.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Reset the state."""
        self.request: SceneRequest | None = None
        self.candidates: Candidates | None = None
        self.chosen, self.texts = -1, 0

    @property
    def running(self) -> bool:
        """Whether a search is running."""
        return self.request is not None and not self.request.ended

    def check_idle(self) -> None:
        """Make sure that no search is running.

        Raises:
            UserError: if a search is running.
        """
        if self.running:
            raise UserError(
                "The backend is busy with another search", fix="Wait until it ends, or cancel it", code=ErrorCode.BUSY
            )

    def begin(self, request: SceneRequest) -> SceneRequest:
        """Record a new search; returns its request."""
        self.request = request
        return request

    def answer(self, candidates: Candidates) -> None:
        """Record the candidates of a text search; none of them is selected yet."""
        self.candidates, self.chosen, self.texts = candidates, -1, self.texts + 1

    def choose(self, number: int) -> None:
        """Record the selected candidate."""
        self.chosen = number


searches = Searches()
