"""Mask extraction for many pictures: cached masks are reused, the others are computed here or on a cluster."""

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
from .sam.generator import SamGenerator, limit_size
from .sam.model import LoadedSam
from .sam.settings import SamSettings
from .sam.weights import sha256_of

PHASE = "finding masks"


@dataclass(frozen=True, eq=False)
class Task:
    """Mask extraction for one picture.

    Attributes:
        name: name of the picture and of its mask file.
        key: key of all inputs (cache.masks_key).
        frame: the photo, or the view to rasterize.
    """

    name: str
    key: str
    frame: Frame


@dataclass(frozen=True, eq=False)
class Pictures:
    """The source of pictures: photos are read from files, views of the cloud are rasterized.

    Attributes:
        cloud: the Gaussians to rasterize.
        raster: the rasterizer.
        longest_side: pixels. Larger photos are scaled down. Views are rasterized at this size whatever their
            training size: the model sees more detail, and masks can be resampled to any size.
    """

    cloud: GaussianCloud
    raster: Rasterizer
    longest_side: int

    def of(self, frame: Frame) -> np.ndarray:
        """[H,W,3] uint8, sRGB.

        Raises:
            UserError: if a photo cannot be read or does not fit its camera.
        """
        if frame.image is not None:
            return limit_size(_photo(frame.image, frame), self.longest_side)
        view = frame.view
        factor = self.longest_side / max(view.width, view.height)
        view = view.resized(max(1, round(view.width * factor)), max(1, round(view.height * factor)))
        return as_bytes(self.raster.render(self.cloud, view).rgb)


class Engine(Protocol):
    """An executor of tasks, in any order."""

    def run(self, tasks: Sequence[Task], pictures: Pictures, control: Control) -> Iterator[tuple[Task, bytes]]:
        """Yield each finished task with the content of its mask file (cache.file_bytes)."""
        ...


@dataclass(frozen=True, eq=False)
class Local:
    """Computes masks in this process, one picture at a time; `notes`: memory limits that were hit, for the user."""

    sam: LoadedSam
    settings: SamSettings
    notes: list[str] = field(default_factory=list)

    def run(self, tasks: Sequence[Task], pictures: Pictures, control: Control) -> Iterator[tuple[Task, bytes]]:
        """See Engine."""
        generator = SamGenerator(self.sam, self.settings, notes=self.notes)
        for task in tasks:
            yield task, file_bytes(generator.masks(pictures.of(task.frame)), task.key)


@dataclass(eq=False)
class Extraction:
    """Numbers of pictures with reused and with new masks, and the names of the new ones."""

    reused: int = 0
    found: int = 0
    names: list[str] = field(default_factory=list)


def extract(
    tasks: Sequence[Task], cache: MaskCache, engine: Engine, pictures: Pictures, control: Control
) -> Extraction:
    """Fill the cache with the masks of every task.

    Raises:
        UserError: if a picture cannot be read or a file cannot be written; finished masks stay in the cache.
        Cancelled: if the control was cancelled; finished masks stay in the cache.
    """
    done, missing = Extraction(), []
    for index, task in enumerate(tasks):
        control.progress("checking cached masks", index, len(tasks))
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
    """The tasks of frames; `model`: SHA-256 of the weights.

    Raises:
        UserError: if a photo cannot be read.
    """
    fingerprint = pictures.cloud.fingerprint()  # computed once, because it reads the whole cloud
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
            fix="Replace the photo by one that other programs can open",
        ) from error
    if not frame.fits(pixels.shape[1], pixels.shape[0]):
        why = f"it has {pixels.shape[1]} x {pixels.shape[0]} pixels, and its camera has another aspect ratio"
        raise UserError(
            f"The photo {path} does not fit its camera",
            why,
            fix="Use the original photo of this camera",
        )
    return pixels
