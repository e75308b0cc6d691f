"""Masks of many pictures into a folder: what is there already stays, the rest is found, here or on a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from blender_saga.errors import UserError
from blender_saga.gaussians.cloud import GaussianCloud

from ..cameras.photo import Frame
from ..common.progress import Control
from ..rasterizer.select import Rasterizer
from .cache import MaskCache, file_bytes, masks_key, view_content
from .sam.generator import SamGenerator, fitted
from .sam.model import LoadedSam
from .sam.settings import SamSettings
from .sam.weights import sha256_of

PHASE = "finding masks"


@dataclass(frozen=True, eq=False)
class Task:
    """One picture to find masks in.

    Attributes:
        name: of the picture, by which its masks are found again.
        key: what its masks are made of (cache.masks_key).
        frame: photo, or view to draw.
    """

    name: str
    key: str
    frame: Frame


@dataclass(frozen=True, eq=False)
class Pictures:
    """Where pictures come from: photos from their files, views of the cloud from the rasterizer.

    Attributes:
        cloud: what views show.
        raster: draws them.
        longest_side: pixels; larger photos are made smaller, views are drawn at this size whatever size they are
            trained at: the model sees more in it, and masks are looked up at any size.
    """

    cloud: GaussianCloud
    raster: Rasterizer
    longest_side: int

    def of(self, frame: Frame) -> np.ndarray:
        """[H,W,3] uint8, sRGB.

        Raises:
            UserError: if a photo cannot be read, or is not the one that its camera is of.
        """
        if frame.image is not None:
            return fitted(_photo(frame.image, frame), self.longest_side)
        view = frame.view
        factor = self.longest_side / max(view.width, view.height)
        view = view.resized(max(1, round(view.width * factor)), max(1, round(view.height * factor)))
        return as_bytes(self.raster.render(self.cloud, view).rgb)


class Engine(Protocol):
    """Does the work of tasks, in any order."""

    def run(self, tasks: Sequence[Task], pictures: Pictures, control: Control) -> Iterator[tuple[Task, bytes]]:
        """The tasks as they are done, each with the file of its masks (cache.file_bytes)."""
        ...


@dataclass(frozen=True, eq=False)
class Local:
    """Finds masks in this process, one picture after the other; `notes`: what did not fit into memory, for the user."""

    sam: LoadedSam
    settings: SamSettings
    notes: list[str] = field(default_factory=list)

    def run(self, tasks: Sequence[Task], pictures: Pictures, control: Control) -> Iterator[tuple[Task, bytes]]:
        """See Engine."""
        generator = SamGenerator(self.sam, self.settings, notes=self.notes)
        for task in tasks:
            yield task, file_bytes(generator.masks(pictures.of(task.frame)), task.key)


@dataclass(eq=False)
class Extracted:
    """How many pictures' masks were there already, how many were found now."""

    reused: int = 0
    found: int = 0
    names: list[str] = field(default_factory=list)


def extract(tasks: Sequence[Task], cache: MaskCache, engine: Engine, pictures: Pictures, control: Control) -> Extracted:
    """See to it that the cache has the masks of every task.

    Raises:
        UserError: if a picture cannot be read or a file not be written; what was found before stays.
        Cancelled: if the control was cancelled; the same.
    """
    done, missing = Extracted(), []
    for index, task in enumerate(tasks):
        control.progress("looking for masks", index, len(tasks))
        if cache.has(task.name, task.key):
            done.reused += 1
        else:
            missing.append(task)
    control.progress(PHASE, done.reused, len(tasks))
    for task, content in engine.run(missing, pictures, control):
        cache.save(task.name, content)
        done.found += 1
        done.names.append(task.name)
        control.progress(PHASE, done.reused + done.found, len(tasks))
    return done


def tasks_of(frames: Sequence[Frame], pictures: Pictures, settings: SamSettings, model: str) -> list[Task]:
    """The tasks of some frames; `model`: the SHA-256 of the weights.

    Raises:
        UserError: if a photo cannot be read.
    """
    fingerprint = pictures.cloud.fingerprint()  # once: it reads the whole cloud
    contents = [view_content(fingerprint, f.view) if f.image is None else sha256_of(f.image) for f in frames]
    keys = [masks_key(content, settings.meaning(), model) for content in contents]
    return [Task(frame.name, key, frame) for frame, key in zip(frames, keys, strict=True)]


def as_bytes(rgb: np.ndarray) -> np.ndarray:
    """A picture [H,W,3] float 0..1 as uint8."""
    return (np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8)


def _photo(path: Path, frame: Frame) -> np.ndarray:
    try:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(
            f"The photo {path} cannot be read",
            getattr(error, "strerror", None) or str(error),
            fix="Put a photo there that opens in other programs",
        ) from error
    if not frame.fits(pixels.shape[1], pixels.shape[0]):
        why = f"it has {pixels.shape[1]} x {pixels.shape[0]} pixels, its camera is for another aspect"
        raise UserError(
            f"The photo {path} is not the one of its camera",
            why,
            fix="Put the photo there that the camera was made from",
        )
    return pixels
