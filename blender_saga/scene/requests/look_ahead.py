"""Prepare a view for Instant once it rests, so that the first click does not wait."""

from __future__ import annotations

import contextlib

import bpy

from ...errors import UserError
from ...gaussians.view import View
from ..state.request import SceneRequest
from . import click
from .lookup import find_splat, participants
from .weights import weights

_STILL = 0.6  # seconds in which the view does not change


class RestingView:
    """The last view of the viewport, the time of its last change, and the request for it.

    Attributes:
        request: the last request; None before the view rests, or if it could not be sent.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Forget the view; a request for it keeps running."""
        self.request: SceneRequest | None = None
        self._key, self._since, self._sent = b"", 0.0, False

    def consider(self, context: bpy.types.Context, view: View, now: float) -> bool:
        """Send the view to the backend once it rests. Returns whether a request was sent.

        Args:
            context: the context whose active splat is viewed.
            view: the view of the viewport.
            now: the current time in seconds.
        """
        if view.key != self._key:
            if self.request is not None and not self.request.ended:
                self.request.cancel()
            self.forget()
            self._key, self._since = view.key, now
            return False
        if self._sent or now - self._since < _STILL:
            return False
        self._sent = True
        with contextlib.suppress(UserError):  # no splat or no backend: a click reports the reason
            objects = participants(context, find_splat(context, ""))
            self.request = click.look_ahead(objects, view, weights("SAM"))
        return self.request is not None
