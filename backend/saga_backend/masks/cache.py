"""A cache of masks on disk: one file per picture, with a key of all inputs.

A file is an npz with run lengths and a key that depends on the picture's content, the settings and the model. It is
written atomically. A file that is truncated, damaged or has another key counts as missing.
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
    """SHA-256 of all inputs of the masks: picture, settings and model."""
    text = json.dumps([1, content, dict(sorted(meaning.items())), model])
    return hashlib.sha256(text.encode()).hexdigest()


def view_content(fingerprint: str, view: View) -> str:
    """SHA-256 of a rasterized picture's inputs: the cloud's fingerprint and the view. Nothing is rasterized."""
    return hashlib.sha256(fingerprint.encode() + view.key).hexdigest()


@dataclass(frozen=True, eq=False)
class MaskCache:
    """A folder of mask files, named after the pictures."""

    folder: Path

    def path(self, name: str) -> Path:
        """The mask file of a picture ("left/0001.jpg" -> FOLDER/left/0001.npz); always inside the folder."""
        parts = PurePosixPath(without_extension(name.replace("\\", "/"))).parts
        safe = [part for part in parts if part not in ("..", ".", "/") and ":" not in part]
        if not safe:
            raise UserError(
                f"The masks of '{name}' cannot be stored",
                "the name is not a valid file name",
                fix="Give the photo another name",
            )
        return self.folder.joinpath(*safe).with_name(safe[-1] + ".npz")

    def has(self, name: str, key: str) -> bool:
        """Whether a complete mask file of the picture exists with this key."""
        return stored_key(self.path(name)) == key

    def save(self, name: str, content: bytes) -> None:
        """Write a mask file (`file_bytes`) atomically.

        Raises:
            UserError: if the file cannot be written.
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
                fix="Choose a writable folder on a disk with free space",
                code=ErrorCode.CANNOT_WRITE,
            ) from error


def file_bytes(masks: RunMasks, key: str) -> bytes:
    """The content of a mask file; equal masks and keys give equal bytes."""
    out = io.BytesIO()
    np.savez_compressed(
        out, counts=masks.counts, offsets=masks.offsets, size=np.array(masks.size, np.int32), scores=masks.scores,
        key=np.array(key),
    )  # fmt: skip
    return out.getvalue()


def stored_key(path: Path) -> str:
    """The key of a complete file, "" otherwise. The whole file is read, which verifies its checksums."""
    try:
        check_archive(path)
        with np.load(path, allow_pickle=False) as arrays:
            read_runs(arrays)
            return str(arrays["key"])
    except BROKEN:
        return ""


def read_runs(arrays: Mapping[str, np.ndarray]) -> RunMasks:
    """The masks of a file's arrays.

    Raises:
        ValueError: if the arrays are inconsistent.
        KeyError: if an array is missing.
    """
    return RunMasks.of_arrays(*(arrays[name] for name in ("counts", "offsets", "size", "scores")))
