"""The models of this run of Blender, kept outside of the .blend so that undo does not lose them."""

from __future__ import annotations


class Models:
    """The models by the fingerprint of their cloud; see `models` below.

    Attributes:
        paths: path of each model that was trained or saved in this run.
        levels: granularity levels of each model, 0 for a continuous scale.
        unsaved: start number of the only backend with the model, and the reason why saving failed.
    """

    def __init__(self) -> None:
        self.paths: dict[str, str] = {}
        self.levels: dict[str, int] = {}
        self.unsaved: dict[str, tuple[int, str]] = {}

    def set_levels(self, scene: str, levels: int) -> None:
        """Record the number of granularity levels of a model."""
        self.levels[scene] = levels

    def saved(self, scene: str, path: str) -> None:
        """Record the file of a model."""
        self.unsaved.pop(scene, None)
        self.paths[scene] = path

    def kept_in_backend(self, scene: str, starts: int, why: str) -> None:
        """Record a model that only the backend with start number `starts` has."""
        self.unsaved[scene] = starts, why

    def forget(self) -> None:
        """Reset the state."""
        self.paths.clear()
        self.levels.clear()
        self.unsaved.clear()


models = Models()
