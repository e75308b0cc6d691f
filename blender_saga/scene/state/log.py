"""The add-on's log in the extension's user folder, and the private values that a report must hide."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from pathlib import Path

import bpy

from ...client.support.log_files import BoundedLog, opened, own_path
from .paths import PACKAGE, user_folder

_MAX_BYTES = 1_000_000
_REMEMBERED = 20_000
logger = logging.getLogger(PACKAGE)
"""The logger that all modules of the extension log to."""


class Journal:
    """The log of this Blender process; see `journal` below.

    Attributes:
        private: names and paths entered by the user in this run: files, objects, texts.
        errors: the last errors shown.
    """

    def __init__(self) -> None:
        self.private: set[str] = set()
        self.errors: deque[str] = deque(maxlen=10)
        self._handler: BoundedLog | None = None

    @property
    def path(self) -> Path | None:
        """The log file; None if no log can be written."""
        return Path(self._handler.baseFilename) if self._handler is not None else None

    def start(self) -> None:
        """Start logging."""
        logger.setLevel(logging.INFO)
        logger.propagate = False
        with contextlib.suppress(
            OSError, ValueError
        ):  # ValueError: without an installed extension there is no user folder
            folder = user_folder("logs")
            self._handler = opened(own_path(folder, "blender"))
        if self._handler is not None:
            self._handler.maxBytes = _MAX_BYTES
            self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
            logger.addHandler(self._handler)
        logger.info("Blender %s", bpy.app.version_string)

    def stop(self) -> None:
        """Stop logging."""
        if self._handler is not None:
            logger.removeHandler(self._handler)
            self._handler.close()
        self._handler = None

    def failed(self, who: str, sentence: str) -> None:
        """Log an error that the user saw."""
        self.errors.append(f"{who}: {sentence}")
        logger.warning("%s: %s", who, sentence)

    def remember(self, *values: str) -> None:
        """Add values that a report must hide."""
        if len(self.private) < _REMEMBERED:
            self.private.update(value for value in values if value)

    def remember_texts(self, owner: bpy.types.bpy_struct) -> None:
        """Add all text properties of `owner`, which may contain the user's input."""
        self.remember(*texts_of(owner, lists=False))


def texts_of(owner: bpy.types.bpy_struct, lists: bool = True) -> list[str]:
    """The values of the text properties of `owner`; with `lists`, also of the items in its collections."""
    found = []
    for prop in owner.bl_rna.properties:
        if prop.identifier.startswith(("bl_", "rna_")):
            continue
        if prop.type == "STRING":
            found.append(str(getattr(owner, prop.identifier)))
        elif lists and prop.type == "COLLECTION" and prop.is_runtime:
            found += [text for item in getattr(owner, prop.identifier) for text in texts_of(item)]
    return found


def private_in_file() -> set[str]:
    """Names and paths in the open file: data-blocks, imported files and entered texts."""
    found = {bpy.data.filepath}
    for group in (bpy.data.objects, bpy.data.collections, bpy.data.pointclouds, bpy.data.texts, bpy.data.cameras):
        found.update(block.name for block in group)
    for group in (bpy.data.images, bpy.data.libraries):
        for block in group:
            found |= {block.name, block.filepath, bpy.path.abspath(block.filepath)}
    for scene in bpy.data.scenes:
        found |= {scene.name, scene.render.filepath, *texts_of(scene.saga)}
    for obj in bpy.data.objects:
        found.update(texts_of(obj.saga))
    found |= {bpy.path.abspath(path) for path in found if path.startswith("//")}
    return found - _EVERYBODYS


_EVERYBODYS = {"", "Scene", "Camera", "Cube", "Light", "Collection", "Render Result", "Viewer Node", "Text", "/tmp/"}  # noqa: S108 - not used as one
"""Default names of Blender."""

journal = Journal()
