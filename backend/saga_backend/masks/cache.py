"""Masks on disk: a file for each picture that says what it was made of, so that it is never made twice.

A file is an npz: run lengths, and a key that depends on the picture's content, the settings and the model. It is
written beside and renamed when it is complete; what is truncated, damaged or of another key counts as not there.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from blender_saga.errors import ErrorCode, UserError
from blender_saga.gaussians.atomic_write import atomic_write
from blender_saga.gaussians.view import View

from ..cameras.photo import without_extension
from ..common.safe_arrays import BROKEN, check_archive
from .run_lengths import RunMasks


def masks_key(content: str, meaning: Mapping[str, float], model: str) -> str:
    """What masks were made of, as one number: picture, settings, model (hashes of them)."""
    text = json.dumps([1, content, dict(sorted(meaning.items())), model])
    return hashlib.sha256(text.encode()).hexdigest()


def view_content(fingerprint: str, view: View) -> str:
    """What a drawn picture shows: the cloud's fingerprint and the view, without drawing it."""
    return hashlib.sha256(fingerprint.encode() + view.key).hexdigest()


@dataclass(frozen=True, eq=False)
class MaskCache:
    """A folder of masks, found by the names of the pictures."""

    folder: Path

    def path(self, name: str) -> Path:
        """The file of a picture's name ("left/0001.jpg" -> FOLDER/left/0001.npz); it never lies outside the folder."""
        parts = PurePosixPath(without_extension(name.replace("\\", "/"))).parts
        safe = [part for part in parts if part not in ("..", ".", "/") and ":" not in part]
        if not safe:
            raise UserError(
                f"There is no place for the masks of '{name}'",
                "it is no name of a picture",
                fix="Give the photo another name",
            )
        return self.folder.joinpath(*safe).with_name(safe[-1] + ".npz")

    def has(self, name: str, key: str) -> bool:
        """Whether the masks of a picture are there, complete, and made of what the key says."""
        return stored_key(self.path(name)) == key

    def save(self, name: str, content: bytes) -> None:
        """Put a file (`file_bytes`) in its place, in one step.

        Raises:
            UserError: if it cannot be written.
        """
        path = self.path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as part:
                part.write_bytes(content)
        except OSError as error:
            why = error.strerror or str(error)
            raise UserError(
                f"The masks cannot be written to {self.folder}",
                why,
                fix="Choose a folder that you may write to, on a disk with space",
                code=ErrorCode.CANNOT_WRITE,
            ) from error


def file_bytes(masks: RunMasks, key: str) -> bytes:
    """The file of some masks; the same masks and key give the same bytes."""
    out = io.BytesIO()
    np.savez_compressed(
        out, counts=masks.counts, offsets=masks.offsets, size=np.array(masks.size, np.int32), scores=masks.scores,
        key=np.array(key),
    )  # fmt: skip
    return out.getvalue()


def stored_key(path: Path) -> str:
    """The key of a file that is complete, "" for any other: all of it is read, so that its checksums are compared."""
    try:
        check_archive(path)
        with np.load(path, allow_pickle=False) as arrays:
            read_runs(arrays)
            return str(arrays["key"])
    except BROKEN:
        return ""


def read_runs(arrays: Mapping[str, np.ndarray]) -> RunMasks:
    """The masks in the arrays of a file.

    Raises:
        ValueError: if they do not fit each other.
        KeyError: if some are missing.
    """
    return RunMasks.of_arrays(*(arrays[name] for name in ("counts", "offsets", "size", "scores")))
