"""The add-on's own log in the user's folder of the extension, and what a report must not show of it."""

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
"""Every module of the extension logs below this name."""


class Journal:
    """One per Blender; `journal` below.

    Attributes:
        private: names and paths that the user has given us in this run: files, objects, words.
        errors: the last sentences that were shown as errors.
    """

    def __init__(self) -> None:
        self.private: set[str] = set()
        self.errors: deque[str] = deque(maxlen=10)
        self._handler: BoundedLog | None = None

    @property
    def path(self) -> Path | None:
        """The log file, None where none can be written."""
        return Path(self._handler.baseFilename) if self._handler is not None else None

    def start(self) -> None:
        """Begin to log."""
        logger.setLevel(logging.INFO)
        logger.propagate = False
        with contextlib.suppress(OSError, ValueError):  # ValueError: run from its source it has no folder of its own
            folder = user_folder("logs")
            self._handler = opened(own_path(folder, "blender"))
        if self._handler is not None:
            self._handler.maxBytes = _MAX_BYTES
            self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
            logger.addHandler(self._handler)
        logger.info("Blender %s", bpy.app.version_string)

    def stop(self) -> None:
        """End it."""
        if self._handler is not None:
            logger.removeHandler(self._handler)
            self._handler.close()
        self._handler = None

    def failed(self, who: str, sentence: str) -> None:
        """Note what was shown as an error."""
        self.errors.append(f"{who}: {sentence}")
        logger.warning("%s: %s", who, sentence)

    def remember(self, *values: str) -> None:
        """Note what a report must not show."""
        if len(self.private) < _REMEMBERED:
            self.private.update(value for value in values if value)

    def remember_texts(self, owner: bpy.types.bpy_struct) -> None:
        """Note every text property that the user may have filled in."""
        self.remember(*texts_of(owner, lists=False))


def texts_of(owner: bpy.types.bpy_struct, lists: bool = True) -> list[str]:
    """The values of a thing's own text properties; `lists`: also of those in its lists."""
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
    """Names and paths in the file that is open: of its things, of what they were imported from, of what was typed."""
    found = {bpy.data.filepath}
    for group in (bpy.data.objects, bpy.data.collections, bpy.data.pointclouds, bpy.data.texts, bpy.data.cameras):
        found.update(thing.name for thing in group)
    for group in (bpy.data.images, bpy.data.libraries):
        for thing in group:
            found |= {thing.name, thing.filepath, bpy.path.abspath(thing.filepath)}
    for scene in bpy.data.scenes:
        found |= {scene.name, scene.render.filepath, *texts_of(scene.saga)}
    for obj in bpy.data.objects:
        found.update(texts_of(obj.saga))
    found |= {bpy.path.abspath(path) for path in found if path.startswith("//")}
    return found - _EVERYBODYS


_EVERYBODYS = {"", "Scene", "Camera", "Cube", "Light", "Collection", "Render Result", "Viewer Node", "Text", "/tmp/"}  # noqa: S108 - not used as one
"""Names that Blender gives by itself."""

journal = Journal()
