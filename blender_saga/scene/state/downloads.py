"""Downloads: the installation of the backend's packages, and weights."""

from __future__ import annotations

from ...client.install.installation import Installation
from .request import SceneRequest


class Downloads:
    """The downloads of this Blender process; see `downloads` below.

    Attributes:
        installation: the current or last installation of the backend's packages, or None.
        weights: the current or last request to download weights, or None.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Reset the state."""
        self.installation: Installation | None = None
        self.weights: SceneRequest | None = None

    @property
    def installing(self) -> bool:
        """Whether an installation is running."""
        return self.installation is not None and self.installation.running

    @property
    def fetching(self) -> bool:
        """Whether a download of weights is running."""
        return self.weights is not None and not self.weights.ended

    def install(self, installation: Installation) -> Installation:
        """Record a new installation; returns it."""
        self.installation = installation
        return installation

    def fetch(self, request: SceneRequest) -> SceneRequest:
        """Record a new download of weights; returns its request."""
        self.weights = request
        return request

    def changed(self) -> bool:
        """Whether the installation has news for the panels."""
        return self.installation is not None and self.installation.changed()


downloads = Downloads()
