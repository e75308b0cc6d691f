"""State of this run of Blender that is not in the .blend. Each part is written only by its own methods."""

from __future__ import annotations

from ...errors import ErrorCode, UserError
from .downloads import downloads
from .link import link
from .models import models
from .searches import searches
from .status import status
from .trainings import trainings


def poll() -> bool:
    """Process events and run their callbacks on the main thread. Returns whether to redraw the panels."""
    changed = link.poll()
    trainings.poll()
    return downloads.changed() or changed


def cancel(what: str = "ANY") -> None:
    """Cancel the running training, search, download or installation.

    Args:
        what: "TRAINING", "SEARCH", or "ANY" for the first of them that is running, in the order above.

    Raises:
        UserError: if nothing is running.
    """
    requests = {"TRAINING": (trainings.request,), "SEARCH": (searches.request,)}.get(
        what, (trainings.request, searches.request, downloads.weights)
    )
    running = [request for request in requests if request is not None and not request.ended]
    if running:
        running[0].cancel()
    elif what == "ANY" and downloads.installation is not None and downloads.installing:
        downloads.installation.cancel()
    else:
        raise UserError("Nothing is running", code=ErrorCode.IDLE)


def close() -> None:
    """Stop everything when the extension is disabled."""
    if downloads.installation is not None:
        downloads.installation.cancel()
    link.stop()
    for state in (link, trainings, searches, models, downloads, status):
        state.forget()
